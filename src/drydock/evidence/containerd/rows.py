"""A snapshotter's metadata.db: which snapshot has the directory of which number.

Source: containerd core/snapshots/storage/bolt.go (v2.1; the format has not changed since 1.0).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bbolt_reader import Bucket, Database
from drydock.evidence.containerd.encoding import encode_uvarint
from drydock.evidence.containerd.record import Ledger, bucket_name
from drydock.model import messages
from drydock.model.data import Row, RowKind
from drydock.model.findings import Finding
from drydock.model.names import RawPath, UnixNano

DATABASE = b"metadata.db"
"""The name of the file in a snapshotter's folder."""


@dataclass(slots=True)
class Rows:
    """The rows of one metadata.db."""

    rows: dict[bytes, Row] = field(default_factory=dict)
    links: dict[bytes, bytes] = field(default_factory=dict)
    """The bucket ``parents``: the name of each child, by the ids of parent and child as they are written there."""
    sequence: int | None = None
    newest: UnixNano | None = None
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True


def read_rows(database: Database, path: RawPath) -> Rows:
    """Read all rows of an open metadata.db.

    Args:
        database: the open file.
        path: the name of the file in findings.
    """
    ledger, found = Ledger(path), Rows()
    ids: dict[int, bytes] = {}
    for key, value in ledger.entries(database.root):
        if key != b"v1" or isinstance(value, bytes):
            ledger.blind(messages.NOT_OF_ROWS(name=key), (key,))
            continue
        for part, bucket in ledger.buckets(value):
            if part == b"snapshots":
                found.sequence = bucket.sequence
                for name, entry in ledger.buckets(bucket):
                    _row(ledger, found, ids, name, entry)
            elif part == b"parents":
                found.links = {name: child for name, child in ledger.entries(bucket) if isinstance(child, bytes)}
            else:
                ledger.blind(messages.UNKNOWN_BUCKET(name=bucket_name(bucket.path)), bucket.path)
    for row in found.rows.values():
        if row.parent and row.parent not in found.rows:
            # No snapshotter removes a row with children: the parent's row was lost, and its directory looks free.
            ledger.blind(messages.ROW_WITHOUT_PARENT(row=row.name), (b"v1", b"snapshots", row.name))
    _compare(ledger, found)
    found.findings, found.complete, found.newest = ledger.findings, ledger.complete, ledger.newest
    return found


def _compare(ledger: Ledger, found: Rows) -> None:
    """Compare the rows with ``parents``, which has the id of each row with a parent too.

    Each change of a row changes both in one transaction (bolt.go createSnapshot, CommitActive, Remove). If they differ,
    an id, a name or a row was written over, and a directory without a row may belong to a snapshot.
    """
    where = (b"v1", b"parents")
    rows, ids = found.rows, {encode_uvarint(row.id) for row in found.rows.values()}
    for key, name in found.links.items():
        row = rows.get(name)
        if row is None:
            ledger.blind(messages.LOST_ROW(snapshot=name), (*where, key))
            continue
        parent, _, child = key.partition(b"\0")
        known = row.parent not in rows or parent in ids
        if child != encode_uvarint(row.id) or not known:
            ledger.blind(messages.OTHER_ID_IN_PARENTS(row=name), (*where, key))
    linked = set(found.links.values())
    for row in rows.values():
        if row.parent in rows and row.name not in linked:
            ledger.blind(messages.NOT_IN_PARENTS(row=row.name), where)


def _row(ledger: Ledger, found: Rows, ids: dict[int, bytes], name: bytes, bucket: Bucket) -> None:
    record = ledger.record(bucket)
    number = record.unsigned(b"id")
    kind = record.raw(b"kind")
    if number is None or number == 0:
        ledger.blind(messages.ROW_WITHOUT_ID(row=name), bucket.path)
    elif number in ids:
        ledger.blind(messages.SHARED_ID(row=name, other=ids[number], id=number), bucket.path)
    else:
        ids[number] = name
    if kind is None or len(kind) != 1 or kind[0] > max(RowKind):
        ledger.blind(messages.ROW_WITHOUT_KIND(row=name), bucket.path)
        kind = b"\0"
    found.rows[name] = Row(
        name,
        number or 0,
        RowKind(kind[0]),
        record.text(b"parent"),
        record.size(b"size"),
        record.size(b"inodes"),
        record.labels(),
        record.time(b"createdat"),
        record.time(b"updatedat"),
    )
    record.finish()
