"""For undo: the data that the databases named before the edits of a run, and whether it still exists.

Ingests are left out: containerd begins an ingest without data again (core/metadata/content.go Writer, v2.1).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from bbolt_reader import BoltError, Database
from drydock.evidence.buildkit.snapshots import read_snapshots
from drydock.evidence.containerd.database_file import File
from drydock.evidence.containerd.metadata import read_metadata
from drydock.evidence.containerd.rows import DATABASE, Rows, read_rows
from drydock.evidence.containerd.store import Held
from drydock.model.layer_store import BUILD_LEASES, BUILD_SNAPSHOTS, OVERLAY2, BuildSnapshot
from drydock.model.names import SNAPSHOTS, WORKER_CONTENT, Digest, Kind, RawPath, blob_path
from drydock.model.plans import Plan
from drydock.model.records import Metadata
from drydock.model.roots import RootLayout
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.reclaim.edit import former
from drydock.reclaim.journal import Entry, Journal
from drydock.verdict.blind_spots import repair_blindness


def row_path(layout: RootLayout, snapshotter: bytes, name: bytes) -> RawPath:
    """A path that stands for a row, whose name may be any."""
    return RawPath(b"%s/%s/%s" % (layout.snapshotter(snapshotter), DATABASE, name))


def directory_path(layout: RootLayout, snapshotter: bytes, number: int) -> RawPath:
    """The path of a snapshot's directory."""
    return RawPath(b"%s/%s/%d" % (layout.snapshotter(snapshotter), SNAPSHOTS, number))


def rows_of(file: File, database: Database | None) -> Rows:
    """The rows of a metadata.db, in its current or a former state; none if it cannot be opened."""
    return Rows() if database is None else read_rows(database, file.path)


def row_paths(layout: RootLayout, snapshotter: bytes, rows: Rows) -> set[RawPath]:
    """The path that stands for each row."""
    return {row_path(layout, snapshotter, name) for name in rows.rows}


def directories(layout: RootLayout, snapshotter: bytes, rows: Rows) -> set[RawPath]:
    """The path of each row's directory."""
    return {directory_path(layout, snapshotter, row.id) for row in rows.rows.values()}


def recorded(layout: RootLayout, metadata: Metadata) -> set[RawPath]:
    """The paths of the blobs and the rows that records name."""
    return {blob_path(digest, layout.content) for digest in metadata.blobs.digests} | {
        row_path(layout, snapshot.snapshotter, snapshot.name) for snapshot in metadata.snapshots
    }


def find_missing(plan: Plan, store: Store) -> Iterator[RawPath]:
    """Data that the plan's records and rows name and that is missing before the run: an undo does not require it.

    Args:
        plan: a plan that was not carried out yet.
        store: the root as it was read for the plan. Data that could not all be read does not count as missing; lost
            rows do.
    """
    dropped = {drop.ref for drop in plan.records}
    layout = store.root.layout
    if store.content.complete:
        blobs = {Digest(ref.key) for ref in dropped if ref.kind is Kind.BLOB}
        yield from (blob_path(each, layout.content) for each in sorted(blobs - store.content.blobs.keys()))
    for snapshot in store.metadata.snapshots:
        if snapshot.ref in dropped:
            backend = store.backends.get(snapshot.snapshotter)
            if backend is None or (snapshot.name not in backend.rows and repair_blindness(store, backend.name) is None):
                yield row_path(layout, snapshot.snapshotter, snapshot.name)
    ids = {name: {entry.id for entry in backend.entries} for name, backend in store.backends.items()}
    for row in plan.rows:
        if row.id not in ids[row.snapshotter] and repair_blindness(store, row.snapshotter) is None:
            yield directory_path(layout, row.snapshotter, row.id)
    for data, layers in ((each.data, each) for each in store.layer_stores):
        for field in plan.fields:
            if field.database == os.path.join(data, BUILD_SNAPSHOTS):
                named = _directory(layers.builds.snapshots[field.key])
                if named is not None and named not in layers.directories:
                    yield RawPath(os.path.join(data, OVERLAY2, named))


def _directory(snapshot: BuildSnapshot) -> bytes | None:
    """The directory that a bucket of a builder's ``snapshots.db`` stands for; None if it only names a layer."""
    is_name = snapshot.key.startswith(b"sha256:") or (snapshot.chain_id is not None and snapshot.committed is None)
    return None if is_name else snapshot.committed or snapshot.key


def _of_builder(path: RawPath, database: Database) -> set[RawPath]:
    """The absolute paths that a database of the builder of a classic store names; none of the others."""
    data, folder, name = path.rsplit(b"/", 2)
    if RawPath(folder + b"/" + name) == BUILD_LEASES:
        found = {blob_path(each, WORKER_CONTENT) for each in read_metadata(database, path).blobs.digests}
        return {RawPath(os.path.join(data, folder, each)) for each in found}
    if RawPath(folder + b"/" + name) != BUILD_SNAPSHOTS:
        return set()
    names = map(_directory, read_snapshots(database, path, [])[0].values())
    return {RawPath(os.path.join(data, OVERLAY2, each)) for each in names if each is not None}


def find_gone(journal: Journal, held: Held, edits: Iterable[Entry]) -> str | None:
    """Why a run's edits cannot be taken back: the first missing data whose record or row the undo would restore.

    If the run was killed, or a later edit of it failed, it did not remove all data that its edits released. A later
    run, with whatever state directory, may have removed it since. The journal does not show that; the former pages of
    the databases, which an undo commits, do. Each database is judged in the state that the undo leaves it in.

    Args:
        journal: the journal of the run. Data that the run moved is left out: its return is checked when it is moved.
        held: the databases of its root, locked exclusively.
        edits: the edits of the run that still stand.

    Returns:
        One shown line; None if everything is there, or was missing before the run.
    """
    moved = [entry.removal for entry in journal.entries if entry.removal is not None]
    spared = {removal.path for removal in moved} | journal.missing
    spared |= {RawPath(os.path.join(removal.root, removal.path)) for removal in moved}
    back: set[RawPath] = set()
    rows: set[RawPath] = set()
    fields = {entry.path: entry.fields for entry in edits}
    layout = held.root.layout
    try:
        for snapshotter, file in held.backends.items():
            if file is not None:
                now = after = rows_of(file, file.database)
                if file.path in fields and file.database is not None:
                    after = rows_of(file, former(file.database, fields[file.path]))
                rows |= row_paths(layout, snapshotter, after)
                back |= directories(layout, snapshotter, after) - directories(layout, snapshotter, now)
        metadata = held.metadata
        if metadata is not None and metadata.path in fields and metadata.database is not None:
            before = former(metadata.database, fields[metadata.path])
            back |= recorded(layout, read_metadata(before, metadata.path))
            back -= recorded(layout, read_metadata(metadata.database, metadata.path))
        for file in held.caches:
            if file.path in fields and file.database is not None:
                back |= _of_builder(file.path, former(file.database, fields[file.path]))
                back -= _of_builder(file.path, file.database)
    except BoltError as error:
        return f"its former records could not be read: {shown(error.file)}: {error}"
    for path in sorted(back - spared - rows):
        if not os.path.lexists(os.path.join(held.root.path, path)):
            return f"{shown(path)}, which its former records name, is gone"
    return None
