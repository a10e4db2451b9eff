"""Database edits: the deletions and insertions of a plan in bbolt's terms, committed in place (docs/safety.md 7).

Sources: containerd core/metadata/buckets.go, core/snapshots/storage/bolt.go (v2.1) for the place of each record.
"""

from __future__ import annotations

import enum
import errno
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import zip_longest
from typing import Final

from bbolt_reader import BoltError, Database, Meta
from bbolt_surgery import (
    Compaction,
    Deletion,
    Insertion,
    NewBucket,
    NotCommitted,
    Receipt,
    RootHeader,
    SurgeryError,
    change,
    compact,
    restore,
    settle,
)
from drydock.evidence.containerd.encoding import encode_time, encode_uvarint, encode_varint
from drydock.model.errors import ActionFailed, DiskFull, Refused
from drydock.model.names import Kind, RawPath, Ref, split_snapshot_key
from drydock.model.plans import CACHE_RECORDS, Plan, SnapshotRecord
from drydock.model.text import shown, unshown

_CHUNK = 1 << 24
_BUCKETS: Final = {Kind.IMAGE: b"images", Kind.CONTAINER: b"containers", Kind.SANDBOX: b"sandboxes"}
_DELETED = b"cache.deleted"
MARK = b'{"value":true}'
"""The value of the field that says that a cache record is deleted, as BuildKit writes it."""

Fields = Mapping[str, str | int]
"""A receipt in the form that a journal has it."""


def metadata_deletions(plan: Plan) -> list[Deletion]:
    """The deletions of a plan in meta.db: leases, records, and dropped snapshots in their parents' ``children``."""
    deletions = [Deletion((b"v1", end.ref.namespace, b"leases"), end.ref.key) for end in plan.leases]
    for drop in plan.records:
        deletions.append(Deletion(*record_place(drop.ref)))
        if drop.parent is not None:
            deletions.append(Deletion((*_path(drop.parent), b"children"), split_snapshot_key(drop.ref.key)[1]))
    return deletions + _fields(plan, None)


def metadata_insertions(plan: Plan) -> list[Insertion]:
    """The insertions of a plan into meta.db, in the form that containerd writes them.

    Sources: core/metadata/content.go commit, snapshot.go createSnapshot, leases.go Create and addSnapshotLease (v2.1).
    """
    insertions: list[Insertion] = []
    for each in plan.adoptions:
        time = encode_time(each.made)
        record = NewBucket(entries={b"createdat": time, b"updatedat": time, b"size": encode_varint(each.expect.size)})
        if each.labels:
            record.entries[b"labels"] = NewBucket(entries=dict(each.labels))
        path = _path(each.ref)
        insertions.append(Insertion(path[:-1], path[-1], record))
    for snapshot in plan.snapshots:
        path = _path(snapshot.ref)
        insertions.append(Insertion(path[:-1], path[-1], _snapshot(snapshot)))
        if snapshot.links and snapshot.parent_ref is not None:
            insertions.append(Insertion((*_path(snapshot.parent_ref), b"children"), path[-1], b""))
    for lease in plan.lease_records:
        held = NewBucket()
        for snapshotter, key in lease.snapshots:
            keys = held.entries.setdefault(snapshotter, NewBucket())
            assert isinstance(keys, NewBucket)
            keys.entries[key] = b""
        record = NewBucket(entries={b"createdat": encode_time(lease.created), b"snapshots": held})
        insertions.append(Insertion((b"v1", lease.ref.namespace, b"leases"), lease.ref.key, record))
    return insertions


def _snapshot(each: SnapshotRecord) -> NewBucket:
    entries: dict[bytes, bytes | NewBucket] = {
        b"name": each.name,
        b"createdat": encode_time(each.created),
        b"updatedat": encode_time(each.updated),
    }
    if each.parent:
        entries[b"parent"] = each.parent
    if each.children:
        entries[b"children"] = NewBucket(entries=dict.fromkeys(each.children, b""))
    if each.labels:
        entries[b"labels"] = NewBucket(entries=dict(each.labels))
    return NewBucket(entries=entries)


def row_deletions(plan: Plan, snapshotter: bytes) -> list[Deletion]:
    """The deletions of a plan in one metadata.db: rows, and their entries below their parents."""
    rows = [row for row in plan.rows if row.snapshotter == snapshotter]
    deletions = [Deletion((b"v1", b"snapshots"), row.name) for row in rows]
    deletions += [
        Deletion((b"v1", b"parents"), encode_uvarint(row.parent_id) + b"\0" + encode_uvarint(row.id))
        for row in rows
        if row.parent_id is not None
    ]
    return deletions + _fields(plan, snapshotter)


def back_up(source: int, name: bytes, directory: int, path: RawPath) -> RawPath:
    """Copy a database with its holes, and sync the copy.

    Args:
        source: open descriptor of the database, whose lock the caller holds.
        name: name of the copy.
        directory: open directory of the run.
        path: path of that directory.

    Returns:
        The path of the copy.

    Raises:
        ActionFailed: there is no room, or the database cannot be read.
    """
    copy = RawPath(os.path.join(path, name))
    try:
        target = os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
        )
        try:
            size = os.fstat(source).st_size
            os.ftruncate(target, size)
            for start, end in _stretches(source, size):
                _copy(source, target, start, end)
            os.fsync(target)
        finally:
            os.close(target)
        os.fsync(directory)
    except OSError as error:
        raise ActionFailed(f"backup {shown(copy)}: {error.strerror}; nothing was edited") from error
    return copy


def _stretches(source: int, size: int) -> list[tuple[int, int]]:
    """Start and end of each part of a file that is not a hole."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            raise
        at = os.lseek(source, start, os.SEEK_HOLE)
        found.append((start, at))
    return found


def _copy(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        chunk = os.pread(source, min(_CHUNK, end - start), start)
        if not chunk:
            raise OSError(errno.EIO, "the database ended early")
        start += os.pwrite(target, chunk, start)


def edit(
    lock: int,
    name: bytes,
    deletions: list[Deletion],
    note: Callable[[Fields], None],
    insertions: list[Insertion] | None = None,
    *,
    keep_time: bool = False,
) -> Fields:
    """Commit changes to a database whose lock the caller holds.

    Args:
        lock: the descriptor that holds the lock, exclusively.
        name: name of the file in errors.
        deletions: keys and buckets to delete; a missing one is an error, except below ``children``.
        note: called with the receipt that an undo needs, when everything but the last write is on disk.
        insertions: keys and buckets to insert; an existing one is not replaced.
        keep_time: leave the file's time as it is, because it tells when the engine wrote last.

    Returns:
        The receipt that an undo needs.

    Raises:
        DiskFull: there is no room for the new pages; nothing was changed.
        ActionFailed: nothing was changed, or the error tells what may have been.
    """
    with _writable(lock, name, keep_time=keep_time) as descriptor:
        try:
            done = change(
                descriptor, name, deletions, insertions or (), on_ready=lambda receipt: note(receipt.numbers())
            )
            return done.numbers()
        except NotCommitted as error:
            kind = DiskFull if error.errno in {errno.ENOSPC, errno.EDQUOT} else ActionFailed
            raise kind(f"{shown(name)}: {error}") from error
        except SurgeryError as error:
            raise ActionFailed(f"{shown(name)}: {error}") from error


def settle_database(lock: int, name: bytes, *, keep_time: bool = False) -> bool:
    """Give up the pages that only the commit before the last one needs: an edit on a full disk may fit in them.

    Args:
        lock: as for :func:`edit`.
        name: as for :func:`edit`.
        keep_time: as for :func:`edit`.

    Returns:
        Whether there were any.

    Raises:
        ActionFailed: as for :func:`edit`.
    """
    with _writable(lock, name, keep_time=keep_time) as descriptor:
        try:
            return settle(descriptor, name)
        except SurgeryError as error:
            raise ActionFailed(f"{shown(name)}: {error}") from error


class EditStatus(enum.Enum):
    """State of a database with regard to an edit of it."""

    EDITED = "as the edit left it"
    FORMER = "as it was before the edit"
    MOVED = "an engine or another run wrote to it since the edit"


def edit_status(lock: int, name: bytes, fields: Fields) -> EditStatus:
    """Tell whether an edit still stands, was never committed or was taken back, or whether somebody wrote since.

    Args:
        lock: as for :func:`edit`.
        name: as for :func:`edit`.
        fields: what :func:`edit` noted.

    Raises:
        ActionFailed: the database or the receipt cannot be read, or the state cannot be told.
    """
    receipt = _receipt(fields)
    try:
        with Database.from_fd(lock, name) as database:
            meta = database.meta
            at = (meta.txid, (meta.root, meta.sequence))
            if at == (receipt.txid_after, receipt.root_after):
                return EditStatus.EDITED
            if at == (receipt.txid_before, receipt.root_before):
                return EditStatus.FORMER
            # Taken back by a later commit; or bbolt itself put its root on that page, which was free for it.
            # Or it never counted, and the database was settled then for want of room.
            again = 0 <= meta.txid - receipt.txid_after <= 2 and at[1] == receipt.root_before
            return EditStatus.FORMER if again and _equals_backup(database, fields) else EditStatus.MOVED
    except BoltError as error:
        raise ActionFailed(f"{shown(name)}: {error}") from error


def check_former(lock: int, name: bytes, fields: Fields) -> None:
    """Compare the former root in an edit's receipt with the database, or with the copy from before the edit.

    A commit overwrites the older of the two metas (bbolt tx.go, v1.3.6, writeMeta), so after the edit the former meta
    is still there. A root that is neither in it nor in the copy may be any page.

    Args:
        lock: as for :func:`edit`.
        name: as for :func:`edit`.
        fields: what :func:`edit` noted.

    Raises:
        Refused: they differ, or the edit stands and there is nothing to compare with.
        ActionFailed: the database or the receipt cannot be read.
    """
    receipt, copy = _receipt(fields), unshown(str(fields.get("backup", "")))
    noted = (receipt.root_before, receipt.hwm_before)
    stands = edit_status(lock, name, fields)
    metas: list[Meta] = []
    with suppress(BoltError), Database.open(copy) as backup:
        metas.append(backup.meta)
    if stands is EditStatus.EDITED:
        with Database.from_fd(lock, name) as database:
            metas += [meta for meta in database.metas if meta.valid and meta is not database.meta]
    elif stands is EditStatus.MOVED or not metas:
        # Nothing will be committed; and if the database is in its former state, only the copy could show another.
        return
    # The copy is older by one or two transactions if the database was settled for want of room. Of an edit that stands
    # the former meta is in the database then; a copy of an older state, whose pages may be in use again, will not do.
    spare = 0 if stands is EditStatus.EDITED else 2
    near = [meta for meta in metas if 0 <= receipt.txid_before - meta.txid <= spare]
    if noted not in [(RootHeader(meta.root, meta.sequence), meta.high_water) for meta in near]:
        where = f"neither in the database nor in {shown(copy)}" if copy else "not in the database"
        raise Refused(
            f"{shown(name)}: the journal says that the edit found transaction {receipt.txid_before} with its root on "
            f"page {receipt.root_before.pgid}, and that is {where}: the journal was changed, or belongs to another "
            "database"
        )


def former(database: Database, fields: Fields) -> Database:
    """The former state of an edited database, from its own pages: the state that :func:`revert` commits.

    Args:
        database: a database whose status is EditStatus.EDITED.
        fields: what :func:`edit` noted.

    Raises:
        BoltError: not every page of the former state is intact.
        ActionFailed: the receipt cannot be read.
    """
    receipt, meta = _receipt(fields), database.meta
    (root, sequence), high_water = receipt.root_before, min(receipt.hwm_before, meta.high_water)
    before = database.as_of(
        meta._replace(txid=receipt.txid_before, root=root, sequence=sequence, high_water=high_water)
    )
    # A reader of records skips pages that it cannot read: read each of them here.
    deque(_contents(before), maxlen=0)
    return before


def revert(lock: int, name: bytes, fields: Fields, *, keep_time: bool = False) -> None:
    """Commit the root from before an edit again.

    Args:
        lock: as for :func:`edit`.
        name: as for :func:`edit`.
        fields: what :func:`edit` noted.
        keep_time: as for :func:`edit`.

    Raises:
        ActionFailed: somebody wrote to the database since the edit, or it cannot be written.
    """
    with _writable(lock, name, keep_time=keep_time) as descriptor:
        try:
            restore(descriptor, name, _receipt(fields))
        except SurgeryError as error:
            raise ActionFailed(f"{shown(name)}: {error}") from error


def compact_database(
    lock: int, name: bytes, agree: Callable[[int, int], bool], progress: Callable[[int], None] | None = None
) -> Compaction | None:
    """Make a locked database shorter, in place. No edit before it can be undone afterwards.

    Args:
        lock: a descriptor with an exclusive flock.
        name: of the database in errors.
        agree: called with the bytes of the file and those in use; nothing is changed unless it returns true.
        progress: called with the number of pages moved since its last call.

    Returns:
        What was done; None without agreement.

    Raises:
        ActionFailed: it is damaged, or cannot be written: its contents are the same.
    """
    with _writable(lock, name, keep_time=True) as descriptor:
        try:
            return compact(descriptor, name, lambda use: agree(use.size, use.used), progress)
        except SurgeryError as error:
            raise ActionFailed(f"{shown(name)}: {error}") from error


class _writable:  # noqa: N801 - a context manager that reads as a verb
    """Open the locked file for writing, through its descriptor, so that no name is looked up again."""

    def __init__(self, lock: int, name: bytes, *, keep_time: bool) -> None:
        self._lock, self._name, self._keeps_time = lock, name, keep_time

    def __enter__(self) -> int:
        try:
            self._descriptor = os.open(f"/proc/self/fd/{self._lock}", os.O_RDWR | os.O_CLOEXEC)
            self._before = os.fstat(self._descriptor)
        except OSError as error:
            raise ActionFailed(f"{shown(self._name)} cannot be opened for writing: {error.strerror}") from error
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        if self._keeps_time:
            with suppress(OSError):
                os.utime(self._descriptor, ns=(self._before.st_atime_ns, self._before.st_mtime_ns))
        os.close(self._descriptor)


def cache_deletions(plan: Plan, database: RawPath) -> list[Deletion]:
    """The deletions of a plan in the database of BuildKit's cache records."""
    return [Deletion(field.bucket, field.key) for field in plan.fields if field.database == database]


def cache_insertions(plan: Plan, database: RawPath) -> list[Insertion]:
    """The marks of a plan in the database of BuildKit's cache records (buildkit cache/metadata.go queueDeleted)."""
    its = (each for each in plan.marks if each.database == database)
    return [Insertion((*CACHE_RECORDS, each.record), _DELETED, MARK) for each in its]


def is_marked(database: Database, record: bytes) -> bool:
    """Whether a cache record of BuildKit is marked as deleted."""
    records = database.root.bucket(CACHE_RECORDS[0])
    fields = None if records is None else records.bucket(record)
    return fields is not None and fields.get(_DELETED) == MARK


def _fields(plan: Plan, snapshotter: bytes | None) -> list[Deletion]:
    its = (field for field in plan.fields if field.database is None and field.snapshotter == snapshotter)
    return [Deletion(field.bucket, field.key) for field in its]


def record_place(ref: Ref) -> tuple[tuple[bytes, ...], bytes]:
    """The bucket and the key of a record in meta.db, or in a database of the same schema."""
    path = _path(ref)
    return path[:-1], path[-1]


def _path(ref: Ref) -> tuple[bytes, ...]:
    if ref.kind is Kind.SNAPSHOT:
        return (b"v1", ref.namespace, b"snapshots", *split_snapshot_key(ref.key))
    if ref.kind in _BUCKETS:
        return b"v1", ref.namespace, _BUCKETS[ref.kind], ref.key
    return (b"v1", ref.namespace, b"content", b"blob" if ref.kind is Kind.BLOB else b"ingests", ref.key)


def _equals_backup(database: Database, fields: Fields) -> bool:
    copy = unshown(str(fields.get("backup", "")))
    try:
        with Database.open(copy) as backup:
            return all(one == other for one, other in zip_longest(_contents(database), _contents(backup)))
    except BoltError as error:
        unknown = "whether it is as it was before the edit is unknown"
        raise ActionFailed(f"{shown(database.name)}: {unknown}: {shown(error.file or copy)}: {error}") from error


def _contents(database: Database) -> Iterator[tuple[tuple[bytes, ...], bytes, bytes | int]]:
    pending = [database.root]
    while pending:
        bucket = pending.pop()
        for key, value in bucket.items():
            if isinstance(value, bytes):
                yield bucket.path, key, value
            else:
                yield bucket.path, key, value.sequence
                pending.append(value)


def _receipt(fields: Fields) -> Receipt:
    try:
        return Receipt.of_numbers({name: value for name, value in fields.items() if isinstance(value, int)})
    except (KeyError, TypeError, ValueError) as error:
        raise ActionFailed(
            f"the receipt of the edit in the journal is not complete ({type(error).__name__})"
        ) from error
