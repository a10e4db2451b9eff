"""Why something is there, as values."""

from __future__ import annotations

from typing import NamedTuple

from drydock.model.names import RawPath


class Explanation(NamedTuple):
    """One thing of one root, and what holds it. Every text is shown."""

    root: RawPath
    title: str
    """What it is: kind, id, namespace."""
    state: str
    """A state; a lease's class and the word lease; ``root`` for images, containers and sandboxes."""
    facts: tuple[tuple[str, str], ...]
    """Names and values worth knowing: path, times, owner."""
    chains: tuple[tuple[str, ...], ...]
    """Ways from a root or a lease down to it, one line a step."""
    nothing: str | None
    """Why nothing holds it; None if a chain does."""
    refers_to: tuple[str, ...]
    """What it refers to itself: what its end would let go of, unless something else holds that."""
    more: int = 0
    """How many more of ``refers_to`` there are."""
    bytes: int | None = None
    """What it takes on disk; for a lease, what nothing but it holds; None for other records."""
    unread: str | None = None
    """Why not all records could be read, on one shown line: then more may hold it than is listed."""

    def exit_code(self) -> int:
        """The additive exit status (README.md): 8 evidence that could not be read."""
        return 8 if self.unread else 0
