"""The document ``drydock.plan/1``: what ``drydock plan`` writes, a person reads, and ``drydock apply`` compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType, field

from drydock.model.data import Fingerprint
from drydock.model.documents.common import Count, Line, Nanoseconds, Sha256, Shown, StrictPart
from drydock.model.leases import LeaseClass
from drydock.model.names import Kind
from drydock.model.plans import Target
from drydock.model.policies import EndLeases
from drydock.model.store_drops import LossKind
from drydock.model.store_modes import StoreMode

_LIMIT: Final = 1 << 80
"""More nanoseconds than any clock shows and any option takes; the numbers of JSON have no end."""

Namespace = Annotated[Shown, Meta(description="containerd namespace of the record, as shown")]
Snapshotter = Annotated[Shown, Meta(description="name of a snapshotter, as shown")]
RecordId = Annotated[
    Shown, Meta(description="what the record is called in its namespace, as shown; of a snapshot, its key")
]
Why = Annotated[Line, Meta(description="the reason, in one line for people")]
Path = Annotated[Shown, Meta(description="relative to the root, as shown")]
Expected = Annotated[
    Fingerprint, Meta(description="device, inode, mode, size, mtime and ctime; both times in nanoseconds since 1970")
]
LayerDataRoot = Annotated[
    Shown | UnsetType,
    Meta(
        description="of what is in the classic layer store, and of a container's folder: absolute path of the data "
        "root of Docker or nerdctl that path is relative to, as shown"
    ),
]
NamedBy = Annotated[
    Shown | UnsetType,
    Meta(
        description="of what is in the classic layer store: path of the record that names it and is removed first, "
        "as shown; absent where there is none"
    ),
]
Labels = Annotated[dict[str, str], Meta(description="labels of the record: names and values, as shown")]


class RecordName(StrictPart, kw_only=True):
    """A record of meta.db."""

    kind: Annotated[Kind, Meta(description="kind of the record")]
    namespace: Namespace
    snapshotter: Annotated[Snapshotter | UnsetType, Meta(description="of a snapshot: its snapshotter")] = UNSET
    id: RecordId


class PlannedPolicy(StrictPart):
    """The options that the plan was made with."""

    end_leases: Annotated[EndLeases, Meta(description="--end-leases: which leases end; each includes those before it")]
    older_than: Annotated[
        int | None, Meta(description="--older-than in nanoseconds: only leases at least this old end; null: all")
    ]
    end_lease: Annotated[list[Shown], Meta(description="--end-lease: ids of leases that end besides, as shown")]
    keep: Annotated[list[Shown], Meta(description="--keep: names of what stays, as shown")]
    edit: Annotated[bool, Meta(description="whether databases are edited; false with --no-edit")]
    truncate_logs: Annotated[
        Count | UnsetType,
        Meta(description="--truncate-logs: bytes of each container's log that stay; absent: no log is cut"),
    ] = UNSET
    drop_store: Annotated[
        StoreMode | UnsetType, Meta(description="--drop-store: the one of Docker's stores that goes; absent for none")
    ] = UNSET
    drop: Annotated[
        list[Shown] | UnsetType, Meta(description="--drop: what goes although something holds it; absent for nothing")
    ] = UNSET
    unused_for: Annotated[
        int | UnsetType, Meta(description="--unused-for in nanoseconds: only what is at least this old; absent: all")
    ] = UNSET
    accept_loss: Annotated[
        list[Shown] | UnsetType,
        Meta(description="--accept-loss: names of images and containers that may be lost; absent for none"),
    ] = UNSET
    compact: Annotated[
        bool | UnsetType,
        Meta(description="--compact: whether databases of mostly free pages are made shorter; absent: no"),
    ] = UNSET
    filter: Annotated[
        list[Shown] | UnsetType, Meta(description="--filter: labels of what goes by its kind; absent for none")
    ] = UNSET

    def __post_init__(self) -> None:
        """Refuse a span that no option takes."""
        for span in (self.older_than, self.unused_for):
            if isinstance(span, int) and not -_LIMIT < span < _LIMIT:
                raise ValueError("a span of time that no option takes")


class PlannedDatabase(StrictPart):
    """A database as the plan saw it."""

    path: Path
    size: Annotated[Count, Meta(description="bytes")]
    sha256_of_metas: Annotated[
        Sha256, Meta(description="SHA-256 of its first two pages, the metas: every commit changes one of them")
    ]


class PlannedLeaseEnd(StrictPart):
    """A lease to delete."""

    kind: Annotated[Literal["lease"], Meta(description="always lease")]
    namespace: Namespace
    id: RecordId
    lease_class: Annotated[LeaseClass, Meta(description="class of the lease")] = field(name="class")
    why: Why


class PlannedRecordDrop(RecordName, kw_only=True):
    """A record to delete."""

    unlinked_from: Annotated[
        RecordName | None,
        Meta(description="of a snapshot: the surviving parent whose children name it; null if there is none"),
    ]
    why: Why


class PlannedRowDrop(StrictPart):
    """A row of a snapshotter's metadata.db to delete."""

    snapshotter: Snapshotter
    name: Annotated[Shown, Meta(description="name of the row, as shown")]
    id: Annotated[int, Meta(description="number of the row, and of its directory")]
    parent_id: Annotated[int | None, Meta(description="number of the parent's row; null if there is none")]
    why: Why


class PlannedFieldDrop(StrictPart):
    """A key to delete from a record or a row that stays."""

    snapshotter: Annotated[Snapshotter | None, Meta(description="whose metadata.db has it; null: another database")]
    bucket: Annotated[list[Shown], Meta(description="names of the buckets down to the key, as shown")]
    key: Annotated[Shown, Meta(description="the key, as shown")]
    why: Why
    database: Annotated[
        Shown | UnsetType,
        Meta(
            description="absolute path of a database of a BuildKit, as shown: the key may be a whole record; absent: "
            "meta.db or metadata.db"
        ),
    ] = UNSET


class PlannedMark(StrictPart):
    """A cache record of BuildKit to mark as deleted: BuildKit removes it when it starts."""

    database: Annotated[Shown, Meta(description="absolute path of the metadata_v2.db, as shown")]
    id: Annotated[Shown, Meta(description="id of the record, as shown")]
    why: Why


class PlannedNameDrop(StrictPart):
    """A name of an image to delete from the repositories.json of a classic store."""

    data_root: Annotated[Shown, Meta(description="absolute path of the Docker data root, as shown")]
    name: Annotated[Shown, Meta(description="as dockerd writes it, as shown")]
    image: Annotated[Shown, Meta(description="id of the image that it names, as shown")]
    why: Why


class PlannedAdoption(StrictPart):
    """A record to put into meta.db, of a blob that is on disk and was hashed."""

    kind: Annotated[Literal["blob"], Meta(description="always blob")]
    namespace: Namespace
    id: RecordId
    path: Path
    expect: Expected
    labels: Labels
    made: Annotated[Nanoseconds, Meta(description="time of the record, in nanoseconds since 1970")]
    why: Why


class PlannedSnapshot(StrictPart):
    """A record to put into meta.db, of a snapshot whose row and directory are there."""

    kind: Annotated[Literal["snapshot"], Meta(description="always snapshot")]
    namespace: Namespace
    snapshotter: Snapshotter
    id: RecordId
    name: Annotated[Shown, Meta(description="name of its row, as shown")]
    parent: Annotated[Shown, Meta(description="key of its parent, as shown; empty if there is none")]
    children: Annotated[list[Shown], Meta(description="keys of the snapshots that stand on it, as shown")]
    labels: Labels
    created: Annotated[Nanoseconds, Meta(description="when it was created, in nanoseconds since 1970")]
    updated: Annotated[Nanoseconds, Meta(description="when it was last updated, in nanoseconds since 1970")]
    path: Annotated[Shown, Meta(description="its directory, relative to the root, as shown")]
    expect: Expected
    linked_to_parent: Annotated[bool, Meta(description="whether the record of its parent is made to list it")]
    why: Why


class LeasedSnapshot(StrictPart):
    """A snapshot that a lease holds."""

    snapshotter: Snapshotter
    id: Annotated[Shown, Meta(description="key of the snapshot, as shown")]


class PlannedLease(StrictPart):
    """A lease to put into meta.db, as dockerd gives one to each container."""

    kind: Annotated[Literal["lease"], Meta(description="always lease")]
    namespace: Namespace
    id: RecordId
    snapshots: Annotated[list[LeasedSnapshot], Meta(description="the snapshots that it holds")]
    created: Annotated[Nanoseconds, Meta(description="when it was created, in nanoseconds since 1970")]
    why: Why


class PlannedRemoval(StrictPart):
    """A file or directory to remove."""

    kind: Annotated[Target, Meta(description="kind of the data")]
    path: Path
    bytes: Annotated[Count, Meta(description="bytes that removing it is expected to free")]
    expect: Expected
    after_edit: Annotated[bool, Meta(description="whether a record or a row names it until the databases are edited")]
    why: Why
    data_root: LayerDataRoot = UNSET
    named_by: NamedBy = UNSET


class PlannedLogCut(StrictPart):
    """A file of a container's log that is removed, or of which only the newest bytes stay."""

    kind: Annotated[Literal["log"], Meta(description="always log")]
    data_root: Annotated[Shown, Meta(description="absolute path of the Docker data root, as shown")]
    path: Annotated[Shown, Meta(description="relative to the data root, as shown")]
    expect: Expected
    keep: Annotated[Count, Meta(description="bytes at its end that stay")]
    current: Annotated[bool, Meta(description="whether the daemon appends to it: then the file stays, though empty")]
    bytes: Annotated[Count, Meta(description="bytes that the cut is expected to free")]
    why: Why


class PlannedRestore(StrictPart):
    """A committed snapshot whose files are unpacked again from the blob of its layer."""

    kind: Annotated[Literal["layer-files"], Meta(description="always layer-files")]
    path: Path
    expect: Expected
    id: Annotated[Shown, Meta(description="chain id of the snapshot, as shown")]
    parent: Annotated[Shown, Meta(description="chain id of the snapshot below, as shown; empty for a base layer")]
    lowers: Annotated[
        list[Shown], Meta(description="directories of the snapshots below, relative to the root, the uppermost first")
    ]
    layer: Annotated[Shown, Meta(description="digest of the blob, as shown")]
    blob: Annotated[Shown, Meta(description="path of the blob, relative to the root, as shown")]
    bytes: Annotated[Count, Meta(description="size of the blob")]
    why: Why


class PlannedCompaction(StrictPart):
    """A database to compact."""

    path: Annotated[Shown, Meta(description="absolute, as shown")]
    size: Annotated[Count, Meta(description="its length in bytes")]
    used: Annotated[Count, Meta(description="bytes of the pages in use before the run")]


class PlanWithheld(StrictPart):
    """Something that looks reclaimable and stays."""

    kind: Annotated[
        Kind,
        Meta(
            description="blob, ingest, snapshot, lease (one that would end but for --keep), or container (its log "
            "would be cut, or it would go)"
        ),
    ]
    id: Annotated[Shown, Meta(description="its name, as shown")]
    bytes: Annotated[
        Count,
        Meta(
            description="bytes that it takes; of a lease, those that nothing else holds; of a container that would go, "
            "those that it wrote"
        ),
    ]
    reason: Annotated[Line, Meta(description="why it stays")]


class PlannedLoss(StrictPart):
    """Something that only a dropped store has."""

    kind: Annotated[LossKind, Meta(description="an image, or what a container wrote whose folder is gone")]
    id: Annotated[Shown, Meta(description="id of the image, or name of the mount's record, as shown")]
    names: Annotated[list[Shown], Meta(description="names of the image, as shown")]
    bytes: Annotated[Count, Meta(description="bytes that it takes; what several images share counts for each")]


class PlannedContainer(StrictPart):
    """A container that goes, with what it wrote; its lease, records and data are in the other parts."""

    namespace: Annotated[Shown, Meta(description="its namespace in containerd, as shown; empty for one of Docker")]
    id: Annotated[Shown, Meta(description="its id, as shown")]
    name: Annotated[Shown, Meta(description="its name, as shown; empty for none")]
    written: Annotated[Count, Meta(description="bytes that its writable layer takes: they exist nowhere else")]
    why: Why


class PlannedDrop(StrictPart):
    """One of Docker's two image stores that goes."""

    data_root: Annotated[Shown, Meta(description="absolute path of the Docker data root, as shown")]
    store: Annotated[StoreMode, Meta(description="the store that goes")]
    next_start: Annotated[StoreMode, Meta(description="the store that the next start of dockerd chooses, as before")]
    why: Why
    lost: Annotated[list[PlannedLoss], Meta(description="what exists only in the store that goes")]


class RootPlan(StrictPart):
    """What is to be done to one containerd root, in the order of its parts."""

    root: Annotated[Shown, Meta(description="absolute path of the containerd root, as shown")]
    host: Annotated[
        Shown, Meta(description="root of the host file system that the containerd root was found in, as shown")
    ]
    now: Annotated[Nanoseconds, Meta(description="what expiries were compared with, in nanoseconds since 1970")]
    now_shown: Annotated[str, Meta(description="the same time in UTC, as in RFC 3339")]
    policy: Annotated[PlannedPolicy, Meta(description="the options that the plan was made with")]
    evidence: Annotated[Sequence[PlannedDatabase], Meta(description="the databases as the plan saw them")]
    leases: Annotated[Sequence[PlannedLeaseEnd], Meta(description="leases to delete from meta.db")]
    records: Annotated[Sequence[PlannedRecordDrop], Meta(description="records to delete from meta.db")]
    rows: Annotated[Sequence[PlannedRowDrop], Meta(description="rows to delete from a snapshotter's metadata.db")]
    fields: Annotated[
        Sequence[PlannedFieldDrop],
        Meta(
            description="keys to delete from records and rows that stay, or from a database of BuildKit; only a repair "
            "and --drop of build cache or history have any"
        ),
    ]
    adoptions: Annotated[
        Sequence[PlannedAdoption],
        Meta(
            description="records to put into meta.db, of blobs that are on disk and were hashed; only a repair has any"
        ),
    ]
    snapshots: Annotated[
        Sequence[PlannedSnapshot],
        Meta(
            description="records to put into meta.db, of snapshots whose rows and directories are there; "
            "only a repair has any"
        ),
    ]
    lease_records: Annotated[
        Sequence[PlannedLease], Meta(description="leases to put into meta.db; only a repair has any")
    ]
    removals: Annotated[Sequence[PlannedRemoval], Meta(description="files and directories to remove")]
    bytes: Annotated[Count, Meta(description="bytes that all removals are expected to free")]
    withheld: Annotated[Sequence[PlanWithheld], Meta(description="what looks reclaimable and stays")]
    hash: Annotated[
        Sha256,
        Meta(
            description="SHA-256 of the plan without this field, as JSON in ASCII with sorted keys and without blanks"
        ),
    ]
    logs: Annotated[
        Sequence[PlannedLogCut] | UnsetType,
        Meta(description="files of containers' logs to cut; absent without --truncate-logs"),
    ] = UNSET
    marks: Annotated[
        Sequence[PlannedMark] | UnsetType,
        Meta(description="cache records of BuildKit to mark as deleted; absent without --drop of the build cache"),
    ] = UNSET
    drops: Annotated[
        list[PlannedDrop] | UnsetType, Meta(description="Docker's stores that go whole; absent if none does")
    ] = UNSET
    restores: Annotated[
        Sequence[PlannedRestore] | UnsetType,
        Meta(description="layers to unpack again; absent without --restore-files"),
    ] = UNSET
    names: Annotated[
        Sequence[PlannedNameDrop] | UnsetType,
        Meta(description="names of images of a classic store to delete; absent without --drop of images in one"),
    ] = UNSET
    compactions: Annotated[
        list[PlannedCompaction] | UnsetType,
        Meta(description="databases to compact after all else; absent if there are none"),
    ] = UNSET
    containers: Annotated[
        Sequence[PlannedContainer] | UnsetType,
        Meta(description="containers that go by choice; absent if none does"),
    ] = UNSET

    def __post_init__(self) -> None:
        """Refuse a time that no clock shows."""
        if not -_LIMIT < self.now < _LIMIT:
            raise ValueError("a time that no clock shows")


class PlanDocument(StrictPart, tag_field="schema", tag="drydock.plan/1"):
    """The plans of one or more containerd roots."""

    drydock: Annotated[str, Meta(description="version of drydock that wrote it")]
    plans: Annotated[Sequence[RootPlan], Meta(description="a plan for each containerd root")]
