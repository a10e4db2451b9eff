"""Measuring many folders on every core."""

from __future__ import annotations

import fcntl
import os
import termios
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType

from drydock.evidence.files.sizes import DiskUsage, Measure, Share
from drydock.evidence.files.worker import Worker, Write, can_start
from drydock.model.data import Occupancy

_FEWEST = 8
_MOST = 4
_TICKET = 4
_TICKETS = 16_000  # a pipe holds 64 KiB (pipe(7))


class WalkPool:
    """Workers that measure folders, from the moment they are made until they are closed.

    Args:
        shares: the folders to measure; their descriptors stay open until the pool is closed.
    """

    def __init__(self, shares: Sequence[Share]) -> None:
        self._shares = shares
        self._workers: list[_Worker] = []
        self._tickets = -1
        if len(shares) < _FEWEST or not can_start():
            return
        self._tickets = _tickets(len(shares))
        try:
            with suppress(OSError):  # the workers that could be started do the work
                for _ in range(min(os.cpu_count() or 1, _MOST) - 1):
                    self._workers.append(_Worker(shares, self._tickets))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> WalkPool:  # noqa: PYI034 - Self is in typing since 3.11 only
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers that still run."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        if self._tickets >= 0:
            os.close(self._tickets)
            self._tickets = -1

    def finish(self, measure: Measure, progress: Callable[[int], None] | None = None) -> dict[bytes, DiskUsage]:
        """As :meth:`finish_all`, by the path of each folder; all of them have one parent."""
        return {self._shares[number].path: usage for number, usage in self.finish_all(measure, progress).items()}

    def finish_all(self, measure: Measure, progress: Callable[[int], None] | None = None) -> dict[int, DiskUsage]:
        """Measure what no worker has begun, and wait for the workers.

        Returns:
            The usage of each folder by its place among the shares. A folder that could not be measured is left out; the
            caller tries again.
        """
        found: dict[int, DiskUsage] = {}
        if self._tickets < 0:
            return found
        told, count = 0, len(self._shares)
        for number in _drawn(self._tickets, count):
            with suppress(OSError):
                found[number] = measure.go_on(self._shares[number])
            if progress is not None:
                # Folders that workers have begun count as done, or half of all would be reported at the very end.
                done = max(told, _begun(self._tickets, count))
                progress(done - told)
                told = done
        for worker in self._workers:
            found |= worker.results()
        if progress is not None:
            progress(max(0, len(found) - told))
        return found


def measure_folders(
    measure: Measure,
    names: Sequence[bytes],
    parent: int,
    progress: Callable[[int], None] | None = None,
    pool: WalkPool | None = None,
) -> Iterator[DiskUsage]:
    """The usage of each of ``names`` in the open folder ``parent``, in their order, as :meth:`Measure.folder` has it.

    Args:
        measure: counts inodes with several links once.
        names: of the folders to measure.
        parent: the folder they are in.
        progress: called with the number of folders done since its last call.
        pool: workers that measure them already; None starts new ones.

    Raises:
        OSError: one of the folders is missing.
    """
    if pool is None:
        with WalkPool([Share(name, parent) for name in names]) as own:
            found = own.finish(measure, progress)
    else:
        found = pool.finish(measure, progress)
    for name in names:
        usage = found.pop(name, None)
        if usage is not None:
            measure.add(usage)
        else:
            usage = measure.folder(name, parent)
            if progress is not None:
                progress(1)
        yield usage


class _Worker(Worker):
    """A worker that measures."""

    def __init__(self, shares: Sequence[Share], tickets: int) -> None:
        super().__init__(partial(_measure, shares, tickets))

    def results(self) -> dict[int, DiskUsage]:
        """What the worker found. Waits until it has ended, in whatever way."""
        found: dict[int, DiskUsage] = {}
        for number, allocated, entries, skipped, skips, linked, *parts in self.read():
            whole, upper = (part and Occupancy(*part) for part in parts)
            found[number] = DiskUsage(allocated, entries, skipped, skips, linked, all=whole, upper=upper)
        return found


def _tickets(count: int) -> int:
    """A pipe with a number for each share of the work: the process that reads a number does that share."""
    tickets, source = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        # A user with many pipes gets small ones: the shares that do not fit are measured afterwards.
        with suppress(BlockingIOError):
            os.write(source, b"".join(number.to_bytes(_TICKET, "little") for number in range(min(count, _TICKETS))))
    finally:
        os.close(source)
    return tickets


def _drawn(tickets: int, count: int) -> Iterator[int]:
    while len(ticket := os.read(tickets, _TICKET)) == _TICKET:
        yield from range(int.from_bytes(ticket, "little"), count, _TICKETS)


def _begun(tickets: int, count: int) -> int:
    """How many shares of the work some process has begun."""
    left = array("i", [0])
    fcntl.ioctl(tickets, termios.FIONREAD, left)
    return min(count, _TICKETS) - left[0] // _TICKET


def _measure(shares: Sequence[Share], tickets: int, write: Write) -> None:
    measure = Measure()
    for number in _drawn(tickets, len(shares)):
        with suppress(OSError):  # the starter tries again, and reports the error
            usage = measure.go_on(shares[number])
            whole, upper = (part and tuple(part) for part in (usage.all, usage.upper))
            write((number, usage.allocated, usage.entries, usage.skipped, usage.skips, usage.linked, whole, upper))
