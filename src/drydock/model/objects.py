"""The verdict on a root: the state of each blob, ingest and snapshot, or of each part of a classic layer store."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from drydock.model.data import BlobFile, BlobFiles, Fingerprint, IngestDirectory, Junk, SnapshotEntry
from drydock.model.findings import Finding
from drydock.model.layer_store import LayerEntry
from drydock.model.leases import Holding
from drydock.model.names import Digest, RawPath, Ref, UnixNano
from drydock.model.plugin_store import PluginEntry
from drydock.model.store import Store


class State(enum.Enum):
    """The states of an object (docs/what-fills-my-disk.md), in the order of reports."""

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
"""The states in which the data is not what the record says."""


class ObjectKind(enum.Enum):
    """The kinds of objects that have states."""

    BLOB = "blob"
    INGEST = "ingest"
    SNAPSHOT = "snapshot"
    LAYER = "layer"
    """A record in ``layerdb/sha256`` of Docker's classic layer store."""
    LAYER_REST = "layer-rest"
    """What a removal or an unpacking of a layer left in ``layerdb``."""
    LAYER_MOUNT = "layer-mount"
    """A record in ``layerdb/mounts``: the writable layer of a container, or of something else."""
    LAYER_DIRECTORY = "layer-directory"
    """A directory in ``overlay2``."""
    LAYER_LINK = "layer-link"
    """A symbolic link in ``overlay2/l``."""
    PLUGIN_BLOB = "plugin-blob"
    """A blob in ``plugins/storage``."""
    PLUGIN_REST = "plugin-rest"
    """What a removal, an upgrade or a download of a plugin left."""

    # Members are singletons: see Kind.
    __hash__ = object.__hash__


@dataclass(slots=True)
class StoreObject:
    """A blob, an ingest, a snapshot or a part of a classic layer store: recorded, on disk, or both."""

    kind: ObjectKind
    id: bytes
    """A blob's digest, an ingest's client ref, a snapshot's key; a layer's chain id; the name of another part of a
    layer store; without a record, the name on disk or of its row."""
    state: State
    allocated: int
    """Bytes on disk: allocated blocks; for a committed snapshot the size in its row (``Store.measured``)."""
    disk: BlobFiles | Junk | IngestDirectory | SnapshotEntry | LayerEntry | PluginEntry | None
    """What is on disk, for a blob among the files of all blobs; None if nothing is."""
    records: Ref | tuple[Ref, ...] = ()
    """Its records, one for each namespace; the record itself if it is the only one, as nearly always."""
    reach: State | None = None
    """LIVE, LEASED or UNREACHABLE, by its records alone and whatever the state of its data; None without a record."""
    snapshotter: bytes = b""
    """The snapshotter of a snapshot; empty for other objects."""
    row: bytes | None = None
    """Name of a snapshot's row in metadata.db; None if it has none."""
    held_by: tuple[Ref, ...] = ()
    """What keeps it: for LIVE the first root that reaches it, for LEASED every lease that does."""
    note: str = ""
    """One shown line, if the state needs a reason."""

    @property
    def data(self) -> BlobFile | Junk | IngestDirectory | SnapshotEntry | LayerEntry | PluginEntry | None:
        """What is on disk; None if nothing is."""
        return self.disk[Digest(self.id)] if isinstance(self.disk, BlobFiles) else self.disk

    @property
    def refs(self) -> tuple[Ref, ...]:
        """Its records, one for each namespace."""
        return (self.records,) if isinstance(self.records, Ref) else self.records

    @property
    def row_name(self) -> tuple[bytes, bytes]:
        """Snapshotter and row name of a snapshot with a row."""
        return self.snapshotter, self.row or b""

    @property
    def is_damaged(self) -> bool:
        """Whether its data is not what its record says."""
        return self.state in DAMAGED

    @property
    def path(self) -> RawPath | None:
        """Relative to the root, or to its data root (:class:`DataRootObject`); None if nothing is on disk."""
        return None if (data := self.data) is None else data.path

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Of its path; None if nothing is on disk."""
        return None if (data := self.data) is None else data.fingerprint

    @property
    def namespaces(self) -> tuple[bytes, ...]:
        """The namespaces that record it."""
        return tuple(sorted({ref.namespace for ref in self.refs}))


@dataclass(slots=True)
class DataRootObject(StoreObject):
    """Something in a Docker data root that is not of containerd's stores."""

    data_root: RawPath = field(default=RawPath(b""))
    """Absolute path of its Docker data root."""


class LayerObject(DataRootObject):
    """A part of a classic layer store."""

    __slots__ = ()


class PluginObject(DataRootObject):
    """A blob of Docker's plugins, or what was left of a plugin."""

    __slots__ = ()


@dataclass(slots=True)
class Verdict:
    """The judged objects and leases of one root."""

    store: Store
    now: UnixNano
    objects: list[StoreObject]
    leases: list[Holding]
    findings: list[Finding] = field(default_factory=list)
    """Findings of the evidence, and of comparing records, rows and data."""
    kept: dict[RawPath, dict[RawPath, str]] = field(default_factory=dict)
    """What of classic layer stores looks unused and stays, by data root and path: the reason, one shown line."""
    let_go: dict[RawPath, dict[RawPath, str]] = field(default_factory=dict)
    """The same of what is unreachable there, and named by the databases of the builder still."""
