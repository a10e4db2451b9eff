"""What a salvaged file says: statements, each with its place and standing, and what was lost."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

Names: TypeAlias = "tuple[bytes, ...]"


class StatementStanding(enum.Enum):
    """What a statement is worth; the value is what documents show."""

    CURRENT = "current"
    """The meta that counts reaches it, or reached it before the page above it was damaged."""
    PREVIOUS = "previous"
    """Only the older meta reaches it: as it was before the last transaction."""
    DELETED = "deleted"
    """On a page that nothing links to any more: deleted, overwritten, or cut off by damage."""

    # Members are singletons.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Statement:
    """A key, with its value or as a bucket, as it was found on one page."""

    path: Names
    """Its bucket: the names from the root bucket on, or from the bucket whose name is not known."""
    key: bytes
    value: bytes | None
    """None: the key names a bucket."""
    sequence: int
    """Of the bucket; 0 for a value."""
    page: int
    offset: int
    """Byte of the file its element starts at; for what is in an inline bucket, the element of that."""
    standing: StatementStanding
    linked: bool = True
    """Whether a tree reaches its page; if not, what its bucket is called is a conclusion from other pages."""
    fragment: int | None = None
    """The page that starts the bucket which ``path`` starts at, where nothing says what that bucket is called."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that keeps a part of the file from being read."""

    code: str
    """``meta``, ``short-file``, ``corrupt``, ``entries``, ``freelist``, or ``twice``."""
    message: str
    """One line without control characters."""
    page: int
    offset: int
    standing: StatementStanding = StatementStanding.CURRENT
    """CURRENT, or PREVIOUS where only the older meta's tree is concerned."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Keys that the tree in use had and that cannot be read: those of one bucket in a range."""

    path: Names
    low: bytes
    """The first key that may be missing."""
    high: bytes | None
    """The first one behind the hole; None where it is open."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """All that can be read of a file."""

    page_size: int
    txid: int
    """The highest that a valid meta has; 0 where none is valid."""
    sequence: int
    """Of the root bucket."""
    statements: list[Statement]
    """Those of the tree in use in its order, then the previous ones, then those no longer linked, newest pages first.
    What is said twice is here once."""
    problems: list[Problem]
    holes: list[Hole]
    guessed_root: int | None
    """The page that was taken for the root bucket's, where both metas are lost."""

    def count(self, standing: StatementStanding) -> int:
        """How many statements have a standing."""
        return sum(1 for each in self.statements if each.standing is standing)
