"""Progress on stderr, on a terminal only."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

_Asked = TypeVar("_Asked")
_SOON: Final = 0.3
"""Seconds: a command that takes less draws nothing."""
_OFTEN: Final = 0.1
"""Seconds between two drawings."""
_MANY: Final = 10_000
"""From this number on, thousands are precise enough."""
_NAME_ONLY: Final = "{desc} …"
_BYTES: Final = "bytes "


class Bar:
    """Draws one bar for the task at hand; a receiver of progress."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._task: tuple[str, int | None] | None = None
        self._drawn: tqdm[Any] | None = None
        self._lock = threading.Lock()

    def __call__(self, what: str, done: int, total: int | None = None) -> None:
        """``done`` more of the task ``what`` is done (:class:`drydock.model.progress.Progress`)."""
        with self._lock:
            if self._drawn is None or self._task != (what, total):
                self._begin(what, total)
            bar = self._drawn
            if done and bar is not None:
                if bar.bar_format:
                    bar.bar_format = None
                bar.update(done)

    def clear(self) -> None:
        """Remove the bar from the screen."""
        with self._lock:
            self._end()

    def pause_for_output(self, output: str | None, what: str) -> None:
        """Show that the writing task ``what`` begins, or remove the bar if the task writes to stdout.

        Args:
            output: where the command writes to; None or ``-`` for stdout.
            what: the task that writes.
        """
        if output in (None, "-"):
            self.clear()
        else:
            self(what, 0)

    def cleared(self, ask: Callable[[_Asked], bool]) -> Callable[[_Asked], bool]:
        """``ask``, with the bar removed before it prints."""

        def asked(what: _Asked) -> bool:
            self.clear()
            return ask(what)

        return asked

    def _begin(self, what: str, total: int | None) -> None:
        from tqdm import tqdm  # noqa: PLC0415 - not needed in a pipe

        tqdm.monitor_interval = 0  # its thread would prevent the walk pool from forking
        self._end()
        counts_bytes = what.startswith(_BYTES)
        self._task = what, total
        self._drawn = tqdm(
            desc=what,
            total=total,
            leave=False,
            file=sys.stderr,
            unit="B" if counts_bytes else "",
            unit_scale=counts_bytes or total is None or total >= _MANY,
            unit_divisor=1024 if counts_bytes else 1000,
            dynamic_ncols=True,
            mininterval=_OFTEN,
            # Without its thread tqdm does not notice that a task has become slower, and would draw too rarely.
            miniters=1,
            # One delay for the whole command: many short tasks take long together.
            delay=max(0.0, self._begun + _SOON - time.monotonic()),
            # A task that reports nothing until its end is at least named.
            bar_format=None if total else _NAME_ONLY,
        )

    def _end(self) -> None:
        if self._drawn is not None:
            self._drawn.close()
            self._drawn = None


@contextmanager
def show_progress() -> Iterator[Bar | None]:
    """A bar until the block ends; None if stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    bar = Bar()
    try:
        yield bar
    finally:
        bar.clear()
