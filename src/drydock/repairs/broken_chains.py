"""Damage that the engine does not repair itself: the record or row where it begins, and all that depends on it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from drydock.model import messages
from drydock.model.findings import Finding, FindingCode, Place, Severity
from drydock.model.names import Kind, RawPath, Ref, snapshot_ref
from drydock.model.objects import ObjectKind, StoreObject, Verdict
from drydock.model.records import Snapshot
from drydock.model.store import Store
from drydock.verdict.blind_spots import backend_blindness, repair_blindness

RowName = tuple[bytes, bytes]
"""Snapshotter and name."""


@dataclass(frozen=True, slots=True)
class BrokenChain:
    """A damaged object with all that depends on it: these go, so that the engine creates them anew."""

    found: StoreObject | None
    """The damaged object; None if records and rows disagree."""
    why: str
    """One shown line."""
    refs: tuple[Ref, ...]
    """Records, the deepest first."""
    rows: tuple[RowName, ...]
    """Rows, the deepest first."""


RESTATED = frozenset((FindingCode.MISSING_ROOT, FindingCode.MISSING_TARGET))
"""Codes of findings that :func:`disagreements` repeats, with the records that they are about."""
_ROWLESS = "it is recorded, but metadata.db has no row for it"


class BrokenChains:
    """All broken chains of one root."""

    def __init__(self, verdict: Verdict, wrong: Mapping[RowName, Finding]) -> None:
        self._verdict = verdict
        self._wrong = wrong
        self._by_row: dict[RowName, list[Snapshot]] = {}
        self._children: dict[Ref, list[Snapshot]] = {}
        self._records: dict[Ref, Snapshot] = {}
        for snapshot in verdict.store.metadata.snapshots:
            self._records[snapshot.ref] = snapshot
            self._by_row.setdefault((snapshot.snapshotter, snapshot.name), []).append(snapshot)
            if snapshot.parent_ref is not None:
                self._children.setdefault(snapshot.parent_ref, []).append(snapshot)
        self._above: dict[RowName, list[RowName]] = {}
        for name, backend in verdict.store.backends.items():
            for row in backend.rows.values():
                if row.parent:
                    self._above.setdefault((name, row.parent), []).append((name, row.name))

    def __iter__(self) -> Iterator[BrokenChain]:
        for found in self._verdict.objects:
            if found.kind is ObjectKind.BLOB and found.refs and found.is_damaged:
                yield BrokenChain(found, found.note, found.refs, ())
            elif found.kind is ObjectKind.SNAPSHOT and found.refs:
                why = self._reason(found)
                if why is not None and not repair_blindness(self._verdict.store, found.snapshotter):
                    refs, rows = self.closure([self._records[ref] for ref in found.refs])
                    yield BrokenChain(found, why, refs, rows)

    def with_snapshots(self, chain: BrokenChain, rows: Iterable[RowName]) -> BrokenChain:
        """Add to a chain snapshots, and all that depends on these."""
        refs, closed = self.closure(rows)
        return replace(chain, refs=(*refs, *chain.refs), rows=closed)

    def _reason(self, found: StoreObject) -> str | None:
        """Why a recorded snapshot is broken, as one shown line; None if it is not."""
        if found.is_damaged:
            return found.note
        if found.row is None:
            return _ROWLESS if _has_lost_rows(self._verdict.store, found.snapshotter) else None
        differs = self._wrong.get((found.snapshotter, found.row))
        if differs is not None:
            return "its files differ from its layer"
        backend = self._verdict.store.backends[found.snapshotter]
        row = backend.rows[found.row]
        if row.parent and row.parent not in backend.rows:
            return "the parent of its row is missing"
        for ref in found.refs:
            record = self._records[ref]
            parent = None if record.parent_ref is None else self._records.get(record.parent_ref)
            # A snapshot works without the record of its parent: mounts follow the rows.
            known = record.parent_ref is None or parent is not None
            if known and row.parent != (b"" if parent is None else parent.name):
                return "its row has another parent than its record"
        return None

    def closure(self, start: Iterable[Snapshot | RowName]) -> tuple[tuple[Ref, ...], tuple[RowName, ...]]:
        """Records and rows of snapshots and of all that depends on them, the deepest first."""
        refs: dict[Ref, None] = {}
        rows: dict[RowName, None] = {}
        todo: list[Snapshot | RowName] = list(start)
        while todo:
            each = todo.pop()
            if isinstance(each, Snapshot):
                if each.ref not in refs:
                    refs[each.ref] = None
                    todo += self._children.get(each.ref, [])
                    todo.append((each.snapshotter, each.name))
            elif each not in rows:
                rows[each] = None
                todo += self._by_row.get(each, [])
                todo += self._above.get(each, [])
        depth = self._depths(refs)
        backends = self._verdict.store.backends
        there = [row for row in rows if row[1] in backends[row[0]].rows]
        return tuple(sorted(refs, key=lambda ref: (-depth[ref], ref.namespace, ref.key))), tuple(reversed(there))

    def _depths(self, refs: Iterable[Ref]) -> dict[Ref, int]:
        depths: dict[Ref, int] = {}
        for ref in refs:
            path: list[Ref] = []
            here: Ref | None = ref
            # A loop of parents, which only a hostile file has, ends where it began.
            while here is not None and here in self._records and here not in depths and here not in path:
                path.append(here)
                here = self._records[here].parent_ref
            start = depths.get(here, 0) if here is not None else 0
            for number, each in enumerate(reversed(path), 1):
                depths[each] = start + number
        return depths


def disagreements(store: Store, adoptable: Container[Ref]) -> list[tuple[Finding, tuple[Ref, ...]]]:
    """Find records and rows that contradict each other, apart from missing data.

    Args:
        store: one root.
        adoptable: the blobs without a record that ``repair --adopt`` can add one for.

    Returns:
        Each finding, with the records that it is about.
    """
    said: list[tuple[Finding, tuple[Ref, ...]]] = []
    by_ref = {snapshot.ref: snapshot for snapshot in store.metadata.snapshots}
    for snapshot in store.metadata.snapshots:
        key, place = snapshot.key, Place(store.metadata.path)
        backend = store.backends.get(snapshot.snapshotter)
        row = None if backend is None else backend.rows.get(snapshot.name)
        parent = by_ref.get(snapshot.parent_ref) if snapshot.parent_ref is not None else None
        if row is None and _has_lost_rows(store, snapshot.snapshotter):
            finding = messages.MISSING_SNAPSHOT(id=key, problem=_ROWLESS).at(
                place, key, severity=Severity.DAMAGE, remedy=""
            )
        elif snapshot.parent_ref is not None and parent is None:
            finding = messages.MISSING_PARENT(snapshot=key, parent=snapshot.parent).at(place, key)
        elif row is not None and row.parent != (b"" if parent is None else parent.name):
            finding = messages.OTHER_PARENT(snapshot=key).at(place, key)
        else:
            continue
        said.append((finding, (snapshot.ref,)))
    for container in store.metadata.containers:
        if not container.snapshotter or not container.snapshot_key:
            continue
        ref = snapshot_ref(container.namespace, container.snapshotter, container.snapshot_key)
        if ref not in by_ref:
            text = messages.MISSING_ROOT(container=container.id, snapshot=container.snapshot_key)
            finding = text.at(Place(store.metadata.path), container.id)
            said.append((finding, (container.ref,)))
    blobs = {(ref.namespace, ref.key) for ref in store.metadata.blobs.refs()}
    for image in store.metadata.images:
        if image.target and (image.namespace, image.target) not in blobs:
            is_adoptable = Ref(Kind.BLOB, image.namespace, image.target) in adoptable
            message = messages.ADOPTABLE_TARGET if is_adoptable else messages.MISSING_TARGET
            place = Place(store.metadata.path)
            said.append((message(image=image.name, target=image.target).at(place, image.name), (image.ref,)))
    return said


def wrong_orphans(store: Store) -> Iterator[Finding]:
    """Find blobs without a record and with wrong bytes: a pull adopts one of the right size without reading it.

    Source: containerd core/metadata/content.go Writer, createAndCopy (v2.1).
    """
    recorded = set(store.metadata.blobs.digests)
    for digest in sorted(store.wrong - recorded):
        place = Place(RawPath(store.root.path + b"/" + store.content.blobs[digest].path))
        yield messages.CORRUPT_ORPHAN(blob=digest).at(place, digest)


def _has_lost_rows(store: Store, snapshotter: bytes) -> bool:
    """Whether rows were lost and all else of the snapshotter was read: then a record without a row lost its row."""
    return bool(backend_blindness(store, snapshotter)) and not repair_blindness(store, snapshotter)


def stale_children(store: Store) -> Iterator[tuple[Snapshot, bytes]]:
    """Find snapshots that list a child without a record: containerd refuses to remove them by name."""
    keys = {snapshot.ref for snapshot in store.metadata.snapshots}
    for snapshot in store.metadata.snapshots:
        for child in snapshot.children:
            if snapshot_ref(snapshot.namespace, snapshot.snapshotter, child) not in keys:
                yield snapshot, child


def stale_links(store: Store, gone: Container[RowName], dropped: Container[Ref]) -> Iterator[tuple[bytes, bytes]]:
    """Find entries of ``parents`` (snapshotter and key) for rows that were lost, or are dropped and have no parent row.

    Args:
        store: the root.
        gone: rows that a repair drops.
        dropped: records that the repair drops; the row of any other record may still be found.
    """
    wanted = {(each.snapshotter, each.name) for each in store.metadata.snapshots if each.ref not in dropped}
    for snapshotter, backend in store.backends.items():
        if repair_blindness(store, snapshotter):
            continue
        for key, name in backend.links.items():
            row = backend.rows.get(name)
            lost = row is None and (snapshotter, name) not in wanted
            if lost or (row is not None and (snapshotter, name) in gone and row.parent not in backend.rows):
                yield snapshotter, key
