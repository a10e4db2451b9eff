"""Plans as values: a plan is frozen and ordered, and carrying it out decides nothing more."""

import enum
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

from drydock.model.data import Fingerprint
from drydock.model.leases import LeaseClass
from drydock.model.names import Digest, Kind, RawPath, Ref, UnixNano, split_snapshot_key
from drydock.model.policies import Policy
from drydock.model.records import Blob, Lease, Snapshot
from drydock.model.store_drops import StoreDrop


@dataclass(frozen=True, slots=True)
class _Reasoned:
    """A decision on a lease or an object."""

    reason: str
    """One shown line; of what is removed and withheld, the plan tells it."""


class Remove(_Reasoned):
    """Decision on a lease or an object: the lease ends, the data is removed."""

    __slots__ = ()


class Keep(_Reasoned):
    """Decision on a lease or an object: it stays, and does not look reclaimable."""

    __slots__ = ()


class Withhold(_Reasoned):
    """Decision on a lease or an object: it looks reclaimable, and stays."""

    __slots__ = ()


Decision = Remove | Keep | Withhold


def assert_never(value: NoReturn) -> NoReturn:
    """Mark a branch that no type can reach; Python 3.11 has this as typing.assert_never."""
    raise AssertionError(f"unexpected {value!r}")


class Target(enum.Enum):
    """The kind of data that a removal removes; documents show the value."""

    BLOB = "blob"
    INGEST = "ingest"
    SNAPSHOT = "snapshot"
    STORE_FILE = "store-file"
    """Of one of Docker's image stores that is dropped: a database of BuildKit, an image's config, its names."""
    LAYER_RECORD = "layer-record"
    """Of the classic layer store, as all that follow: a folder in ``image/overlay2/layerdb/sha256``."""
    MOUNT_RECORD = "mount-record"
    """A folder in ``image/overlay2/layerdb/mounts``."""
    WRITE_SET = "write-set"
    """A folder in ``image/overlay2/layerdb/tmp``, which dockerd never reads."""
    LINK = "link"
    """An entry of ``overlay2/l``."""
    LAYER = "layer"
    """A directory in ``overlay2``."""
    WRITTEN_LAYER = "written-layer"
    """The same, with what a container wrote."""
    CONTAINER_FOLDER = "container-folder"
    """The folder that dockerd, the CRI plugin or nerdctl keeps for a container, or the file that has its name."""


TREES: Final = (Target.SNAPSHOT, Target.LAYER, Target.WRITTEN_LAYER)
"""What holds the files of a layer. Unless it was measured, its bytes are those that an engine recorded."""
CLASSIC_RECORDS: Final = (Target.STORE_FILE, Target.MOUNT_RECORD, Target.LAYER_RECORD, Target.WRITE_SET)
"""What names directories in ``overlay2``; removed first, in this order: a mount holds layers."""
BUILD_CONTENT: Final = b"buildkit/content/"
"""Where the blobs and ingests of dockerd's builder lie in the classic mode, relative to the data root (moby
builder/builder-next/controller.go newGraphDriverController, v28.5)."""
CLASSIC_DATA: Final = (Target.LINK, Target.LAYER, Target.WRITTEN_LAYER)
"""What these name; removed afterwards, in this order, as dockerd does (moby overlay.go Remove, v28.5)."""


class Removal(NamedTuple):
    """One file or directory to remove."""

    target: Target
    root: RawPath
    """Absolute path of the containerd root; of the Docker data root for what is in its classic layer store; of the data
    root of dockerd or nerdctl for what it keeps of a container."""
    path: RawPath
    """Relative to the root."""
    expect: Fingerprint
    bytes: int
    """Bytes that the removal is expected to free."""
    why: str
    """One shown line."""
    after_edit: bool = False
    """Whether a record or a row names it until the databases are edited; other data is removed first."""
    named_by: RawPath = RawPath(b"")
    """Path of the record in the classic layer store that names it and is removed first; empty for none."""

    @property
    def is_classic(self) -> bool:
        """Whether it is in a classic store, its builder's content store included."""
        return self.target in (*CLASSIC_RECORDS, *CLASSIC_DATA) or self.path.startswith(BUILD_CONTENT)


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
    """The parent of a snapshot, if the parent stays: its ``children`` name the snapshot."""
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


CACHE_RECORDS = (b"_main",)
"""The bucket of BuildKit's cache records in its metadata_v2.db (buildkit cache/metadata/metadata.go, v0.34)."""


class FieldDrop(NamedTuple):
    """One key to delete from a record or a row that stays: the engine fails on it and does not need it."""

    snapshotter: bytes | None
    """The snapshotter with the metadata.db; None for another database."""
    bucket: tuple[bytes, ...]
    key: bytes
    why: str
    """One shown line."""
    database: RawPath | None = None
    """Absolute path of a database of a BuildKit, where the key may be a whole record; None for another one."""


class NameDrop(NamedTuple):
    """A name of an image to delete from the ``repositories.json`` of a classic store."""

    data: RawPath
    """Absolute path of the Docker data root."""
    name: bytes
    """As dockerd writes it: ``name:tag`` or ``name@digest``."""
    image: Digest
    """The image that it names."""
    why: str
    """One shown line."""


class NameChange(NamedTuple):
    """A change of one ``repositories.json``, as the journal has it."""

    data: RawPath
    """Absolute path of the Docker data root."""
    names: tuple[tuple[bytes, Digest], ...]
    """The names that go, with the image of each."""
    before: str
    """SHA-256 of the file."""
    after: str
    """The same of the file that takes its place."""


class ContainerDrop(NamedTuple):
    """A container that goes by choice, with what it wrote."""

    namespace: bytes
    """Its namespace in containerd; empty for a container of Docker."""
    id: bytes
    name: bytes
    """Empty for a container without a name."""
    written: int
    """Bytes of allocated blocks of its writable layer."""
    why: str
    """One shown line."""

    @property
    def called(self) -> bytes:
        """Its name, or else its id."""
        return self.name or self.id


class CacheMark(NamedTuple):
    """A cache record of BuildKit to mark as deleted: BuildKit removes it, and what needs it, when it starts."""

    database: RawPath
    """Absolute path of its metadata_v2.db."""
    record: bytes
    why: str
    """One shown line."""


class Adoption(NamedTuple):
    """A record to add to meta.db, for a blob that is on disk and was hashed."""

    ref: Ref
    path: RawPath
    """Relative to the root."""
    expect: Fingerprint
    """Fingerprint of the file, from before it was hashed."""
    labels: tuple[tuple[bytes, bytes], ...]
    """Labels in the form that the engine writes them, sorted by name."""
    made: UnixNano
    """Creation time in the record."""
    why: str
    """One shown line."""

    def record(self) -> Blob:
        """The record."""
        return Blob(self.ref, self.expect.size, dict(self.labels), created=self.made, updated=self.made)


class SnapshotRecord(NamedTuple):
    """A record to add to meta.db, for a snapshot whose row and directory exist."""

    ref: Ref
    name: bytes
    """Name of its row."""
    parent: bytes
    """Key of its parent; empty if none."""
    children: tuple[bytes, ...]
    """Keys of its children, sorted."""
    labels: tuple[tuple[bytes, bytes], ...]
    """The labels of its row, sorted by name."""
    created: UnixNano
    updated: UnixNano
    path: RawPath
    """Path of its directory, relative to the root."""
    expect: Fingerprint
    """Fingerprint of its directory."""
    links: bool
    """Whether its parent's record lacks it among the children."""
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
    """A lease to add to meta.db, with snapshots and without labels, as dockerd makes one for each container."""

    ref: Ref
    snapshots: tuple[tuple[bytes, bytes], ...]
    """(snapshotter, key) pairs, sorted."""
    created: UnixNano
    why: str
    """One shown line."""

    def record(self) -> Lease:
        """The record."""
        return Lease(self.ref.namespace, self.ref.key, {}, (), (), (), self.snapshots, self.created)


class LogCut(NamedTuple):
    """A file of a container's log that is removed, or of which only the newest bytes stay."""

    data: RawPath
    """Absolute path of the Docker data root."""
    path: RawPath
    """Relative to the data root."""
    expect: Fingerprint
    keep: int
    """Bytes at its end that stay. The whole file is removed if none stay and the daemon does not append to it."""
    is_current: bool
    """Whether the daemon appends to it."""
    bytes: int
    """Bytes that the cut is expected to free."""
    why: str
    """One shown line: whose log it is, and which time goes."""

    @property
    def is_removed(self) -> bool:
        """Whether nothing stays, not even an empty file."""
        return not self.keep and not self.is_current


class LayerRestore(NamedTuple):
    """A committed snapshot whose files are unpacked again from the blob of its layer."""

    root: RawPath
    """Absolute path of the containerd root."""
    path: RawPath
    """Of the directory with the files, relative to the root: the ``fs`` of the snapshot."""
    expect: Fingerprint
    key: bytes
    """The chain id, which the layer must unpack to."""
    parent: bytes
    """The chain id of the snapshot below; empty for a base layer."""
    lowers: tuple[RawPath, ...]
    """The same directories of the snapshots below, the uppermost first."""
    layer: Digest
    blob: RawPath
    """Relative to the root."""
    bytes: int
    """Size of the blob."""
    why: str
    """One shown line: which files differ, and how."""


class Compaction(NamedTuple):
    """A database of which most is free pages, and that is made shorter in place."""

    path: RawPath
    """Absolute."""
    size: int
    """Its length in bytes."""
    used: int
    """Bytes of the pages in use before the run."""


class DatabaseFingerprint(NamedTuple):
    """A database as the plan saw it."""

    path: RawPath
    """Relative to the root."""
    size: int
    """Bytes."""
    metas: str
    """SHA-256 of its first two pages, the metas: every commit changes one of them."""


class Plan(NamedTuple):
    """The changes to one root. Order: data that no record names, meta.db, each metadata.db, the data that these freed.

    Two plans with the same hash do the same.
    """

    root: RawPath
    """Absolute path of the containerd root."""
    host: RawPath
    """Root of the host file system that the root belongs to: its settings and records tell who owns the leases."""
    now: UnixNano
    """The time that expiries were compared with."""
    policy: Policy
    fingerprints: tuple[DatabaseFingerprint, ...]
    leases: tuple[LeaseEnd, ...]
    records: tuple[RecordDrop, ...]
    rows: tuple[RowDrop, ...]
    removals: tuple[Removal, ...]
    withheld: "tuple[Withheld, ...]" = ()
    kept: tuple[bytes, ...] = ()
    """The names in ``policy.keep`` that name something in this root."""
    fields: tuple[FieldDrop, ...] = ()
    """Keys to delete from records and rows that stay, or from a database of BuildKit; only a repair and the drop of
    build cache or history have any."""
    adoptions: tuple[Adoption, ...] = ()
    """Records of blobs to add; only a repair has any."""
    snapshots: tuple[SnapshotRecord, ...] = ()
    """Records of snapshots to add; only a repair has any."""
    lease_records: tuple[LeaseRecord, ...] = ()
    """Leases to add; only a repair has any."""
    log_cuts: tuple[LogCut, ...] = ()
    """Logs of Docker's containers to cut; only ``--truncate-logs`` makes any."""
    marks: tuple[CacheMark, ...] = ()
    """Cache records of BuildKit to mark as deleted."""
    drops: tuple[StoreDrop, ...] = ()
    """Docker's image stores that go whole."""
    restores: tuple[LayerRestore, ...] = ()
    """Layers to unpack again, lower ones first; only a repair has any."""
    names: tuple[NameDrop, ...] = ()
    """Names of images of a classic store to delete."""
    compactions: tuple[Compaction, ...] = ()
    """Databases to compact after all else; only ``--compact`` makes any."""
    containers: tuple[ContainerDrop, ...] = ()
    """Containers that go by choice; their leases, records and data are in the other parts."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        actions = self.leases or self.records or self.rows or self.removals or self.fields or self.added
        changes = self.log_cuts or self.marks or self.restores or self.names or self.compactions
        return not (actions or changes)

    @property
    def edited_beside(self) -> set[RawPath]:
        """The absolute paths of BuildKit's databases that are edited besides those of the root."""
        return {*(mark.database for mark in self.marks), *(each.database for each in self.fields if each.database)}

    @property
    def added(self) -> tuple[Adoption | SnapshotRecord | LeaseRecord, ...]:
        """All records to add to meta.db."""
        return (*self.adoptions, *self.snapshots, *self.lease_records)

    @property
    def bytes(self) -> int:
        """Bytes that the plan is expected to free."""
        return sum(removal.bytes for removal in self.removals) + sum(cut.bytes for cut in self.log_cuts)


class Withheld(NamedTuple):
    """A lease, a record or an object that looks reclaimable and stays, with the reason."""

    kind: Kind
    """BLOB, INGEST, SNAPSHOT or LEASE; IMAGE for a record; CONTAINER for the log of one."""
    id: str
    """Shown."""
    bytes: int
    """Bytes on disk; for a lease, the bytes that only it holds."""
    reason: str


class Status(enum.Enum):
    """How an action ended."""

    DONE = "done"
    CHANGED = "changed since the plan"
    GONE = "already gone"
    FAILED = "failed"


NOT_TRIED: Final = "not tried: "
"""Begins the detail of an action that was left because an earlier one failed; why that one failed follows."""


class Outcome(NamedTuple):
    """How one action ended."""

    action: Removal
    status: Status
    detail: str = ""
    """One shown line; for FAILED the reason, and the path of what is left."""
    freed: int = 0
    """Bytes of allocated blocks that were freed."""
    entries: int = 0
    """Files and directories that were removed of a tree."""

    @property
    def is_left(self) -> bool:
        """Whether the data is still in its place."""
        return self.status not in (Status.DONE, Status.GONE)

    @property
    def cause(self) -> str:
        """Why the data is left, in one shown line; of an action that was not tried, the first cause."""
        return self.detail.removeprefix(NOT_TRIED) or self.status.value


class CutOutcome(NamedTuple):
    """How the cut of a log ended."""

    cut: LogCut
    status: Status
    detail: str = ""
    """One shown line; for FAILED the reason."""
    freed: int = 0
    """Bytes of allocated blocks that were freed."""


class CompactionOutcome(NamedTuple):
    """How compacting a database ended."""

    path: RawPath
    """Absolute."""
    status: Status
    before: int
    """Length of the file in bytes."""
    after: int
    freed: int = 0
    """Bytes of allocated blocks that were freed."""
    detail: str = ""
    """One shown line; for FAILED the reason."""


class RestoreOutcome(NamedTuple):
    """How unpacking a layer again ended."""

    restore: LayerRestore
    status: Status
    detail: str = ""
    """One shown line; for FAILED the reason."""
