"""Ctrl-C: one interrupt ends a command in order, and a second one soon after it, as a wrapper sends it, does no harm.

Python raises KeyboardInterrupt between any two steps. Without this handler, a second one while the command was ending
lost the message with the path of the journal, and the status was not 130.
"""

from __future__ import annotations

import mmap
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_PATIENCE: Final = 1.0
"""Seconds in which a second interrupt counts as the first one."""


class Deferral:
    """Whether the work is to stop. Any thread, and any fork of this process, may ask, and no lock is taken."""

    def __init__(self) -> None:
        self._asked = mmap.mmap(-1, 1)  # shared with forks

    def __call__(self) -> bool:
        """Whether the work is to stop."""
        return self._asked[0] != 0

    def stop(self) -> None:
        """Let the work stop, here and in forks."""
        self._asked[0] = 1


@contextmanager
def defer_interrupt() -> Iterator[Deferral]:
    """Let SIGINT only ask for a stop until the block ends, and handle it then as before.

    An interrupt that comes more than a second after the first is handled at once, because a thread may wait for a disk
    that is gone. In a thread other than the main one nothing is deferred, because no signal handler runs there.

    Raises:
        KeyboardInterrupt: the block was asked to stop, and the former handler did not raise.
    """
    deferral = Deferral()
    if threading.current_thread() is not threading.main_thread():
        yield deferral
        return
    former = signal.getsignal(signal.SIGINT)
    if not callable(former):  # ignored, the system's own, or not Python's
        yield deferral
        return
    caught: list[tuple[int, FrameType | None]] = []
    first = 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        deferral.stop()
        now = time.monotonic()
        if not caught:
            first = now
            caught.append((number, frame))
        elif now - first > _PATIENCE:
            caught.clear()
            former(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield deferral
    finally:
        signal.signal(signal.SIGINT, former)
        if caught:
            former(*caught[0])
            # It returned, because a first interrupt was lost: Python drops an exception in a callback of its own.
            raise KeyboardInterrupt


_TWICE: Final = 1.0
"""Seconds in which another interrupt is the same one: a terminal, a shell and ``timeout`` each send it."""


class Interrupts:
    """The handler of SIGINT for the whole life of a process."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._first: float | None = None
        self._over = False

    def install(self) -> None:
        """Handle SIGINT from now on, unless the process that started this one ignores it."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self)

    def settle(self) -> None:
        """From now on an interrupt ends the process, because nothing is left to be ended in order."""
        self._over = True

    def ignore(self) -> None:
        """From now on ignore interrupts, because the exit status is settled."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Raise KeyboardInterrupt at the first, and end the process at one that comes later."""
        if os.getpid() != self._process:
            # A fork that has not set its own handler yet must not do the work of its parent.
            os._exit(128 + number)
        now = time.monotonic()
        if self._first is None and not self._over:
            self._first = now
            raise KeyboardInterrupt
        if self._first is None or now - self._first > _TWICE:
            signal.signal(number, signal.SIG_DFL)
            os.kill(self._process, number)
