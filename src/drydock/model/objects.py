"""What the verdict says of each thing that takes space."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from drydock.model.data import BlobFile, Fingerprint, IngestDirectory, Junk, SnapshotEntry
from drydock.model.findings import Finding
from drydock.model.leases import Holding
from drydock.model.names import RawPath, Ref, UnixNano
from drydock.model.store import Store


class State(enum.Enum):
    """The states of an object (docs/what-fills-my-disk.md), in the order reports show them."""

    LIVE = "live"
    LEASED = "leased"
    UNREACHABLE = "unreachable"
    ORPHANED = "orphaned"
    MISSING = "missing"
    CORRUPT = "corrupt"
    FOREIGN = "foreign"

    # Members are singletons: see Kind.
    __hash__ = object.__hash__


DAMAGED: Final = (State.MISSING, State.CORRUPT)
"""Where the data is not what the record says."""


class ObjectKind(enum.Enum):
    """The kinds of objects that have states."""

    BLOB = "blob"
    INGEST = "ingest"
    SNAPSHOT = "snapshot"

    # Members are singletons: see Kind.
    __hash__ = object.__hash__


@dataclass(slots=True)
class StoreObject:
    """A blob, an ingest or a snapshot: recorded, on disk, or both."""

    kind: ObjectKind
    id: bytes
    """A blob's digest, an ingest's client ref, a snapshot's key; without a record the name on disk, or of its row."""
    state: State
    allocated: int
    """What it takes on disk: allocated blocks; for a committed snapshot what its row says (``Store.measured``)."""
    data: BlobFile | Junk | IngestDirectory | SnapshotEntry | None
    """What is on disk; None where nothing is."""
    records: Ref | tuple[Ref, ...] = ()
    """Its records, one a namespace; where there is but one, as nearly always, this alone."""
    reach: State | None = None
    """LIVE, LEASED or UNREACHABLE, as its records are reached, whatever became of its data; None without a record."""
    snapshotter: bytes = b""
    """Of a snapshot."""
    row: bytes | None = None
    """Name of a snapshot's row in metadata.db; None where it has none."""
    held_by: tuple[Ref, ...] = ()
    """What keeps it: for ``live`` the first root found, for ``leased`` every lease that reaches it."""
    note: str = ""
    """One shown line, where the state needs a reason."""

    @property
    def refs(self) -> tuple[Ref, ...]:
        """Its records, one a namespace."""
        return (self.records,) if isinstance(self.records, Ref) else self.records

    @property
    def row_name(self) -> tuple[bytes, bytes]:
        """Snapshotter and name of the row, of a snapshot that has one."""
        return self.snapshotter, self.row or b""

    @property
    def is_damaged(self) -> bool:
        """Whether its data is not what its record says."""
        return self.state in DAMAGED

    @property
    def path(self) -> RawPath | None:
        """Relative to the root; None where nothing is on disk."""
        return None if self.data is None else self.data.path

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Of its path; None where nothing is on disk."""
        return None if self.data is None else self.data.fingerprint

    @property
    def namespaces(self) -> tuple[bytes, ...]:
        """The namespaces that record it."""
        return tuple(sorted({ref.namespace for ref in self.refs}))


@dataclass(slots=True)
class Verdict:
    """What is known of one root."""

    store: Store
    now: UnixNano
    objects: list[StoreObject]
    leases: list[Holding]
    findings: list[Finding] = field(default_factory=list)
    """Those of the evidence, and those that come of comparing."""
