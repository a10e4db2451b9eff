"""What the removal of a tree did, and what it left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

LISTED: Final = 20
"""How many of the entries left behind are named; all are counted."""


class Stopped(Exception):
    """The caller asked to stop; the tree is removed in part."""


class Left(NamedTuple):
    """An entry that could not be removed."""

    path: str
    """Below the tree's own name, shown, shortened in the middle when long."""
    reason: str


@dataclass(slots=True)
class Removed:
    """What a removal did."""

    freed: int = 0
    """Bytes of allocated blocks whose last link went."""
    entries: int = 0
    """Entries removed, directories included."""
    left: list[Left] = field(default_factory=list)
    """The first :data:`LISTED` of the entries that stand in the way."""
    left_count: int = 0
