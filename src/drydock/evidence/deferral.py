"""An interrupt is held back while threads are at work.

KeyboardInterrupt is raised in the main thread between any two steps of Python, also right after ``threading.Condition``
took its lock and before the ``with`` block that would give it back (Lib/threading.py Condition.__enter__, Python 3.11).
The lock is then nobody's, a worker that needs it to tell its result waits for ever, and so does the interpreter, which
waits for every thread at its end.
"""

from __future__ import annotations

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
