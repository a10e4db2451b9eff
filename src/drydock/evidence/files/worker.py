"""Work in a child process, beside this one.

Most of the work here is Python code, so threads would take turns. A worker is a fork of this process and holds its
locks, so it does not outlive it.
"""

from __future__ import annotations

import marshal
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, NoReturn

from drydock.evidence.files.libc import libc

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h

Write = Callable[[Any], None]
"""Hands one result to the process that started the worker: numbers, bytes, None, and tuples of these."""


def can_start() -> bool:
    """Whether a worker can be started, and saves time."""
    # A fork has only the thread that made it: a lock that another thread holds at that moment stays held in it.
    return (os.cpu_count() or 1) > 1 and threading.active_count() == 1


class Worker:
    """A child process, and the file it writes its results to."""

    def __init__(self, work: Callable[[Write], None]) -> None:
        """Start it.

        Args:
            work: what it does. An exception ends the worker, and what it has written so far counts.

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
            _work(work, self._results, partial(_end_with, starter, prctl))

    def read(self) -> Iterator[Any]:
        """Each result. Waits until the worker has ended, in whatever way."""
        self._wait()
        os.lseek(self._results, 0, os.SEEK_SET)
        with open(self._results, "rb", closefd=False) as file, suppress(EOFError):
            while True:  # the last of them may be cut short
                yield marshal.load(file)  # noqa: S302 - of a fork of this process

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


def _end_with(starter: int, prctl: Callable[..., object]) -> bool:
    """Have this process end with the one that started it; False where that one has ended already."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == starter


def _work(work: Callable[[Write], None], results: int, end_with_starter: Callable[[], bool]) -> NoReturn:
    """Do the work of a worker, and end the process: no code of the process it was forked from may run in it."""
    try:
        for caught in (signal.SIGINT, signal.SIGTERM):
            signal.signal(caught, signal.SIG_DFL)
        is_wanted = end_with_starter()
        with open(results, "wb", closefd=False) as file:
            if is_wanted:
                work(partial(_write, file))
    finally:
        os._exit(0)


def _write(file: BinaryIO, result: Any) -> None:  # noqa: ANN401 - as marshal has it
    file.write(marshal.dumps(result))
