"""A snapshotter's metadata.db: which directory number is which snapshot.

Source: containerd core/snapshots/storage/bolt.go (v2.1; the format has not changed since 1.0).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bbolt_reader import Bucket, Database
from drydock.evidence.encoding import encode_uvarint
from drydock.evidence.record import Ledger
from drydock.model.data import Row, RowKind
from drydock.model.findings import Finding, Severity
from drydock.model.names import RawPath, UnixNano
from drydock.model.text import shown


@dataclass(slots=True)
class Rows:
    """The rows of one metadata.db."""

    rows: dict[bytes, Row] = field(default_factory=dict)
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
    links: dict[bytes, bytes] = {}
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
                links = {name: child for name, child in ledger.entries(bucket) if isinstance(child, bytes)}
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
    _compare(ledger, found, links)
    found.findings, found.complete, found.newest = ledger.findings, ledger.complete, ledger.newest
    return found


def _compare(ledger: Ledger, found: Rows, links: dict[bytes, bytes]) -> None:
    """Compare the rows with ``parents``, which says of each that has a parent once more whose it is.

    Each change of a row changes both in one transaction (bolt.go createSnapshot, CommitActive, Remove): where they
    differ, an id, a name or a row is not what was written, and a directory that no row has may be a snapshot's.
    """
    where = (b"v1", b"parents")
    rows = found.rows
    orphans = {row.name for row in rows.values() if row.parent and row.parent not in rows}
    expected = {
        encode_uvarint(rows[row.parent].id) + b"\0" + encode_uvarint(row.id): row.name
        for row in rows.values()
        if row.parent in rows
    }
    for key, name in links.items() - expected.items():
        if name not in rows:
            ledger.blind("lost-row", where, f"{shown(name)}: has a parent, and no row", Severity.DAMAGE)
        elif name not in orphans:
            message = f"{shown(name)}: its row has another id or parent than {shown(key)} says"
            ledger.blind("parents-disagree", where, message, Severity.DAMAGE)
    for name in {*expected.values()} - {*links.values()}:
        ledger.blind("parents-disagree", where, f"{shown(name)}: not among its parent's", Severity.DAMAGE)


def _row(ledger: Ledger, found: Rows, ids: dict[int, bytes], name: bytes, bucket: Bucket) -> None:
    record = ledger.record(bucket)
    number = record.unsigned(b"id")
    kind = record.raw(b"kind")
    if number is None or number == 0:
        ledger.blind("undecodable", bucket.path, f"{shown(name)}: a row without an id")
    elif number in ids:
        ledger.blind("shared-id", bucket.path, f"{shown(name)} and {shown(ids[number])} have the same id {number}")
    else:
        ids[number] = name
    if kind is None or len(kind) != 1 or kind[0] > max(RowKind):
        ledger.blind("undecodable", bucket.path, f"{shown(name)}: a row without a known kind")
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
