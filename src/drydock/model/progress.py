"""What a long task tells of itself while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Receives progress; may be called from several threads."""

    def __call__(self, what: str, done: int, total: int | None = None) -> None:
        """Report that more of a task is done.

        Args:
            what: the task, as a person reads it; one that begins with ``bytes`` counts bytes. Another task than in the
                call before, or another ``total``, begins a new count.
            done: how much more is done since the last call; 0 for a task that begins.
            total: how much there is to do; None where that is not known.
        """


def counter(progress: Progress | None, what: str, total: int | None = None) -> Callable[[int], None] | None:
    """A receiver for one task, told only how much more is done; None without ``progress``. The task begins now."""
    if progress is None:
        return None
    told = progress
    told(what, 0, total)
    return lambda done: told(what, done, total)
