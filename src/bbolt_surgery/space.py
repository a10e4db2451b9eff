"""The places of new pages: free pages with blocks on disk, then free pages in holes, then past the high-water mark."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence


class Space:
    """Gives out places that no tree uses.

    A file may have holes, from a sparse copy or because bbolt grows it in steps. A free page in a hole costs a block
    that the file system may not have, so pages with blocks are used first.

    Attributes:
        high_water: the first page id that was never given out.
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
        """The parts of free runs with blocks; the others are kept for later."""
        for start, length in free:
            at, end = start, start + length
            while at < end:
                first, after = self._data(at, end)
                if first < after:
                    yield first, after - first
                else:
                    first = after = max(after, at + 1)  # its one page is partly a hole
                if at < first:
                    self._holes.append((at, first - at))
                at = after

    def _data(self, at: int, end: int) -> tuple[int, int]:
        """The next pages up to another one that have all their blocks: the first, and the first behind them."""
        size = self._page_size
        try:
            data = os.lseek(self._fd, at * size, os.SEEK_DATA)
            hole = os.lseek(self._fd, data, os.SEEK_HOLE)
        except OSError as error:
            # ENXIO: there is no data from there on. After another error, all of it counts as data.
            return (end, end) if error.errno == errno.ENXIO else (at, end)
        first = min(-(-data // size), end)
        return first, max(first, min(hole // size, end))


def _fit(runs: list[tuple[int, int]], count: int) -> int | None:
    """Take places from the end of the last run that is long enough."""
    for index in range(len(runs) - 1, -1, -1):
        start, length = runs[index]
        if length > count:
            runs[index] = (start, length - count)
            return start + length - count
        if length == count:
            del runs[index]
            return start
    return None
