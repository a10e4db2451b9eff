"""Progress on stderr, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

_Asked = TypeVar("_Asked")
_SOON = 0.3
"""Seconds: what takes less draws nothing."""


class Bar:
    """Draws one bar for what is being done; a receiver of progress."""

    def __init__(self) -> None:
        self._drawn: tqdm[Any] | None = None

    def __call__(self, what: str, done: int) -> None:
        """``done`` more of ``what``."""
        if self._drawn is None or self._drawn.desc != f"{what}: ":
            from tqdm import tqdm  # noqa: PLC0415 - not needed in a pipe

            tqdm.monitor_interval = 0  # its thread would keep evidence.crew from forking
            self.clear()
            self._drawn = tqdm(desc=what, leave=False, unit_scale=True, file=sys.stderr, delay=_SOON)
        self._drawn.update(done)

    def clear(self) -> None:
        """Take it off the screen."""
        if self._drawn is not None:
            self._drawn.close()
            self._drawn = None

    def cleared(self, ask: Callable[[_Asked], bool]) -> Callable[[_Asked], bool]:
        """``ask``, with no bar on the screen where it prints."""

        def asked(what: _Asked) -> bool:
            self.clear()
            return ask(what)

        return asked


@contextmanager
def show_progress() -> Iterator[Bar | None]:
    """A bar until the block ends; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    bar = Bar()
    try:
        yield bar
    finally:
        bar.clear()
