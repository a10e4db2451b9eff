"""Databases of real engines, damaged: what was deleted is named, what is rebuilt is whole, a scan removes nothing."""

import json
import os
import shutil
import struct

import pytest
from tests.engines.containerd import Containerd
from tests.engines.listing import listed
from tests.engines.sandbox import Sandbox
from tests.support import boltwriter, gobbolt
from tests.support.below import needs, newest
from tests.support.captures import capture
from tests.support.documents import run
from tests.support.gowriting import go_time, uvarint, varint
from tests.support.trees import tree

from bbolt_surgery import NewBucket
from drydock.salvage.database import raise_sequences

needs_go = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")
METADATA = "io.containerd.metadata.v1.bolt/meta.db"
OVERLAYFS = "io.containerd.snapshotter.v1.overlayfs/metadata.db"
PAGE = 4096
NAMESPACES = "containerd-1.6-namespaces"


def salvage(path, *options, status=None):
    """The document of one file."""
    return json.loads(run("bolt", "salvage", path, "--format", "json", *options, status=status))


def zero(path, pgid):
    """Lose one page."""
    data = bytearray(path.read_bytes())
    data[pgid * PAGE : (pgid + 1) * PAGE] = bytes(PAGE)
    path.write_bytes(data)


def own_page(path, *names):
    """The page that a bucket starts on, and that nothing else needs."""
    found = needs(path)
    inside = [below for (path_, _), (_, below) in found.items() if path_ == names]
    (page,) = inside[0] - found[names[:-1], names[-1]][1]
    return page


def records(document):
    """The records of a document by kind, namespace and name."""
    return {(each["kind"], each["namespace"], each["name"]): each for each in document["records"]}


def taken_meta(unpacked, tmp_path):
    """A copy of the meta.db of containerd 1.6."""
    taken = capture(NAMESPACES)
    path = tmp_path / "meta.db"
    shutil.copyfile(unpacked(taken) / taken.root / METADATA, path)
    return path


@needs_go
@pytest.mark.root
@pytest.mark.parametrize("freelist", [True, False])
@pytest.mark.parametrize(
    ("folder", "record"),
    [
        (b"images", ("image", "default", "docker.io/library/app:1")),
        (b"containers", ("container", "default", "ran")),
        (b"leases", ("lease", "default", "expired")),
    ],
)
def test_what_the_last_transaction_deleted_is_whole(unpacked, tmp_path, folder, record, freelist):
    """What Go deleted last is previous, with every field it had."""
    path = taken_meta(unpacked, tmp_path)
    before = records(salvage(path))
    gobbolt.drop(path, (b"v1", record[1].encode(), folder, record[2].encode()), freelist=freelist)
    after = records(salvage(path, status=0))
    row = after.pop(record)
    assert {each["standing"] for each in after.values()} == {"current"}
    assert set(after) == set(before) - {record}
    assert row["standing"] == "previous"
    where = ("standing", "page", "offset")
    was = before[record]
    assert {key: row[key] for key in row if key not in where} == {key: was[key] for key in was if key not in where}


@needs_go
@pytest.mark.root
@pytest.mark.parametrize("freelist", [True, False])
def test_what_was_deleted_is_named_for_as_long_as_its_name_is_there(unpacked, tmp_path, freelist):
    """Records that Go deleted some time ago: listed as deleted whenever their name is still in a page not in use."""
    path = taken_meta(unpacked, tmp_path)
    before = set(records(salvage(path)))
    gobbolt.drop(path, (b"v1", b"default"), (b"v1", b"ci"), touches=2, freelist=freelist)
    data = path.read_bytes()
    size = newest(data)[2]
    in_use = set().union(*(below for _, below in needs(path).values()))
    unused = b"".join(
        data[pgid * size : (pgid + 1) * size]
        for pgid in range(2, len(data) // size)
        if pgid not in in_use and struct.unpack_from("<QH", data, pgid * size) == (pgid, 2)
    )
    document = salvage(path, "--deleted", status=0)
    found = records(document)
    left = {key for key in before if key[1] in {"default", "ci"} and key[2].encode() in unused}
    assert len(left) >= 4
    listed_names = {(key[0], key[2]) for key, each in found.items() if each["standing"] == "deleted"}
    assert {(kind, name) for kind, _, name in left} <= listed_names
    assert {key for key, each in found.items() if each["standing"] == "current"} == {
        key for key in before if key[1] == "k8s.io"
    }
    times = [each["created"] for each in found.values() if each["standing"] == "deleted" and each["created"]]
    assert len(times) >= 4
    # Without --deleted, what is gone is not listed.
    assert {each["standing"] for each in salvage(path)["records"]} == {"current"}


@needs_go
@pytest.mark.root
@pytest.mark.slow
def test_rebuilding_an_engines_database_after_the_loss_of_each_page(unpacked, tmp_path):
    """Each page of a real meta.db lost: Go finds the rebuilt file sound, with every key that was not below the page."""
    taken = capture(NAMESPACES)
    path, broken, out = (tmp_path / name for name in ("meta.db", "broken.db", "out.db"))
    shutil.copyfile(unpacked(taken) / taken.root / METADATA, path)
    data = path.read_bytes()
    counts = newest(data)[0]
    expected = needs(path)
    every = {below for _, below in expected.values()}
    in_use = sorted(set().union(*every))
    assert len(in_use) > 50
    for pgid in [1 - counts, *in_use]:
        shutil.copyfile(path, broken)
        zero(broken, pgid)
        out.unlink(missing_ok=True)
        document = salvage(broken, "--rebuild", out)
        assert gobbolt.check(out)[0] == 0, pgid
        kept = {line.split(" ")[1] for line in gobbolt.dump(out).splitlines()}
        hollow = [tuple(each) for each in document["rebuilt"]["left_out"]]
        for (names, key), (_, below) in expected.items():
            name = (*names, key)
            if pgid not in below and tuple(each.decode() for each in name) not in hollow:
                assert "/".join(each.hex() for each in name) in kept, (pgid, name)


@pytest.mark.root
@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("lost", ["image", "blobs", "snapshot", "metas", "nothing"])
def test_containerd_starts_on_what_was_rebuilt(unpacked_anew, tmp_path, lost):
    """Containerd 1.6.20 on a rebuilt meta.db: it lists all that it listed before, but what was on the lost page."""
    taken = capture(NAMESPACES)
    root = unpacked_anew(taken) / taken.root
    path = root / METADATA
    native, found = (b"v1", b"k8s.io", b"snapshots", b"native"), needs(path)
    key = next(  # one that has a page of its own
        key for names, key in found if names == native and found[(*native, key), b"name"][1] > found[native, key][1]
    )
    pages = {
        "image": lambda: [own_page(path, b"v1", b"default", b"images", b"docker.io/library/app:1")],
        "blobs": lambda: [own_page(path, b"v1", b"ci", b"content", b"blob")],
        "snapshot": lambda: [own_page(path, *native, key)],
        "metas": lambda: [0, 1],
        "nothing": list,
    }[lost]()
    for page in pages:
        zero(path, page)
    out = root / "io.containerd.metadata.v1.bolt" / "new.db"
    document = salvage(path, "--rebuild", out, status=0 if lost == "nothing" else 2)
    out.replace(path)
    work = tmp_path / "engine"
    work.mkdir()
    with Sandbox(work) as sandbox, Containerd(sandbox, root, collect=False) as engine:
        after = listed(engine)
    expected = json.loads(json.dumps(taken.namespaces))
    if lost == "image":
        images = expected["default"]["images"]
        images[:] = [row for row in images if row["name"] != "docker.io/library/app:1"]
        assert document["rebuilt"]["left_out"] == [["v1", "default", "images", "docker.io/library/app:1"]]
    elif lost == "blobs":
        expected["ci"]["content"] = []
    elif lost == "snapshot":
        rows = expected["k8s.io"]["snapshots"]["native"]
        rows[:] = [row for row in rows if row["key"] != key.decode()]
    assert names_of(after) == names_of(expected)


def names_of(listing):
    """The names in a listing, without namespaces that have nothing."""
    keys = {"images": "name", "containers": "id", "content": "digest", "ingests": "ref", "leases": "id"}
    found = {
        (namespace, kind, row[key])
        for namespace, lists in listing.items()
        for kind, key in keys.items()
        for row in lists[kind]
    }
    for namespace, lists in listing.items():
        for snapshotter, rows in lists["snapshots"].items():
            found |= {(namespace, snapshotter, row["key"]) for row in rows}
    return found


@pytest.mark.root
@pytest.mark.parametrize("database", [METADATA, OVERLAYFS])
def test_a_scan_of_a_rebuilt_store_removes_nothing(unpacked_anew, tmp_path, database):
    """A rebuilt database lacks records: what they named looks orphaned, is reported, and stays, until it is trusted."""
    taken = capture("containerd-1.6-planted-orphans")
    host = unpacked_anew(taken)
    root = host / taken.root
    path = root / database
    out = tmp_path / "new.db"
    run("bolt", "salvage", path, "--rebuild", out, status=0)
    # As a user would put it there, by way of another file system, with no attributes and no file beside it.
    path.write_bytes(out.read_bytes())
    now = ("--now", taken.taken_at)
    document = json.loads(run("scan", *now, "--format", "json", host))
    (scanned,) = document["roots"]
    assert [each["code"] for each in scanned["findings"]].count("rebuilt-database") == 1
    assert any(each["state"] == "orphaned" for each in scanned["objects"])
    before = tree(root, times=False)
    run("clean", *now, "--apply", "--yes", "--state", tmp_path / "state", host)
    # Of a rebuilt metadata.db only the directories of its snapshotter depend.
    below = b"" if database == METADATA else b"io.containerd.snapshotter.v1.overlayfs/"
    kept = tree(root, times=False)
    assert {name: kept.get(name) for name in before if name.startswith(below)} == {
        name: each for name, each in before.items() if name.startswith(below)
    }
    assert run("bolt", "trust", path, status=0) == "trusted\n"
    run("clean", *now, "--apply", "--yes", "--state", tmp_path / "state", host)
    assert set(tree(root, times=False)) < set(before)


def test_what_is_found_has_its_place(tmp_path):
    """Each statement's offset is that of an element of its page, in text and in JSON, and names are escaped."""
    path = tmp_path / "meta.db"
    boltwriter.write(path, {b"v1": {b"version": b"\x06", b"a/b\n\x1b": {b"images": {}}}})
    document = salvage(path, status=0)
    data = path.read_bytes()
    assert document["statements"]
    for each in document["statements"]:
        assert each["offset"] // document["page_size"] == each["page"]
        pos, ksize = struct.unpack_from("<II", data, each["offset"] + 4)
        assert ksize
        if each["key"].isascii() and len(each["bucket"]) < 2:
            assert data[each["offset"] + pos :].startswith(each["key"].split("\\")[0].encode())
    text = run("bolt", "salvage", path, status=0)
    assert "\x1b" not in text
    assert "v1/a\\x2fb\\x0a\\x1b/images/" in text


def test_exit_codes(tmp_path):
    """0: a sound file, also one whose other meta is torn; 2: damage; 4: a name that is taken; 8: noise."""
    path = tmp_path / "meta.db"
    layout = boltwriter.write(path, {b"v1": {b"version": b"\x06"}})
    run("bolt", "salvage", path, status=0)
    run("bolt", "salvage", path, "--rebuild", path, status=4)
    assert path.read_bytes() == bytes(layout.data)
    assert run("bolt", "trust", path, status=0).startswith("nothing to do")
    layout.patch(4096 * (1 - layout.newest) + 20, b"\xff")
    run("bolt", "salvage", path, status=0)
    layout.patch_page(layout.root, 8, b"\x10")
    run("bolt", "salvage", path, status=2)
    run("bolt", "trust", path, status=0)  # nothing says that it was rebuilt, so nothing is looked at
    path.write_bytes(os.urandom(9000))
    run("bolt", "salvage", path, status=8)
    run("bolt", "trust", path, status=4)
    run("bolt", "salvage", tmp_path / "none", status=8)


def test_numbers_are_not_given_out_twice():
    """Sequences are at least the numbers in the names of snapshots and ingests, and at least the ids of rows."""
    name = go_time(1)
    metadata = NewBucket(0, {b"v1": NewBucket(0, {b"ns": NewBucket(0, {
        b"snapshots": NewBucket(0, {b"overlayfs": NewBucket(3, {
            b"a": NewBucket(0, {b"name": b"ns/17/a", b"createdat": name}),
            b"b": NewBucket(0, {b"name": b"other/99/b"}),
            b"c": NewBucket(0, {b"name": b"ns/" + b"9" * 30 + b"/c"}),
        })}),
        b"content": NewBucket(0, {b"ingests": NewBucket(0, {b"r": NewBucket(1, {b"ref": b"ns/4/r"})})}),
    })})})  # fmt: skip
    raise_sequences(metadata)

    def at(bucket, *path):
        for each in path:
            bucket = bucket.entries[each]
        return bucket.sequence

    assert at(metadata, b"v1", b"ns", b"snapshots", b"overlayfs") == 17
    assert at(metadata, b"v1", b"ns", b"content", b"ingests", b"r") == 4
    rows = {b"x": NewBucket(0, {b"id": uvarint(300), b"size": varint(5)}), b"y": NewBucket(0, {b"id": b"\xff"})}
    backend = NewBucket(0, {b"v1": NewBucket(0, {b"snapshots": NewBucket(2, rows)})})
    raise_sequences(backend)
    assert at(backend, b"v1", b"snapshots") == 300
