"""The state of each object, by comparing records, rows and data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import lt

from drydock.model.data import Backend, BlobFiles, IngestDirectory, LayoutKind, Row, RowKind, SnapshotEntry
from drydock.model.names import Digest, Ref, ingest_name
from drydock.model.objects import ObjectKind, State, StoreObject, StoreObjects
from drydock.model.policies import BlobCheck
from drydock.model.records import Ingest, Snapshot
from drydock.model.store import Store

_STRENGTH = {State.LIVE: 3, State.LEASED: 2, State.UNREACHABLE: 1}

_PART = 256
"""Blobs that are looked at together."""

Holders = Callable[[Ref], tuple[State, tuple[Ref, ...]]]
"""Maps a record to LIVE, LEASED or UNREACHABLE, and to what keeps it (``Reach.holders``)."""


def judge_blobs(store: Store, holders: Holders, starts: Sequence[Ref | None]) -> StoreObjects:
    """Compare the blob records of all namespaces with the files below ``blobs/``.

    Args:
        store: the root as it was read.
        holders: what keeps a record.
        starts: for each record of a blob the first that ``holders`` gives, if it is LIVE and known already.
    """
    return _BlobJudge(store, holders).judge(starts)


class _BlobJudge:
    """Compares blob records with files."""

    def __init__(self, store: Store, holders: Holders) -> None:
        self._store = store
        self._holders = holders
        self._blobs = store.metadata.blobs
        self._files = BlobFiles.of(store.content.blobs)
        self._compared = store.verified is not BlobCheck.NONE
        self._again = _recorded_again(self._blobs.digests)
        self._sizes, self._allocated = self._files.amounts()
        self._objects = StoreObjects((), self._files)
        self._met = 0  # files
        self._after = 0  # behind the last of them: records are in the order of the files, but for a second namespace

    def judge(self, starts: Sequence[Ref | None]) -> StoreObjects:
        recorded = self._blobs.sizes()
        for first in range(0, len(starts), _PART):
            places = range(first, min(first + _PART, len(starts)))
            if not self._are_usual(places, starts, recorded):
                self._one_by_one(places, starts, recorded)
        self._objects.extend(self._unrecorded() if self._met < len(self._files.digests) else ())
        for junk in self._store.content.junk:
            name, note = junk.path.rpartition(b"/")[2], "its name is not a digest"
            self._objects.append(StoreObject(ObjectKind.BLOB, name, State.FOREIGN, junk.allocated, junk, note=note))
        return self._objects

    def _are_usual(self, places: range, starts: Sequence[Ref | None], recorded: Sequence[int | None]) -> bool:
        """Add these blobs together, if their files are the next ones and all of them are usual, as nearly always."""
        here = slice(places.start, places.stop)
        there = slice(self._after, self._after + len(places))
        digests = self._blobs.digests[here]
        known = [start for start in starts[here] if start is not None]
        if self._again or self._store.wrong or len(known) < len(places) or self._files.digests[there] != digests:
            return False
        if self._compared and recorded[here] != self._sizes[there]:
            return False
        self._objects.extend_usual(digests, known, self._allocated[there])
        self._met += len(places)
        self._after += len(places)
        return True

    def _one_by_one(self, places: range, starts: Sequence[Ref | None], recorded: Sequence[int | None]) -> None:
        files, again, wrong = self._files, self._again, self._store.wrong
        for number in places:
            digest, start, size, after = self._blobs.digests[number], starts[number], recorded[number], self._after
            is_next = after < len(files.digests) and files.digests[after] == digest
            place = after if is_next else files.place(digest)
            if place is not None:
                self._after = place + 1
                is_same = not self._compared or size == self._sizes[place] or size is None
                if start is not None and is_same and not (again and digest in again) and digest not in wrong:
                    self._objects.extend_usual((digest,), (start,), (self._allocated[place],))
                    self._met += 1
                    continue
            records = again.get(digest, [number])
            if records[0] == number:
                self._met += place is not None
                self._objects.append(self._unusual(records, place))

    def _unusual(self, places: Sequence[int], place: int | None) -> StoreObject:
        """A blob by the places of all its records, and that of its file."""
        refs = tuple(self._blobs.ref(each) for each in places)
        state, held_by = self._holders(refs[0]) if len(refs) == 1 else _merge(refs, self._holders)
        digest, records = Digest(refs[0].key), refs[0] if len(refs) == 1 else refs
        if place is None:
            found = StoreObject(ObjectKind.BLOB, digest, state, 0, None, records, state, held_by=held_by)
            if self._store.content.complete:
                found.state, found.note = State.MISSING, "it is recorded, but its file is missing"
            else:
                found.note = "it is recorded; whether its file exists could not be read"
            return found
        size, allocated = self._files.amount(place)
        found = StoreObject(ObjectKind.BLOB, digest, state, allocated, self._files, records, state, held_by=held_by)
        if digest in self._store.wrong:
            found.state, found.note = State.CORRUPT, "its bytes do not match its digest"
        if self._compared:
            sizes = {each for each in map(self._blobs.size, places) if each is not None}
            if not sizes <= {size}:
                recorded = ", ".join(str(each) for each in sorted(sizes))
                found.state, found.note = State.CORRUPT, f"its record says {recorded} bytes, but its file has {size}"
        return found

    def _unrecorded(self) -> Iterator[StoreObject]:
        """The files that no record names."""
        adopting: dict[Digest, list[Ingest]] = {}
        for ingest in self._store.metadata.ingests:
            if ingest.expected is not None:
                adopting.setdefault(ingest.expected, []).append(ingest)
        named = set(self._blobs.digests)
        for place, digest in enumerate(self._files.digests):
            if digest in named:
                continue
            found = StoreObject(ObjectKind.BLOB, digest, State.ORPHANED, self._files.amount(place)[1], self._files)
            if digest in adopting:
                found.records = tuple(ingest.ref for ingest in adopting[digest])
                found.state, found.held_by = _merge(found.records, self._holders)
                found.reach = found.state
                found.note = "a write in progress will adopt it"
            yield found


def _recorded_again(digests: Sequence[Digest]) -> dict[Digest, list[int]]:
    """The places of the records of each blob that several namespaces record."""
    if all(map(lt, digests, islice(digests, 1, None))):  # one namespace has them all
        return {}
    again: dict[Digest, list[int]] = {}
    for place, digest in enumerate(digests):
        again.setdefault(digest, []).append(place)
    return {digest: places for digest, places in again.items() if len(places) > 1}


def judge_ingests(store: Store, holders: Holders) -> Iterator[StoreObject]:
    """Compare the ingest records with the directories in ``ingest/``, which are named by hashes of backend refs."""
    recorded: dict[bytes, list[Ingest]] = {}
    for ingest in store.metadata.ingests:
        if ingest.backend_ref:
            recorded.setdefault(ingest_name(ingest.backend_ref), []).append(ingest)
        else:
            yield _ingest([ingest], None, holders)
    for directory in store.content.ingests:
        # containerd opens a directory by its name, so the ref file may be missing (content/local/store.go ingestRoot).
        records = recorded.pop(directory.name, None)
        if records is not None:
            yield _ingest(records, directory, holders)
            continue
        found = StoreObject(ObjectKind.INGEST, directory.name, State.ORPHANED, directory.allocated, directory)
        if not directory.is_plain:
            found.state, found.note = State.FOREIGN, "it has files that containerd does not put there"
        elif directory.backend_ref is None:
            found.note = "it has no ref file, so containerd never removes it"
        elif ingest_name(directory.backend_ref) != directory.name:
            found.note = "it is not named after its ref, so containerd never removes it"
        yield found
    for records in recorded.values():
        yield _ingest(records, None, holders)


def judge_snapshots(store: Store, holders: Holders) -> Iterator[StoreObject]:
    """Compare the snapshot records with the rows and directories of each snapshotter."""
    records: dict[bytes, list[Snapshot]] = {}
    for snapshot in store.metadata.snapshots:
        records.setdefault(snapshot.snapshotter, []).append(snapshot)
    for snapshotter in sorted({*records, *store.backends}):
        backend = store.backends.get(snapshotter)
        yield from _judge_backend(snapshotter, backend, records.get(snapshotter, []), holders)


def is_unpacked(store: Store, found: StoreObject) -> bool:
    """Whether a snapshot holds an unpacked layer: it is on disk, and committed as far as its row is known."""
    if found.is_damaged:
        return False
    backend = store.backends.get(found.snapshotter)
    row = None if backend is None or found.row is None else backend.rows.get(found.row)
    return row is None or row.kind is RowKind.COMMITTED


def _judge_backend(
    snapshotter: bytes, backend: Backend | None, snapshots: list[Snapshot], holders: Holders
) -> Iterator[StoreObject]:
    by_name: dict[bytes, list[Snapshot]] = {}
    for snapshot in snapshots:
        by_name.setdefault(snapshot.name, []).append(snapshot)
    entries = {} if backend is None else {entry.id: entry for entry in backend.entries if entry.id is not None}
    rows = {} if backend is None else backend.rows
    for name, same in by_name.items():
        refs = tuple(snapshot.ref for snapshot in same)
        state, held_by = _merge(refs, holders)
        found = StoreObject(ObjectKind.SNAPSHOT, same[0].key, state, 0, None, refs, state, snapshotter, held_by=held_by)
        row = rows.get(name)
        if backend is None:
            found.note = "its snapshotter keeps its data elsewhere"
        elif row is None:
            if backend.layout is not LayoutKind.FOREIGN and backend.complete:
                found.state, found.note = State.MISSING, "it is recorded, but metadata.db has no row for it"
        else:
            _add_data(found, backend, row, entries.get(row.id))
        yield found
    if backend is None:
        return
    for name, row in rows.items():
        if name not in by_name:
            found = StoreObject(ObjectKind.SNAPSHOT, name, State.ORPHANED, 0, None, snapshotter=snapshotter)
            _add_data(found, backend, row, entries.get(row.id))
            if backend.layout is LayoutKind.FOREIGN:
                found.state = State.FOREIGN
            elif found.state is State.ORPHANED:
                found.note = "metadata.db has a row for it"
            yield found
    ids = {row.id for row in rows.values()}
    for entry in backend.entries:
        # If btrfs has a number in two of its folders, one of the two was left behind.
        if entry.id is None or entry.id not in ids or entries[entry.id] is not entry:
            yield _rowless(snapshotter, backend, entry)


def _add_data(found: StoreObject, backend: Backend, row: Row, entry: SnapshotEntry | None) -> None:
    found.row = row.name
    if entry is not None:
        found.disk = entry
        found.allocated = entry.allocated if entry.allocated is not None else row.size or 0
        if not entry.is_directory and backend.layout is not LayoutKind.FOREIGN:
            found.state, found.note = State.CORRUPT, f"{row.id} is not a directory"
        elif entry.lacks_layer and found.refs:
            found.state, found.note = State.CORRUPT, f"{row.id}/layer.erofs is missing"
    elif backend.layout is LayoutKind.FOREIGN or not backend.complete:
        found.allocated = row.size or 0
    elif backend.layout is LayoutKind.NATIVE and row.kind is RowKind.VIEW and row.parent:
        # A view with a parent uses its parent's directory (plugins/snapshots/native/native.go createSnapshot).
        return
    elif found.refs:
        found.state, found.note = State.MISSING, f"it is recorded, but its directory {row.id} is missing"
    else:
        found.note = "metadata.db has a row for it, but it has no directory"


def _rowless(snapshotter: bytes, backend: Backend, entry: SnapshotEntry) -> StoreObject:
    found = StoreObject(
        ObjectKind.SNAPSHOT, entry.name, State.ORPHANED, entry.allocated or 0, entry, snapshotter=snapshotter
    )
    if backend.layout in (LayoutKind.OVERLAY, LayoutKind.EROFS):
        # The overlay snapshotter's clean-up removes every name that is not the number of a row (overlay.go
        # getCleanupDirectories); that of erofs never removes new-* (erofs.go getCleanupDirectories, v2.3.4).
        found.note = "no row has its number" if entry.id is not None else "an interrupted operation left it"
    elif backend.layout is LayoutKind.NATIVE and (entry.id is not None or entry.name.startswith((b"new-", b"rm-"))):
        found.note = "no row has its number" if entry.id is not None else "an interrupted operation left it"
    else:
        found.state, found.note = State.FOREIGN, "drydock does not fully understand its layout"
    return found


def _ingest(records: list[Ingest], directory: IngestDirectory | None, holders: Holders) -> StoreObject:
    refs = tuple(record.ref for record in records)
    state, held_by = _merge(refs, holders)
    found = StoreObject(ObjectKind.INGEST, records[0].name, state, 0, None, refs, state, held_by=held_by)
    if directory is None:
        # Not damage: containerd makes the directory when the write continues (core/metadata/content.go Writer).
        found.note = "nothing was received"
    else:
        found.disk, found.allocated = directory, directory.allocated
        received = f"{directory.received}" if directory.total is None else f"{directory.received} of {directory.total}"
        found.note = f"{received} bytes were received"
    return found


def _merge(refs: tuple[Ref, ...], holders: Holders) -> tuple[State, tuple[Ref, ...]]:
    """The strongest state of all records of one object, and what keeps it."""
    state = State.UNREACHABLE
    merged: list[Ref] = []
    for ref in refs:
        here, by = holders(ref)
        if _STRENGTH[here] > _STRENGTH[state]:
            state, merged = here, list(by)
        elif here is state:
            merged += [holder for holder in by if holder not in merged]
    return state, tuple(merged)
