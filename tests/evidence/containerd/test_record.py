"""Fields of one record: taken out once, and nothing is passed over in silence."""

from __future__ import annotations

import pytest
from tests.support.boltwriter import write
from tests.support.gowriting import go_time, uvarint, varint

from bbolt_reader import Database
from drydock.evidence.containerd.record import Ledger
from drydock.model.findings import Severity
from drydock.model.names import RawPath


@pytest.fixture
def open_record(tmp_path):
    """A function that writes one record and opens it; gives (ledger, record)."""
    opened = []

    def give(fields):
        path = tmp_path / f"{len(opened)}.db"
        write(path, {b"r": fields})
        database = Database.open(path)
        opened.append(database)
        ledger = Ledger(RawPath(b"/x/meta.db"))
        return ledger, ledger.record(database.root.bucket(b"r"))

    yield give
    for database in opened:
        database.close()


def test_every_kind_of_field(open_record):
    """Each comes out decoded; after all were asked for, nothing is left to report."""
    ledger, record = open_record(
        {
            b"raw": b"\0x", b"text": b"t", b"time": go_time(5, 6), b"signed": varint(-7), b"size": varint(8),
            b"unsigned": uvarint(9), b"labels": {b"a": b"1", b"b": b""}, b"keys": {b"k": b"", b"l": b""},
            b"needed": b"n", b"known": b"", b"known too": {},
        }
    )  # fmt: skip
    assert record.raw(b"raw") == b"\0x"
    assert record.text(b"text") == b"t"
    assert record.time(b"time") == 5_000_000_006
    assert record.signed(b"signed") == -7
    assert record.size(b"size") == 8
    assert record.unsigned(b"unsigned") == 9
    assert record.labels() == {b"a": b"1", b"b": b""}
    assert record.keys(b"keys") == (b"k", b"l")
    assert record.needed(b"needed") == b"n"
    record.skip(b"known", b"known too")
    record.finish()
    assert (ledger.findings, ledger.complete, ledger.newest) == ([], True, 5_000_000_006)


def test_what_is_not_there(open_record):
    """An absent field is an absent field, except one that every record must have."""
    ledger, record = open_record({})
    absent = (record.raw(b"a"), record.text(b"b"), record.time(b"c"), record.signed(b"d"), record.unsigned(b"e"))
    assert absent == (None, b"", None, None, None)
    assert (record.labels(), record.keys(b"k"), record.bucket(b"b"), record.size(b"s")) == ({}, (), None, None)
    record.finish()
    assert ledger.complete
    assert record.needed(b"n") == b""
    assert not ledger.complete


@pytest.mark.parametrize(
    ("read", "value"),
    [
        ("raw", {}), ("text", {}), ("time", {}), ("signed", {}), ("unsigned", {}), ("size", {}), ("needed", {}),
        ("bucket", b""), ("keys", b"x"), ("labels", b""), ("signed", b""), ("unsigned", b"\x80"), ("size", varint(-1)),
        ("needed", b""), ("labels", {b"x": {}}), ("keys", {b"x": {}}),
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_kind_withholds(open_record, read, value):
    """A bucket for a value, a value for a bucket, bytes that do not decode: incomplete, with the place."""
    ledger, record = open_record({b"f": value})
    getattr(record, read)(b"f")
    record.finish()
    assert not ledger.complete
    assert [finding.place.bucket[:2] for finding in ledger.findings] == [(b"r", b"f")]
    assert ledger.findings[0].message.startswith("r/f")


def test_a_time_that_does_not_decode_withholds_nothing(open_record):
    """No reference depends on it: damage, and the record is complete."""
    ledger, record = open_record({b"t": b"\x01"})
    assert record.time(b"t") is None
    assert (ledger.complete, [finding.code for finding in ledger.findings]) == (True, ["undecodable-time"])
    assert ledger.findings[0].severity is Severity.DAMAGE


@pytest.mark.parametrize(("value", "code"), [(b"", "unknown-key"), ({}, "unknown-bucket")])
def test_what_nobody_asked_for_withholds(open_record, value, code):
    """A newer containerd may keep a reference there; its name is shown without control characters."""
    ledger, record = open_record({b"\x1b[31m": value})
    record.finish()
    assert not ledger.complete
    assert [finding.code for finding in ledger.findings] == [code]
    assert "\x1b" not in ledger.findings[0].message


def test_findings_of_one_kind_are_bounded(open_record):
    """A file that is wrong every few bytes is not answered with many times its size."""
    ledger, record = open_record({b"%d" % number: b"" for number in range(3000)})
    record.finish()
    assert len(ledger.findings) == 1001
    assert "not listed" in ledger.findings[-1].message
    assert not ledger.complete
