"""A file with any page lost: every key that does not live below it is still read, with its place and standing."""

import os
import random
import struct
import time
from pathlib import Path

import pytest
from tests.support import boltwriter, gobbolt
from tests.support.below import needs, newest
from tests.support.captures import captures

from bbolt_reader import NotBolt
from bbolt_reader.salvage import Hints, salvage
from bbolt_reader.source import Source
from bbolt_reader.statements import StatementStanding

needs_go = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")
TREE = {
    b"v1": {
        b"version": b"\x06",
        b"ns": {
            b"images": {b"image%03d" % i: {b"at": b"c" * 15, b"target": {b"digest": b"d" * 71}} for i in range(60)},
            b"content": {b"blob": {b"sha256:%064d" % i: {b"size": b"%d" % i, b"big": b"x" * 900} for i in range(15)}},
        },
        b"large": b"L" * 9000,
    }
}  # fmt: skip


def read(path, hints=None):
    """The salvage of a file named by its path."""
    source = Source.open(str(path).encode(), mapped=False)
    try:
        return salvage(source, hints or Hints())
    finally:
        source.close()


def current(found):
    """What is read as current, from the root bucket on."""
    return {
        (each.path, each.key): each.value
        for each in found.statements
        if each.standing is StatementStanding.CURRENT and each.fragment is None and each.linked
    }


def damages(page, seed):
    """Kinds of damage to one page: zeros, noise, and flips of single bits of the header and of the elements."""
    chance = random.Random(seed)
    yield "zeros", bytes(len(page))
    yield "noise", chance.randbytes(len(page))
    for bit in (*chance.sample(range(128), 4), *chance.sample(range(128, 8 * min(len(page), 512)), 4)):
        flipped = bytearray(page)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", bytes(flipped)


def every_page(original, work):
    """Damage each page of a file in turn, and compare what is read with what does not need the page.

    Each third one, from another beginning in each file, unless the long tests are asked for.
    """
    data = original.read_bytes()
    counts, _, size = newest(data)
    expected = needs(original)
    assert current(read(original)) == {key: value for key, (value, _) in expected.items()}
    every = 1 if "DRYDOCK_TEST_LONG" in os.environ else 3
    for pgid in range(len(data) // size % every, len(data) // size, every):
        if pgid == counts:
            continue  # below the meta lies everything; see test_one_meta
        page = data[pgid * size : (pgid + 1) * size]
        safe = {key: value for key, (value, below) in expected.items() if pgid not in below}
        for kind, damaged in damages(page, pgid):
            work.write_bytes(data[: pgid * size] + damaged + data[(pgid + 1) * size :])
            found = current(read(work))
            missing = {key for key in safe if found.get(key, 0) != safe[key]}
            assert not missing, (pgid, kind, sorted(missing)[:3])
            if safe == {key: value for key, (value, _) in expected.items()}:
                assert found == safe, (pgid, kind)


@pytest.mark.slow
@pytest.mark.parametrize("page_size", [1024, 4096])
def test_each_page_of_a_written_file(tmp_path, page_size):
    """Nested buckets, inline ones, branches and overflow: zeros, noise or one bit wrong on each page in turn."""
    path = tmp_path / "a.db"
    boltwriter.write(path, TREE, page_size=page_size, free=3)
    every_page(path, tmp_path / "b.db")


@needs_go
@pytest.mark.slow
def test_each_page_of_a_file_of_go(tmp_path):
    """The same for one that Go wrote; the keys are those that Go's dump has."""
    path = gobbolt.fill(tmp_path / "a.db", "mixed", 1024, 100)
    every_page(path, tmp_path / "b.db")
    dumped = {line.split(" ")[1] for line in gobbolt.dump(path).splitlines()[1:]}
    assert dumped == {"/".join(name.hex() for name in (*names, key)) for names, key in needs(path)}


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("name", ["containerd-1.6-namespaces", "docker-28.5-killed"])
def test_each_page_of_an_engines_files(name, unpacked, tmp_path):
    """The same for meta.db and every metadata.db of real engines."""
    (taken,) = [each for each in captures() if each.name == name]
    root = unpacked(taken) / taken.root
    files = [*root.glob("*/meta.db"), *root.glob("*/metadata.db")]
    assert len(files) >= 2
    for file in files:
        original = tmp_path / "original.db"
        original.write_bytes(file.read_bytes())
        every_page(original, tmp_path / "damaged.db")


@pytest.mark.slow
def test_cut_at_each_page(tmp_path):
    """A file cut off anywhere: what lies wholly before the cut, with all above it, is read."""
    path = tmp_path / "a.db"
    layout = boltwriter.write(path, TREE, page_size=1024)
    expected = needs(path)
    data = bytes(layout.data)
    for cut in range(2 * 1024, len(data), 512):
        path.write_bytes(data[:cut])
        found = current(read(path))
        for key, (value, below) in expected.items():
            if (max(below) + 1) * 1024 <= cut:
                assert found.get(key, 0) == value, (cut, key)


@needs_go
def test_one_meta(tmp_path):
    """With the newest meta lost the older one's tree is current, as it is for bbolt itself."""
    path = gobbolt.fill(tmp_path / "a.db", "mixed", 4096, 50)
    assert not gobbolt.churn(path, 1, 40)
    data = bytearray(path.read_bytes())
    counts, _, size = newest(data)
    data[counts * size : (counts + 1) * size] = bytes(size)
    path.write_bytes(data)
    found = read(path)
    assert [problem.code for problem in found.problems if problem.code == "meta"] == ["meta"]
    seen = {
        "/".join(name.hex() for name in (*each.path, each.key))
        for each in found.statements
        if each.standing is StatementStanding.CURRENT and each.linked
    }
    assert seen == {line.split(" ")[1] for line in gobbolt.dump(path).splitlines()[1:]}


@pytest.mark.parametrize("page_size", [1024, 4096, 16384])
def test_both_metas(tmp_path, page_size):
    """With both metas lost page size and root are found by what the pages say; it is said that this is a guess."""
    path = tmp_path / "a.db"
    layout = boltwriter.write(path, TREE, page_size=page_size)
    expected = needs(path)
    layout.patch(0, bytes(2 * page_size))
    found = read(path)
    assert (found.page_size, found.guessed_root) == (page_size, layout.root)
    assert current(found) == {key: value for key, (value, _) in expected.items()}
    assert found.problems[0].code == "meta"


@needs_go
def test_both_metas_of_a_used_file(tmp_path):
    """Old roots lie about in a used file: the newest whole one is taken, told by the times that values carry."""
    path = gobbolt.fill(tmp_path / "a.db", "mixed", 4096, 50)
    assert not gobbolt.churn(path, 3, 60)
    data = bytearray(path.read_bytes())
    _, root, size = newest(data)
    data[: 2 * size] = bytes(2 * size)
    path.write_bytes(data)
    found = read(path)
    assert found.guessed_root is not None
    # Without a clock in the values the root before the last transaction looks as good.
    assert found.guessed_root == root or found.count(StatementStanding.CURRENT) > 10


def test_deleted_statements_are_told_apart(tmp_path):
    """What a page has that nothing links to is deleted, under the bucket that its unchanged entries tell."""
    path = tmp_path / "a.db"
    layout = boltwriter.write(path, TREE, page_size=1024)
    images = (b"v1", b"ns", b"images")
    # An older version of the images' first leaf: one key, since deleted, in front of one that is there still.
    gone = struct.pack("<QQ", 0, 0) + boltwriter.HEADER.pack(0, 2, 1, 0) + boltwriter.leaf_body([(0, b"at", b"t" * 15)])
    kept = struct.pack("<QQ", layout.roots[(*images, b"image000")], 0)
    free = len(layout.data) // 1024
    page = boltwriter.HEADER.pack(free, 2, 2, 0) + boltwriter.leaf_body([(1, b"gone", gone), (1, b"image000", kept)])
    path.write_bytes(bytes(layout.data) + page.ljust(1024, b"\0"))
    lost = [each for each in read(path).statements if each.standing is StatementStanding.DELETED]
    assert {(each.path, each.key) for each in lost} == {(images, b"gone"), ((*images, b"gone"), b"at")}
    assert {(each.page, each.linked, each.fragment) for each in lost} == {(free, False, None)}
    assert lost[0].offset == free * 1024 + 16


def test_hostile_pages_end(tmp_path):
    """Pages that name each other in rings and many times over: read in bounded time."""
    size, count = 1024, 400
    pages = []
    for pgid in range(2, count):
        children = [(0, b"%04d" % i, random.Random(pgid * 100 + i).randrange(0, count + 5)) for i in range(30)]
        entries = [(1, key, struct.pack("<QQ", child, 0)) for _, key, child in children[:20]]
        body = boltwriter.branch_body(children) if pgid % 3 else boltwriter.leaf_body(entries)
        kind, number = (1, 30) if pgid % 3 else (2, 20)
        pages.append((boltwriter.HEADER.pack(pgid, kind, number, 0) + body).ljust(size, b"\0")[:size])
    metas = [
        boltwriter.meta_page(i, page_size=size, root=3, high_water=count, txid=i + 1).ljust(size, b"\0") for i in (0, 1)
    ]
    path = tmp_path / "ring.db"
    path.write_bytes(b"".join([*metas, *pages]))
    started = time.process_time()
    assert read(path).problems
    path.write_bytes(b"".join([bytes(2 * size), *pages]))
    assert read(path).problems
    # Overflow up to the end, from every page.
    pages = [
        (boltwriter.HEADER.pack(pgid, 2, 1, count - pgid - 1) + boltwriter.leaf_body([bucket(pgid + 1)])).ljust(size)
        for pgid in range(2, count)
    ]
    path.write_bytes(b"".join([*metas, *pages]))
    assert read(path).problems
    assert time.process_time() - started < 30


def bucket(pgid):
    """An element that names a page as its bucket's."""
    return 1, b"k", struct.pack("<QQ", pgid, 0)


@pytest.fixture
def holes(tmp_path):
    """Makes a file as large as its file system allows, and says how large that is."""

    def grow(path):
        for size in (2**63 - 1, 2**43, 2**40):
            try:
                os.truncate(path, size)
            except OSError:
                continue
            return size
        return pytest.skip("the file system has no large files")

    return grow


def test_nothing_but_a_hole(tmp_path, holes):
    """A file of any size without one byte in it is no database, and that is known at once."""
    path = tmp_path / "hole.db"
    path.touch()
    holes(path)
    started = time.process_time()
    with pytest.raises(NotBolt):
        read(path)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("lost", [0, 2])
def test_a_database_with_a_hole_of_any_size_behind_it(tmp_path, holes, lost):
    """With its metas and without: what is said is what it says without the hole, and the hole costs nothing."""
    path = tmp_path / "grown.db"
    data = bytes(lost * 4096) + bytes(boltwriter.write(path, TREE, free=3).data[lost * 4096 :])
    path.write_bytes(data)
    alone = read(path)
    assert alone.statements
    holes(path)
    started = time.process_time()
    grown = read(path)
    assert time.process_time() - started < 5
    assert grown.statements == alone.statements
    assert grown.guessed_root == alone.guessed_root


def test_pages_that_claim_the_holes_behind_them(tmp_path):
    """Pages far apart whose overflow reaches to the next: read, and not the holes between them over and over."""
    path, count, apart = tmp_path / "apart.db", 1000, 16384
    with path.open("wb") as file:
        for pgid in range(apart, (count + 1) * apart, apart):
            file.seek(4096 * pgid)
            leaf = boltwriter.leaf_body([(0, b"%d" % pgid, b"v")])
            file.write(boltwriter.HEADER.pack(pgid, 2, 1, apart - 1) + leaf)
        file.truncate(4096 * (count + 1) * apart)
    before = time.process_time()
    assert len(read(path).statements) == count
    assert time.process_time() - before < 5


def test_nothing_but_a_list_of_free_pages(tmp_path):
    """Metas and every page of the tree lost: no statement, and what is wrong is told."""
    path = tmp_path / "a.db"
    layout = boltwriter.write(path, {b"v1": {b"a": b"b"}}, free=2)
    for pgid in range(layout.high_water):
        if pgid != layout.freelist:
            layout.patch_page(pgid, 0, bytes(4096))
    found = read(path)
    assert found.statements == []
    assert {problem.code for problem in found.problems} == {"meta", "corrupt"}


def test_noise_is_no_database(tmp_path):
    """What has no page in its place raises NotBolt, whatever its length."""
    for length in (0, 10, 5000, 100_000):
        (tmp_path / "x").write_bytes(random.Random(length).randbytes(length))
        with pytest.raises(NotBolt):
            read(tmp_path / "x")


def test_reads_only(tmp_path):
    """A file without write permission is salvaged, and stays as it is."""
    path = Path(tmp_path / "a.db")
    data = bytes(boltwriter.write(path, TREE).data)
    path.chmod(0o400)
    assert read(path).statements
    assert path.read_bytes() == data
