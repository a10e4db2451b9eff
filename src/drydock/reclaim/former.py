"""What databases named before the edits of a run, and whether it is still there: for an undo.

Each thing has a path below the root: a blob, a snapshot's directory, and a row as ``…/metadata.db/NAME``. Ingests are
left out: containerd begins one without data anew (core/metadata/content.go Writer, v2.1).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from bbolt_reader import BoltError, Database
from drydock.evidence.metadata import read_metadata
from drydock.evidence.rows import Rows, read_rows
from drydock.evidence.snapshots import DATABASE, PREFIX, SNAPSHOTS
from drydock.evidence.store import File, Held
from drydock.model.names import Digest, Kind, RawPath, blob_path
from drydock.model.plans import Plan
from drydock.model.store import Store
from drydock.model.text import shown, unshown
from drydock.reclaim.journal import Entry, Journal
from drydock.verdict.blindness import repair_blindness


def find_missing(plan: Plan, store: Store) -> Iterator[RawPath]:
    """What the plan's records and rows name and is not there to begin with, so that no undo can ask for it.

    Args:
        plan: not yet carried out.
        store: what was read of the root for it. What could not be read whole is not called missing; rows that were
            lost are.
    """
    dropped = {drop.ref for drop in plan.records}
    if store.content.complete:
        blobs = {Digest(ref.key) for ref in dropped if ref.kind is Kind.BLOB}
        yield from map(blob_path, sorted(blobs - store.content.blobs.keys()))
    for snapshot in store.metadata.snapshots:
        if snapshot.ref in dropped:
            backend = store.backends.get(snapshot.snapshotter)
            if backend is None or (snapshot.name not in backend.rows and not repair_blindness(store, backend.name)):
                yield _row_path(snapshot.snapshotter, snapshot.name)
    ids = {name: {entry.id for entry in backend.entries} for name, backend in store.backends.items()}
    for row in plan.rows:
        if row.id not in ids[row.snapshotter] and not repair_blindness(store, row.snapshotter):
            yield _directory_path(row.snapshotter, row.id)


def find_gone(journal: Journal, held: Held, edits: Iterable[Entry]) -> str:
    """Why a run's edits cannot be taken back: the first thing that is gone and whose record or row would come back.

    What a run let go of and did not come to remove, as it was killed or a later edit of it failed, a later run may have
    removed as nobody's, whatever state directory it had. The journal cannot tell; the copies made before the edits can.
    Each database is judged as it will stand after the undo.

    Args:
        journal: of the run. What it moved is left out: whether that comes back is seen when it is moved.
        held: the databases of its root.
        edits: those of the run that still stand.

    Returns:
        One shown line; empty where all is there, or was missing before the run.
    """
    spared = {entry.path for entry in journal.entries if entry.removal is not None} | journal.missing
    back: set[RawPath] = set()
    rows: set[RawPath] = set()
    with ExitStack() as stack:
        try:
            former = {entry.path: stack.enter_context(Database.open(_copy(entry))) for entry in edits}
            for snapshotter, file in held.backends.items():
                if file is not None:
                    now = _rows(file, file.database)
                    after = _rows(file, former.get(file.path, file.database))
                    rows.update(_row_path(snapshotter, name) for name in after.rows)
                    back |= _directories(snapshotter, after) - _directories(snapshotter, now)
            if held.metadata is not None and held.metadata.path in former:
                back |= _named(held.metadata, former[held.metadata.path])
                back -= _named(held.metadata, held.metadata.database)
        except BoltError as error:
            return f"what its former records name is not known: {error}"
    for path in sorted(back - spared - rows):
        if not os.path.lexists(os.path.join(held.root.path, path)):
            return f"{shown(path)}, which its former records name, is gone"
    return ""


def _copy(entry: Entry) -> RawPath:
    return RawPath(unshown(str(entry.fields.get("backup", ""))))


def _row_path(snapshotter: bytes, name: bytes) -> RawPath:
    return RawPath(b"%s%s/%s/%s" % (PREFIX, snapshotter, DATABASE, name))


def _directory_path(snapshotter: bytes, number: int) -> RawPath:
    return RawPath(b"%s%s/%s/%d" % (PREFIX, snapshotter, SNAPSHOTS, number))


def _rows(file: File, database: Database | None) -> Rows:
    return Rows() if database is None else read_rows(database, file.path)


def _directories(snapshotter: bytes, rows: Rows) -> set[RawPath]:
    return {_directory_path(snapshotter, row.id) for row in rows.rows.values()}


def _named(file: File, database: Database | None) -> set[RawPath]:
    """The blobs and the rows that a meta.db names."""
    if database is None:
        return set()
    metadata = read_metadata(database, file.path)
    return {blob_path(Digest(blob.ref.key)) for blob in metadata.blobs} | {
        _row_path(snapshot.snapshotter, snapshot.name) for snapshot in metadata.snapshots
    }
