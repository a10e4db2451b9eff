"""Records that carry a time after the clock. If they are few, their times are wrong; if they are most, the clock is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from drydock.model import messages
from drydock.model.findings import Finding, Place
from drydock.model.names import RawPath, UnixNano
from drydock.model.records import Blob, Container, Image, Lease, Sandbox, Snapshot
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.model.times import is_ahead, show_span, show_time

_Record = Image | Container | Snapshot | Sandbox | Lease | Blob

_LISTED = 1000
_ROWS = b"metadata.db"
_CREATED, _UPDATED = b"createdat", b"updatedat"


class _Dated(NamedTuple):
    """A record or a row that carries a time."""

    what: str
    """Its kind and its name, shown."""
    file: RawPath
    bucket: tuple[bytes, ...]
    created: UnixNano | None
    updated: UnixNano | None


@dataclass(slots=True)
class Ahead:
    """The records and rows that carry a time after the clock."""

    dated: int = 0
    """How many records and rows carry a time; counted only if one of them is ahead."""
    ahead: int = 0
    """How many of these carry a time after the clock."""
    findings: list[Finding] = field(default_factory=list)
    """One for each of the first thousand."""


def find_ahead(store: Store, now: UnixNano) -> Ahead:
    """The records and rows of a store that carry a time after ``now``."""
    found = Ahead()
    newest = store.newest()
    if newest is None or not is_ahead(newest, now):
        return found
    for each in _dated(store):
        times = ((_CREATED, each.created), (_UPDATED, each.updated))
        if each.created is None and each.updated is None:
            continue
        found.dated += 1
        late = [(name, time) for name, time in times if time is not None and is_ahead(time, now)]
        found.ahead += bool(late)
        if late and found.ahead <= _LISTED:
            found.findings.append(_finding(each, *late[0], now))
    if found.ahead > _LISTED:
        found.findings.append(messages.MORE_TIMES_AHEAD(limit=_LISTED).at(Place(store.metadata.path)))
    return found


def _finding(dated: _Dated, field_name: bytes, time: UnixNano, now: UnixNano) -> Finding:
    return messages.TIME_AHEAD(
        object=dated.what, field=field_name, time=show_time(time), span=show_span(time - now)
    ).at(Place(dated.file, bucket=(*dated.bucket, field_name)), dated.what.partition(" ")[2])


def _dated(store: Store) -> Iterator[_Dated]:
    metadata = store.metadata
    records: Iterator[_Record] = chain(
        metadata.images, metadata.containers, metadata.snapshots, metadata.sandboxes, metadata.leases, metadata.blobs
    )
    for record in records:
        updated = None if isinstance(record, Lease) else record.updated
        kind, bucket = record.ref.kind.value, _bucket(record)
        yield _Dated(f"{kind} {shown(bucket[-1])}", metadata.path, bucket, record.created, updated)
    for snapshotter, backend in store.backends.items():
        file = RawPath(b"/".join((store.root.path, backend.path, _ROWS)))
        for row in backend.rows.values():
            what = f"row {shown(row.name)} of {shown(snapshotter)}"
            yield _Dated(what, file, (b"v1", b"snapshots", row.name), row.created, row.updated)


def _bucket(record: _Record) -> tuple[bytes, ...]:
    """Where a record lies in meta.db (containerd core/metadata/buckets.go, v2.1)."""
    match record:
        case Image():
            return b"v1", record.namespace, b"images", record.name
        case Container():
            return b"v1", record.namespace, b"containers", record.id
        case Snapshot():
            return b"v1", record.namespace, b"snapshots", record.snapshotter, record.key
        case Lease():
            return b"v1", record.namespace, b"leases", record.id
        case Blob():
            return b"v1", record.namespace, b"content", b"blob", record.digest
        case Sandbox():
            place = (record.namespace, b"sandboxes", record.id)
            return place if record.outside_v1 else (b"v1", *place)
