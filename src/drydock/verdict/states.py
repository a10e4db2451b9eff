"""States: records, rows and data compared, object by object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256

from drydock.model.data import Backend, IngestDirectory, LayoutKind, Row, RowKind, SnapshotEntry
from drydock.model.names import Digest, Ref
from drydock.model.objects import ObjectKind, State, StoreObject
from drydock.model.records import Blob, Ingest, Snapshot
from drydock.model.store import Store

_UNREACHED: tuple[State, tuple[Ref, ...]] = (State.UNREACHABLE, ())
_STRENGTH = {State.LIVE: 3, State.LEASED: 2, State.UNREACHABLE: 1}

Reached = Mapping[Ref, tuple[State, tuple[Ref, ...]]]
"""For each record that something reaches: LIVE or LEASED, and what keeps it."""


def judge_blobs(store: Store, reached: Reached) -> Iterator[StoreObject]:
    """Blob records of all namespaces against the files below ``blobs/``."""
    recorded: dict[Digest, Blob] = {}
    again: dict[Digest, list[Blob]] = {}  # by other namespaces
    for blob in store.metadata.blobs:
        if recorded.setdefault(blob.digest, blob) is not blob:
            again.setdefault(blob.digest, []).append(blob)
    adopting: dict[Digest, list[Ingest]] = {}
    for ingest in store.metadata.ingests:
        if ingest.expected is not None:
            adopting.setdefault(ingest.expected, []).append(ingest)
    for digest, first in recorded.items():
        records = [first, *again.get(digest, ())]
        refs = tuple(record.ref for record in records)
        state, holders = _merge(refs, reached)
        file = store.content.blobs.get(digest)
        found = StoreObject(ObjectKind.BLOB, digest, state, 0, None, refs, state, held_by=holders)
        if file is None and not store.content.complete:
            found.note = "recorded; whether its file is there could not be read"
        elif file is None:
            found.state, found.note = State.MISSING, "recorded, and the file is not there"
        else:
            found.data, found.allocated = file, file.allocated
            if digest in store.wrong:
                found.state, found.note = State.CORRUPT, "its bytes do not hash to its digest"
            if store.verified != "none" and not all(record.size in (None, file.size) for record in records):
                sizes = {record.size for record in records if record.size is not None}
                said = ", ".join(str(size) for size in sorted(sizes))
                found.state, found.note = (
                    State.CORRUPT,
                    f"recorded with {said} bytes, the file has {file.size}",
                )
        yield found
    for digest, file in store.content.blobs.items():
        if digest in recorded:
            continue
        found = StoreObject(ObjectKind.BLOB, digest, State.ORPHANED, file.allocated, file)
        if digest in adopting:
            found.refs = tuple(ingest.ref for ingest in adopting[digest])
            found.state, found.held_by = _merge(found.refs, reached)
            found.reach = found.state
            found.note = "a write in progress will adopt it"
        yield found
    for junk in store.content.junk:
        name = junk.path.rpartition(b"/")[2]
        yield StoreObject(ObjectKind.BLOB, name, State.FOREIGN, junk.allocated, junk, note="not named by a digest")


def judge_ingests(store: Store, reached: Reached) -> Iterator[StoreObject]:
    """Ingest records against the directories in ``ingest/``: a directory is named by the hash of its backend ref."""
    recorded: dict[bytes, list[Ingest]] = {}
    for ingest in store.metadata.ingests:
        if ingest.backend_ref:
            recorded.setdefault(sha256(ingest.backend_ref).hexdigest().encode(), []).append(ingest)
        else:
            yield _ingest([ingest], None, reached)
    for directory in store.content.ingests:
        # Only a directory whose name fits is ever opened; its ref file may be lost (content/local/store.go ingestRoot).
        records = recorded.pop(directory.name, None)
        if records is not None:
            yield _ingest(records, directory, reached)
            continue
        found = StoreObject(ObjectKind.INGEST, directory.name, State.ORPHANED, directory.allocated, directory)
        if not directory.is_plain:
            found.state, found.note = State.FOREIGN, "holds what containerd does not put there"
        elif directory.backend_ref is None:
            found.note = "no ref file: containerd never frees it"
        elif sha256(directory.backend_ref).hexdigest().encode() != directory.name:
            found.note = "not named after its ref: containerd never frees it"
        yield found
    for records in recorded.values():
        yield _ingest(records, None, reached)


def judge_snapshots(store: Store, reached: Reached) -> Iterator[StoreObject]:
    """Snapshot records against their snapshotter's rows and directories, for every snapshotter."""
    records: dict[bytes, list[Snapshot]] = {}
    for snapshot in store.metadata.snapshots:
        records.setdefault(snapshot.snapshotter, []).append(snapshot)
    for snapshotter in sorted({*records, *store.backends}):
        backend = store.backends.get(snapshotter)
        yield from _judge_backend(snapshotter, backend, records.get(snapshotter, []), reached)


def _judge_backend(
    snapshotter: bytes, backend: Backend | None, snapshots: list[Snapshot], reached: Reached
) -> Iterator[StoreObject]:
    by_name: dict[bytes, list[Snapshot]] = {}
    for snapshot in snapshots:
        by_name.setdefault(snapshot.name, []).append(snapshot)
    entries = {} if backend is None else {entry.id: entry for entry in backend.entries if entry.id is not None}
    rows = {} if backend is None else backend.rows
    for name, same in by_name.items():
        refs = tuple(snapshot.ref for snapshot in same)
        state, holders = _merge(refs, reached)
        found = StoreObject(ObjectKind.SNAPSHOT, same[0].key, state, 0, None, refs, state, snapshotter, held_by=holders)
        row = rows.get(name)
        if backend is None:
            found.note = "its snapshotter keeps its data elsewhere"
        elif row is None:
            if backend.layout is not LayoutKind.FOREIGN and backend.complete:
                found.state, found.note = State.MISSING, "recorded, and its row is not in metadata.db"
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
                found.note = "a row of metadata.db that no record names"
            yield found
    ids = {row.id for row in rows.values()}
    for entry in backend.entries:
        if entry.id is None or entry.id not in ids:
            yield _rowless(snapshotter, backend, entry)


def _add_data(found: StoreObject, backend: Backend, row: Row, entry: SnapshotEntry | None) -> None:
    found.row = row.name
    if entry is not None:
        found.data = entry
        found.allocated = entry.allocated if entry.allocated is not None else row.size or 0
        if not entry.is_directory and backend.layout is not LayoutKind.FOREIGN:
            found.state, found.note = State.CORRUPT, f"{row.id} is not a directory"
    elif backend.layout is LayoutKind.FOREIGN or not backend.complete:
        found.allocated = row.size or 0
    elif backend.layout is LayoutKind.NATIVE and row.kind is RowKind.VIEW and row.parent:
        # A view with a parent is its parent's directory (plugins/snapshots/native/native.go createSnapshot).
        return
    elif found.refs:
        found.state, found.note = State.MISSING, f"recorded, and its directory {row.id} is not there"
    else:
        found.note = "a row of metadata.db that no record names, and no directory"


def _rowless(snapshotter: bytes, backend: Backend, entry: SnapshotEntry) -> StoreObject:
    found = StoreObject(
        ObjectKind.SNAPSHOT, entry.name, State.ORPHANED, entry.allocated or 0, entry, snapshotter=snapshotter
    )
    if backend.layout is LayoutKind.OVERLAY:
        # The snapshotter's own clean-up removes whatever is not the number of a row (overlay.go getCleanupDirectories).
        found.note = "no row has this number" if entry.id is not None else "left by an interrupted operation"
    elif backend.layout is LayoutKind.NATIVE and (entry.id is not None or entry.name.startswith((b"new-", b"rm-"))):
        found.note = "no row has this number" if entry.id is not None else "left by an interrupted operation"
    else:
        found.state, found.note = State.FOREIGN, "not of a layout this tool fully understands"
    return found


def _ingest(records: list[Ingest], directory: IngestDirectory | None, reached: Reached) -> StoreObject:
    refs = tuple(record.ref for record in records)
    state, holders = _merge(refs, reached)
    found = StoreObject(ObjectKind.INGEST, records[0].name, state, 0, None, refs, state, held_by=holders)
    if directory is None:
        # Not damage: containerd makes the directory when the write goes on (core/metadata/content.go Writer).
        found.note = "nothing received"
    else:
        found.data, found.allocated = directory, directory.allocated
        received = f"{directory.received}" if directory.total is None else f"{directory.received} of {directory.total}"
        found.note = f"{received} bytes received"
    return found


def _merge(refs: tuple[Ref, ...], reached: Reached) -> tuple[State, tuple[Ref, ...]]:
    """The strongest state over all records of one object, and what keeps it there."""
    if len(refs) == 1:
        return reached.get(refs[0], _UNREACHED)
    state = State.UNREACHABLE
    holders: list[Ref] = []
    for ref in refs:
        here, by = reached.get(ref, (State.UNREACHABLE, ()))
        if _STRENGTH[here] > _STRENGTH[state]:
            state, holders = here, list(by)
        elif here is state:
            holders += [holder for holder in by if holder not in holders]
    return state, tuple(holders)
