"""What a plan leaves out because something that should be recorded is not."""

import hashlib
import os

import pytest
from fuzz.stores import META_DB, METADATA, METADATA_DB, NOW, ROWS, SEQUENCES, digest, lay_out
from tests.support import boltwriter

import drydock
from drydock.model.names import RawPath, UnixNano

SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"


@pytest.fixture
def plan(tmp_path):
    """Plan for the small root with these databases."""
    lay_out(tmp_path)

    def give(metadata=METADATA, rows=ROWS, damage=None):
        layouts = (
            boltwriter.write(tmp_path / META_DB, metadata),
            boltwriter.write(tmp_path / METADATA_DB, rows, sequences=SEQUENCES),
        )
        if damage is not None:
            damage(layouts)
        (scan,) = drydock.plan(RawPath(os.fsencode(tmp_path)), now=UnixNano(NOW))
        return scan.plan

    return give


def without(tree, *path):
    """A copy of nested dicts without one thing."""
    copy = dict(tree)
    if len(path) > 1:
        copy[path[0]] = without(copy[path[0]], *path[1:])
    else:
        del copy[path[0]]
    return copy


def names(plan):
    """The last part of each path that goes."""
    return {removal.path.rpartition(b"/")[2] for removal in plan.removals}


def test_a_blob_that_a_staying_record_refers_to_stays_without_its_own_record(plan):
    """The record of an image's layer is lost: its file is not nobody's."""
    lost, orphan = (digest(number).partition(b":")[2] for number in (3, 10))
    assert lost not in names(plan())
    made = without(METADATA, b"v1", b"moby", b"content", b"blob", digest(3))
    made = plan(without(made, b"v1", b"other"))
    assert orphan in names(made)
    assert lost not in names(made)
    assert "has no record of it" in next(each.reason for each in made.withheld if lost.decode() in each.id)


def test_directories_without_a_row_stay_while_a_record_lacks_its_row(plan):
    """Which of them is the snapshot's cannot be told."""
    assert {b"5", b"6"} <= names(plan())
    rows = without(without(ROWS, b"v1", b"snapshots", b"moby/3/work"), b"v1", b"parents", LINK)
    made = plan(rows=rows)
    assert names(made) & {b"3", b"6"} == set()
    assert b"5" in names(made)  # its row is there, and no record names it


def test_directories_without_a_row_stay_while_a_snapshot_lacks_its_own(plan, tmp_path):
    """The id in a row may be another than was written: which directory is whose cannot be told."""
    (tmp_path / SNAPSHOTS / "3/fs").rmdir()
    (tmp_path / SNAPSHOTS / "3").rename(tmp_path / SNAPSHOTS / "7")
    # No number of this database, but of a newer one: the engine would stumble over it.
    (tmp_path / SNAPSHOTS / "33").mkdir()
    made = plan()
    assert names(made) & {b"7", b"6"} == set()
    assert {b"5", b"33"} <= names(made)
    assert "its own directory is missing" in next(each.reason for each in made.withheld if each.id == "7")


def with_value(tree, value, *path):
    """A copy of nested dicts with another value."""
    return {**tree, path[0]: value if len(path) == 1 else with_value(tree[path[0]], value, *path[1:])}


def renamed(name):
    """The rows, with the name of the container's snapshot damaged, in its link as well."""
    row = ROWS[b"v1"][b"snapshots"][b"moby/3/work"]
    rows = with_value(without(ROWS, b"v1", b"snapshots", b"moby/3/work"), row, b"v1", b"snapshots", name)
    return with_value(rows, name, b"v1", b"parents", LINK)


WORK = (b"v1", b"moby", b"snapshots", b"overlayfs", b"work")
LINK = b"\x02\0\x03"


@pytest.mark.parametrize(
    ("metadata", "rows"),
    [
        (METADATA, with_value(ROWS, b"\x21", b"v1", b"snapshots", b"moby/3/work", b"id")),
        (METADATA, with_value(ROWS, b"\x06", b"v1", b"snapshots", b"moby/3/work", b"id")),
        (METADATA, with_value(ROWS, b"\x21", b"v1", b"snapshots", b"moby/1/a", b"id")),
        (METADATA, renamed(b"moby/3/worx")),
        (METADATA, renamed(b"moby/7/work")),
        (METADATA, renamed(b"mobx/3/work")),
        (with_value(METADATA, b"moby/2/work", *WORK, b"name"), ROWS),
        (with_value(METADATA, b"moby/3/worx", *WORK, b"name"), ROWS),
        (with_value(METADATA, b"moby/7/worx", *WORK, b"name"), ROWS),
        (without(METADATA, *WORK), ROWS),
        (without(METADATA, b"v1", b"moby", b"containers", b"c1", b"snapshotKey"), ROWS),
        (without(METADATA, b"v1", b"moby", b"containers", b"c1", b"snapshotter"), ROWS),
    ],
)
def test_the_directory_of_a_container_stays_whatever_says_whose_it_is(plan, metadata, rows):
    """One value of its row, its record or the container's record is another, or is not there."""
    whole = plan()
    made = plan(metadata, rows)
    assert names(made) <= names(whole)
    assert {each.name for each in made.rows} <= {each.name for each in whole.rows}


def wrong(name):
    """The same name with its last byte wrong."""
    return name[:-1] + (b"0" if name[-1:] != b"0" else b"1")


MOBY = (b"v1", b"moby")
LATER = b"\x01\0\0\0\x0f" + METADATA[b"v1"][b"moby"][b"content"][b"ingests"][b"layer-b"][b"expireat"][5:]
"""The time of an ingest's end, in the year 2041."""


def with_key(tree, new, *path):
    """A copy of nested dicts with another key."""
    value = tree
    for part in path:
        value = value[part]
    return with_value(without(tree, *path), value, *path[:-1], new)


WAITING = with_value(METADATA, LATER, *MOBY, b"content", b"ingests", b"layer-b", b"expireat")


@pytest.mark.parametrize(
    ("sound", "metadata", "name"),
    [
        (  # a blob that is a root by its label
            METADATA,
            with_key(METADATA, wrong(digest(4)), *MOBY, b"content", b"blob", digest(4)),
            digest(4).partition(b":")[2],
        ),
        (  # a write that has not ended
            WAITING,
            with_value(WAITING, b"moby/2/layer-c", *MOBY, b"content", b"ingests", b"layer-b", b"ref"),
            hashlib.sha256(b"moby/2/layer-b").hexdigest().encode(),
        ),
    ],
    ids=["blob", "ingest"],
)
def test_data_stays_whose_record_has_one_wrong_byte_in_its_name(plan, sound, metadata, name):
    """What a record is of looks unnamed with another name in it; the record looks without data."""
    assert name not in names(plan(sound))
    made = plan(metadata)
    assert name not in names(made)
    assert [each for each in made.withheld if name.decode() in each.id]


def test_a_blob_stays_that_a_write_waits_for_by_a_wrong_name(plan):
    """The write has no folder, and its blob no record in its namespace: nothing else names it."""
    expected = (*MOBY, b"content", b"ingests", b"layer-b", b"expected")
    waiting = with_value(WAITING, digest(9), *expected)
    blob = digest(9).partition(b":")[2]
    assert blob in names(plan())
    assert blob not in names(plan(waiting))
    assert blob not in names(
        plan(with_value(waiting, wrong(digest(9)), *MOBY, b"content", b"ingests", b"layer-b", b"expected"))
    )


@pytest.mark.parametrize("database", [0, 1])
@pytest.mark.parametrize("meta", [0, 1])
def test_a_lost_meta_keeps_what_depends_on_its_database(plan, database, meta):
    """It may have been the newer one: what its transaction recorded looks unnamed."""

    def damage(layouts):
        layouts[database].patch(meta * 4096 + 20, b"\xee" * 30)

    made = plan(damage=damage)
    assert not made.rows
    assert not [each for each in made.removals if each.target.value == "snapshot"]
    if database == 0:
        assert made.is_empty
