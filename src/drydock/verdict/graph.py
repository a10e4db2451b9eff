"""The graph of containerd's records: which record refers to which.

Source: containerd core/metadata/gc.go scanRoots, references (v1.6 to v2.4). The graph is the union of what the versions
keep: an image is a root unless it has expired and has a back reference, back references and conditions are edges,
sandboxes outside ``v1`` count, and if one reference has two records, both count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from drydock.model.names import Digest, Kind, Ref, UnixNano, snapshot_ref
from drydock.model.records import Blob, Container, Image, Ingest, Lease, Metadata, Sandbox, Snapshot
from drydock.model.text import shown
from drydock.verdict.labels import FLAT, back_references, goes_with_others, is_root, references

_EXPIRING = 4
"""From this schema version on, the GC drops expired images (containerd core/metadata/migrations.go, v2.0)."""

Record = Image | Container | Blob | Ingest | Snapshot | Sandbox | Lease


class Flat(NamedTuple):
    """A record that the GC visits flat: a flat blob refers to nothing, and a flat snapshot only to its parent."""

    ref: Ref


Node = Ref | Flat
"""A record as the GC visits it: with all its references, written as its ``Ref``, or flat."""


def visited(node: Node) -> Ref:
    """The reference of a node's record."""
    return node.ref if isinstance(node, Flat) else node


class Ends(tuple[Node, ...]):
    """The targets of a node none of which refers to anything."""

    __slots__ = ()


class Edge(NamedTuple):
    """One reference, and where it comes from."""

    target: Node
    words: str
    """The role of the target, such as ``its parent``; the name of the label follows if a label is the reference."""
    label: bytes = b""

    @property
    def how(self) -> str:
        """The role of the target with its label, shown."""
        return f"{self.words} {shown(self.label)}" if self.label else self.words


class Graph:
    """The records of one meta.db by reference. Every edge stays within a namespace."""

    def __init__(self, metadata: Metadata) -> None:
        self.records: dict[Ref, Record] = {}
        # Before containerd 2.0, which introduced this schema version, no image expires, whatever its labels are.
        self._images_expire = metadata.schema_version >= _EXPIRING
        # Further records of the same reference: a sandbox in v1 and outside, an ingest of schema 1 and a later one.
        self._again: dict[Ref, list[Record]] = {}
        self._back: dict[Ref, list[tuple[Ref, bytes]]] = {}
        self._targets: dict[Node, tuple[Node, ...]] = {}
        for records in (
            metadata.images,
            metadata.containers,
            metadata.blobs,
            metadata.ingests,
            metadata.snapshots,
            metadata.sandboxes,
            metadata.leases,
        ):
            for record in records:
                if self.records.setdefault(record.ref, record) is not record:
                    self._again.setdefault(record.ref, []).append(record)
        carriers: tuple[list[Image] | list[Container] | list[Blob] | list[Snapshot], ...] = (
            metadata.images,
            metadata.containers,
            metadata.blobs,
            metadata.snapshots,
        )
        for carrier in carriers:
            for record in carrier:
                if not record.labels:
                    continue
                for source, label in back_references(record.namespace, record.labels):
                    self._back.setdefault(source, []).append((record.ref, label))

    def roots(self, now: UnixNano) -> Iterator[tuple[Ref, str]]:
        """The records that the GC starts from, without leases, with the reason."""
        for ref, record in self.records.items():
            # This is the case for nearly all records.
            if type(record) is Blob and not record.labels:
                continue
            reason = self._root_reason(record, now)
            if reason is not None:
                yield ref, reason
        for ref, others in self._again.items():
            for record in others:
                reason = self._root_reason(record, now)
                if reason is not None:
                    yield ref, reason

    def _root_reason(self, record: Record, now: UnixNano) -> str | None:
        if isinstance(record, Image) and self._images_expire and goes_with_others(record.labels, now):
            return None
        return _root_reason(record, now)

    def targets(self, node: Node) -> tuple[Node, ...]:
        """What a node refers to, without the roles; computed once for a node that may have many targets."""
        record = self.records.get(node)  # type: ignore[arg-type] # what is flat is in it as little as any other
        if type(record) is Blob and not (self._back and node in self._back):
            # This is the case for nearly all nodes, and each of them is needed once or twice.
            return self._named_by(record) if record.labels else ()
        known = self._targets.get(node)
        if known is None:
            known = tuple(self._known(edge.target) for edge in self.edges(node))
            if known and visited(node).kind is not Kind.IMAGE:
                self._targets[node] = known
        return known

    def _named_by(self, blob: Blob) -> tuple[Node, ...]:
        """What the labels of a blob refer to; blobs by the ``Ref`` objects of their records, which saves memory.

        The targets of most manifests are layers, which refer to nothing: then they are :class:`Ends`.
        """
        known = self._targets.get(blob.ref)
        if known is None:
            find, back = self.records.get, self._back
            named: list[Node] = []
            lead_on = False
            for ref, _ in references(blob.ref.namespace, blob.labels):
                found = find(ref)
                if type(found) is Blob:
                    named.append(found.ref)
                    lead_on = lead_on or bool(found.labels)
                else:
                    named.append(ref)
                    lead_on = lead_on or found is not None
                lead_on = lead_on or ref in back
            known = self._targets[blob.ref] = tuple(named) if lead_on else Ends(named)
        return known

    def _known(self, node: Node) -> Node:
        """The same node; a blob by the ``Ref`` object of its record, which saves memory, because there are many."""
        record = self.records.get(visited(node))
        if not isinstance(record, Blob):
            return node
        return Flat(record.ref) if isinstance(node, Flat) else record.ref

    def edges(self, node: Node) -> Iterator[Edge]:
        """What a node refers to."""
        ref = visited(node)
        record = self.records.get(ref)
        edges = _flat_edges if isinstance(node, Flat) else _edges
        if record is not None:
            yield from edges(record)
            for other in self._again.get(ref, ()):
                yield from edges(other)
        if not isinstance(node, Flat):
            # Also without a record: a pull names what it did not fetch yet (gc.go references, first lines).
            for target, label in self._back.get(ref, ()):
                yield Edge(target, "kept with it by its own label", label)


def _blob(namespace: bytes, digest: Digest) -> Ref:
    return Ref(Kind.BLOB, namespace, digest)


def _root_reason(record: Record, now: UnixNano) -> str | None:
    """Why the GC starts from a record; None if it does not."""
    if isinstance(record, Image):
        return "an image"
    if isinstance(record, Container):
        return "a container"
    if isinstance(record, Sandbox):
        return "a sandbox"
    if isinstance(record, Ingest):
        return "a write that has no lease and has not expired" if record.expires and now <= record.expires else None
    if isinstance(record, Blob | Snapshot) and is_root(record.labels):
        return "labelled containerd.io/gc.root"
    return None


def _edges(record: Record) -> Iterator[Edge]:
    if isinstance(record, Lease):
        yield from _lease_edges(record)
        return
    if isinstance(record, Ingest):
        if record.expected is not None:
            yield Edge(_blob(record.namespace, record.expected), "the blob it waits for")
        return
    if isinstance(record, Image):
        yield Edge(_blob(record.namespace, record.target), "its target")
    elif isinstance(record, Snapshot):
        parent = record.parent_ref
        if parent is not None:
            yield Edge(parent, "its parent")
    elif isinstance(record, Container) and record.snapshotter:
        snapshot = snapshot_ref(record.namespace, record.snapshotter, record.snapshot_key)
        yield Edge(snapshot, "its root file system")
    for target, label in references(record.namespace, record.labels):
        yield Edge(target, "named in its label", label)


def _whole(ref: Ref) -> Node:
    return ref


def _lease_edges(lease: Lease) -> Iterator[Edge]:
    # Ingests are never flat (gc.go scanRoots).
    visit = Flat if FLAT in lease.labels else _whole
    for digest in lease.blobs:
        yield Edge(visit(_blob(lease.namespace, digest)), "listed in it")
    for snapshotter, key in lease.snapshots:
        yield Edge(visit(snapshot_ref(lease.namespace, snapshotter, key)), "listed in it")
    for ingest in lease.ingests:
        yield Edge(Ref(Kind.INGEST, lease.namespace, ingest), "listed in it")
    for image in lease.images:
        yield Edge(visit(Ref(Kind.IMAGE, lease.namespace, image)), "listed in it")


def _flat_edges(record: Record) -> Iterator[Edge]:
    if isinstance(record, Snapshot):
        parent = record.parent_ref
        if parent is not None:
            yield Edge(Flat(parent), "its parent")
    elif isinstance(record, Image):
        yield Edge(Flat(_blob(record.namespace, record.target)), "its target")
