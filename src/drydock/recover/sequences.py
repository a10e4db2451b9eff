"""Numbers that containerd's databases give out, kept from being given out twice."""

from __future__ import annotations

from collections.abc import Iterator

from bbolt_surgery import NewBucket
from drydock.evidence.encoding import Undecodable, uvarint
from drydock.model.names import row_number

_LARGEST = 1 << 62


def raise_sequences(root: NewBucket) -> None:
    """Raise each sequence to the highest number that a record says was given out.

    In meta.db the names that snapshotters and the content store know are ``<namespace>/<number>/<key>``
    (containerd core/metadata/snapshot.go, createKey; content.go; v2.1), in a snapshotter's metadata.db a row's ``id``
    is the number and names its directory (core/snapshots/storage/bolt.go).
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
