"""BuildKit's records below a Docker data root: cache records and build history, which own the leases of their ids.

Sources: moby daemon/internal/builder-next/controller.go (v28: where the files are); buildkit cache/metadata/metadata.go
(``_main``, ``_index``, ``_external``), cache/metadata.go (``cache.deleted``, ``cache.blobonly``),
solver/llbsolver/history.go (``_records``, ``_version``) (v0.20).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from bbolt_reader import BoltError, Bucket, Database
from bbolt_reader.verify import verify
from drydock.evidence.files.database_copy import copy_database
from drydock.evidence.files.directory import folder, names
from drydock.evidence.host.locks import hold
from drydock.model import messages
from drydock.model.errors import DrydockError
from drydock.model.findings import Finding, Place, Severity
from drydock.model.names import RawPath, UnixNano
from drydock.model.text import shown

_CACHE = re.compile(rb"metadata_v2\.db\Z")
_OTHER_CACHE = re.compile(rb"metadata_v[0-9]+\.db\Z")
"""A database that is no ``_CACHE`` belongs to a BuildKit that this module does not know."""
_WORKER = b"containerd-"
_HISTORY = re.compile(rb"history[a-z0-9_]*\.db\Z")
_CACHE_BUCKETS = frozenset((b"_main", b"_index", b"_external"))
_HISTORY_BUCKETS = frozenset((b"_records", b"_version"))


_Records = tuple[set[bytes], UnixNano | None]


class UnknownRecords(Exception):
    """The database has something that this module does not know, so a missing record proves nothing."""


def read_build_records(
    data: RawPath, findings: list[Finding], *, blobs_only: set[bytes] | None = None, live: bool = False
) -> _Records:
    """Ids of cache records that are not marked deleted, over every ``metadata_v2.db``, and when the newest changed.

    The leases in containerd belong to the records of its workers, in ``containerd-<snapshotter>``. The database
    directly in ``buildkit`` belongs to the graphdriver's builder, whose leases are in a ``containerdmeta.db`` beside
    it: a record that it lacks proves nothing.

    Args:
        data: the data root.
        findings: gets a finding for each database that could not be read.
        blobs_only: gets the ids of records whose layer is not unpacked yet.
        live: read a copy instead of taking a lock.

    Returns:
        The ids and the time. There is no time if there is no worker, a worker has no database, or a database cannot be
        read: a record that was not found may exist then. That includes a ``buildkit`` folder that was removed by hand,
        because only its owner knows whether that was intended.
    """
    read = partial(_cache_records, blobs_only=set() if blobs_only is None else blobs_only)
    return _over(data, _CACHE, read, "build cache", findings, live=live)


def read_build_history(data: RawPath, findings: list[Finding], *, live: bool = False) -> _Records:
    """Build references over every ``history*.db``, and when the newest changed; as :func:`read_build_records`.

    The containerd image store has a ``history_c8d.db`` since Docker 27, and leaves an older ``history.db``.
    """
    return _over(data, _HISTORY, _history_records, "build history", findings, live=live)


def build_databases(data: RawPath) -> list[RawPath]:
    """The databases that :func:`read_build_records` and :func:`read_build_history` read.

    Args:
        data: the data root.

    Raises:
        OSError: a folder cannot be listed.
    """
    try:
        return [*_files(data, _CACHE), *_files(data, _HISTORY)]
    except FileNotFoundError:
        return []


def _over(
    data: RawPath,
    pattern: re.Pattern[bytes],
    read: Callable[[Bucket], Iterator[bytes]],
    what: str,
    findings: list[Finding],
    *,
    live: bool,
) -> _Records:
    where = RawPath(data + b"/buildkit")
    found: set[bytes] = set()
    changed: list[int] = []
    files: list[RawPath] = []
    unknown: list[Finding] = []
    try:
        files += _files(data, pattern)
        if pattern is _CACHE:
            _complete(data, files)
    except FileNotFoundError:
        files = []
    except (OSError, UnknownRecords) as error:
        unknown.append(_unknown(where, error, what))
    for path in files:
        try:
            if pattern is _HISTORY or _is_workers(path):
                changed.append(os.lstat(path).st_mtime_ns)
            with opened(path, live=live) as database:
                found.update(read(database.root))
                _sound(database)
        except (OSError, BoltError, DrydockError, UnknownRecords) as error:  # noqa: PERF203 - a few files
            unknown.append(_unknown(path, error, what))
    if not changed and not unknown:
        unknown.append(_unknown(where, "there is no database", what, Severity.NOTE))
    findings += unknown
    return found, None if unknown else UnixNano(max(changed))


def read_classic_records(data: RawPath, *, live: bool = False) -> set[bytes]:
    """Ids of the cache records of dockerd's builder in the classic mode that are not marked deleted.

    Args:
        data: the data root.
        live: read a copy instead of taking a lock.

    Raises:
        OSError: there is no database, or it cannot be read.
        DrydockError: it is locked, or cannot be copied.
        BoltError: it is damaged.
        UnknownRecords: this version of drydock does not know something in it.
    """
    with opened(RawPath(data + b"/buildkit/metadata_v2.db"), live=live) as database:
        found = set(_cache_records(database.root, set()))
        _sound(database)
    return found


@contextmanager
def opened(path: RawPath, *, live: bool) -> Iterator[Database]:
    """An open database of BuildKit: with a shared lock, or live a copy of it.

    Raises:
        OSError: it is missing, or cannot be read.
        DrydockError: it is locked, or cannot be copied.
        BoltError: it is damaged.
    """
    if not live:
        with hold(path, exclusive=False) as lock, Database.from_fd(lock.fd, path) as database:
            yield database
        return
    copied = copy_database(path)
    try:
        with Database.from_fd(copied.fd, path, mapped=False) as database:
            yield database
    finally:
        os.close(copied.fd)


def _sound(database: Database) -> None:
    """Refuse a damaged database: a record on a damaged page would look like a deleted one."""
    damage = next(verify(database), None)
    if damage is not None:
        raise UnknownRecords(damage.message)


def _files(data: RawPath, pattern: re.Pattern[bytes]) -> Iterator[RawPath]:
    """Databases in ``buildkit`` and in the folders of workers directly in it."""
    with folder(data, b"buildkit") as descriptor:
        inside = names(descriptor)
    for name in inside:
        if pattern.match(name):
            yield RawPath(os.path.join(data, b"buildkit", name))
        elif name.startswith(_WORKER):
            with folder(data, b"buildkit", name) as descriptor:
                for each in filter(pattern.match, names(descriptor)):
                    yield RawPath(os.path.join(data, b"buildkit", name, each))


def _complete(data: RawPath, files: list[RawPath]) -> None:
    """Refuse a worker without a database, and a database of an unknown version."""
    other = next((path for path in _files(data, _OTHER_CACHE) if path not in files), None)
    if other is not None:
        raise UnknownRecords(f"this version of drydock does not know {shown(os.path.basename(other))}")
    with folder(data, b"buildkit") as descriptor:
        workers = [name for name in names(descriptor) if name.startswith(_WORKER)]
    for worker in workers:
        if not any(os.path.basename(os.path.dirname(path)) == worker for path in files):
            raise UnknownRecords(f"{shown(worker)} has no database")


def _is_workers(path: RawPath) -> bool:
    return os.path.basename(os.path.dirname(path)).startswith(_WORKER)


def _cache_records(root: Bucket, blobs_only: set[bytes]) -> Iterator[bytes]:
    for key, value in _known(root, _CACHE_BUCKETS):
        if key != b"_main":
            continue
        for record, fields in value.items():
            if isinstance(fields, bytes):
                raise UnknownRecords(f"record {shown(record)} is not a bucket")
            if _is_true(fields.get(b"cache.blobonly")):
                blobs_only.add(record)
            if not _is_true(fields.get(b"cache.deleted")):
                yield record


def _history_records(root: Bucket) -> Iterator[bytes]:
    for key, value in _known(root, _HISTORY_BUCKETS):
        if key == b"_records":
            yield from (record for record, _ in value.items())


def _known(root: Bucket, expected: frozenset[bytes]) -> Iterator[tuple[bytes, Bucket]]:
    for key, value in root.items():
        if key not in expected or isinstance(value, bytes):
            raise UnknownRecords(f"this version of drydock does not know {shown(key)}")
        yield key, value


def _is_true(raw: bytes | None) -> bool:
    """Whether a field is exactly true, as BuildKit writes it."""
    if raw is None:
        return False
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("value") is True


def _unknown(path: bytes, why: Exception | str, what: str, severity: Severity = Severity.BLIND) -> Finding:
    problem = why.strerror if isinstance(why, OSError) and why.strerror else str(why)
    effect = f"every lease of the {what} is kept"
    return messages.UNREADABLE_OWNERS(path=path, problem=problem, effect=effect).at(
        Place(RawPath(path)), severity=severity
    )
