"""What is to be done, as values: a plan is frozen and ordered, and nothing in it is decided later."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from drydock.model.data import Fingerprint
from drydock.model.leases import LeaseClass
from drydock.model.names import Kind, RawPath, Ref, UnixNano, split_snapshot_key
from drydock.model.policies import Policy
from drydock.model.records import Blob, Lease, Snapshot


@dataclass(frozen=True, slots=True)
class Remove:
    """Decision about a lease or an object: it ends, or its data goes."""

    reason: str
    """One shown line, which the plan tells."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Decision about a lease or an object: it stays, and it does not look reclaimable."""

    reason: str
    """One shown line."""


@dataclass(frozen=True, slots=True)
class Withhold:
    """Decision about a lease or an object: it looks reclaimable and stays."""

    reason: str
    """One shown line, which the plan tells."""


Decision = Remove | Keep | Withhold


def assert_never(value: NoReturn) -> NoReturn:
    """Mark the branch of a match that no type is left for; Python has this as typing.assert_never since 3.11."""
    raise AssertionError(f"unexpected {value!r}")


class Target(enum.Enum):
    """What a removal is aimed at; the value is the kind that documents show."""

    BLOB = "blob"
    INGEST = "ingest"
    SNAPSHOT = "snapshot"


class Removal(NamedTuple):
    """One file or directory to remove."""

    target: Target
    root: RawPath
    """Absolute path of the containerd root."""
    path: RawPath
    """Relative to the root."""
    expect: Fingerprint
    bytes: int
    """What removing it is expected to free."""
    why: str
    """One shown line."""
    after_edit: bool = False
    """A record or a row names it until the databases are edited; otherwise nothing does, and it goes first."""


class LeaseEnd(NamedTuple):
    """A lease to delete."""

    ref: Ref
    kind: LeaseClass
    why: str
    """One shown line."""


class RecordDrop(NamedTuple):
    """The record of an image, a blob, an ingest or a snapshot to delete from meta.db, in its namespace."""

    ref: Ref
    parent: Ref | None
    """Of a snapshot: the surviving parent whose ``children`` name it."""
    why: str
    """One shown line."""


class RowDrop(NamedTuple):
    """A row of a snapshotter's metadata.db to delete, with its entry in ``parents``."""

    snapshotter: bytes
    name: bytes
    id: int
    parent_id: int | None
    why: str
    """One shown line."""


class FieldDrop(NamedTuple):
    """One key to delete from a record or a row that stays: what the engine stumbles over, and can do without."""

    snapshotter: bytes | None
    """Whose metadata.db; None for meta.db."""
    bucket: tuple[bytes, ...]
    key: bytes
    why: str
    """One shown line."""


class Adoption(NamedTuple):
    """A record to put into meta.db, of a blob that is on disk and was hashed."""

    ref: Ref
    path: RawPath
    """Relative to the root."""
    expect: Fingerprint
    """Of the file, from before it was hashed."""
    labels: tuple[tuple[bytes, bytes], ...]
    """As the engine would have written them, by name."""
    made: UnixNano
    """The time that the record says it was made at."""
    why: str
    """One shown line."""

    def record(self) -> Blob:
        """The record."""
        return Blob(self.ref, self.expect.size, dict(self.labels), created=self.made, updated=self.made)


class SnapshotRecord(NamedTuple):
    """A record to put into meta.db, of a snapshot whose row and directory are there."""

    ref: Ref
    name: bytes
    """Of its row."""
    parent: bytes
    """Key of its parent; empty if none."""
    children: tuple[bytes, ...]
    """Keys of what stands on it, sorted."""
    labels: tuple[tuple[bytes, bytes], ...]
    """Those of its row, by name."""
    created: UnixNano
    updated: UnixNano
    path: RawPath
    """Of its directory, relative to the root."""
    expect: Fingerprint
    """Of its directory."""
    links: bool
    """Whether its parent has a record that does not list it."""
    why: str
    """One shown line."""

    @property
    def parent_ref(self) -> Ref | None:
        """The parent's reference, or None."""
        return self.record().parent_ref

    def record(self) -> Snapshot:
        """The record."""
        snapshotter, key = split_snapshot_key(self.ref.key)
        return Snapshot(
            self.ref.namespace, snapshotter, key, self.name, self.parent, self.children, dict(self.labels),
            self.created, self.updated,
        )  # fmt: skip


class LeaseRecord(NamedTuple):
    """A lease to put into meta.db, that holds snapshots and has no labels, as dockerd gives one to each container."""

    ref: Ref
    snapshots: tuple[tuple[bytes, bytes], ...]
    """(snapshotter, key) pairs, sorted."""
    created: UnixNano
    why: str
    """One shown line."""

    def record(self) -> Lease:
        """The record."""
        return Lease(self.ref.namespace, self.ref.key, {}, (), (), (), self.snapshots, self.created)


class DatabaseFingerprint(NamedTuple):
    """A database as the plan saw it."""

    path: RawPath
    """Relative to the root."""
    size: int
    """Bytes."""
    metas: str
    """SHA-256 of its first pages, the two metas: every commit changes one of them."""


class Plan(NamedTuple):
    """What is to be done to one root, in this order: what no record names, meta.db, each metadata.db, what that freed.

    Two plans of the same hash do the same.
    """

    root: RawPath
    """Absolute path of the containerd root."""
    host: RawPath
    """Root of the host file system that it was found in, whose settings and records say who owns its leases."""
    now: UnixNano
    """What expiries were compared with."""
    policy: Policy
    fingerprints: tuple[DatabaseFingerprint, ...]
    leases: tuple[LeaseEnd, ...]
    records: tuple[RecordDrop, ...]
    rows: tuple[RowDrop, ...]
    removals: tuple[Removal, ...]
    withheld: tuple[Withheld, ...] = ()
    kept: tuple[bytes, ...] = ()
    """Those names of ``policy.keep`` that fit something in this root."""
    fields: tuple[FieldDrop, ...] = ()
    """Keys of records and rows that stay; only a repair has any."""
    adoptions: tuple[Adoption, ...] = ()
    """Records of blobs to put in; only a repair has any."""
    snapshots: tuple[SnapshotRecord, ...] = ()
    """Records of snapshots to put in; only a repair has any."""
    lease_records: tuple[LeaseRecord, ...] = ()
    """Leases to put in; only a repair has any."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.leases or self.records or self.rows or self.removals or self.fields or self.added)

    @property
    def added(self) -> tuple[Adoption | SnapshotRecord | LeaseRecord, ...]:
        """All records to put into meta.db."""
        return (*self.adoptions, *self.snapshots, *self.lease_records)

    @property
    def bytes(self) -> int:
        """What it is expected to free."""
        return sum(removal.bytes for removal in self.removals)


class Withheld(NamedTuple):
    """Something that looks reclaimable and is kept, with the reason."""

    kind: Kind
    """BLOB, INGEST, SNAPSHOT or LEASE; IMAGE for a record."""
    id: str
    """Shown."""
    bytes: int
    """What it takes; of a lease, what nothing but it holds."""
    reason: str


class Status(enum.Enum):
    """How an action ended."""

    DONE = "done"
    CHANGED = "changed since the plan"
    GONE = "already gone"
    FAILED = "failed"


class Outcome(NamedTuple):
    """How one action ended."""

    action: Removal
    status: Status
    detail: str = ""
    """One shown line; for FAILED what stands in the way, and what is left where."""
    freed: int = 0
    """Bytes of allocated blocks that went away."""
