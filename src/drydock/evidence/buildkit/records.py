"""BuildKit's records, in a Docker data root and in the root of a buildkitd: cache records and build history.

They own the leases of their ids.

Sources: moby daemon/internal/builder-next/controller.go (v28: where the files are); buildkit worker/runc/runc.go,
worker/containerd/containerd.go, cmd/buildkitd/main.go (v0.34: the same), cache/metadata/metadata.go (``_main``,
``_index``, ``_external``), cache/metadata.go (the fields of a record), solver/llbsolver/history.go (``_records``,
``_version``) (v0.20).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeVar

from bbolt_reader import BoltError, Bucket, Database
from bbolt_reader.verify import verify
from drydock.evidence.files.database_copy import copy_database
from drydock.evidence.files.directory import folder, names
from drydock.evidence.host.locks import hold
from drydock.model import messages
from drydock.model.build_cache import BuildCache, CacheRecord
from drydock.model.errors import DrydockError
from drydock.model.findings import Finding, Place, Severity
from drydock.model.layer_store import BUILD_DATABASES, BUILD_HISTORY, BUILD_RECORDS, SNAPSHOTTER
from drydock.model.names import RawPath, UnixNano
from drydock.model.roots import Root
from drydock.model.text import shown

_CACHE = re.compile(rb"metadata_v2\.db\Z")
_OTHER_CACHE = re.compile(rb"metadata_v[0-9]+\.db\Z")
"""A database that is no ``_CACHE`` belongs to a BuildKit that this module does not know."""
_WORKER = b"containerd-"
_HISTORY = re.compile(rb"history[a-z0-9_]*\.db\Z")
_CACHE_BUCKETS = frozenset((b"_main", b"_index", b"_external"))
_HISTORY_BUCKETS = frozenset((b"_records", b"_version"))


_T = TypeVar("_T")
_Records = tuple[set[bytes], UnixNano | None]


class UnknownRecords(Exception):
    """The database has something that this module does not know, so a missing record proves nothing."""


class BuildKit(NamedTuple):
    """A BuildKit whose records may own leases of a root."""

    folder: RawPath
    """Absolute path of ``<data root>/buildkit``, or of the root of a buildkitd."""
    is_dockers: bool
    worker: bytes = b""
    """The folder of its only worker of interest, if that keeps its data itself; empty for a containerd's workers."""

    def is_worker(self, name: bytes) -> bool:
        """Whether a folder in it is that of a worker of interest."""
        return name == self.worker if self.worker else name.startswith(_WORKER)


def find_buildkits(root: Root) -> tuple[list[BuildKit], list[BuildKit]]:
    """The BuildKits in dockerd, and those of a buildkitd, whose records may own leases of a root."""
    dockers = [BuildKit(RawPath(data + b"/buildkit"), True) for data in root.docker]
    worker = os.path.basename(root.path) if root.layout.worker else b""
    return dockers, [BuildKit(each, False, worker) for each in root.buildkit]


def read_build_records(
    of: BuildKit, findings: list[Finding], caches: list[BuildCache], *, live: bool = False
) -> _Records:
    """Ids of cache records that are not marked deleted, over every ``metadata_v2.db``, and when the newest changed.

    The leases belong to the records of the workers, each in a folder of its own. The database directly in dockerd's
    ``buildkit`` belongs to the graphdriver's builder, whose leases are in a ``containerdmeta.db`` beside it: a record
    that it lacks proves nothing.

    Args:
        of: the BuildKit.
        findings: gets a finding for each database that could not be read.
        caches: gets the records of each worker that could be read whole.
        live: read a copy instead of taking a lock.

    Returns:
        The ids and the time. There is no time if there is no worker, a worker has no database, or a database cannot be
        read: a record that was not found may exist then. That includes a ``buildkit`` folder that was removed by hand,
        because only its owner knows whether that was intended.
    """
    made: dict[RawPath, BuildCache] = {}

    def read(root: Bucket, path: RawPath) -> Iterator[bytes]:
        worker = os.path.basename(os.path.dirname(path))
        cache = BuildCache(path, worker.partition(b"-")[2], of.is_dockers)
        for record in _cache_records(root, cache):
            cache.records[record.id] = record
            if not record.deleted:
                yield record.id
        made[path] = cache

    found = _over(of, _CACHE, read, "build cache", findings, live=live)
    unread = {finding.place.file for finding in findings}
    caches += (cache for path, cache in made.items() if path not in unread and _is_workers(of, path))
    return found


def record_keys(root: Bucket, records: Iterable[bytes]) -> Iterator[tuple[tuple[bytes, ...], bytes]]:
    """Everything of these cache records, as BuildKit's own removal finds it (cache/metadata/metadata.go Clear, v0.34).

    Args:
        root: of a metadata_v2.db.
        records: their ids.

    Returns:
        The bucket and the key of each part; the record itself comes last.
    """
    found: dict[tuple[tuple[bytes, ...], bytes], None] = {}
    main, external, index = (root.bucket(name) for name in (b"_main", b"_external", b"_index"))
    for record in records:
        fields = None if main is None else main.bucket(record)
        if fields is None:
            continue
        if external is not None and external.bucket(record) is not None:
            found[(b"_external",), record] = None
        for _, raw in fields.items():  # noqa: PERF102 - a bucket has no values()
            named = _index_of(raw) if isinstance(raw, bytes) and raw else None
            if named and index is not None and index.get(named + b"::" + record) is not None:
                found[(b"_index",), named + b"::" + record] = None
        found[(b"_main",), record] = None
    yield from found


def _index_of(raw: bytes) -> bytes | None:
    """The index that a value is listed in; None if it is in none."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    named = value.get("index") if isinstance(value, dict) else None
    return named.encode("utf-8", "surrogatepass") if isinstance(named, str) else None


def read_build_history(of: BuildKit, findings: list[Finding], *, live: bool = False) -> _Records:
    """Build references over every ``history*.db``, and when the newest changed; as :func:`read_build_records`.

    The containerd image store has a ``history_c8d.db`` since Docker 27, and leaves an older ``history.db``.
    """
    return _over(of, _HISTORY, lambda root, _: _history_records(root), "build history", findings, live=live)


def build_databases(of: BuildKit) -> list[RawPath]:
    """The databases that :func:`read_build_records` and :func:`read_build_history` read.

    Raises:
        OSError: a folder cannot be listed.
    """
    try:
        return [*_files(of, _CACHE), *_files(of, _HISTORY)]
    except FileNotFoundError:
        return []


def build_databases_beside(root: Root) -> list[RawPath]:
    """The databases of BuildKit that a run on a root may edit besides the root's own.

    These are the cache records that may own leases of the root, of no folder that cannot be listed, and all databases
    of the builder of the classic stores that are judged with it, in the order of their edits.
    """
    found = [RawPath(os.path.join(data, each)) for data in root.layer_stores for each in BUILD_DATABASES]
    found = [path for path in found if os.path.lexists(path)]
    for each in (of for buildkits in find_buildkits(root) for of in buildkits):
        with suppress(OSError):
            found += (path for path in _files(each, _CACHE) if _is_workers(each, path))
    return found


def _over(
    of: BuildKit,
    pattern: re.Pattern[bytes],
    read: Callable[[Bucket, RawPath], Iterator[bytes]],
    what: str,
    findings: list[Finding],
    *,
    live: bool,
) -> _Records:
    found: set[bytes] = set()
    changed: list[int] = []
    files: list[RawPath] = []
    unknown: list[Finding] = []
    try:
        files += _files(of, pattern)
        if pattern is _CACHE:
            _complete(of, files)
    except FileNotFoundError:
        files = []
    except (OSError, UnknownRecords) as error:
        unknown.append(_unknown(of.folder, error, what))
    for path in files:
        try:
            if pattern is _HISTORY or _is_workers(of, path):
                changed.append(os.lstat(path).st_mtime_ns)
            with opened(path, live=live) as database:
                found.update(read(database.root, path))
                _sound(database)
        except (OSError, BoltError, DrydockError, UnknownRecords) as error:  # noqa: PERF203 - a few files
            unknown.append(_unknown(path, error, what))
    if not changed and not unknown:
        unknown.append(_unknown(of.folder, "there is no database", what, Severity.NOTE))
    findings += unknown
    return found, None if unknown else UnixNano(max(changed))


def read_classic_records(data: RawPath, *, live: bool = False) -> BuildCache:
    """The cache records of dockerd's builder in the classic mode.

    Args:
        data: the data root.
        live: read a copy instead of taking a lock.

    Raises:
        OSError: there is no database, or it cannot be read.
        DrydockError: it is locked, or cannot be copied.
        BoltError: it is damaged.
        UnknownRecords: this version of drydock does not know something in it.
    """
    path = RawPath(os.path.join(data, BUILD_RECORDS))
    with opened(path, live=live) as database:
        cache = BuildCache(path, SNAPSHOTTER, False)
        cache.records = {record.id: record for record in _cache_records(database.root, cache)}
        _sound(database)
    return cache


def read_classic_history(data: RawPath, *, live: bool = False) -> set[bytes]:
    """References of the builds in the history of dockerd's builder in the classic mode; none without a database.

    Args:
        data: the data root.
        live: read a copy instead of taking a lock.

    Raises:
        OSError: it cannot be read.
        DrydockError: it is locked, or cannot be copied.
        BoltError: it is damaged.
        UnknownRecords: this version of drydock does not know something in it.
    """
    path = RawPath(os.path.join(data, BUILD_HISTORY))
    if not os.path.lexists(path):
        return set()
    with opened(path, live=live) as database:
        found = set(_history_records(database.root))
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


def _files(of: BuildKit, pattern: re.Pattern[bytes]) -> Iterator[RawPath]:
    """Databases in the folder and in the folders of workers directly in it."""
    with folder(of.folder) as descriptor:
        inside = names(descriptor)
    for name in inside:
        if pattern.match(name) and (of.is_dockers or pattern is _HISTORY):
            yield RawPath(os.path.join(of.folder, name))
        elif of.is_worker(name):
            with folder(of.folder, name) as descriptor:
                for each in filter(pattern.match, names(descriptor)):
                    yield RawPath(os.path.join(of.folder, name, each))


def _complete(of: BuildKit, files: list[RawPath]) -> None:
    """Refuse a worker without a database, and a database of an unknown version."""
    other = next((path for path in _files(of, _OTHER_CACHE) if path not in files), None)
    if other is not None:
        raise UnknownRecords(f"this version of drydock does not know {shown(os.path.basename(other))}")
    with folder(of.folder) as descriptor:
        workers = [name for name in names(descriptor) if of.is_worker(name)]
    for worker in workers:
        if not any(os.path.basename(os.path.dirname(path)) == worker for path in files):
            raise UnknownRecords(f"{shown(worker)} has no database")


def _is_workers(of: BuildKit, path: RawPath) -> bool:
    return of.is_worker(os.path.basename(os.path.dirname(path)))


def _cache_records(root: Bucket, cache: BuildCache) -> Iterator[CacheRecord]:
    for key, value in _known(root, _CACHE_BUCKETS):
        if key != b"_main":
            continue
        for record, fields in value.items():
            if isinstance(fields, bytes):
                raise UnknownRecords(f"record {shown(record)} is not a bucket")
            yield _Fields(fields, cache).record(record)


class _Fields:
    """The values of one record. BuildKit reads one of another type as none (cache/metadata.go getBool, v0.34)."""

    def __init__(self, fields: Bucket, cache: BuildCache) -> None:
        self._values: dict[bytes, object] = {}
        self._cache = cache
        self._marked = fields.get(b"cache.deleted") is not None
        for key, raw in fields.items():
            # An empty value is one that was cleared.
            if isinstance(raw, bytes) and raw:
                try:
                    value = json.loads(raw)
                except (ValueError, RecursionError):
                    value = None
                if isinstance(value, dict) and "value" in value:
                    self._values[key] = value["value"]
                else:
                    cache.is_clear = False

    def record(self, name: bytes) -> CacheRecord:
        """The record with these values."""
        listed = self._get(b"cache.mergeParents", list) or []
        joined = [each.encode("utf-8", "surrogatepass") for each in listed if isinstance(each, str)]
        self._cache.is_clear = self._cache.is_clear and len(joined) == len(listed)
        ends = [self._text(b"cache.lowerDiffParent"), self._text(b"cache.upperDiffParent")]
        size = self._get(b"snapshot.size", int)
        return CacheRecord(
            name,
            self._get(b"cache.deleted", bool) or False,
            self._get(b"snapshot.committed", bool) or False,
            None if size is None or size < 0 else size,
            self._text(b"cache.snapshot") or name,
            self._get(b"cache.cachePolicy", int) == 1,
            self._text(b"cache.equalMutable"),
            self._text(b"cache.parent"),
            (*joined, *filter(None, ends)),
            self._text(b"cache.blob"),
            self._get(b"cache.blobonly", bool) or False,
            self._text(b"cache.recordType"),
            is_diff=any(ends) and not joined,
            last_used=self._last_used(),
            is_marked=self._marked,
        )

    def _get(self, key: bytes, wanted: type[_T]) -> _T | None:
        value = self._values.get(key)
        if value is None:
            return None
        # bool is a kind of int in Python, and none in JSON.
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            self._cache.is_clear = False
            return None
        return value

    def _last_used(self) -> UnixNano | None:
        """The time of the last use counts only beside a number of uses (cache/metadata.go getLastUsed, v0.34)."""
        when = self._get(b"cache.lastUsedAt", int)
        return UnixNano(when) if when and self._get(b"cache.usageCount", int) is not None else None

    def _text(self, key: bytes) -> bytes:
        value = self._get(key, str) or ""
        return value.encode("utf-8", "surrogatepass")


def _history_records(root: Bucket) -> Iterator[bytes]:
    for key, value in _known(root, _HISTORY_BUCKETS):
        if key == b"_records":
            yield from (record for record, _ in value.items())


def _known(root: Bucket, expected: frozenset[bytes]) -> Iterator[tuple[bytes, Bucket]]:
    for key, value in root.items():
        if key not in expected or isinstance(value, bytes):
            raise UnknownRecords(f"this version of drydock does not know {shown(key)}")
        yield key, value


def _unknown(path: bytes, why: Exception | str, what: str, severity: Severity = Severity.BLIND) -> Finding:
    problem = why.strerror if isinstance(why, OSError) and why.strerror else str(why)
    effect = f"every lease of the {what} is kept"
    return messages.UNREADABLE_OWNERS(path=path, problem=problem, effect=effect).at(
        Place(RawPath(path)), severity=severity
    )
