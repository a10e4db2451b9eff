"""Measuring many folders on every core.

The workers are processes, because a walk is mostly Python code and threads would take turns. A worker is a fork of
this process and holds its locks, so it does not outlive it.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import signal
import termios
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import NoReturn

from drydock.evidence.files.libc import libc
from drydock.evidence.files.sizes import DiskUsage, Measure, Share
from drydock.model.data import Occupancy

_FEWEST = 8
_MOST = 4
_TICKET = 4
_TICKETS = 16_000  # a pipe holds 64 KiB (pipe(7))
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h


class WalkPool:
    """Workers that measure folders, from the moment they are made until they are closed.

    Args:
        shares: the folders to measure; their descriptors stay open until the pool is closed.
    """

    def __init__(self, shares: Sequence[Share]) -> None:
        self._shares = shares
        self._workers: list[_Worker] = []
        self._tickets = -1
        # A fork has only the thread that made it: a lock that another thread holds at that moment stays held in it.
        if len(shares) < _FEWEST or (os.cpu_count() or 1) < 2 or threading.active_count() > 1:
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


class _Worker:
    """A child process that measures, and the file it writes its results to."""

    def __init__(self, shares: Sequence[Share], tickets: int) -> None:
        """Start it.

        Raises:
            OSError: there is no process or no memory for it.
        """
        prctl = libc().prctl
        self._results = os.memfd_create("drydock", os.MFD_CLOEXEC)
        starter = os.getpid()
        try:
            self._pid = os.fork()
        except BaseException:
            os.close(self._results)
            raise
        if not self._pid:
            _work(shares, tickets, self._results, partial(_end_with, starter, prctl))

    def results(self) -> dict[int, DiskUsage]:
        """What the worker found. Waits until it has ended, in whatever way."""
        self._wait()
        found: dict[int, DiskUsage] = {}
        os.lseek(self._results, 0, os.SEEK_SET)
        with open(self._results, "rb", closefd=False) as file, suppress(EOFError):
            while True:  # the last of them may be cut short
                number, allocated, entries, skipped, skips, linked, *parts = marshal.load(file)  # noqa: S302 - of a fork of this process
                whole, upper = (part and Occupancy(*part) for part in parts)
                found[number] = DiskUsage(allocated, entries, skipped, skips, linked, all=whole, upper=upper)
        return found

    def close(self) -> None:
        """End the worker if it still runs."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._wait()
        os.close(self._results)

    def _wait(self) -> None:
        if self._pid:
            with suppress(ChildProcessError):  # SIGCHLD is ignored, so that the kernel has waited for it
                os.waitpid(self._pid, 0)
            self._pid = 0


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


def _end_with(starter: int, prctl: Callable[..., object]) -> bool:
    """Have this process end with the one that started it; False where that one has ended already."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == starter


def _work(shares: Sequence[Share], tickets: int, results: int, end_with_starter: Callable[[], bool]) -> NoReturn:
    """Do the work of a worker, and end the process: no code of the process it was forked from may run in it."""
    try:
        for caught in (signal.SIGINT, signal.SIGTERM):
            signal.signal(caught, signal.SIG_DFL)
        measure = Measure()
        is_wanted = end_with_starter()
        with open(results, "wb", closefd=False) as file:
            for number in _drawn(tickets, len(shares)) if is_wanted else ():
                with suppress(OSError):  # the starter tries again, and reports the error
                    usage = measure.go_on(shares[number])
                    whole, upper = (part and tuple(part) for part in (usage.all, usage.upper))
                    result = (number, usage.allocated, usage.entries, usage.skipped, usage.skips, usage.linked)
                    file.write(marshal.dumps((*result, whole, upper)))
    finally:
        os._exit(0)
