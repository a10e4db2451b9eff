"""The records of meta.db, one type for each bucket of its schema (containerd core/metadata/buckets.go, v2.1).

Times are nanoseconds since the epoch, UTC; None if a record has none or it cannot be decoded (a finding says so then).
Labels keep their bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.findings import Finding
from drydock.model.names import Digest, Kind, RawPath, Ref, UnixNano, snapshot_ref

Labels = Mapping[bytes, bytes]


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
    """This record's reference; made once, as there are more blobs than all other records together."""
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
    blobs: list[Blob] = field(default_factory=list)
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
