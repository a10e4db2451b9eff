"""Progress of long tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Receives progress; may be called from several threads."""

    def __call__(self, what: str, done: int, total: int | None = None) -> None:
        """Report that more of a task is done.

        Args:
            what: the task, for a person to read. A task whose name begins with ``bytes`` counts bytes. Another task
                than in the call before, or another ``total``, begins a new count.
            done: how much was done since the last call; 0 when a task begins.
            total: how much there is to do; None if that is not known.
        """


def counter(progress: Progress | None, what: str, total: int | None = None) -> Callable[[int], None] | None:
    """A function that reports how much more of one task is done; None without ``progress``. The task begins now."""
    if progress is None:
        return None
    told = progress
    told(what, 0, total)
    return lambda done: told(what, done, total)
