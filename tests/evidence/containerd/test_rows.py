"""Rows of a snapshotter's metadata.db, whole and damaged."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import gobbolt
from tests.support.boltwriter import write
from tests.support.captures import captures
from tests.support.gowriting import go_time, uvarint, varint
from tests.support.records import nested, sequence

from bbolt_reader import Database
from drydock.evidence.containerd.rows import read_rows
from drydock.model.data import RowKind
from drydock.model.findings import Severity
from drydock.model.names import RawPath


def row(number=1, kind=3, **fields):
    """A row as containerd writes it."""
    named = {name.encode(): value for name, value in fields.items()}
    return {b"id": uvarint(number), b"kind": bytes([kind]), b"createdat": go_time(1), b"updatedat": go_time(2), **named}


@pytest.fixture
def read(tmp_path):
    """Write a metadata.db and read its rows."""

    def give(tree, **options):
        write(tmp_path / "metadata.db", tree, **options)
        with Database.open(tmp_path / "metadata.db") as database:
            return read_rows(database, RawPath(b"/x/metadata.db"))

    return give


def store(rows, **more):
    """The tree of a metadata.db; each row that has a parent is listed below it, as far as they can be read."""
    parents = {}
    for name, fields in rows.items():
        parent = fields.get(b"parent") if isinstance(fields, dict) else None
        above = rows.get(parent, {}) if isinstance(parent, bytes) else {}
        if isinstance(above.get(b"id"), bytes) and isinstance(fields.get(b"id"), bytes):
            parents[above[b"id"] + b"\0" + fields[b"id"]] = name
    return {b"v1": {b"snapshots": rows, b"parents": parents, **more}}


def test_every_field(read):
    """A committed row with a parent, labels and sizes, and its parent."""
    found = read(
        store(
            {
                b"moby/1/base": row(1, 3, size=varint(4096), inodes=varint(2)),
                b"moby/2/top": row(300, 2, parent=b"moby/1/base", labels={b"containerd.io/snapshot/x": b"y"}),
            }
        ),
        sequences={(b"v1", b"snapshots"): 301},
    )
    assert (found.complete, found.findings, found.sequence, found.newest) == (True, [], 301, 2 * 10**9)
    base, top = found.rows[b"moby/1/base"], found.rows[b"moby/2/top"]
    assert (base.id, base.kind, base.parent, base.size, base.inodes) == (1, RowKind.COMMITTED, b"", 4096, 2)
    assert (top.id, top.kind, top.parent, top.size) == (300, RowKind.ACTIVE, b"moby/1/base", None)
    assert dict(top.labels) == {b"containerd.io/snapshot/x": b"y"}
    assert (top.created, top.updated) == (10**9, 2 * 10**9)


def test_a_database_without_rows(read):
    """Before the first snapshot there is no v1: nothing is wrong, and no sequence is known."""
    found = read({})
    assert (found.complete, found.rows, found.sequence) == (True, {}, None)


@pytest.mark.parametrize(
    "tree",
    [
        {b"v1": b"flat"},
        {b"v2": {}},
        {b"v1": {b"snapshots": b"flat"}},
        {b"v1": {b"snapshots": {}, b"new": {}}},
        {b"v1": {b"snapshots": {}, b"new": b""}},
        store({b"flat": b""}),
        store({b"a": {**row(), b"id": b""}}),
        store({b"a": {**row(), b"id": b"\x80"}}),
        store({b"a": row(0)}),
        store({b"a": {**row(), b"id": {}}}),
        store({b"a": row(kind=4)}),
        store({b"a": {**row(), b"kind": b""}}),
        store({b"a": {**row(), b"kind": b"\x01\x01"}}),
        store({b"a": {**row(), b"kind": {}}}),
        store({b"a": {**row(), b"parent": {}}}),
        store({b"a": {**row(), b"labels": b""}}),
        store({b"a": {**row(), b"size": b"\xff"}}),
        store({b"a": {**row(), b"size": varint(-5)}}),
        store({b"a": {**row(), b"new": b""}}),
        store({b"a": {**row(), b"new": {}}}),
        store({b"a": row(7), b"b": row(7)}),
    ],
)
def test_what_is_not_understood_withholds(read, tree):
    """Each makes the reading incomplete, and says where."""
    found = read(tree)
    assert not found.complete
    assert found.findings
    assert found.findings[0].place.file == b"/x/metadata.db"
    assert found.findings[0].place.bucket


def test_a_parent_without_a_row_is_damage(read):
    """It is said, and withholds everything: the directory of the row that was lost looks like nobody's."""
    found = read(store({b"a": row(1, 3, parent=b"gone")}))
    assert not found.complete
    assert [finding.code for finding in found.findings] == ["row-without-parent"]


def _pair():
    return store({b"moby/1/base": row(1, 3), b"moby/2/top": row(2, 2, parent=b"moby/1/base")})


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        # An id is not what was written; what was written to ``parents`` is lost, or of another; a row is lost.
        ((b"snapshots", b"moby/2/top", b"id"), uvarint(3), "parents-disagree"),
        ((b"snapshots", b"moby/1/base", b"id"), uvarint(9), "parents-disagree"),
        ((b"parents", b"\x01\0\x02"), None, "parents-disagree"),
        ((b"parents", b"\x01\0\x02"), b"moby/2/tap", "lost-row"),
        ((b"snapshots", b"moby/2/top"), None, "lost-row"),
    ],
)
def test_rows_and_parents_that_differ_are_damage(read, path, value, code):
    """Both say whose a directory is: where they do not say the same, none of them is known."""
    assert read(_pair()).complete
    tree = _pair()
    bucket = tree[b"v1"]
    for part in path[:-1]:
        bucket = bucket[part]
    if value is None:
        del bucket[path[-1]]
    else:
        bucket[path[-1]] = value
    found = read(tree)
    assert not found.complete
    assert found.findings[0].code == code
    assert found.findings[0].place.bucket[:2] == (b"v1", b"parents")


def test_two_rows_with_one_id_are_not_understood(read):
    """Whose the directory is cannot be told: the rows are named, and nothing of the snapshotter is known for sure."""
    found = read(store({b"moby/1/one": row(7), b"moby/2/two": row(7)}))
    assert not found.complete
    assert [(each.code, each.severity) for each in found.findings] == [("shared-id", Severity.BLIND)]
    assert found.findings[0].message == "rows moby/2/two and moby/1/one have the same id 7"


_FIELDS = st.sampled_from([b"id", b"kind", b"parent", b"size", b"inodes", b"labels", b"createdat"])
_INNER = st.dictionaries(st.binary(min_size=1, max_size=4), st.binary(max_size=4), max_size=3)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(_FIELDS, st.binary(max_size=20) | _INNER))
def test_any_bytes_are_survived(read, fields):
    """A row is complete only with an id and a kind that decode, each as the tests' own encoder would write it."""
    found = read(store({b"r": fields}))
    if found.complete:
        assert fields[b"id"] == uvarint(found.rows[b"r"].id) or len(fields[b"id"]) > len(uvarint(found.rows[b"r"].id))
        assert fields[b"kind"] == bytes([found.rows[b"r"].kind])
        assert fields.get(b"parent", b"") == found.rows[b"r"].parent


@pytest.mark.root
@pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "-")
@pytest.mark.parametrize("capture", [pytest.param(each, id=each.name) for each in captures()])
def test_rows_are_what_go_reads(capture, unpacked):
    """Every field of every row of real files, against Go's dump; and what Go reads is all there."""
    for path in sorted((unpacked(capture) / capture.root).glob("io.containerd.snapshotter.v1.*/metadata.db")):
        with Database.open(path) as database:
            found = read_rows(database, RawPath(bytes(path)))
        assert found.complete
        said = nested(path)
        rows = said.get(b"v1", {}).get(b"snapshots", {})
        wanted = {name: {key: value for key, value in row.items() if value != {}} for name, row in rows.items()}
        assert {name: _fields(each) for name, each in found.rows.items()} == wanted
        assert found.sequence == (sequence(path, b"v1", b"snapshots") if said else None)


def _fields(each):
    fields = {
        b"id": uvarint(each.id),
        b"kind": bytes([each.kind]),
        b"createdat": go_time(*divmod(each.created, 10**9)),
        b"updatedat": go_time(*divmod(each.updated, 10**9)),
        b"parent": each.parent,
        b"size": b"" if each.size is None else varint(each.size),
        b"inodes": b"" if each.inodes is None else varint(each.inodes),
        b"labels": dict(each.labels),
    }
    return {field: value for field, value in fields.items() if value}
