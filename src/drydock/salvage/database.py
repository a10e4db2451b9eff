"""Reads what can still be read of an engine's damaged database, and writes a new database from it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial

from bbolt_reader import BoltError
from bbolt_reader.salvage import Hints, salvage
from bbolt_reader.source import Source
from bbolt_reader.statements import Salvage
from bbolt_surgery import Choice, NewBucket, SurgeryError, assemble, trust, write_new
from drydock.evidence.containerd.encoding import Undecodable, binary_time, uvarint
from drydock.evidence.host.locks import Lock, hold
from drydock.model.errors import ActionFailed, EvidenceUnreadable
from drydock.model.names import RawPath, row_number
from drydock.model.progress import Progress
from drydock.model.remnants import Rebuilt
from drydock.model.text import shown

_LARGEST = 1 << 62


def raise_sequences(root: NewBucket) -> None:
    """Raise each sequence to the highest number that a record has.

    In meta.db, the names for snapshotters and the content store are ``<namespace>/<number>/<key>`` (containerd
    core/metadata/snapshot.go, createKey; content.go; v2.1). In a snapshotter's metadata.db, the ``id`` of a row is the
    number, and names its directory (core/snapshots/storage/bolt.go).
    """
    v1 = root.entries.get(b"v1")
    if not isinstance(v1, NewBucket):
        return
    for name, namespace in _buckets(v1):
        for _, snapshots in _buckets(_bucket(namespace, b"snapshots")):
            for _, snapshot in _buckets(snapshots):
                _raise(snapshots, _number(snapshot.entries.get(b"name"), name))
        for _, ingest in _buckets(_bucket(_bucket(namespace, b"content"), b"ingests")):
            _raise(ingest, _number(ingest.entries.get(b"ref"), name))
    rows = _bucket(v1, b"snapshots")
    for _, row in _buckets(rows):
        _raise(rows, _id(row.entries.get(b"id")))


def _bucket(around: NewBucket | None, name: bytes) -> NewBucket | None:
    found = around.entries.get(name) if around is not None else None
    return found if isinstance(found, NewBucket) else None


def _buckets(around: NewBucket | None) -> Iterator[tuple[bytes, NewBucket]]:
    for name, value in around.entries.items() if around is not None else ():
        if isinstance(value, NewBucket):
            yield name, value


def _raise(bucket: NewBucket | None, number: int) -> None:
    if bucket is not None and number < _LARGEST:
        bucket.sequence = max(bucket.sequence, number)


def _number(name: bytes | NewBucket | None, namespace: bytes) -> int:
    if not isinstance(name, bytes) or not name.startswith(namespace + b"/"):
        return 0
    return row_number(name)


def _id(value: bytes | NewBucket | None) -> int:
    try:
        return uvarint(value) if isinstance(value, bytes) else 0
    except Undecodable:
        return 0


_SECOND = 1_000_000_000
# 2010 to 2100: other values of 15 bytes may begin like a time, and do not count.
_EARLIEST, _LATEST = 1_262_304_000 * _SECOND, 4_102_444_800 * _SECOND


@contextmanager
def open_salvage(path: RawPath, progress: Progress | None = None) -> Iterator[tuple[Lock, Salvage]]:
    """Read everything that can be read of a database, which stays locked until the context ends.

    Args:
        path: of the database.
        progress: called with the pages that were read.

    Raises:
        Refused: an engine has the database open.
        EvidenceUnreadable: nothing in it looks like a page, or it cannot be read at all.
    """
    told = None if progress is None else partial(progress, "pages read")
    with hold(path, exclusive=False) as lock:
        try:
            source = Source(lock.fd, path, owned=False, mapped=True)
            try:
                found = salvage(source, Hints(_moment, _is_root), told)
            finally:
                source.close()
        except BoltError as error:
            raise EvidenceUnreadable(f"{shown(path)}: {error}") from error
        yield lock, found


def rebuild(lock: Lock, found: Salvage, out: RawPath, choice: str) -> Rebuilt:
    """Write a new database to a path that does not exist; mode and owner are those of the damaged one.

    Args:
        lock: on the damaged database.
        found: what was read of it.
        out: path of the new database.
        choice: which statements go into it: a value of :class:`bbolt_surgery.Choice`.

    Returns:
        What went into it.

    Raises:
        ActionFailed: the path exists, or cannot be written. No part of the new database is left.
    """
    assembly = assemble(found, Choice(choice))
    raise_sequences(assembly.root)
    try:
        write_new(out, assembly.root, page_size=found.page_size, txid=found.txid, like=os.fstat(lock.fd))
    except SurgeryError as error:
        raise ActionFailed(f"{shown(out)}: {error}") from error
    return Rebuilt(out, {standing.value: count for standing, count in assembly.used.items()}, assembly.left_out)


def trust_rebuilt(path: RawPath) -> bool:
    """Remove the mark of a rebuilt database, so that scans rely on it again.

    Returns:
        Whether it had the mark.

    Raises:
        Refused: an engine has the database open.
        EvidenceUnreadable: there is no such file.
        ActionFailed: it is damaged, or cannot be written.
    """
    with hold(path, exclusive=True) as lock:
        try:
            fd = os.open(f"/proc/self/fd/{lock.fd}", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise ActionFailed(f"{shown(path)}: {error.strerror}") from error
        try:
            return trust(fd, path)
        except SurgeryError as error:
            raise ActionFailed(f"{shown(path)}: {error}") from error
        finally:
            os.close(fd)


def _moment(value: bytes) -> int:
    """The time that a value is; 0 if it is none."""
    if len(value) != 15:
        return 0
    try:
        time = binary_time(value)
    except Undecodable:
        return 0
    return time if _EARLIEST <= time <= _LATEST else 0


def _is_root(keys: Collection[bytes]) -> bool:
    """Whether a page may belong to a root bucket, which has ``v1`` in meta.db and in every metadata.db."""
    return b"v1" in keys
