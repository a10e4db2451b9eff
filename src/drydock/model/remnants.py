"""Records that can still be read in a meta.db, deleted ones included, and what a rebuilt database was made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from drydock.model.names import RawPath, UnixNano
from drydock.model.records import Container, Image, Lease


class RecordStanding(enum.Enum):
    """Where a record was found; the value is the word in reports."""

    CURRENT = "current"
    """In the newest valid tree."""
    PREVIOUS = "previous"
    """Only in the tree before the last transaction."""
    DELETED = "deleted"
    """On a page that no tree uses any more."""


@dataclass(frozen=True, slots=True)
class Remnant:
    """An image, container or lease that meta.db still has, as far as its fields can be read."""

    record: Image | Container | Lease
    """Namespace and name are empty if no page has them, and so are lost fields."""
    standing: RecordStanding
    page: int
    offset: int
    """Byte of the file where its name was found, or else one of its fields."""

    @property
    def name(self) -> bytes:
        """Its name; empty if not known."""
        return self.record.name if isinstance(self.record, Image) else self.record.id

    @property
    def last(self) -> UnixNano | None:
        """The time of its last change; None if not known."""
        updated = None if isinstance(self.record, Lease) else self.record.updated
        return updated if updated is not None else self.record.created


class Rebuilt(NamedTuple):
    """A new database that was made of what could be read of a damaged one."""

    path: RawPath
    used: dict[str, int]
    """How many of the keys and buckets in it are ``current``, ``previous`` or ``deleted``."""
    left_out: tuple[tuple[bytes, ...], ...]
    """Paths of buckets of which nothing but the name can be read, and so are not in it."""
