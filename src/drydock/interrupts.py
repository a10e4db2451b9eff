"""Ctrl-C: one interrupt ends a command in order, and one more soon after it, as of a wrapper, disturbs nothing of that.

Python raises KeyboardInterrupt between any two steps. A second one came while what the first began to end was being
ended: the message with the journal's place was lost, and the status was not 130.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_PATIENCE: Final = 1.0
"""Seconds in which a second interrupt is taken for the first one."""


class Deferral:
    """Whether the work is to stop; cheap to ask for from any thread, as it takes no lock."""

    def __init__(self) -> None:
        self.stops = False

    def __call__(self) -> bool:
        """Whether it is."""
        return self.stops


@contextmanager
def defer_interrupt() -> Iterator[Deferral]:
    """Have SIGINT only ask for a stop until the block ends; then it is handled as it would have been.

    One that comes more than a second after the first is handled at once: a thread may wait for a disk that is gone.
    In a thread that is not the main one nothing is held back: no signal handler ever runs there.

    Raises:
        KeyboardInterrupt: the block was asked to stop, and the handler that was there before did not raise.
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
        deferral.stops = True
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
            # It returned, as where a first interrupt was lost: Python drops what is raised in a callback of its own.
            raise KeyboardInterrupt


_TWICE: Final = 1.0
"""Seconds after an interrupt in which another one is the same one: a terminal, a shell and ``timeout`` each send it."""


class Interrupts:
    """The handler of SIGINT for the life of a process."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._first: float | None = None
        self._over = False

    def install(self) -> None:
        """Take SIGINT, unless whoever started this process had it ignored."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self)

    def settle(self) -> None:
        """From here on nothing is left to be ended in order: an interrupt ends the process."""
        self._over = True

    def ignore(self) -> None:
        """From here on the status is settled, and an interrupt does not change it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Raise KeyboardInterrupt at the first, and end the process at one that comes later."""
        if os.getpid() != self._process:
            # A fork that has not set its own handler yet must not end what is its parent's.
            os._exit(128 + number)
        now = time.monotonic()
        if self._first is None and not self._over:
            self._first = now
            raise KeyboardInterrupt
        if self._first is None or now - self._first > _TWICE:
            signal.signal(number, signal.SIG_DFL)
            os.kill(self._process, number)
