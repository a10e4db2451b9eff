"""Values of explanations: why an object is kept."""

from typing import NamedTuple

from drydock.model.names import RawPath


class Explanation(NamedTuple):
    """One object or record of a root, and what holds it. Every text is shown."""

    root: RawPath
    title: str
    """Kind, id and namespace."""
    state: str
    """State of an object; class of a lease with the word lease; ``root`` for images, containers and sandboxes."""
    facts: tuple[tuple[str, str], ...]
    """More facts by name: path, times, owner."""
    chains: tuple[tuple[str, ...], ...]
    """Chains from a root or a lease down to it, one line for each step."""
    nothing: str | None
    """Why nothing holds it; None if a chain does."""
    refers_to: tuple[str, ...]
    """What it refers to: its removal releases these, unless something else holds them."""
    more: int = 0
    """Number of further references."""
    bytes: int | None = None
    """Bytes on disk; for a lease, of what only the lease holds; None for other records."""
    unread: str | None = None
    """Why not all records could be read, on one shown line: then more may hold it than is listed."""

    def exit_code(self) -> int:
        """The additive exit status (README.md): 8 evidence that could not be read."""
        return 8 if self.unread else 0
