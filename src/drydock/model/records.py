"""The records of meta.db, one type for each bucket of its schema (containerd core/metadata/buckets.go, v2.1).

Times are nanoseconds since the epoch, UTC; None if a record has none or it cannot be decoded (a finding says so then).
Labels keep their bytes.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import NamedTuple, overload

from drydock.model.findings import Finding
from drydock.model.names import Digest, Kind, RawPath, Ref, UnixNano, snapshot_ref

Labels = Mapping[bytes, bytes]
NO_LABELS: Labels = {}
"""The labels of the many records that have none."""


class Image(NamedTuple):
    """An image name and the descriptor it points to."""

    namespace: bytes
    name: bytes
    target: Digest
    media_type: bytes
    target_size: int | None
    """Bytes of the target blob (an index or a manifest), not of the image."""
    labels: Labels
    created: UnixNano | None = None
    updated: UnixNano | None = None

    @property
    def ref(self) -> Ref:
        """This record's reference."""
        return Ref(Kind.IMAGE, self.namespace, self.name)


class Container(NamedTuple):
    """A container record. The records of dockerd exist only while a container runs, and name no snapshot."""

    namespace: bytes
    id: bytes
    image: bytes
    snapshotter: bytes
    snapshot_key: bytes
    sandbox_id: bytes
    runtime: bytes
    labels: Labels
    created: UnixNano | None = None
    updated: UnixNano | None = None

    @property
    def ref(self) -> Ref:
        """This record's reference."""
        return Ref(Kind.CONTAINER, self.namespace, self.id)


class Blob(NamedTuple):
    """A blob record: says that a namespace owns the content ``digest``."""

    ref: Ref
    """This record's reference."""
    size: int | None
    """Bytes, as recorded at commit; None if the record has no size or it cannot be decoded."""
    labels: Labels
    created: UnixNano | None = None
    updated: UnixNano | None = None

    @property
    def namespace(self) -> bytes:
        """The namespace that records it."""
        return self.ref.namespace

    @property
    def digest(self) -> Digest:
        """The digest of the blob."""
        return Digest(self.ref.key)


_COLUMNS = 3
"""Numbers of a blob's record that are in columns."""


class BlobRecords(Sequence[Blob]):
    """Blob records as columns, each made when it is asked for: a host has hundreds of thousands.

    Attributes:
        digests: of each record.
        labels: of the records that have any, by their places.
    """

    __slots__ = ("_apart", "_created", "_namespaces", "_sizes", "_starts", "_updated", "digests", "labels")

    def __init__(self, records: Iterable[Blob] = ()) -> None:
        """Make them of records."""
        self.digests: list[Digest] = []
        self.labels: dict[int, Labels] = {}
        self._sizes, self._created, self._updated = array("q"), array("q"), array("q")
        # The place of the first record of each row of records of one namespace, and these namespaces.
        self._starts: list[int] = []
        self._namespaces: list[bytes] = []
        # Those that do not fit in the columns: a value is missing, or has more than 64 bits.
        self._apart: dict[int, Blob] = {}
        for record in records:
            self.append(record)

    def append(self, record: Blob) -> None:
        """Add any record."""
        values = [each for each in (record.size, record.created, record.updated) if each is not None and _fits(each)]
        if len(values) < _COLUMNS:
            values = [0] * _COLUMNS
            self._apart[len(self.digests)] = record
        if record.labels:
            self.labels[len(self.digests)] = record.labels
        size, created, updated = values
        self.extend(record.namespace, (record.digest,), (size,), (created,), (updated,))

    def extend(
        self,
        namespace: bytes,
        digests: Iterable[Digest],
        sizes: Iterable[int],
        created: Iterable[int],
        updated: Iterable[int],
    ) -> None:
        """Add records of one namespace without labels, whose values are all there and have at most 64 bits.

        Args:
            namespace: of all of them.
            digests: of each.
            sizes: bytes, of each, as recorded.
            created: the time, of each.
            updated: the same.
        """
        if not self._namespaces or self._namespaces[-1] != namespace:
            self._starts.append(len(self.digests))
            self._namespaces.append(namespace)
        self.digests.extend(digests)
        self._sizes.extend(sizes)
        self._created.extend(created)
        self._updated.extend(updated)

    def __len__(self) -> int:
        return len(self.digests)

    @overload
    def __getitem__(self, place: int) -> Blob: ...

    @overload
    def __getitem__(self, place: slice) -> list[Blob]: ...

    def __getitem__(self, place: int | slice) -> Blob | list[Blob]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self.digests)))]
        if place < 0:
            place += len(self.digests)
        if place in self._apart:
            return self._apart[place]
        labels = self.labels.get(place, NO_LABELS)
        created, updated = UnixNano(self._created[place]), UnixNano(self._updated[place])
        return Blob(self.ref(place), self._sizes[place], labels, created, updated)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment] # as that of a list

    def __repr__(self) -> str:
        return f"BlobRecords({list(self)!r})"

    def namespace(self, place: int) -> bytes:
        """The namespace of a record."""
        return self._namespaces[bisect_right(self._starts, place) - 1]

    def ref(self, place: int) -> Ref:
        """The reference of a record."""
        return Ref(Kind.BLOB, self.namespace(place), self.digests[place])

    def refs(self) -> Iterator[Ref]:
        """The reference of each record."""
        for namespace, places in self.rows():
            yield from map(Ref, repeat(Kind.BLOB), repeat(namespace), self.digests[places.start : places.stop])

    def rows(self) -> Iterator[tuple[bytes, range]]:
        """The places of the records, row by row, each of one namespace; a namespace has one row, as nearly always."""
        ends = (*self._starts, len(self.digests))[1:]
        for namespace, start, end in zip(self._namespaces, self._starts, ends, strict=True):
            yield namespace, range(start, end)

    def label_names(self) -> set[bytes]:
        """The names of all labels, which are few."""
        return set[bytes]().union(*self.labels.values())

    def size(self, place: int) -> int | None:
        """The recorded size of one, as in :class:`Blob`."""
        return self._apart[place].size if place in self._apart else self._sizes[place]

    def sizes(self) -> Sequence[int | None]:
        """The recorded size of each, as in :class:`Blob`."""
        if not self._apart:
            return self._sizes
        sizes: list[int | None] = list(self._sizes)
        for place, record in self._apart.items():
            sizes[place] = record.size
        return sizes


def _fits(number: int) -> bool:
    return -(1 << 63) <= number < 1 << 63


class Ingest(NamedTuple):
    """A download (or another write) in progress."""

    namespace: bytes
    name: bytes
    """The client's ref, the key of the record."""
    backend_ref: bytes
    """The content store's ref; its directory is ``ingest/<sha256 of this>``."""
    expires: UnixNano | None
    """Set only when the ingest was opened without a lease."""
    expected: Digest | None
    """A blob already on disk that this ingest will adopt without a file of its own ("shared" ingest)."""

    @property
    def ref(self) -> Ref:
        """This record's reference."""
        return Ref(Kind.INGEST, self.namespace, self.name)


class Snapshot(NamedTuple):
    """A snapshot record; ``name`` is the name of its row in the snapshotter's metadata.db."""

    namespace: bytes
    snapshotter: bytes
    key: bytes
    name: bytes
    parent: bytes
    """Key of the parent in the same namespace and snapshotter; empty if none. Authoritative, unlike ``children``."""
    children: tuple[bytes, ...]
    labels: Labels
    created: UnixNano | None = None
    updated: UnixNano | None = None

    @property
    def ref(self) -> Ref:
        """This record's reference."""
        return snapshot_ref(self.namespace, self.snapshotter, self.key)

    @property
    def parent_ref(self) -> Ref | None:
        """The parent's reference, or None."""
        return snapshot_ref(self.namespace, self.snapshotter, self.parent) if self.parent else None


class Sandbox(NamedTuple):
    """A sandbox record (containerd 2.0; 1.7 keeps them outside ``v1``, where its own GC does not look)."""

    namespace: bytes
    id: bytes
    sandboxer: bytes
    runtime: bytes
    labels: Labels
    outside_v1: bool
    created: UnixNano | None = None
    updated: UnixNano | None = None

    @property
    def ref(self) -> Ref:
        """This record's reference."""
        return Ref(Kind.SANDBOX, self.namespace, self.id)


class Lease(NamedTuple):
    """A lease and what it holds."""

    namespace: bytes
    id: bytes
    labels: Labels
    blobs: tuple[Digest, ...]
    ingests: tuple[bytes, ...]
    images: tuple[bytes, ...]
    snapshots: tuple[tuple[bytes, bytes], ...]
    """(snapshotter, key) pairs."""
    created: UnixNano | None = None

    @property
    def ref(self) -> Ref:
        """This record's reference."""
        return Ref(Kind.LEASE, self.namespace, self.id)


@dataclass(slots=True)
class Metadata:
    """Everything one meta.db records, and what could not be read of it."""

    path: RawPath
    schema_version: int
    """``v1/version``; 0 where absent. 3: containerd 1.2 to 1.7; 4: 2.0 and later."""
    namespaces: dict[bytes, Labels] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)
    containers: list[Container] = field(default_factory=list)
    blobs: BlobRecords = field(default_factory=BlobRecords)
    ingests: list[Ingest] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    sandboxes: list[Sandbox] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    digests: dict[bytes, Digest] = field(default_factory=dict, compare=False, repr=False)
    """The valid digests that records name: other readers look a digest up here instead of checking it again."""
    newest: UnixNano | None = None
    """The latest creation or update time of any record: a clock earlier than this is wrong."""
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True
    """False if any part could not be read or understood: nothing that depends on it may be removed then."""
    sequences: dict[tuple[bytes, bytes], int] = field(default_factory=dict)
    """The last number that was assigned to a snapshot, by namespace and snapshotter."""
