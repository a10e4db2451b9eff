"""Carrying out the edits of a plan, one database at a time: sync, edit, read again, and take back what is not so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from bbolt_reader import BoltError, Bucket, Database
from drydock.evidence.containerd.database_file import File
from drydock.evidence.containerd.metadata import read_metadata
from drydock.evidence.containerd.rows import read_rows
from drydock.evidence.containerd.store import Held
from drydock.evidence.files.directory import fingerprint, open_folder
from drydock.evidence.files.regular import open_regular
from drydock.model.errors import ActionFailed, DiskFull
from drydock.model.layer_store import BUILD_DATABASES
from drydock.model.names import RawPath, Ref
from drydock.model.plans import (
    CACHE_RECORDS,
    NOT_TRIED,
    Adoption,
    CacheMark,
    FieldDrop,
    LeaseRecord,
    Plan,
    RowDrop,
    SnapshotRecord,
    Status,
)
from drydock.model.records import Blob, Lease, Metadata, Snapshot
from drydock.model.runs import EditOutcome
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.reclaim.edit import (
    Fields,
    back_up,
    cache_deletions,
    cache_insertions,
    edit,
    is_marked,
    metadata_deletions,
    metadata_insertions,
    revert,
    row_deletions,
    settle_database,
)
from drydock.reclaim.journal_writer import JournalWriter
from drydock.reclaim.root_dir import RootDir, describe_change
from drydock.reclaim.state_dir import RunDirectory

_Bucket: TypeAlias = tuple[bytes, ...]
"""The names of a bucket and those above it."""


@dataclass(slots=True)
class DatabaseEdit:
    """The part of a plan for one database; ``snapshotter`` is None for meta.db and for BuildKit's."""

    snapshotter: bytes | None
    file: File
    plan: Plan
    is_cache: bool = False
    """Whether it is a database of BuildKit beside the root."""
    data: RawPath | None = None
    """The Docker data root, if it is of the builder of its classic store."""

    @property
    def rows(self) -> list[RowDrop]:
        """The rows to delete."""
        return [row for row in self.plan.rows if row.snapshotter == self.snapshotter]

    @property
    def added(self) -> tuple[Adoption | SnapshotRecord | LeaseRecord, ...]:
        """The records to add."""
        return self.plan.added if self.snapshotter is None and not self.is_cache else ()

    @property
    def cached(self) -> list[FieldDrop]:
        """What to delete from a database of BuildKit."""
        return [field for field in self.plan.fields if self.is_cache and field.database == self.file.path]

    @property
    def marks(self) -> list[CacheMark]:
        """The cache records of BuildKit to mark."""
        return [mark for mark in self.plan.marks if self.is_cache and mark.database == self.file.path]

    @property
    def counts(self) -> tuple[int, int]:
        """How many leases and records, or rows, to delete."""
        if self.is_cache:
            return 0, 0
        return (len(self.plan.leases), len(self.plan.records)) if self.snapshotter is None else (0, len(self.rows))

    @property
    def fields(self) -> int:
        """How many keys to delete in records and rows that stay, or in a database of BuildKit."""
        if self.is_cache:
            return len(self.cached)
        return sum(field.database is None and field.snapshotter == self.snapshotter for field in self.plan.fields)


def planned_edits(plan: Plan, held: Held) -> list[DatabaseEdit]:
    """The parts of a plan that edit a database, in the order of their edits: BuildKit's, meta.db, each metadata.db."""
    of_builder = {
        RawPath(os.path.join(data, name)): data for data in held.root.layer_stores for name in BUILD_DATABASES
    }
    edits = [
        DatabaseEdit(None, file, plan, is_cache=True, data=of_builder.get(file.path))
        for file in held.caches
        if file.path in plan.edited_beside
    ]
    edited: list[tuple[bytes | None, File | None]] = [(None, held.metadata), *held.backends.items()]
    for snapshotter, file in edited:
        rows = any(row.snapshotter == snapshotter for row in plan.rows)
        fields = any(field.database is None and field.snapshotter == snapshotter for field in plan.fields)
        if rows or fields or (snapshotter is None and (plan.leases or plan.records or plan.added)):
            assert file is not None, "a plan that edits a database was made of it"
            edits.append(DatabaseEdit(snapshotter, file, plan))
    return edits


def copy_database(file: File, kept: RunDirectory, root: RawPath) -> RawPath:
    """Copy a database as it was before the run into the run's directory; return the path of the copy.

    Raises:
        ActionFailed: the copy could not be written.
    """
    name = os.path.relpath(file.path, root)
    if name.startswith(b"../"):  # BuildKit's, beside the root
        name = b"/".join(file.path.split(b"/")[-2:])
    name = name.replace(b"/", b".")
    return back_up(file.fd, name, kept.fd, kept.path)


def make_edit(
    each: DatabaseEdit,
    root_dir: RootDir,
    store: Store,
    journal: JournalWriter,
    backup: RawPath,
    *,
    stopped: str | None,
    make_room: Callable[[], bool],
    give_up: Callable[[], bool],
) -> EditOutcome:
    """Edit one database, read it again, and take the edit back if it left something else than the plan says.

    Args:
        each: what to edit.
        root_dir: the open containerd root.
        store: the store that the plan was made of.
        journal: the journal of the run; the edit is written to it before it is made.
        backup: the copy of the database from before the run.
        stopped: why no edit may be made any more, or None.
        make_room: removes ingests of the plan early, for a disk that is full; False if there were none.
        give_up: the same with what containers wrote that go.
    """
    plan, path = each.plan, each.file.path
    leases, records = each.counts
    if stopped is not None:
        return EditOutcome(path, leases, records, Status.FAILED, f"{NOT_TRIED}{stopped}", backup, each.fields)
    if each.is_cache:
        deletions = cache_deletions(plan, path)
    else:
        deletions = metadata_deletions(plan) if each.snapshotter is None else row_deletions(plan, each.snapshotter)
    insertions = metadata_insertions(plan) if each.added else []
    if each.is_cache:
        insertions = cache_insertions(plan, path)
    numbers: list[int] = []
    before = _keys(each) if each.is_cache else {}

    def note(fields: Fields) -> None:
        numbers.append(journal.intend_edit(path, {**fields, "backup": shown(backup)}))

    try:
        if each.added:
            _sync_blobs(root_dir, plan.adoptions)
            _sync_snapshots(root_dir, plan.snapshots)
        ways = iter((make_room, lambda: settle_database(each.file.fd, path, keep_time=each.is_cache), give_up))
        while True:
            try:
                fields = edit(each.file.fd, path, deletions, note, insertions, keep_time=each.is_cache)
                break
            except DiskFull:
                if not any(way() for way in ways):
                    raise
        wrong = _compare(each, store, before)
        if wrong is not None:
            revert(each.file.fd, path, fields, keep_time=each.is_cache)
            wrong = f"{shown(path)}: {wrong} after the edit, so it was taken back"
    except ActionFailed as error:
        wrong = str(error)
    status = Status.DONE if wrong is None else Status.FAILED
    # A broken journal refuses the next intention; the edit has happened all the same.
    with suppress(ActionFailed):
        for number in numbers:
            journal.end(number, status, detail=wrong or "")
    added = len(each.added) + len(each.marks)
    return EditOutcome(path, leases, records, status, wrong or "", backup, each.fields, added)


def _compare(each: DatabaseEdit, store: Store, before: Mapping[_Bucket, set[bytes]]) -> str | None:
    """Read the database again; return how it differs from what the plan should leave, or None.

    Args:
        each: the edit.
        store: the store that the plan was made of.
        before: the keys of a database of BuildKit from just before the edit.
    """
    if each.is_cache:
        return _compare_beside(each, store, before)
    try:
        with Database.from_fd(each.file.fd, each.file.path) as database:
            if each.snapshotter is None:
                metadata = read_metadata(database, each.file.path)
                records: dict[Ref, Blob | Snapshot | Lease] = {blob.ref: blob for blob in metadata.blobs}
                records |= {snapshot.ref: snapshot for snapshot in metadata.snapshots}
                records |= {lease.ref: lease for lease in metadata.leases}
                if any(records.get(added.ref) != added.record() for added in each.added):
                    return "an added record differs from the plan"
                left = _refs(metadata)
                gone = {end.ref for end in each.plan.leases} | {drop.ref for drop in each.plan.records}
                return None if left == _refs(store.metadata) - gone else "its records differ from the plan"
            names = set(read_rows(database, each.file.path).rows)
            dropped = {row.name for row in each.rows}
            rows = set(store.backends[each.snapshotter].rows)
            return None if names == rows - dropped else "its rows differ from the plan"
    except BoltError as error:
        return f"it could not be read ({error})"


def _compare_beside(each: DatabaseEdit, store: Store, before: Mapping[_Bucket, set[bytes]]) -> str | None:
    """As :func:`_compare`, of a database of BuildKit."""
    gone = {(*field.bucket, field.key) for field in each.cached}
    left = {bucket: {key for key in keys if (*bucket, key) not in gone} for bucket, keys in before.items()}
    recorded = before.get(CACHE_RECORDS)
    try:
        with Database.from_fd(each.file.fd, each.file.path) as database:
            same = _keys(each) == left and recorded in (None, _recorded(each, store))
            same = same and all(is_marked(database, mark.record) for mark in each.marks)
            return None if same else "its records differ from the plan"
    except BoltError as error:
        return f"it could not be read ({error})"


def _keys(each: DatabaseEdit) -> dict[_Bucket, set[bytes]]:
    """The keys in each bucket that an edit of a database of BuildKit is about."""
    found: dict[_Bucket, set[bytes]] = {}
    with suppress(BoltError), Database.from_fd(each.file.fd, each.file.path) as database:
        for path in {*(field.bucket for field in each.cached), *((CACHE_RECORDS,) if each.marks else ())}:
            bucket: Bucket | None = database.root
            for name in path:
                bucket = None if bucket is None else bucket.bucket(name)
            found[path] = set() if bucket is None else {key for key, _ in bucket.items()}
    return found


def _recorded(each: DatabaseEdit, store: Store) -> set[bytes] | None:
    """The ids of the cache records that the plan was made of; None for a database of something else."""
    owners = [store.owners, *(builds.owners for builds in store.build_stores.values())]
    caches = (cache for each_owners in owners for cache in each_owners.caches)
    return next((set(cache.records) for cache in caches if cache.path == each.file.path), None)


def _refs(metadata: Metadata) -> set[Ref]:
    lists = (
        metadata.images, metadata.containers, metadata.blobs, metadata.ingests,
        metadata.snapshots, metadata.sandboxes, metadata.leases,
    )  # fmt: skip
    return {record.ref for records in lists for record in records}


def _sync_blobs(root_dir: RootDir, adoptions: Iterable[Adoption]) -> None:
    """Sync the blobs of planned records, and check that they are as the plan saw them.

    A record without its blob makes every later pull of it fail.

    Raises:
        ActionFailed: a blob changed or cannot be synced. Then no record may be added, because the GC would drop what
            the missing record names.
    """
    folders: dict[bytes, Adoption] = {}
    for each in adoptions:
        folders.setdefault(os.path.dirname(each.path), each)
        change = _sync_blob(root_dir, each, folder=False)
        if change is not None:
            raise ActionFailed(f"{shown(each.path)}: {change}; no record was added")
    # Their directory entries too: whoever wrote the blobs may not have synced these.
    for each in folders.values():
        _sync_blob(root_dir, each, folder=True)


def _sync_snapshots(root_dir: RootDir, snapshots: Iterable[SnapshotRecord]) -> None:
    """Sync the directories of planned snapshot records, and check that they are as the plan saw them.

    Raises:
        ActionFailed: a directory changed, or cannot be synced.
    """
    for each in snapshots:
        try:
            parent, name = root_dir.open_parent(each.path, each.expect.device)
            try:
                opened = open_folder(name, parent)
            finally:
                os.close(parent)
            try:
                os.fsync(opened)
                change = describe_change(each.expect, fingerprint(os.fstat(opened)))
            finally:
                os.close(opened)
        except OSError as error:
            raise ActionFailed(f"{shown(each.path)}: {error.strerror}") from error
        if change is not None:
            raise ActionFailed(f"{shown(each.path)}: {change}; no record was added")


def _sync_blob(root_dir: RootDir, adoption: Adoption, *, folder: bool) -> str | None:
    """Sync a blob, or the folder that holds it; return how the blob changed since the plan, or None."""
    try:
        parent, name = root_dir.open_parent(adoption.path, adoption.expect.device)
        try:
            opened = open_folder(b".", parent) if folder else open_regular(name, parent)
        finally:
            os.close(parent)
        try:
            os.fsync(opened)
            return None if folder else describe_change(adoption.expect, fingerprint(os.fstat(opened)))
        finally:
            os.close(opened)
    except OSError as error:
        raise ActionFailed(f"{shown(adoption.path)}: {error.strerror}") from error
