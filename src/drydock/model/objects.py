"""The verdict on a root: the state of each blob, ingest and snapshot, or of each part of a classic layer store."""

from __future__ import annotations

import enum
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final, overload

from drydock.model.data import BlobFile, BlobFiles, Fingerprint, IngestDirectory, Junk, SnapshotEntry
from drydock.model.findings import Finding
from drydock.model.layer_store import LayerEntry
from drydock.model.leases import Holding
from drydock.model.names import Digest, Kind, RawPath, Ref, UnixNano
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


class StoreObjects(Sequence[StoreObject]):
    """The objects of a root. Usual blobs are columns, each made when it is asked for: a host has hundreds of thousands.

    A usual blob is live, has one record and one file, and no note.
    """

    __slots__ = ("_allocated", "_digests", "_files", "_kept", "_starts")

    def __init__(self, objects: Iterable[StoreObject] = (), files: BlobFiles | None = None) -> None:
        """Make them of objects.

        Args:
            objects: which it has at first.
            files: those of all usual blobs that are added later.
        """
        self._files = files
        # All have the same length. An object is kept as it is, or its values are in the columns.
        self._kept: list[StoreObject | None] = []
        self._digests: list[Digest | None] = []
        self._starts: list[Ref | None] = []
        self._allocated = array("q")
        self.extend(objects)

    def append(self, found: StoreObject) -> None:
        """Add an object."""
        self._kept.append(found)
        self._digests.append(None)
        self._starts.append(None)
        self._allocated.append(0)

    def extend(self, objects: Iterable[StoreObject]) -> None:
        """Add objects."""
        for found in objects:
            self.append(found)

    def extend_usual(self, digests: Sequence[Digest], starts: Iterable[Ref], allocated: Iterable[int]) -> None:
        """Add usual blobs.

        Args:
            digests: of each.
            starts: of each the first root that reaches it, in the namespace of its record, as all references are.
            allocated: bytes of the allocated blocks of each.
        """
        self._kept.extend(repeat(None, len(digests)))
        self._digests.extend(digests)
        self._starts.extend(starts)
        self._allocated.extend(allocated)

    def _usual(self, digest: Digest, start: Ref, allocated: int) -> StoreObject:
        record = Ref(Kind.BLOB, start.namespace, digest)
        live = State.LIVE
        return StoreObject(ObjectKind.BLOB, digest, live, allocated, self._files, record, live, b"", None, (start,))

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, place: int) -> StoreObject: ...

    @overload
    def __getitem__(self, place: slice) -> list[StoreObject]: ...

    def __getitem__(self, place: int | slice) -> StoreObject | list[StoreObject]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self._kept)))]
        digest, start = self._digests[place], self._starts[place]
        if digest is not None and start is not None:
            return self._usual(digest, start, self._allocated[place])
        found = self._kept[place]
        assert found is not None, "what is not in the columns is kept"
        return found

    def __iter__(self) -> Iterator[StoreObject]:
        columns = zip(self._kept, self._digests, self._starts, self._allocated, strict=True)
        for found, digest, start, allocated in columns:
            if found is not None:
                yield found
            elif digest is not None and start is not None:
                yield self._usual(digest, start, allocated)

    def others(self) -> Iterator[StoreObject]:
        """All but usual blobs."""
        return filter(None, self._kept)

    def usual(self) -> Iterator[tuple[Ref, int]]:
        """The roots that reach usual blobs first, each with the bytes of the allocated blocks of these."""
        # By identity: equal references are one object here, or else come twice.
        known = dict(zip(map(id, self._starts), self._starts, strict=True))
        sizes = dict.fromkeys(known, 0)
        for start, allocated in zip(map(id, self._starts), self._allocated, strict=True):
            sizes[start] += allocated
        return ((start, sizes[each]) for each, start in known.items() if start is not None)

    def sum_usual(self) -> tuple[int, int]:
        """How many usual blobs there are, and the bytes of their allocated blocks."""
        return self._kept.count(None), sum(self._allocated)


@dataclass(slots=True)
class Verdict:
    """The judged objects and leases of one root."""

    store: Store
    now: UnixNano
    objects: StoreObjects
    leases: list[Holding]
    findings: list[Finding] = field(default_factory=list)
    """Findings of the evidence, and of comparing records, rows and data."""
    kept: dict[RawPath, dict[RawPath, str]] = field(default_factory=dict)
    """What of classic layer stores looks unused and stays, by data root and path: the reason, one shown line."""
    let_go: dict[RawPath, dict[RawPath, str]] = field(default_factory=dict)
    """What nothing reaches, although the builder's databases still name it: the reason, by data root and path."""
