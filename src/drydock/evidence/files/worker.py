"""Work in a child process, beside this one.

Most of the work here is Python code, so threads would take turns. A worker is a fork of this process and does not
outlive it. It holds this process's locks as long as it has their descriptors, or their files mapped, unless this
process gives them back.
"""

from __future__ import annotations

import marshal
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from drydock.evidence.files.libc import libc

_LENGTH = 8
"""Bytes of the length in front of each result."""
_PAUSE = 0.01
"""Seconds between two looks whether a worker has ended."""
_TICKET = 4
_TICKETS = 16_000  # a pipe holds 64 KiB (pipe(7))
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h

Write = Callable[[Any], None]
"""Hands one result to the process that started the worker: numbers, bytes, None, and tuples of these."""


def can_start() -> bool:
    """Whether a worker can be started, and saves time."""
    # A fork has only the thread that made it: a lock that another thread holds at that moment stays held in it.
    return (os.cpu_count() or 1) > 1 and threading.active_count() == 1


class Worker:
    """A child process, and the file it writes its results to."""

    def __init__(self, work: Callable[[Write], None], needed: Collection[int] | None = None) -> None:
        """Start it.

        Args:
            work: what it does. An exception ends the worker, and what it has written so far counts.
            needed: the descriptors that it needs; it closes all others. None: it keeps all.

        Raises:
            OSError: there is no process or no memory for it.
        """
        prctl = libc().prctl
        self._results = os.memfd_create("drydock", os.MFD_CLOEXEC)
        self._told = 0
        self.killed_by = 0
        """The number of the signal that ended it, as SIGKILL if memory ran out; 0 for none, or if it is not known."""
        starter = os.getpid()
        try:
            self.pid = os.fork()
            """0 once it has ended."""
        except BaseException:
            os.close(self._results)
            raise
        if not self.pid:
            _work(work, self._results, needed, partial(_end_with, starter, prctl))

    def read(self) -> Iterator[Any]:
        """Each result. Waits until the worker has ended, in whatever way."""
        self.wait()
        for result, _ in self._results_from(0):
            yield result

    def news(self) -> Iterator[Any]:
        """Each result that came since this was last asked for, without waiting."""
        for result, end in self._results_from(self._told):
            self._told = end
            yield result

    def until_end(self) -> Iterator[Any]:
        """As :meth:`news`, and all that is to come, until the worker has ended, in whatever way."""
        while not self._has_ended():
            yield from self.news()
            time.sleep(_PAUSE)
        yield from self.news()

    def wait(self) -> None:
        """Wait until the worker has ended, in whatever way."""
        if self.pid:
            with suppress(ChildProcessError):  # SIGCHLD is ignored, so that the kernel has waited for it
                _, status = os.waitpid(self.pid, 0)
                self.killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            self.pid = 0

    def close(self) -> None:
        """End the worker if it still runs."""
        if not self._has_ended():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait()
        os.close(self._results)

    def _has_ended(self) -> bool:
        """Whether the worker has ended. Where SIGCHLD is ignored, its number may be another process's by then."""
        if self.pid:
            ended = self.pid
            with suppress(ChildProcessError):
                ended, _ = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.pid = 0
        return not self.pid

    def _results_from(self, start: int) -> Iterator[tuple[Any, int]]:
        """Each result from there on, with the place of the next one. The worker shares the position in the file."""
        while len(head := os.pread(self._results, _LENGTH, start)) == _LENGTH:
            length = int.from_bytes(head, "little")
            data = os.pread(self._results, length, start + _LENGTH)
            if len(data) < length:  # it is being written, or the worker was killed
                return
            start += _LENGTH + length
            yield marshal.loads(data), start  # noqa: S302 - of a fork of this process


def _end_with(starter: int, prctl: Callable[..., object]) -> bool:
    """Have this process end with the one that started it; False where that one has ended already."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == starter


def _work(
    work: Callable[[Write], None], results: int, needed: Collection[int] | None, end_with_starter: Callable[[], bool]
) -> NoReturn:
    """Do the work of a worker, and end the process: no code of the process it was forked from may run in it."""
    try:
        for caught in (signal.SIGINT, signal.SIGTERM):
            signal.signal(caught, signal.SIG_DFL)
        if end_with_starter():
            if needed is not None:
                _close_others({0, 1, 2, results, *needed})
            work(partial(_write, results))
    finally:
        os._exit(0)


def _close_others(kept: Collection[int]) -> None:
    """Close every descriptor but these; without /proc they stay open."""
    with suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            if int(name) not in kept:
                with suppress(OSError):  # that of the listing
                    os.close(int(name))


def _write(results: int, result: Any) -> None:  # noqa: ANN401 - as marshal has it
    data = marshal.dumps(result)
    left = memoryview(len(data).to_bytes(_LENGTH, "little") + data)
    while left:
        left = left[os.write(results, left) :]


def tickets(count: int) -> int:
    """A pipe with a number for each share of the work: the process that reads a number does that share."""
    found, source = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        # A user with many pipes gets small ones: the shares that do not fit are left over.
        with suppress(BlockingIOError):
            os.write(source, b"".join(number.to_bytes(_TICKET, "little") for number in range(min(count, _TICKETS))))
    finally:
        os.close(source)
    return found


def drawn(tickets: int, count: int) -> Iterator[int]:
    """The numbers of the shares that this process is to do, as long as there are any in the pipe."""
    while len(ticket := os.read(tickets, _TICKET)) == _TICKET:
        yield from range(int.from_bytes(ticket, "little"), count, _TICKETS)
