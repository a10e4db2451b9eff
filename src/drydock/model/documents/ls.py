"""``drydock.ls/1`` and ``drydock.diff/1``: lists of records, and what a container changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType, field

from drydock.model.documents.common import Line, Report, ReportPart, Shown, Time
from drydock.model.exports import ChangeKind
from drydock.model.leases import LeaseClass
from drydock.model.listings import ListKind
from drydock.model.objects import State
from drydock.model.store_modes import StoreMode

Labels = Annotated[dict[str, str], Meta(description="labels of the record: names and values, as shown")]
Created = Annotated[Time | None, Meta(description="when the record was created; null where that is not known")]
HeldBy = Annotated[Sequence[Line], Meta(description="what keeps it, kind and name")]
OnDisk = Annotated[Shown | None, Meta(description="relative to the root; null where nothing is on disk")]
Note = Annotated[Line, Meta(description="why it has this state, where that needs a reason; else empty")]
DataRoot = Annotated[Shown, Meta(description="absolute path of the Docker data root that it is in")]
NamespaceOrNone = Annotated[Shown | None, Meta(description="containerd namespace of the record; null without one")]


class ListedImage(ReportPart, kw_only=True):
    """An image."""

    store: Annotated[StoreMode, Meta(description="which of Docker's stores has it; image-store for other engines")]
    namespace: NamespaceOrNone
    name: Annotated[Shown, Meta(description="its name; empty in the classic store if it has none")]
    digest: Annotated[Shown, Meta(description="of its index or manifest; in the classic store of its config, its id")]
    media_type: Annotated[Shown, Meta(description="of its index or manifest; empty in the classic store")]
    bytes: Annotated[int, Meta(description="bytes of its blobs on disk; in the classic store of its layers")]
    platforms: Annotated[Sequence[Shown], Meta(description="platforms with every blob or layer")]
    incomplete: Annotated[Sequence[Shown], Meta(description="platforms with an absent or damaged blob or layer")]
    damaged: Annotated[Sequence[Shown], Meta(description="digests of its missing or corrupt blobs or layers")]
    labels: Labels
    created: Created
    updated: Annotated[Time | None, Meta(description="when the record was last changed; null where that is not known")]


class ListedContainer(ReportPart, kw_only=True):
    """A container of containerd or of dockerd."""

    store: Annotated[
        StoreMode | None, Meta(description="which of Docker's stores has its files; null if not known, or not Docker's")
    ]
    namespace: NamespaceOrNone
    id: Annotated[Shown, Meta(description="its id")]
    name: Annotated[Shown | None, Meta(description="its name in Docker; null without one")]
    image: Annotated[Shown, Meta(description="the image, as it was named")]
    image_digest: Annotated[Shown | None, Meta(description="the image id that Docker shows; null if not known")]
    runtime: Annotated[Shown | None, Meta(description="its runtime; null without a record in meta.db")]
    engine: Annotated[str, Meta(description="what made it", extra_json_schema={"enum": ["containerd", "docker"]})]
    running: Annotated[bool | None, Meta(description="as Docker last wrote it; null for other engines")]
    snapshotter: Annotated[Shown, Meta(description="its snapshotter; in the classic image store the graphdriver")]
    snapshot: Annotated[Shown, Meta(description="key of its snapshot")]
    bytes: Annotated[
        int | None,
        Meta(description="bytes of its snapshot, or of its files in the classic store; null if not known"),
    ]
    state: Annotated[
        str | None,
        Meta(
            description="state of its snapshot; null where its files are not a snapshot",
            extra_json_schema={"enum": [*(state.value for state in State), "classic", None]},
        ),
    ]
    created: Created


class ListedSnapshot(ReportPart, kw_only=True):
    """A snapshot."""

    namespace: NamespaceOrNone
    snapshotter: Annotated[Shown, Meta(description="its snapshotter")]
    key: Annotated[Shown, Meta(description="its key; without a record the name on disk, or of its row")]
    parent: Annotated[Shown | None, Meta(description="key of its parent; empty without one, null if not known")]
    kind: Annotated[str | None, Meta(description="Committed, Active, View or Unknown; null without a row")]
    bytes: Annotated[int, Meta(description="bytes on disk; of a committed snapshot as containerd recorded them")]
    state: Annotated[State, Meta(description="its state")]
    held_by: HeldBy
    path: OnDisk
    note: Note
    row: Annotated[Shown | None, Meta(description="name of its row in metadata.db; null without one")]
    labels: Labels
    created: Created


class ListedLease(ReportPart, kw_only=True):
    """A lease."""

    namespace: Annotated[Shown, Meta(description="containerd namespace of the record")]
    id: Annotated[Shown, Meta(description="its id")]
    class_: Annotated[LeaseClass, Meta(description="its class")] = field(name="class")
    reason: Annotated[Line, Meta(description="why it is of this class")]
    owner: Annotated[Line, Meta(description="what owns it; empty where no owner is known")]
    created: Created
    expires: Annotated[Time | None, Meta(description="when it ends by itself; null for never")]
    resources: Annotated[int, Meta(description="how many blobs, ingests, snapshots and images it names")]
    only_bytes: Annotated[int, Meta(description="what ending this lease alone would free")]
    labels: Labels


class ListedBlob(ReportPart, kw_only=True):
    """A blob of the content store."""

    namespace: NamespaceOrNone
    digest: Annotated[Shown, Meta(description="its digest; without a record its name on disk")]
    size: Annotated[int | None, Meta(description="bytes of its file; null without one")]
    recorded_size: Annotated[int | None, Meta(description="bytes that the record says; null without a record")]
    bytes: Annotated[int, Meta(description="bytes on disk")]
    state: Annotated[State, Meta(description="its state")]
    held_by: HeldBy
    path: OnDisk
    note: Note
    labels: Labels
    created: Created


class ListedIngest(ReportPart, kw_only=True):
    """An unfinished write to the content store."""

    namespace: NamespaceOrNone
    ref: Annotated[Shown, Meta(description="its ref; without a record its name on disk")]
    received: Annotated[int | None, Meta(description="bytes that were received; null without a folder")]
    total: Annotated[int | None, Meta(description="bytes that were expected; null where that is not known")]
    bytes: Annotated[int, Meta(description="bytes on disk")]
    state: Annotated[State, Meta(description="its state")]
    held_by: HeldBy
    path: OnDisk
    note: Note
    updated: Annotated[Time | None, Meta(description="when the last bytes came; null where that is not known")]
    expires: Annotated[Time | None, Meta(description="when it expires; null for never, and without a record")]


class ListedLayer(ReportPart, kw_only=True):
    """A directory of Docker's classic layer store, or a layer whose directory is missing."""

    data_root: DataRoot
    directory: Annotated[Shown | None, Meta(description="its name in overlay2; null where that cannot be read")]
    layer: Annotated[Shown | None, Meta(description="chain id of the layer whose directory it is; null for none")]
    parent: Annotated[Shown | None, Meta(description="chain id of the layer below; null without one")]
    container: Annotated[
        Shown | None, Meta(description="name or id of the container that writes to it; null for none, or if it is gone")
    ]
    size: Annotated[int | None, Meta(description="bytes in its files as dockerd recorded them; null without a record")]
    bytes: Annotated[int, Meta(description="bytes on disk; where they were not measured, as dockerd recorded them")]
    state: Annotated[State, Meta(description="its state")]
    held_by: HeldBy
    path: OnDisk
    note: Note


class ListedLog(ReportPart, kw_only=True):
    """The log of a Docker container."""

    data_root: DataRoot
    container: Annotated[Shown, Meta(description="id of its container")]
    name: Annotated[Shown | None, Meta(description="name of its container; null where that could not be read")]
    driver: Annotated[Shown | None, Meta(description="the container's log driver; null where that could not be read")]
    path: Annotated[Shown, Meta(description="absolute path of its newest file")]
    bytes: Annotated[int, Meta(description="bytes on disk, with the rotated files")]
    files: Annotated[int, Meta(description="how many files it has, with the rotated ones")]
    rotated: Annotated[bool | None, Meta(description="whether the daemon limits it; null where that is not known")]
    max_size: Annotated[Shown | None, Meta(description="the option max-size, as written; null where it is not set")]
    max_file: Annotated[Shown | None, Meta(description="the option max-file, as written; null where it is not set")]
    since: Annotated[Time | None, Meta(description="time of the oldest record; null where that is not known")]
    until: Annotated[Time | None, Meta(description="when it was last written to; null where that is not known")]


class ListedVolume(ReportPart, kw_only=True):
    """A volume of Docker."""

    data_root: DataRoot
    name: Annotated[Shown, Meta(description="its name")]
    driver: Annotated[Shown | None, Meta(description="its driver; null where that could not be read")]
    anonymous: Annotated[bool | None, Meta(description="whether dockerd named it; null where that is not known")]
    mounted_by: Annotated[
        Sequence[Shown] | None,
        Meta(description="names of the containers that mount it; null where not all containers could be read"),
    ]
    device: Annotated[Line, Meta(description="what the driver mounts for it, without options; else empty")]
    path: Annotated[Shown | None, Meta(description="absolute path of its data; null without a folder")]
    created: Created
    note: Annotated[Line, Meta(description="what could not be read of it; else empty")]


class ListRoot(ReportPart, kw_only=True):
    """The list of one root: the field that has the name of the list."""

    path: Annotated[Shown, Meta(description="absolute path of the containerd root")]
    unread: Annotated[Line, Meta(description="why not all could be read, so that entries may be missing; else empty")]
    images: Annotated[Sequence[ListedImage] | UnsetType, Meta(description="of ls images")] = UNSET
    containers: Annotated[Sequence[ListedContainer] | UnsetType, Meta(description="of ls containers")] = UNSET
    snapshots: Annotated[Sequence[ListedSnapshot] | UnsetType, Meta(description="of ls snapshots")] = UNSET
    leases: Annotated[Sequence[ListedLease] | UnsetType, Meta(description="of ls leases")] = UNSET
    content: Annotated[Sequence[ListedBlob] | UnsetType, Meta(description="of ls content")] = UNSET
    ingests: Annotated[Sequence[ListedIngest] | UnsetType, Meta(description="of ls ingests")] = UNSET
    layers: Annotated[Sequence[ListedLayer] | UnsetType, Meta(description="of ls layers")] = UNSET
    logs: Annotated[Sequence[ListedLog] | UnsetType, Meta(description="of ls logs")] = UNSET
    volumes: Annotated[Sequence[ListedVolume] | UnsetType, Meta(description="of ls volumes")] = UNSET


class ListDocument(Report, tag="drydock.ls/1"):
    """A list."""

    kind: Annotated[ListKind, Meta(description="the kind of list")]
    roots: Annotated[Sequence[ListRoot], Meta(description="the list of each root")]


class ChangePart(ReportPart):
    """A path that a container changed against its image."""

    kind: Annotated[ChangeKind, Meta(description="added, changed or deleted, as docker diff shows them")]
    path: Annotated[Shown, Meta(description="absolute in the container")]


class DiffDocument(ReportPart, tag_field="schema", tag="drydock.diff/1"):
    """What a container changed against its image."""

    changes: Annotated[Sequence[ChangePart], Meta(description="the changed paths")]
    damage: Annotated[Sequence[Line], Meta(description="what could not be compared")]
