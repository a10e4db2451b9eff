"""A root that changes while it is read: what came or went is neither damage nor something to free."""

from __future__ import annotations

import itertools
import os
import shutil
import time

import pytest
from tests.support.boltwriter import write
from tests.support.gowriting import go_time, uvarint, varint

from drydock.evidence.containerd import live
from drydock.evidence.containerd.live import read_live
from drydock.evidence.containerd.store import copy_store
from drydock.model.findings import Severity
from drydock.model.names import RawPath
from drydock.model.objects import State
from drydock.model.policies import BlobCheck, SizeSource
from drydock.model.roots import CONTAINERD_LAYOUT, Engine, Root
from drydock.verdict.judge import judge

OVERLAY = "io.containerd.snapshotter.v1.overlayfs"
BLOBS = "io.containerd.content.v1.content/blobs/sha256"
_TRANSACTIONS = itertools.count(10)
MOMENT = {b"createdat": go_time(100), b"updatedat": go_time(100)}


def digest(number):
    """The digest that is this number."""
    return b"sha256:%064x" % number


def records(place, blobs, snapshots):
    """Write both databases anew, in place, as an engine would: blobs and snapshots by number, each held by an image."""
    content = {digest(each): {**MOMENT, b"size": varint(5)} for each in blobs}
    keys = {b"k%d" % each: {**MOMENT, b"name": b"ns/%d/k" % each} for each in snapshots}
    images = {b"i%d" % each: {**MOMENT, b"target": {b"digest": digest(each)}} for each in blobs}
    namespace = {b"content": {b"blob": content}, b"snapshots": {b"overlayfs": keys}, b"images": images}
    rows = {
        b"ns/%d/k" % each: {b"id": uvarint(each), b"kind": b"\x02", **MOMENT, b"size": varint(1)} for each in snapshots
    }
    txid = next(_TRANSACTIONS)
    write(place / os.fsdecode(CONTAINERD_LAYOUT.metadata), {b"v1": {b"version": b"\x06", b"ns": namespace}}, txid=txid)
    write(place / OVERLAY / "metadata.db", {b"v1": {b"snapshots": rows, b"parents": {}}}, txid=txid)


def data(place, blobs, snapshots):
    """Put data there."""
    for each in blobs:
        (place / BLOBS / digest(each).decode().removeprefix("sha256:")).write_bytes(b"12345")
    for each in snapshots:
        (place / OVERLAY / f"snapshots/{each}/fs").mkdir(parents=True)


@pytest.fixture
def place(tmp_path):
    """A root where 1 and 2 are recorded and there, 3 is there only, and 4 is recorded only."""
    (tmp_path / BLOBS).mkdir(parents=True)
    (tmp_path / os.fsdecode(CONTAINERD_LAYOUT.metadata)).parent.mkdir()
    (tmp_path / OVERLAY).mkdir()
    data(tmp_path, (1, 2, 3), (1, 2, 3))
    records(tmp_path, (1, 2, 4), (1, 2, 4))
    return tmp_path


def states(place, monkeypatch, meanwhile, young=0):
    """The states of a live look, by kind and number, during which ``meanwhile`` happens before or after the listing."""
    real = live.read_store

    def read_store(*arguments, **options):
        meanwhile("before")
        store = real(*arguments, **options)
        meanwhile("after")
        return store

    monkeypatch.setattr(live, "read_store", read_store)
    monkeypatch.setattr(live, "_YOUNG", young)
    with copy_store(Root(RawPath(bytes(place)), Engine.CONTAINERD)) as held:
        store = read_live(held, measure=SizeSource.RECORDED, verification=BlobCheck.SIZE)
    assert store.live
    verdict, _ = judge(store, 10**18)
    worst = [each for each in store.all_findings() if each.severity is not Severity.NOTE]
    assert worst == []
    found = {}
    for each in verdict.objects:
        name = int(each.id.removeprefix(b"sha256:"), 16) if each.kind.value == "blob" else int(each.id.strip(b"k"))
        found[each.kind.value, name] = each.state
    return found


REST = {
    ("blob", 3): State.ORPHANED,
    ("blob", 4): State.MISSING,
    ("snapshot", 3): State.ORPHANED,
    ("snapshot", 4): State.MISSING,
}


def numbers(found, kind):
    """Those of a kind that neither of the lasting two is."""
    return {number for each, number in found if each == kind} - {3, 4}


@pytest.mark.parametrize("when", ["before", "after", "never"])
@pytest.mark.parametrize("what", ["comes", "goes"])
def test_what_changes_meanwhile_is_left_out(place, monkeypatch, what, when):
    """Recorded and put there, or dropped and removed, before or after the listing: the rest stays as it is judged."""

    def meanwhile(now):
        if now != when:
            return
        if what == "comes":
            data(place, (5,), (5,))
            records(place, (1, 2, 4, 5), (1, 2, 4, 5))
        else:
            records(place, (1, 4), (1, 4))
            (place / BLOBS / digest(2).decode().removeprefix("sha256:")).unlink()
            shutil.rmtree(place / OVERLAY / "snapshots/2")

    found = states(place, monkeypatch, meanwhile)
    assert {key: state for key, state in found.items() if key in REST} == REST
    expected = {1} if what == "goes" and when != "never" else {1, 2}
    assert numbers(found, "blob") == numbers(found, "snapshot") == expected
    assert found["blob", 1] is State.LIVE


def test_what_is_in_the_making_is_no_orphan(place, monkeypatch):
    """Data of a record that comes later, and data whose name is gone by the end, is not said to be held by nothing."""

    def meanwhile(now):
        if now == "before":
            data(place, (6, 7), (6, 7))
        else:
            records(place, (1, 2, 4, 6), (1, 2, 4, 6))
            (place / BLOBS / digest(7).decode().removeprefix("sha256:")).unlink()
            shutil.rmtree(place / OVERLAY / "snapshots/7")

    found = states(place, monkeypatch, meanwhile)
    assert numbers(found, "blob") == numbers(found, "snapshot") == {1, 2}
    assert {key: state for key, state in found.items() if key in REST} == REST


def test_names_that_vanish_while_listed_are_not_there(place, monkeypatch):
    """Beside an engine a name that is gone at its turn is no blind spot; with the engine stopped it is."""
    from drydock.evidence.containerd import content, snapshots

    blob = place / BLOBS / ("0" * 63 + "3")
    real = snapshots.names

    def names(descriptor):
        found = real(descriptor)
        if b"3" in found:
            shutil.rmtree(place / OVERLAY / "snapshots/3", ignore_errors=True)
        return found

    monkeypatch.setattr(snapshots, "names", names)
    scandir = os.scandir

    class Vanishing:
        def __init__(self, descriptor):
            self.entries = scandir(descriptor)

        def __enter__(self):
            listed = list(self.entries.__enter__())
            if any(os.fsdecode(each.name) == blob.name for each in listed):
                blob.unlink(missing_ok=True)
            return iter(listed)

        def __exit__(self, *arguments):
            return self.entries.__exit__(*arguments)

    monkeypatch.setattr(content.os, "scandir", Vanishing)
    found = states(place, monkeypatch, lambda _: None)
    assert ("blob", 3) not in found
    assert ("snapshot", 3) not in found
    assert numbers(found, "blob") == numbers(found, "snapshot") == {1, 2}


def test_what_is_young_may_be_in_the_making(place, monkeypatch):
    """Data without a record is nothing to free within the first minute; what is recorded is judged at any age."""
    found = states(place, monkeypatch, lambda _: None, young=60)
    assert ("blob", 3) not in found
    assert ("snapshot", 3) not in found
    assert found["blob", 4] is found["snapshot", 4] is State.MISSING
    assert numbers(found, "blob") == numbers(found, "snapshot") == {1, 2}


@pytest.mark.parametrize("age", [0, 100])
def test_a_young_record_may_have_a_row_of_another_name(place, monkeypatch, age):
    """The row of a snapshot that is being committed has its new name already; an old record without a row is damage."""
    monkeypatch.setitem(MOMENT, b"createdat", go_time(int(time.time()) - age))
    records(place, (1, 2, 4), (1, 2, 4, 9))
    metadata = (place / os.fsdecode(CONTAINERD_LAYOUT.metadata)).read_bytes()
    records(place, (1, 2, 4), (1, 2, 4))
    (place / os.fsdecode(CONTAINERD_LAYOUT.metadata)).write_bytes(metadata)
    found = states(place, monkeypatch, lambda _: None, young=60)
    assert numbers(found, "snapshot") == ({1, 2, 9} if age else {1, 2})
    assert found.get(("snapshot", 9), State.MISSING) is State.MISSING


def test_nothing_is_planned_on_the_strength_of_it(place):
    """A live scan, as a function too, gives no request to apply."""
    import drydock
    from drydock.model.errors import Usage

    (scan,) = drydock.scan(RawPath(bytes(place)), live=True)
    with pytest.raises(Usage, match="live"):
        drydock.request(scan)


def test_a_row_that_was_copied_before_its_record(place, monkeypatch):
    """Its snapshot came between the copies: neither the row nor the folder is said to be held by nothing."""
    records(place, (1, 2, 4), (1, 2, 4, 8))
    data(place, (), (8,))
    rows = (place / OVERLAY / "metadata.db").read_bytes()
    records(place, (1, 2, 4), (1, 2, 4))
    (place / OVERLAY / "metadata.db").write_bytes(rows)
    found = states(place, monkeypatch, lambda now: now == "after" and records(place, (1, 2, 4), (1, 2, 4, 8)))
    assert numbers(found, "snapshot") == {1, 2}
    assert {key: state for key, state in found.items() if key in REST} == REST
