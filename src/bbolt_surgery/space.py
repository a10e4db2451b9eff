"""Where new pages go: free ones that have blocks on disk, then free ones that have none, then past the high water."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence


class Space:
    """Gives out places that no tree takes.

    A file can have holes (a sparse copy, or bbolt's growth in steps): a free page in one costs the file system a block
    that it may not have, so pages with blocks go first.

    Attributes:
        high_water: the first page id never given out, here or before.
    """

    def __init__(self, fd: int, page_size: int, free: Sequence[tuple[int, int]], high_water: int) -> None:
        self._fd = fd
        self._page_size = page_size
        self._holes: list[tuple[int, int]] = []
        self._backed: list[tuple[int, int]] = []
        self._untold = self._split(free)
        self.high_water = high_water

    def take(self, count: int) -> int:
        """The first of ``count`` places in a row."""
        pgid = _fit(self._backed, count)
        while pgid is None:
            run = next(self._untold, None)
            if run is None:
                break
            self._backed.append(run)
            pgid = _fit(self._backed, count) if run[1] >= count else None
        if pgid is None:
            pgid = _fit(self._holes, count)
        if pgid is None:
            pgid = self.high_water
            self.high_water += count
        return pgid

    def _split(self, free: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """The parts of free runs that have blocks; the rest is put aside."""
        for start, length in free:
            at, end = start, start + length
            while at < end:
                first, after = self._data(at, end)
                if first < after:
                    yield first, after - first
                else:
                    first = after = max(after, at + 1)  # its one page is part data, part hole
                if at < first:
                    self._holes.append((at, first - at))
                at = after

    def _data(self, at: int, end: int) -> tuple[int, int]:
        """The next pages from one on that have blocks throughout, cut off at another: first, and first after them."""
        size = self._page_size
        try:
            data = os.lseek(self._fd, at * size, os.SEEK_DATA)
            hole = os.lseek(self._fd, data, os.SEEK_HOLE)
        except OSError as error:
            # ENXIO: no data from there on. Anything else: the file system cannot tell, so all of it counts as data.
            return (end, end) if error.errno == errno.ENXIO else (at, end)
        first = min(-(-data // size), end)
        return first, max(first, min(hole // size, end))


def _fit(runs: list[tuple[int, int]], count: int) -> int | None:
    """Cut places off the end of the last run that is long enough."""
    for index in range(len(runs) - 1, -1, -1):
        start, length = runs[index]
        if length > count:
            runs[index] = (start, length - count)
            return start + length - count
        if length == count:
            del runs[index]
            return start
    return None
