"""Ctrl-C: one interrupt ends a command in order, and one more soon after it, as of a wrapper, disturbs nothing of that.

Python raises KeyboardInterrupt between any two steps. A second one came while what the first began to end was being
ended: the message with the journal's place was lost, and the status was not 130.
"""

from __future__ import annotations

import os
import signal
import time
from types import FrameType
from typing import Final

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
