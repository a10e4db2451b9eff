"""Reading a root whose engine may run: only what is true both before and after the reading is reported.

The databases are copied, then the data is listed. If anything was committed meanwhile, the databases are copied again;
and if data without a record is left, once more after a moment. containerd writes data before its record, and removes
data after its record. So data without a record in each copy, which is still there and older than a minute, has no
record; and a record in each copy without data has no data.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple, TypeVar

from drydock.evidence.containerd.rows import read_rows
from drydock.evidence.containerd.store import Held, copy_store, read_records, read_store
from drydock.evidence.files.database_copy import metas, read_state
from drydock.model.data import Backend, Fingerprint, Row
from drydock.model.findings import FindingCode
from drydock.model.names import RawPath, ingest_name
from drydock.model.policies import BlobCheck, SizeSource
from drydock.model.progress import Progress
from drydock.model.records import BlobRecords, Metadata
from drydock.model.store import Store

_T = TypeVar("_T")
_LOOKS: Final = 5
_PAUSE: Final = 0.2
_YOUNG: Final = 60
"""Data without a record counts as being written for so many seconds."""


def read_live(held: Held, *, measure: SizeSource, verification: BlobCheck, progress: Progress | None = None) -> Store:
    """As :func:`drydock.evidence.containerd.store.read_store`, without objects that came or went meanwhile.

    Args:
        held: from :func:`drydock.evidence.containerd.store.copy_store`.
        measure: as there.
        verification: as there.
        progress: as there.

    Raises:
        EvidenceUnreadable: a database could not be copied again.
    """
    store = read_store(held, measure=measure, verification=verification, progress=progress)
    seen = {file.path: metas(file.fd, file.path) for file in held.files()}
    unnamed = _unnamed(store)
    for number in range(_LOOKS):
        if number:
            time.sleep(_PAUSE)
        if any(read_state(path) != state for path, state in seen.items()):
            with copy_store(held.root) as again:
                seen = {file.path: metas(file.fd, file.path) for file in again.files()}
                _settle(store, read_records(again), _rows(again))
        else:
            _settle(store, store.metadata, {name: backend.rows for name, backend in store.backends.items()})
        before, unnamed = unnamed, _unnamed(store)
        # A moment passes between data and its record: data that seems to have none is looked at once more at least.
        if not unnamed or (number and unnamed == before):
            break
    _leave_young(store, unnamed)
    return store


def _rows(held: Held) -> dict[bytes, dict[bytes, Row]]:
    return {
        name: read_rows(file.database, file.path).rows
        for name, file in held.backends.items()
        if file is not None and file.database is not None
    }


def _unnamed(store: Store) -> set[RawPath]:
    """Paths of data that no record or row names."""
    digests = set(store.metadata.blobs.digests)
    folders = _folders(store.metadata)
    found = {file.path for digest, file in store.content.blobs.items() if digest not in digests}
    found |= {each.path for each in store.content.ingests if each.name not in folders}
    for name, backend in store.backends.items():
        recorded = _names(store.metadata, name)
        numbers = {row.id for row in backend.rows.values() if row.name in recorded}
        found |= {each.path for each in backend.entries if each.id not in numbers}
    return found


def _names(metadata: Metadata, snapshotter: bytes) -> set[bytes]:
    return {each.name for each in metadata.snapshots if each.snapshotter == snapshotter}


def _leave_young(store: Store, unnamed: set[RawPath]) -> None:
    """Leave out young data that no record names, and young snapshots without a row: both commits may take long.

    When a snapshot is committed, its row gets another name before its record goes (containerd core/metadata/snapshot.go
    Commit, v2.4.2).
    """
    oldest = time.time_ns() - _YOUNG * 1_000_000_000

    def kept(path: RawPath, seen: Fingerprint) -> bool:
        return path not in unnamed or seen.ctime_ns < oldest

    content = store.content
    content.blobs = {digest: file for digest, file in content.blobs.items() if kept(file.path, file.fingerprint)}
    content.ingests = [each for each in content.ingests if kept(each.path, each.fingerprint)]
    for name, backend in store.backends.items():
        young = {each.id for each in backend.entries if not kept(each.path, each.fingerprint)}
        recorded = _names(store.metadata, name)
        backend.entries = [each for each in backend.entries if kept(each.path, each.fingerprint)]
        backend.rows = {
            key: row
            for key, row in backend.rows.items()
            if key in recorded or (row.id not in young and (row.created is None or row.created < oldest))
        }
    rows = {name: backend.rows for name, backend in store.backends.items()}
    store.metadata.snapshots = [
        each
        for each in store.metadata.snapshots
        if each.created is None or each.created < oldest or each.name in rows.get(each.snapshotter, (each.name,))
    ]


def _settle(store: Store, later: Metadata, rows: dict[bytes, dict[bytes, Row]]) -> None:
    first, content = store.metadata, store.content
    recorded = _Both(set(first.blobs.digests), set(later.blobs.digests))
    content.blobs = {
        digest: file
        for digest, file in content.blobs.items()
        if recorded.settled(digest) and (digest in recorded.first or _stays(store, file.path, file.fingerprint))
    }
    folders = _Both(_folders(first), _folders(later))
    content.ingests = [
        each
        for each in content.ingests
        if folders.settled(each.name) and (each.name in folders.first or _stays(store, each.path, each.fingerprint))
    ]
    content.findings = [
        each
        for each in content.findings
        if each.code is not FindingCode.UNREADABLE_BLOB or os.path.lexists(each.place.file)
    ]
    for name, backend in store.backends.items():
        if name in rows:
            _settle_backend(store, backend, rows[name], _Both(_names(first, name), _names(later, name)))
    first.images = _common(first.images, later.images, lambda each: each.ref)
    first.containers = _common(first.containers, later.containers, lambda each: each.ref)
    first.blobs = BlobRecords(_common(first.blobs, later.blobs, lambda each: each.ref))
    first.ingests = _common(first.ingests, later.ingests, lambda each: (each.ref, each.backend_ref))
    first.snapshots = _common(first.snapshots, later.snapshots, lambda each: (each.ref, each.name))
    first.sandboxes = _common(first.sandboxes, later.sandboxes, lambda each: each.ref)
    first.leases = _common(first.leases, later.leases, lambda each: each.ref)
    first.newest = later.newest
    if first.complete and not later.complete:
        first.complete, first.findings = False, later.findings


def _settle_backend(store: Store, backend: Backend, rows: dict[bytes, Row], names: _Both) -> None:
    numbers = _Both({row.id for row in backend.rows.values()}, {row.id for row in rows.values()})
    backend.entries = [
        each
        for each in backend.entries
        if (each.id is None or numbers.settled(each.id))
        and (each.id in numbers.first or _stays(store, each.path, each.fingerprint))
    ]
    # Records were copied before rows: only the later copy may have the record of a snapshot that has a row.
    gone = {row.id for name, row in rows.items() if not names.settled(name)}
    backend.entries = [each for each in backend.entries if each.id not in gone]
    backend.rows = {
        name: row
        for name, row in rows.items()
        if row.id not in gone and name in backend.rows and backend.rows[name].id == row.id
    }


class _Both(NamedTuple):
    """The names in an earlier and a later copy."""

    first: AbstractSet[Hashable]
    later: AbstractSet[Hashable]

    def settled(self, name: Hashable) -> bool:
        """Whether both copies have the name, or neither does."""
        return (name in self.first) == (name in self.later)


def _common(first: Sequence[_T], later: Sequence[_T], key: Callable[[_T], Hashable]) -> list[_T]:
    """The items that both lists have, as the later one has them."""
    known = {key(each) for each in first}
    return [each for each in later if key(each) in known]


def _folders(metadata: Metadata) -> set[bytes]:
    return {ingest_name(each.backend_ref) for each in metadata.ingests}


def _stays(store: Store, path: RawPath, seen: Fingerprint) -> bool:
    """Whether data that no record names is still the same file: an engine renames, fills and removes such data."""
    try:
        found = os.lstat(os.path.join(store.root.path, path))
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (seen.device, seen.inode)
