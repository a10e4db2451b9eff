"""The graph of containerd's records: which record refers to which.

Source: containerd core/metadata/gc.go scanRoots, references (v1.6 to v2.4). The graph is the union of what the versions
keep: an image is a root unless it has expired and has a back reference, back references and conditions are edges,
sandboxes outside ``v1`` count, and if one reference has two records, both count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple, TypeAlias

from drydock.model.label_names import CONTENT_LABEL
from drydock.model.names import Digest, Kind, Ref, UnixNano, snapshot_ref
from drydock.model.records import Blob, Container, Image, Ingest, Labels, Lease, Metadata, Sandbox, Snapshot
from drydock.model.text import shown
from drydock.verdict.labels import FLAT, back_references, goes_with_others, is_root, may_refer_back, references

_EXPIRING = 4
"""From this schema version on, the GC drops expired images (containerd core/metadata/migrations.go, v2.0)."""

Record = Image | Container | Blob | Ingest | Snapshot | Sandbox | Lease


class Flat(NamedTuple):
    """A record that the GC visits flat: a flat blob refers to nothing, and a flat snapshot only to its parent."""

    ref: Ref


Node = Ref | Flat
"""A record as the GC visits it: with all its references, written as its ``Ref``, or flat."""


Key: TypeAlias = "int | Node"
"""A node in the marks of :mod:`drydock.verdict.reach`: the place of a blob's record, or the node itself."""


def visited(node: Node) -> Ref:
    """The reference of a node's record."""
    return node.ref if isinstance(node, Flat) else node


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


class Records(Mapping[Ref, Record]):
    """The records of one meta.db by reference, of two with one reference the first: blobs by their places among all."""

    def __init__(self, metadata: Metadata) -> None:
        self.blobs = metadata.blobs
        # Further records of the same reference: a sandbox in v1 and outside, an ingest of schema 1 and a later one.
        self.again: dict[Ref, list[Record]] = {}
        self.places: dict[bytes, dict[bytes, int]] = {}
        """The place of each blob by namespace and digest."""
        self._before: dict[Ref, Record] = {}
        self._after: dict[Ref, Record] = {}
        self._add(self._before, metadata.images, metadata.containers)
        self._add(self._after, metadata.ingests, metadata.snapshots, metadata.sandboxes, metadata.leases)
        for namespace, row in self.blobs.rows():
            digests = self.blobs.digests[row.start : row.stop]
            known = self.places.setdefault(namespace, {})
            if not known:
                known.update(zip(digests, row, strict=True))
                if len(known) == len(row):  # no digest comes twice, unless the database is damaged
                    continue
                known.clear()
            for place, digest in zip(row, digests, strict=True):
                if known.setdefault(digest, place) != place:
                    self.again.setdefault(self.blobs.ref(place), []).append(self.blobs[place])

    def _add(self, records: dict[Ref, Record], *kinds: Iterable[Record]) -> None:
        for record in chain.from_iterable(kinds):
            if records.setdefault(record.ref, record) is not record:
                self.again.setdefault(record.ref, []).append(record)

    def place(self, ref: Ref) -> int | None:
        """The place of a blob's record; None without one, and for other references."""
        known = self.places.get(ref.namespace) if ref.kind is Kind.BLOB else None
        return None if known is None else known.get(ref.key)

    def __getitem__(self, ref: Ref) -> Record:
        if ref.kind is Kind.BLOB:
            place = self.place(ref)
            if place is None:
                raise KeyError(ref)
            return self.blobs[place]
        found = self._before.get(ref)
        return self._after[ref] if found is None else found

    def __contains__(self, ref: object) -> bool:
        if not isinstance(ref, Ref):
            return False
        return self.place(ref) is not None if ref.kind is Kind.BLOB else ref in self._before or ref in self._after

    def __iter__(self) -> Iterator[Ref]:
        yield from self._before
        for namespace, known in self.places.items():
            for digest in known:
                yield Ref(Kind.BLOB, namespace, digest)
        yield from self._after

    def __len__(self) -> int:
        return len(self._before) + sum(map(len, self.places.values())) + len(self._after)

    def others(self) -> Iterator[Ref]:
        """All but blobs."""
        return chain(self._before, self._after)

    def may_be_roots(self) -> Iterator[tuple[Ref, Record]]:
        """All but most blobs, which are no roots, and nearly all records."""
        yield from self._before.items()
        for place in self.blobs.labels if is_root(self.blobs.label_names()) else ():
            ref = self.blobs.ref(place)
            if self.place(ref) == place:
                yield ref, self.blobs[place]
        yield from self._after.items()


class Graph:
    """The records of one meta.db by reference. Every edge stays within a namespace."""

    def __init__(self, metadata: Metadata) -> None:
        self.records = Records(metadata)
        self._blobs = metadata.blobs
        # Before containerd 2.0, which introduced this schema version, no image expires, whatever its labels are.
        self._images_expire = metadata.schema_version >= _EXPIRING
        self._back: dict[Ref, list[tuple[Ref, bytes]]] = {}
        self._targets: dict[Node, tuple[Node, ...]] = {}
        labelled = self._blobs.labels if may_refer_back(self._blobs.label_names()) else ()
        carriers: Iterator[Image | Container | Blob | Snapshot] = chain(
            metadata.images, metadata.containers, map(self._blobs.__getitem__, labelled), metadata.snapshots
        )
        for record in carriers:
            if not record.labels:
                continue
            for source, label in back_references(record.namespace, record.labels):
                self._back.setdefault(source, []).append((record.ref, label))
        # What more than the labels of its record leads on from, and the blobs that lead on at all.
        self._unusual = frozenset(map(self.key, chain(self._back, self.records.again)))
        self.leading = bytearray(len(self._blobs))
        """For each place of a blob's record, whether it may refer to something."""
        for key in chain(self._unusual, self._blobs.labels):
            if isinstance(key, int):
                self.leading[key] = True

    def roots(self, now: UnixNano) -> Iterator[tuple[Ref, str]]:
        """The records that the GC starts from, without leases, with the reason."""
        for ref, record in self.records.may_be_roots():
            reason = self._root_reason(record, now)
            if reason is not None:
                yield ref, reason
        for ref, others in self.records.again.items():
            for record in others:
                reason = self._root_reason(record, now)
                if reason is not None:
                    yield ref, reason

    def _root_reason(self, record: Record, now: UnixNano) -> str | None:
        if isinstance(record, Image) and self._images_expire and goes_with_others(record.labels, now):
            return None
        return _root_reason(record, now)

    def key(self, node: Node) -> Key:
        """The place of a blob's record that is visited with all its references; any other node itself."""
        place = None if isinstance(node, Flat) else self.records.place(node)
        return node if place is None else place

    def node(self, key: Key) -> Node:
        """The node of a key."""
        return self._blobs.ref(key) if isinstance(key, int) else key

    def followed(self, key: Key) -> Iterable[Key]:
        """As :meth:`targets`, by keys."""
        if not isinstance(key, int) or key in self._unusual:
            place = self._target_alone(key)
            return (place,) if place is not None else [self.key(edge.target) for edge in self.edges(self.node(key))]
        labels = self._blobs.labels.get(key)
        return self._named_by(self._blobs.namespace(key), labels) if labels else ()

    def _target_alone(self, key: Key) -> int | None:
        """The place of the blob that an image names, if the image refers to nothing else: nearly every image."""
        if isinstance(key, int | Flat) or key.kind is not Kind.IMAGE or key in self._unusual:
            return None
        record = self.records.get(key)
        return self.target(record) if isinstance(record, Image) and not record.labels else None

    def target(self, image: Image) -> int | None:
        """The place of the record of the blob that an image names; None if there is none."""
        known = self.records.places.get(image.namespace)
        return None if known is None else known.get(image.target)

    def _named_by(self, namespace: bytes, labels: Labels) -> Sequence[Key]:
        # The hot path: once for each manifest, and nearly all of its labels name its layers.
        known, found = self.records.places[namespace], list[Key]()
        places = list(map(known.get, labels.values()))
        if None not in places and _name_content(tuple(labels)):
            return places  # type: ignore[return-value] # as just asked
        for label, value in labels.items():
            if label.startswith(CONTENT_LABEL) and (place := known.get(value)) is not None:
                found.append(place)
            else:
                found += [self.key(ref) for ref, _ in references(namespace, {label: value})]
        return found

    def targets(self, node: Node) -> tuple[Node, ...]:
        """What a node refers to, without the roles; computed once for a node that may have many targets."""
        known = self._targets.get(node)
        if known is None:
            key = self.key(node)
            if isinstance(key, int) and not self.leading[key]:
                return ()
            known = tuple([edge.target for edge in self.edges(node)])
            if known and visited(node).kind is not Kind.IMAGE:
                self._targets[node] = known
        return known

    def edges(self, node: Node) -> Iterator[Edge]:
        """What a node refers to."""
        ref = visited(node)
        record = self.records.get(ref)
        edges = _flat_edges if isinstance(node, Flat) else _edges
        if record is not None:
            yield from edges(record)
            for other in self.records.again.get(ref, ()):
                yield from edges(other)
        if not isinstance(node, Flat):
            # Also without a record: a pull names what it did not fetch yet (gc.go references, first lines).
            for target, label in self._back.get(ref, ()):
                yield Edge(target, "kept with it by its own label", label)


@lru_cache(1024)
def _name_content(labels: tuple[bytes, ...]) -> bool:
    """Whether the values of these labels are digests of blobs that their record refers to."""
    return all(label.startswith(CONTENT_LABEL) for label in labels)


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
