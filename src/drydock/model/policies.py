"""What the user chooses: how a store is read, which leases end, and what stays."""

from __future__ import annotations

import enum
from typing import NamedTuple

from drydock.model.leases import LeaseClass


class SizeSource(enum.Enum):
    """Where the sizes of committed snapshots come from."""

    RECORDED = "recorded"
    """From the rows in metadata.db: what containerd counted when it committed them."""
    DISK = "disk"
    """From walking each directory."""


class BlobCheck(enum.Enum):
    """How blobs are compared with their records."""

    NONE = "none"
    SIZE = "size"
    DIGEST = "digest"
    """Every byte is read and hashed."""


class EndLeases(enum.Enum):
    """Which leases a plan ends; each includes the ones before it."""

    EXPIRED = "expired"
    TEMPORARY = "temporary"
    OWNERLESS = "ownerless"

    def includes(self, kind: LeaseClass) -> bool:
        """Whether leases of this class end."""
        return kind in _INCLUDED[self]


_INCLUDED = {
    EndLeases.EXPIRED: (LeaseClass.EXPIRED,),
    EndLeases.TEMPORARY: (LeaseClass.EXPIRED, LeaseClass.TEMPORARY),
    EndLeases.OWNERLESS: (LeaseClass.EXPIRED, LeaseClass.TEMPORARY, LeaseClass.OWNERLESS),
}


class Policy(NamedTuple):
    """The options of plan and clean."""

    end: EndLeases = EndLeases.EXPIRED
    older_than: int | None = None
    """Nanoseconds: of the leases that ``end`` adds to the expired ones, only those at least this old."""
    leases: tuple[bytes, ...] = ()
    """Ids of leases to end besides, whatever their class, unless their owner exists."""
    keep: tuple[bytes, ...] = ()
    """Names of what must stay: leases do not end, and whatever else is named stays with all it refers to."""
    edit: bool = True
    """False: no database is edited, so only what no record and no row names may go."""
