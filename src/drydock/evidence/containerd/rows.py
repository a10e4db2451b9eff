"""A snapshotter's metadata.db: which directory number is which snapshot.

Source: containerd core/snapshots/storage/bolt.go (v2.1; the format has not changed since 1.0).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bbolt_reader import Bucket, Database
from drydock.evidence.containerd.encoding import encode_uvarint
from drydock.evidence.containerd.record import Ledger
from drydock.model.data import Row, RowKind
from drydock.model.findings import Finding, Severity
from drydock.model.names import RawPath, UnixNano
from drydock.model.text import shown

DATABASE = b"metadata.db"
"""The name of the file in a snapshotter's folder."""


@dataclass(slots=True)
class Rows:
    """The rows of one metadata.db."""

    rows: dict[bytes, Row] = field(default_factory=dict)
    links: dict[bytes, bytes] = field(default_factory=dict)
    """What ``parents`` says: by the ids of parent and child, as they are written there, the child's name."""
    sequence: int | None = None
    newest: UnixNano | None = None
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True


def read_rows(database: Database, path: RawPath) -> Rows:
    """Read all rows of an open metadata.db.

    Args:
        database: the open file.
        path: what findings call the file.
    """
    ledger, found = Ledger(path), Rows()
    ids: dict[int, bytes] = {}
    for key, value in ledger.entries(database.root):
        if key != b"v1" or isinstance(value, bytes):
            ledger.blind("unknown-bucket", (key,), f"{shown(key)}: not of a snapshotter's metadata.db")
            continue
        for part, bucket in ledger.buckets(value):
            if part == b"snapshots":
                found.sequence = bucket.sequence
                for name, entry in ledger.buckets(bucket):
                    _row(ledger, found, ids, name, entry)
            elif part == b"parents":
                found.links = {name: child for name, child in ledger.entries(bucket) if isinstance(child, bytes)}
            else:
                ledger.blind("unknown-bucket", bucket.path, f"v1/{shown(part)}: not known to this version")
    for row in found.rows.values():
        if row.parent and row.parent not in found.rows:
            # No snapshotter removes a row that others stand on: the parent's was lost, and its directory looks free.
            ledger.blind(
                "row-without-parent",
                (b"v1", b"snapshots", row.name),
                f"{shown(row.name)}: its parent has no row",
                Severity.DAMAGE,
            )
    _compare(ledger, found)
    found.findings, found.complete, found.newest = ledger.findings, ledger.complete, ledger.newest
    return found


def _compare(ledger: Ledger, found: Rows) -> None:
    """Compare the rows with ``parents``, which says of each that has a parent once more which id it has.

    Each change of a row changes both in one transaction (bolt.go createSnapshot, CommitActive, Remove): where they
    differ, an id, a name or a row is not what was written, and a directory that no row has may be a snapshot's.
    """
    where = (b"v1", b"parents")
    rows, ids = found.rows, {encode_uvarint(row.id) for row in found.rows.values()}
    for key, name in found.links.items():
        row = rows.get(name)
        if row is None:
            ledger.blind("lost-row", (*where, key), f"{shown(name)}: has a parent, and no row", Severity.DAMAGE)
            continue
        parent, _, child = key.partition(b"\0")
        known = row.parent not in rows or parent in ids
        if child != encode_uvarint(row.id) or not known:
            message = f"{shown(name)}: it or its parent has another id than its entry in parents"
            ledger.blind("parents-disagree", (*where, key), message, Severity.DAMAGE)
    linked = set(found.links.values())
    for row in rows.values():
        if row.parent in rows and row.name not in linked:
            ledger.blind("parents-disagree", where, f"{shown(row.name)}: has no entry in parents", Severity.DAMAGE)


def _row(ledger: Ledger, found: Rows, ids: dict[int, bytes], name: bytes, bucket: Bucket) -> None:
    record = ledger.record(bucket)
    number = record.unsigned(b"id")
    kind = record.raw(b"kind")
    if number is None or number == 0:
        ledger.blind("undecodable", bucket.path, f"{shown(name)}: a row without an id", Severity.DAMAGE)
    elif number in ids:
        ledger.blind("shared-id", bucket.path, f"{shown(name)} and {shown(ids[number])} have the same id {number}")
    else:
        ids[number] = name
    if kind is None or len(kind) != 1 or kind[0] > max(RowKind):
        ledger.blind("undecodable", bucket.path, f"{shown(name)}: a row without a known kind", Severity.DAMAGE)
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
