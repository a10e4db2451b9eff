"""The result of a salvage: statements, each with its place and standing, and the parts that are lost."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

Names: TypeAlias = "tuple[bytes, ...]"


class StatementStanding(enum.Enum):
    """How far a statement can be trusted; the value is the word in documents."""

    CURRENT = "current"
    """The meta in use reaches it, or reached it before the page above it was damaged."""
    PREVIOUS = "previous"
    """Only the older meta reaches it: it is from before the last transaction."""
    DELETED = "deleted"
    """It is on a page that nothing links to any more: it was deleted or overwritten, or damage cut it off."""

    # Members are singletons.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Statement:
    """A key with its value, or a bucket, as one page has it."""

    path: Names
    """The bucket with the key: the names from the root bucket on, or from a bucket whose name is not known."""
    key: bytes
    value: bytes | None
    """None if the key is a bucket."""
    sequence: int
    """The sequence of a bucket; 0 for a value."""
    page: int
    offset: int
    """The byte of the file where its element starts; for an entry of an inline bucket, the element of that bucket."""
    standing: StatementStanding
    linked: bool = True
    """Whether a tree reaches its page. If not, the name of its bucket was concluded from other pages."""
    fragment: int | None = None
    """The page of the bucket that ``path`` starts at, if the name of that bucket is not known."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a part of the file cannot be read."""

    code: str
    """``meta``, ``short-file``, ``corrupt``, ``entries``, ``freelist``, or ``twice``."""
    message: str
    """One line without control characters."""
    page: int
    offset: int
    standing: StatementStanding = StatementStanding.CURRENT
    """CURRENT, or PREVIOUS if only the tree of the older meta is concerned."""


@dataclass(frozen=True, slots=True)
class Hole:
    """A range of keys of one bucket of the tree in use that cannot be read."""

    path: Names
    low: bytes
    """The first key that may be missing."""
    high: bytes | None
    """The first key behind the range; None if it reaches to the last key."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """All that can be read of a file."""

    page_size: int
    txid: int
    """The highest transaction id of a valid meta; 0 if none is valid."""
    sequence: int
    """The sequence of the root bucket."""
    statements: list[Statement]
    """The statements of the tree in use in its order, then the previous ones, then those no longer linked, the newest
    pages first. Equal statements are here once."""
    problems: list[Problem]
    holes: list[Hole]
    guessed_root: int | None
    """The page that was taken for that of the root bucket, if both metas are lost."""

    def count(self, standing: StatementStanding) -> int:
        """How many statements have a standing."""
        return sum(1 for each in self.statements if each.standing is standing)
