"""New files, held against Go's bbolt: it reads them, checks them, changes them, and finds what it should."""

import errno
import os
import random
import struct

import pytest
from tests.support import boltwriter, gobbolt
from tests.support.below import needs, newest
from tests.support.surgery import dump

from bbolt_reader import Database
from bbolt_reader.salvage import Hints, salvage
from bbolt_reader.source import Source
from bbolt_surgery import Choice, NewBucket, NotWritten, assemble, trust, write_new

needs_go = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")
SHAPES = ["empty", "flat", "nested", "inline", "overflow", "deleted", "mixed", "blobs", "long", "flat-nofreelist"]


def rebuilt(path, out, choice=Choice.PREVIOUS):
    """Write what can be salvaged of a file to another, and give what went into it."""
    source = Source.open(os.fsencode(path), mapped=False)
    found = salvage(source)
    source.close()
    made = assemble(found, choice)
    write_new(os.fsencode(out), made.root, page_size=found.page_size, txid=found.txid, like=path.stat())
    return made


def lines(text):
    """A dump without the sequences of buckets."""
    return {" ".join(line.split(" ")[:2]) if line.startswith("bucket") else line for line in text.splitlines()}


@needs_go
@pytest.mark.parametrize("page_size", [1024, 4096, 16384])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("by", gobbolt.Bbolt)
def test_a_sound_file_comes_out_the_same(tmp_path, shape, page_size, by):
    """By Go: every bucket, sequence, key and value; Tx.Check finds nothing; it can be changed like any other."""
    path, out = gobbolt.fill(tmp_path / "a.db", shape, page_size, 300, by), tmp_path / "b.db"
    rebuilt(path, out)
    assert gobbolt.check(out) == gobbolt.check(path)
    assert gobbolt.check(out)[0] == 0
    assert gobbolt.dump(out) == gobbolt.dump(path)
    with Database.open(path) as old, Database.open(out) as new:
        assert new.page_size == page_size
        assert all(meta.valid and meta.is_rebuilt for meta in new.metas)
        assert min(meta.txid for meta in new.metas) > max(meta.txid for meta in old.metas)
    assert gobbolt.churn(out, 7, 400) == ""


@needs_go
@pytest.mark.parametrize("seed", range(6))
def test_any_tree(tmp_path, seed):
    """Random trees of buckets, with keys and values of all sizes, on pages of all sizes."""
    chance = random.Random(seed)

    def tree(depth):
        return NewBucket(
            chance.randrange(1 << 40),
            {
                chance.randbytes(chance.choice([1, 3, 40, 400])): tree(depth + 1)
                if depth < 4 and chance.random() < 0.3
                else chance.randbytes(chance.choice([0, 1, 20, 300, 5000]))
                for _ in range(chance.choice([0, 1, 5, 30]) if depth else 60)
            },
        )

    def told(bucket, path=""):
        for key in sorted(bucket.entries):
            value, name = bucket.entries[key], f"{path}{key.hex()}"
            if isinstance(value, bytes):
                # bbolt has no values in the root bucket.
                yield f"key {name} {value.hex()}"
            else:
                yield f"bucket {name} {value.sequence}"
                yield from told(value, f"{name}/")

    root = NewBucket(0, {b"top": tree(0), b"empty": NewBucket(9)})
    out = tmp_path / "b.db"
    write_new(os.fsencode(out), root, page_size=chance.choice([1024, 4096]), txid=seed, like=tmp_path.stat())
    assert gobbolt.check(out) == (0, gobbolt.check(out)[1])
    assert gobbolt.dump(out).splitlines()[1:] == list(told(root))
    assert gobbolt.churn(out, seed, 300) == ""


@needs_go
@pytest.mark.slow
def test_rebuilding_after_the_loss_of_each_page(tmp_path):
    """Each page lost: Go finds the new file sound, with every key that was not below it, and none that never was."""
    path, broken, out = gobbolt.fill(tmp_path / "a.db", "mixed", 1024, 60), tmp_path / "b.db", tmp_path / "c.db"
    gobbolt.drop(path, touches=2)
    data = path.read_bytes()
    expected = needs(path)
    counts, _, size = newest(data)
    whole = lines(gobbolt.dump(path))
    sequences = {
        line.split(" ")[1]: int(line.split(" ")[2]) for line in gobbolt.dump(path).splitlines() if line[0] == "b"
    }
    for pgid in range(len(data) // size):
        broken.write_bytes(data[: pgid * size] + bytes(size) + data[(pgid + 1) * size :])
        out.unlink(missing_ok=True)
        made = rebuilt(broken, out)
        assert gobbolt.check(out)[0] == 0, pgid
        got = gobbolt.dump(out)
        kept = lines(got)
        if pgid == counts:
            assert kept == lines(gobbolt.dump(broken))  # bbolt goes on with the older meta, and so does this
            continue
        hollow = {"/".join(name.hex() for name in each) for each in made.left_out}
        for (names, key), (value, below) in expected.items():
            name = "/".join(each.hex() for each in (*names, key))
            if pgid not in below and name not in hollow:
                assert (f"bucket {name}" if value is None else f"key {name} {value.hex()}") in kept, (pgid, name)
        assert kept <= whole, pgid
        for line in got.splitlines():
            if line.startswith("bucket") and pgid not in expected.get(named(line), (None, {pgid}))[1]:
                assert int(line.split(" ")[2]) == sequences[line.split(" ")[1]]


def named(line):
    """The bucket that a line of a dump is about, as below.needs names it."""
    names = [bytes.fromhex(part) for part in line.split(" ")[1].split("/") if part]
    return (tuple(names[:-1]), names[-1]) if names else None


@needs_go
def test_the_older_tree_fills_holes_only(tmp_path):
    """A leaf lost: its keys come from the older tree; what the last transactions deleted elsewhere stays gone."""
    path, out = tmp_path / "a.db", tmp_path / "b.db"
    many = {b"%03d" % i: {b"n": b"x" * 300, b"inner": {}} for i in range(20)}
    boltwriter.write(path, {b"top": {b"a": many, b"b": {**many}}}, page_size=1024)
    gobbolt.drop(path, (b"top", b"b", b"003"))
    before = needs(path)
    gobbolt.drop(path, (b"top", b"a", b"019"))
    data = bytearray(path.read_bytes())
    after = needs(path)
    # The one leaf of a, which the last transaction wrote: the older tree has it on another page.
    (lost,) = after[(b"top", b"a"), b"018"][1] - after[(b"top",), b"a"][1]
    assert lost not in before[(b"top", b"a"), b"018"][1]
    data[lost * 1024 : (lost + 1) * 1024] = bytes(1024)
    path.write_bytes(data)
    rebuilt(path, out, Choice.CURRENT)
    assert gobbolt.check(out)[0] == 0
    few = {key for key in needs(out) if key[0] == (b"top", b"a")}
    out.unlink()
    rebuilt(path, out, Choice.PREVIOUS)
    assert gobbolt.check(out)[0] == 0
    more = set(needs(out))
    assert few < {key for key in more if key[0] == (b"top", b"a")}
    assert ((b"top", b"a"), b"018") in more
    assert ((b"top", b"b"), b"003") not in more


def test_a_name_that_is_taken_stays(tmp_path):
    """An existing file, a folder, a link to nowhere, or the original: nothing is written over, nothing is left."""
    path = tmp_path / "a.db"
    boltwriter.write(path, {b"v1": {b"a": b"b"}})
    data = path.read_bytes()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(os.listdir(tmp_path))
    for name in ("a.db", "folder", "link"):
        with pytest.raises(NotWritten) as raised:
            rebuilt(path, tmp_path / name)
        assert raised.value.errno == errno.EEXIST
    with pytest.raises(NotWritten):
        rebuilt(path, tmp_path / "none" / "b.db")
    assert path.read_bytes() == data
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("call", ["pwrite", "fsync", "ftruncate", "fchown", "link"])
def test_nothing_is_left_of_a_failure(tmp_path, monkeypatch, call):
    """A full disk, at whatever call: NotWritten, and no file."""
    path = tmp_path / "a.db"
    boltwriter.write(path, {b"v1": {b"a": b"b"}})

    def fails(*_, **__):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, call, fails)
    with pytest.raises(NotWritten) as raised:
        rebuilt(path, tmp_path / "b.db")
    assert raised.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == ["a.db"]


def test_mode_and_owner_are_kept(tmp_path):
    """Those of the file it replaces."""
    path = tmp_path / "a.db"
    boltwriter.write(path, {b"v1": {b"a": b"b"}})
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12, 34)
    rebuilt(path, tmp_path / "b.db")
    old, new = path.stat(), (tmp_path / "b.db").stat()
    assert (new.st_mode, new.st_uid, new.st_gid) == (old.st_mode, old.st_uid, old.st_gid)


@needs_go
def test_the_mark_outlives_commits_and_copies_until_it_is_taken_back(tmp_path):
    """Go's commits hand the mark on; trust takes it back, changes no key, and has nothing to do the second time."""
    path, out = gobbolt.fill(tmp_path / "a.db", "mixed", 4096, 40), tmp_path / "b.db"
    rebuilt(path, out)
    gobbolt.drop(out, touches=5)
    copy = tmp_path / "copy.db"
    copy.write_bytes(out.read_bytes())
    with Database.open(copy) as database:
        assert all(meta.is_rebuilt for meta in database.metas)
    before = dump(copy)
    with copy.open("r+b", buffering=0) as file:
        assert trust(file.fileno(), b"copy")
        assert not trust(file.fileno(), b"copy")
    with Database.open(copy) as database:
        assert not database.meta.is_rebuilt
    assert dump(copy) == before
    assert gobbolt.check(copy)[0] == 0
    assert gobbolt.churn(copy, 3, 200) == ""
    with Database.open(path) as database:
        assert not database.meta.is_rebuilt


def test_sequences_are_the_highest_seen(tmp_path):
    """A bucket whose own header is lost gets the highest sequence that any page has for it."""
    path, out = tmp_path / "a.db", tmp_path / "b.db"
    ids = {b"row%02d" % i: b"x" * 100 for i in range(30)}
    trees = dict.fromkeys((b"more", b"rows"), ids)
    layout = boltwriter.write(path, {b"v1": trees}, page_size=1024, sequences={(b"v1", b"rows"): 40})
    data = bytearray(layout.data)
    roots = {name: layout.roots[(b"v1", name)] for name in trees}
    for rows in (38, 39, 37):
        # An older version of the root bucket's page and of v1's.
        free = len(data) // 1024
        old = [(1, name, struct.pack("<QQ", root, rows)) for name, root in roots.items()]
        top = [(1, b"v1", struct.pack("<QQ", free, 0))]
        for pgid, entries in ((free, old), (free + 1, top)):
            page = boltwriter.HEADER.pack(pgid, 2, len(entries), 0) + boltwriter.leaf_body(entries)
            data += page.ljust(1024, b"\0")
    lost = layout.roots[(b"v1",)]
    data[lost * 1024 : (lost + 1) * 1024] = bytes(1024)
    path.write_bytes(data)
    source = Source.open(os.fsencode(path), mapped=False)
    found = salvage(source, Hints(is_root=lambda keys: b"v1" in keys))
    source.close()
    write_new(os.fsencode(out), assemble(found, Choice.ALL).root, page_size=1024, txid=found.txid, like=path.stat())
    with Database.open(out) as database:
        v1 = database.root.bucket(b"v1")
        assert v1 is not None
        assert {name: (bucket.sequence, dict(bucket.items())) for name, bucket in v1.buckets()} == {
            b"more": (39, ids),
            b"rows": (39, ids),
        }
