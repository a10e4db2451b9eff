"""Hostile bytes give a typed error with a place; never another exception, a hang, or memory without bound."""

import os
import struct
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import boltwriter

from bbolt_reader import BoltError, Bucket, Corrupt, Database, NotBolt, Truncated, Unreadable, verify
from bbolt_reader.page import HEADER

TREE = {
    b"v1": {
        b"many": {b"key%04d" % i: b"value" * (i % 7) for i in range(120)},
        b"big": {b"k": b"v" * 3000},
        b"inline": {b"a": b"1", b"b": b""},
    },
}
SOUND = boltwriter.image(TREE, page_size=1024, free=2)


def read_all(database):
    """Walk everything; give how many keys there were, and the first error."""
    keys, stack, errors = 0, [database.root], []
    while stack:
        bucket = stack.pop()
        entries, error = attempt(lambda bucket=bucket: bucket.items())
        errors.append(error)
        keys += len(entries)
        stack.extend(value for _, value in entries if isinstance(value, Bucket))
    return keys, next((error for error in errors if error), None)


def attempt(iterate):
    """What an iterator gives until it ends or raises, and what it raises."""
    got = []
    try:
        got.extend(iterate())
    except BoltError as error:
        return got, error
    return got, None


def search(database, path, key):
    """What a key of a bucket is worth."""
    bucket = database.root
    for name in path:
        bucket = bucket and bucket.bucket(name)
    return [bucket and bucket.get(key)]


def survive(path):
    """Open, walk, search, list pages and verify; give the errors and damages met."""
    met = []
    try:
        with Database.open(path) as database:
            met.append(read_all(database)[1])
            met.extend(verify(database))
            for page in map(database.page, range(database.pages)):
                met.append(attempt(page.leaves)[1] if page.kind == "leaf" else None)
                met.append(attempt(page.branches)[1] if page.kind == "branch" else None)
            met.extend(
                attempt(lambda name=name: search(database, (b"v1", name), b"key0050"))[1]
                for name in (b"many", b"big", b"inline")
            )
    except BoltError as error:
        met.append(error)
    return [one for one in met if one is not None]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SOUND.data) - 9), st.binary(min_size=1, max_size=9)), max_size=6))
def test_bytes_overwritten_anywhere(tmp_path_factory, patches):
    """Any few bytes changed anywhere: nothing but typed errors, each with a place."""
    path = tmp_path_factory.getbasetemp() / "patched.db"
    data = bytearray(SOUND.data)
    for offset, raw in patches:
        data[offset : offset + len(raw)] = raw
    path.write_bytes(data)
    for one in survive(path):
        assert "\n" not in str(one)


@settings(max_examples=200, deadline=None)
@given(st.integers(2, SOUND.high_water - 1), st.binary(min_size=16, max_size=400))
def test_pages_of_noise(tmp_path_factory, pgid, noise):
    """A page whose header is right and whose rest is noise."""
    path = tmp_path_factory.getbasetemp() / "noise.db"
    data = bytearray(SOUND.data)
    at = pgid * 1024 + HEADER
    data[at : at + len(noise)] = noise
    path.write_bytes(data)
    survive(path)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=5000))
def test_noise_is_no_database(tmp_path_factory, noise):
    """Random bytes are not taken for a database."""
    path = tmp_path_factory.getbasetemp() / "random.db"
    path.write_bytes(noise)
    with pytest.raises(NotBolt):
        Database.open(path)


@pytest.mark.parametrize("size", [0, 1, 79, 80, 1023, 1024, 1100, 2047, 2048, 3000, 5000, 9999])
@pytest.mark.parametrize("mapped", [True, False])
def test_truncated(tmp_path, size, mapped):
    """A file cut off anywhere: what is left is read, what is missing is an error."""
    path = tmp_path / "short.db"
    boltwriter.write(path, TREE, page_size=1024).truncate(size)
    try:
        with Database.open(path, mapped=mapped) as database:
            assert isinstance(read_all(database)[1], Truncated)
            assert any(damage.code == "short-file" for damage in verify(database))
    except NotBolt:
        assert size < 1104


@pytest.mark.parametrize("mapped", [True, False])
def test_truncated_while_open(tmp_path, mapped):
    """A file that gets shorter between opening and reading gives an error, not SIGBUS."""
    path = tmp_path / "shrinking.db"
    boltwriter.write(path, {b"b": {b"%05d" % i: b"v" * 900 for i in range(3000)}})
    with Database.open(path, mapped=mapped) as database:
        os.truncate(path, 4096)
        _, error = read_all(database)
    assert isinstance(error, (Truncated, Unreadable))


def test_many_branches_to_one_page(tmp_path):
    """Forty branches above each other, each with sixty ways to the next: 60**40 walks are not taken."""
    pages, per = 40, 60
    path = tmp_path / "fan.db"
    data = bytearray(4096 * (pages + 3))
    for index in (0, 1):
        meta = boltwriter.meta_page(index, root=2, high_water=pages + 3, txid=index + 1)
        data[index * 4096 : index * 4096 + len(meta)] = meta
    for pgid in range(2, pages + 2):
        body = boltwriter.branch_body([(0, b"k%03d" % i, pgid + 1) for i in range(per)])
        page = boltwriter.HEADER.pack(pgid, 1, per, 0) + body
        data[pgid * 4096 : pgid * 4096 + len(page)] = page
    data[-4096:-4080] = boltwriter.HEADER.pack(pages + 2, 2, 0, 0)
    path.write_bytes(data)
    before = time.process_time()
    with Database.open(path) as database:
        _, error = read_all(database)
        assert isinstance(error, Corrupt)
        assert error.file == os.fsencode(path)
        assert error.offset is not None
        assert len(list(verify(database))) > 100
    assert time.process_time() - before < 5


def test_many_buckets_in_one_page(tmp_path):
    """The same with buckets that share a root page, and with a bucket that is its own sub-bucket."""
    path = tmp_path / "shared.db"
    layout = boltwriter.write(path, {b"a": {b"x": {b"1": b"2"}}, b"b": {b"x": {b"1": b"2"}}}, inline=False)
    root = layout.roots[()] * 4096
    first, second = (layout.data.index(struct.pack("<QQ", layout.roots[name,], 0), root) for name in (b"a", b"b"))
    layout.patch(second, layout.data[first : first + 8])
    with Database.open(path) as database:
        assert isinstance(read_all(database)[1], Corrupt)
    layout.patch(second, struct.pack("<Q", layout.roots[()]))
    with Database.open(path) as database:
        assert isinstance(read_all(database)[1], Corrupt)


def test_overlapping_overflows(tmp_path):
    """Pages that each claim all pages behind them are not each read to the end."""
    path = tmp_path / "overlap.db"
    layout = boltwriter.write(path, {b"b": {b"%04d" % i: b"v" * 200 for i in range(2000)}}, page_size=1024)
    for pgid in range(2, layout.high_water - 1):
        layout.data[pgid * 1024 + 12 : pgid * 1024 + 16] = struct.pack("<I", layout.high_water - 1 - pgid)
    path.write_bytes(layout.data)
    with Database.open(path) as database:
        assert isinstance(read_all(database)[1], Corrupt)


def test_depth_is_bounded(tmp_path):
    """Buckets in buckets end with an error before Python's stack does; a legal depth is read."""
    tree = {b"k": b"v"}
    for _ in range(60):
        tree = {b"b": tree}
    boltwriter.write(tmp_path / "deep.db", tree, inline=False)
    with Database.open(tmp_path / "deep.db") as database:
        assert read_all(database) == (61, None)
        assert list(verify(database)) == []
    for _ in range(60):
        tree = {b"b": tree}
    boltwriter.write(tmp_path / "deeper.db", tree, inline=False)
    with Database.open(tmp_path / "deeper.db") as database:
        assert isinstance(read_all(database)[1], Corrupt)
        assert {damage.code for damage in verify(database)} == {"corrupt", "unreachable"}


def test_elements_on_top_of_each_other(tmp_path):
    """Elements that all point at one big value would multiply it; they are refused."""
    path = tmp_path / "bomb.db"
    layout = boltwriter.write(
        path, {b"b": {b"k%02d" % i: b"v" * 300 for i in range(40)}}, page_size=65536, inline=False
    )
    page = layout.roots[b"b",] * 65536
    for index in range(40):
        element = struct.pack("<IIII", 0, 16 * (40 - index), 3, 12_000)
        layout.data[page + 16 + 16 * index : page + 32 + 16 * index] = element
    path.write_bytes(layout.data)
    with Database.open(path) as database, pytest.raises(Corrupt):
        list(database.root.bucket(b"b").items())


def test_a_file_of_holes_costs_nothing(tmp_path):
    """A terabyte of nothing, claimed by the meta to be pages: neither memory nor time goes with it."""
    path = tmp_path / "holes.db"
    layout = boltwriter.write(path, TREE)
    layout.patch_meta(high_water=2**28)
    os.truncate(path, 2**40)
    tracemalloc.start()
    before = time.process_time()
    with Database.open(path) as database:
        assert read_all(database)[1] is None
        assert {damage.code for damage in verify(database)} == {"unreachable"}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 << 20
    assert time.process_time() - before < 5


def test_overflow_over_holes_is_bounded(tmp_path):
    """Pages far apart that each claim all the holes up to the next: refused before much is read or noted."""
    path, count, apart = tmp_path / "gaps.db", 800, 16384
    high_water = (count + 1) * apart
    children = [(0, b"%04d" % number, (number + 1) * apart) for number in range(count)]
    body = boltwriter.branch_body(children)
    with path.open("wb") as file:
        for index in (0, 1):
            file.seek(4096 * index)
            file.write(boltwriter.meta_page(index, page_size=4096, root=2, high_water=high_water, txid=1 + index))
        file.write(bytes(4096 * 2 - file.tell()))
        file.write(boltwriter.HEADER.pack(2, 1, count, len(body) // 4096) + body)
        for _, key, pgid in children:
            file.seek(4096 * pgid)
            file.write(boltwriter.HEADER.pack(pgid, 2, 1, apart - 1) + boltwriter.leaf_body([(0, key, b"v")]))
        file.truncate(4096 * high_water)
    before = time.process_time()
    with Database.open(path) as database:
        assert {damage.code for damage in verify(database)} == {"corrupt"}
    assert time.process_time() - before < 8


def test_overflow_that_is_mostly_holes(tmp_path):
    """A value of zeros that a copy made a hole of is whole, and the file sound."""
    path = tmp_path / "sparse.db"
    boltwriter.write(path, {b"b": {b"k": bytes(60 << 20), b"l": b"v"}})
    size = path.stat().st_size
    with path.open("r+b") as file:
        data = file.read()
        file.truncate(0)
        for at in range(0, size, 4096):
            if any(data[at : at + 4096]):
                file.seek(at)
                file.write(data[at : at + 4096])
        file.truncate(size)
    assert path.stat().st_blocks * 512 < 1 << 20
    with Database.open(path) as database:
        assert list(verify(database)) == []
        assert database.root.bucket(b"b").get(b"k") == bytes(60 << 20)


def test_what_is_no_file(tmp_path):
    """A directory, a fifo, a device and a missing file are refused at once."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", "/dev/zero", tmp_path / "none", b"nul\0byte"):
        with pytest.raises(Unreadable):
            Database.open(path)


def test_closed(tmp_path):
    """A bucket of a closed database gives an error; closing twice does not."""
    boltwriter.write(tmp_path / "file.db", TREE)
    database = Database.open(tmp_path / "file.db")
    root = database.root
    database.close()
    database.close()
    with pytest.raises(Unreadable):
        list(root.items())


def test_from_fd_leaves_the_descriptor_alone(tmp_path):
    """A descriptor that a lock hangs on is still open after the database is closed."""
    boltwriter.write(tmp_path / "file.db", TREE)
    fd = os.open(tmp_path / "file.db", os.O_RDONLY)
    with Database.from_fd(fd, b"name") as database:
        assert database.root.bucket(b"v1") is not None
    assert os.fstat(fd).st_size
    os.close(fd)


@pytest.mark.parametrize("page_size", [1024 << power for power in range(15)])
def test_finds_the_page_size_without_the_first_meta(tmp_path, page_size):
    """With page 0 lost, every page size bbolt looks for is found by the second meta."""
    layout = boltwriter.write(tmp_path / "file.db", TREE, page_size=page_size, txid=11)
    layout.patch(0, bytes(80))
    with Database.open(tmp_path / "file.db") as database:
        assert (database.page_size, database.meta.index) == (page_size, 1)
        assert read_all(database) == (127, None)


def test_the_newer_valid_meta_counts(tmp_path):
    """By transaction if both are valid, else the valid one; as bbolt chooses."""
    path = tmp_path / "file.db"
    for txid in (10, 11):
        layout = boltwriter.write(path, TREE, txid=txid)
        with Database.open(path) as database:
            assert (database.meta.index, database.meta.txid) == (txid % 2, txid)
        layout.patch(layout.newest * 4096 + 16 + 50, b"\xff")
        with Database.open(path) as database:
            assert (database.meta.index, database.meta.txid) == (1 - txid % 2, txid - 1)
            assert not database.metas[layout.newest].valid


def test_an_inline_bucket_like_another_but_shorter(tmp_path):
    """What was checked once of a kind of bucket says nothing of how long the next one's value is."""
    path = tmp_path / "db"
    boltwriter.write(path, {b"one": {b"key": b"value", b"more": b"data"}})
    with Database.open(path) as database:
        whole = database.root.bucket(b"one")
        assert whole is not None
        rest = whole._rest
        for _ in range(2):
            assert list(whole.items()) == [(b"key", b"value"), (b"more", b"data")]
        for length in range(HEADER - 8, len(rest)):  # an entry with less is no bucket
            cut = Bucket(database.root.tree, database.root, b"one", 1, 0, rest[:length], whole.offset)
            with pytest.raises(Corrupt):
                list(cut.items())
