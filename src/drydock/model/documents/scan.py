"""``drydock.scan/1``: what a scan found, as ``drydock scan --format json`` and ``jsonl`` write it.

A reader of a document may be older or newer than its writer: fields may be added, and none changes its meaning. What a
fleet reads of such documents is in :mod:`drydock.model.documents.fleet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from drydock.model.disk_usage import UsageCategory
from drydock.model.documents.common import Line, Report, ReportPart, Shown, Time
from drydock.model.leases import LeaseClass
from drydock.model.names import Kind
from drydock.model.objects import ObjectKind, State
from drydock.model.policies import BlobCheck, SizeSource
from drydock.model.roots import Engine
from drydock.model.store_modes import StoreMode

Amount = Annotated[int, Meta(ge=0)]
"""A number of things or of bytes. A damaged database may claim any size, so that a sum may exceed 64 bits."""


class TotalPart(ReportPart):
    """Several things together."""

    count: Annotated[Amount, Meta(description="how many there are")]
    bytes: Annotated[Amount, Meta(description="bytes of all of them")]


class StateTotals(ReportPart):
    """The objects of a root by state. Each object is counted once."""

    live: Annotated[TotalPart, Meta(description="something that does not end by itself references them")]
    leased: Annotated[TotalPart, Meta(description="only leases hold them")]
    unreachable: Annotated[TotalPart, Meta(description="recorded, and nothing references them")]
    orphaned: Annotated[TotalPart, Meta(description="on disk without a record")]
    missing: Annotated[TotalPart, Meta(description="recorded, and their data is not on disk")]
    corrupt: Annotated[TotalPart, Meta(description="their data has the wrong size or digest")]
    foreign: Annotated[TotalPart, Meta(description="on disk, of a layout that drydock does not know; never removed")]


class RecordPart(ReportPart, kw_only=True):
    """A record of meta.db, or one of Docker that has its files in the classic layer store."""

    kind: Annotated[Kind, Meta(description="kind of the record")]
    namespace: Annotated[
        Shown,
        Meta(description="the containerd namespace that has the record; empty for one of the classic layer store"),
    ]
    id: Annotated[Shown, Meta(description="its key; of a snapshot without the snapshotter")]
    snapshotter: Annotated[str | UnsetType, Meta(description="of a snapshot; absent for other kinds")] = UNSET


class ObjectPart(ReportPart, kw_only=True):
    """A blob, an ingest, a snapshot or a part of Docker's classic layer store: recorded, on disk, or both."""

    kind: Annotated[ObjectKind, Meta(description="kind of the object")]
    id: Annotated[Shown, Meta(description="digest, ingest ref, snapshot key or chain id; else its name on disk")]
    state: Annotated[State, Meta(description="its state")]
    bytes: Annotated[Amount, Meta(description="bytes on disk; of a committed snapshot as `measured` says")]
    path: Annotated[
        Shown | None, Meta(description="relative to the root, or to `data_root`; null where nothing is on disk")
    ]
    namespaces: Annotated[Sequence[Shown], Meta(description="the namespaces that record it")]
    held_by: Annotated[Sequence[RecordPart], Meta(description="if live, the first root found; if leased, every lease")]
    reach: Annotated[
        Literal["live", "leased", "unreachable"] | None,
        Meta(description="how its records are reached, whatever became of its data; null without a record"),
    ]
    note: Annotated[Line, Meta(description="why it has this state, where that needs a reason; else empty")]
    snapshotter: Annotated[str | UnsetType, Meta(description="of a snapshot; absent for other kinds")] = UNSET
    row: Annotated[
        Shown | UnsetType | None,
        Meta(description="name of a snapshot's row in metadata.db; null without a row, absent for other kinds"),
    ] = UNSET
    data_root: Annotated[
        Shown | UnsetType,
        Meta(description="absolute path of the Docker data root with the classic layer store; absent for other kinds"),
    ] = UNSET


class LeasePart(ReportPart, kw_only=True):
    """A lease, or in the classic layer store the record of a mount that no container has, which stands for one."""

    namespace: Annotated[
        Shown, Meta(description="the containerd namespace that has it; empty for the record of a mount")
    ]
    id: Annotated[Shown, Meta(description="its id")]
    class_: Annotated[LeaseClass, Meta(description="its class")] = field(name="class")
    reason: Annotated[Line, Meta(description="why it is of this class")]
    owner: Annotated[Line, Meta(description="what owns it; empty where no owner is known")]
    created: Annotated[Time | None, Meta(description="when it was created; null where that is not known")]
    expires: Annotated[Time | None, Meta(description="when it ends by itself; null for never")]
    resources: Annotated[Amount, Meta(description="how many blobs, ingests, snapshots and images it names")]
    only_bytes: Annotated[Amount, Meta(description="what ending this lease alone would free")]
    pull: Annotated[
        Shown | UnsetType,
        Meta(description="of an interrupted pull: its image, repository or digest; absent for other leases"),
    ] = UNSET
    data_root: Annotated[
        Shown | UnsetType,
        Meta(description="absolute path of the Docker data root that has it; absent for a lease in meta.db"),
    ] = UNSET


class FindingPart(ReportPart, kw_only=True):
    """A statement about the evidence, with the place where it was read."""

    code: Annotated[str, Meta(description="one of docs/findings.md")]
    severity: Annotated[
        Literal["note", "blind", "damage"],
        Meta(description="blind: something could not be read or understood; what may depend on it is kept"),
    ]
    message: Annotated[Line, Meta(description="what was found")]
    subject: Annotated[Shown, Meta(description="id of the object that it is about; empty for a whole file")]
    file: Annotated[Shown, Meta(description="path of the file where it was read")]
    page: Annotated[int | None, Meta(description="page of a database")]
    offset: Annotated[int | None, Meta(description="offset in the file, in bytes")]
    bucket: Annotated[Sequence[Shown], Meta(description="path of the bucket in a database")]
    remedy: Annotated[Line, Meta(description="what to do; empty where there is nothing to do")]


class WithheldPart(ReportPart):
    """An object that looks free and is kept."""

    kind: Annotated[
        str, Meta(description="kind of the object", extra_json_schema={"enum": [each.value for each in ObjectKind]})
    ]
    id: Annotated[Shown, Meta(description="its id, as in `objects`")]
    bytes: Annotated[Amount, Meta(description="bytes on disk")]
    reason: Annotated[Line, Meta(description="why it is kept")]


class HolderPart(RecordPart, kw_only=True):
    """Something that keeps objects: an image, a container, a lease, or an object that is kept for its own sake."""

    names: Annotated[Sequence[Shown], Meta(min_length=1, description="all names of an image; else the one key")]
    class_: Annotated[LeaseClass | None, Meta(description="of a lease; null for other kinds")] = field(name="class")
    owner: Annotated[Line, Meta(description="what owns a lease; empty where no owner is known")]
    objects: Annotated[Amount, Meta(description="how many objects it reaches")]
    bytes: Annotated[Amount, Meta(description="bytes of all objects that it reaches")]
    only_bytes: Annotated[Amount, Meta(description="bytes of the objects that nothing else reaches")]


class ScanRootHead(ReportPart, kw_only=True):
    """A containerd root, without what is in it."""

    path: Annotated[Shown, Meta(description="absolute")]
    engine: Annotated[Engine, Meta(description="the program that runs the containerd of this root")]
    namespaces: Annotated[Sequence[Shown], Meta(description="the containerd namespaces in meta.db")]
    schema_version: Annotated[int, Meta(description="of meta.db")]
    complete: Annotated[bool, Meta(description="false where something could not be read; what depends on it is kept")]
    live: Annotated[bool, Meta(description="true with --live: objects that came or went during the scan are left out")]
    measured: Annotated[SizeSource, Meta(description="where the sizes of committed snapshots are from")]
    verified: Annotated[BlobCheck, Meta(description="how blobs were compared with their records")]
    totals: Annotated[StateTotals, Meta(description="objects by state")]
    reclaimable: Annotated[TotalPart, Meta(description="the files and directories that can be removed now")]
    leased_by_class: Annotated[
        dict[LeaseClass, TotalPart],
        Meta(description="leases that hold what nothing else holds, and the bytes that ending them frees"),
    ]
    database_bytes: Annotated[Amount, Meta(description="bytes of meta.db and of every metadata.db")]


class ScanRoot(ScanRootHead, kw_only=True):
    """A containerd root with everything in it."""

    objects: Annotated[Sequence[ObjectPart], Meta(description="every blob, ingest and snapshot")]
    leases: Annotated[Sequence[LeasePart], Meta(description="every lease")]
    findings: Annotated[Sequence[FindingPart], Meta(description="statements about the evidence, damage among them")]
    withheld: Annotated[Sequence[WithheldPart], Meta(description="objects that look free and are kept")]
    holders: Annotated[Sequence[HolderPart] | UnsetType, Meta(description="with --holders; else absent")] = UNSET


class UsagePart(ReportPart):
    """Something that takes space below a place that was scanned. Each allocated block is in exactly one of them."""

    category: Annotated[UsageCategory, Meta(description="what kind of data it is")]
    name: Annotated[Shown, Meta(description="of the volume, container, builder, driver or file; else empty")]
    path: Annotated[Shown, Meta(description="absolute")]
    bytes: Annotated[Amount | None, Meta(description="bytes of allocated blocks; null where it was not measured")]
    note: Annotated[Line, Meta(description="why it was not measured, or not all of it; else empty")]
    used_by: Annotated[
        Sequence[Shown] | None,
        Meta(description="names of the containers that mount a volume; null if not known, and for other categories"),
    ]
    driver: Annotated[Shown, Meta(description="of a log its log driver, of a store its driver; else empty")] = ""
    place: Annotated[Shown, Meta(description="the data root, the containerd root or the folder that it is in")] = ""


class FileSystemPart(ReportPart):
    """A file system that a data root or a containerd root lies on."""

    path: Annotated[Shown, Meta(description="the first of these roots: absolute")]
    size: Annotated[Amount, Meta(description="bytes")]
    used: Annotated[Amount, Meta(description="bytes in use")]
    free: Annotated[Amount, Meta(description="bytes that users other than root can still write")]
    inodes: Annotated[Amount, Meta(description="how many inodes it has; 0 where there is no fixed number")]
    inodes_free: Annotated[Amount, Meta(description="how many of them are free")]


class IdleStorePart(ReportPart):
    """The one of Docker's two image stores that dockerd does not use."""

    store: Annotated[StoreMode, Meta(description="which one it is")]
    images: Annotated[Amount, Meta(description="how many images it has")]
    containers: Annotated[Amount, Meta(description="how many containers have their files in it")]
    bytes: Annotated[Amount, Meta(description="bytes on disk")]


class StorePart(ReportPart):
    """A Docker data root, and which of Docker's two image stores its dockerd uses."""

    path: Annotated[Shown, Meta(description="of the data root: absolute")]
    last: Annotated[StoreMode | None, Meta(description="the store that was used last; null if not known")]
    last_reason: Annotated[Line, Meta(description="how that is known, or why not")]
    next: Annotated[
        StoreMode | None,
        Meta(description="the store that the next start of dockerd chooses; null if not known, or if the start fails"),
    ]
    next_reason: Annotated[Line, Meta(description="the setting or rule by which it is chosen, or why it is not known")]
    idle: Annotated[
        IdleStorePart | None,
        Meta(description="what the store has that dockerd does not use; null for nothing, or if that is not known"),
    ]


class ScanHead(Report, tag="drydock.scan/1", kw_only=True):
    """A scan, without its roots: the first of the JSON lines."""

    host: Annotated[Shown, Meta(description="name of the host, or what --host says")]


class ScanDocument(ScanHead, tag="drydock.scan/1", kw_only=True):
    """A scan."""

    roots: Annotated[Sequence[ScanRoot], Meta(description="every containerd root that was scanned")]
    usage: Annotated[
        Sequence[UsagePart],
        Meta(description="what takes space below each data root, and each containerd root outside one"),
    ]
    file_systems: Annotated[Sequence[FileSystemPart], Meta(description="the file systems that these roots lie on")]
    stores: Annotated[Sequence[StorePart], Meta(description="the image store that each data root uses")]


class ScanRow(ReportPart, kw_only=True):
    """One row of the wide table that Parquet files hold. What a type of row has no value for is null."""

    type_: Annotated[str, Meta(description="root, object, lease, finding, withheld, holder, usage or file_system")] = (
        field(name="type")
    )
    host: str | None
    now: str | None
    drydock: str | None
    root: str | None
    engine: str | None = None
    live: bool | None = None
    complete: bool | None = None
    database_bytes: int | None = None
    reclaimable_bytes: int | None = None
    kind: str | None = None
    id: Annotated[str | None, Meta(description="of a finding its subject")] = None
    state: str | None = None
    class_: str | None = field(name="class", default=None)
    namespaces: list[str] | None = None
    names: list[str] | None = None
    count: Annotated[int | None, Meta(description="what a lease names, or what a holder reaches")] = None
    bytes: int | None = None
    only_bytes: int | None = None
    snapshotter: str | None = None
    path: str | None = None
    reach: str | None = None
    held_by: Annotated[list[str] | None, Meta(description="kind and id of each record, with a colon between")] = None
    owner: str | None = None
    reason: str | None = None
    created: str | None = None
    expires: str | None = None
    code: str | None = None
    severity: str | None = None
    note: Annotated[str | None, Meta(description="of a finding its message")] = None
    category: Annotated[str | None, Meta(description="of usage")] = None
    driver: Annotated[str | None, Meta(description="of usage")] = None
    used_by: Annotated[list[str] | None, Meta(description="of usage: the containers that mount a volume")] = None
    size_bytes: Annotated[int | None, Meta(description="of a file system; `bytes` are used")] = None
    free_bytes: Annotated[int | None, Meta(description="of a file system")] = None
