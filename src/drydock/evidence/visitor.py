"""A child in a mount namespace that has no process, so that its mount table and its paths can be read."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from contextlib import suppress
from typing import NoReturn

_CLONE_NEWNS = 0x20000  # include/uapi/linux/sched.h
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h


class Visitor:
    """A fork of this process that entered a mount namespace, and stays in it until it is closed.

    Args:
        namespace: an open file that keeps the namespace.

    Raises:
        OSError: the namespace cannot be entered.
    """

    def __init__(self, namespace: int) -> None:
        result, source = os.pipe2(os.O_CLOEXEC)
        try:
            libc, starter = ctypes.CDLL(None, use_errno=True), os.getpid()
            self.pid = os.fork()
            if self.pid == 0:
                _stay(libc, namespace, source, starter)
        finally:
            os.close(source)
            with open(result, "rb") as file:
                told = file.read()
        if told != b"0":
            self.close()
            number = int(told) if told else errno.ESRCH
            raise OSError(number, os.strerror(number))

    def close(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # whoever runs us ignores SIGCHLD, so that the kernel has waited for it
            os.waitpid(self.pid, 0)


def _stay(libc: ctypes.CDLL, namespace: int, source: int, starter: int) -> NoReturn:
    """What the child does; nothing of the process it was forked from may run in it."""
    try:
        for caught in (signal.SIGINT, signal.SIGTERM):
            signal.signal(caught, signal.SIG_DFL)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        failed = libc.setns(namespace, _CLONE_NEWNS)  # os.setns is in Python since 3.12 only
        os.write(source, b"%d" % (ctypes.get_errno() if failed else 0))
        os.close(source)
        # Died before it was asked to: then nobody ends this one.
        while not failed and os.getppid() == starter:
            signal.pause()
    finally:
        os._exit(0)
