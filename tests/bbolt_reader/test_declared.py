"""The second reader reads what Go reads and what the fast reader reads, and where one of them is wrong it is found."""

import os
import re
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import boltwriter, gobbolt
from tests.support.captures import captures

import bbolt_reader.bucket
import bbolt_reader.declared
from bbolt_reader import BoltError, Database, DeclaredBucket, DeclaredDatabase, NotBolt, check, compare, dissect, verify
from bbolt_reader.shape import Shape

needs_go = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")
SHAPES = ["empty", "flat", "nested", "inline", "overflow", "deleted", "mixed", "mixed-nofreelist", "blobs"]
TREE = {
    b"v1": {
        b"many": {b"key%04d" % i: b"value" * (i % 7) for i in range(120)},
        b"big": {b"k": b"v" * 3000},
        b"inline": {b"a": b"1", b"b": b""},
        b"deep": {b"er": {b"and": {b"down": {b"k": b"v"}}}},
    },
}
SOUND = boltwriter.image(TREE, page_size=1024, free=2, sequences={(b"v1",): 7, (b"v1", b"inline"): 2**63})


def dumped(bucket):
    """A bucket in the words of the Go program dump."""
    lines = [f"bucket / {bucket.sequence}"]

    def walk(bucket):
        for key, value in bucket.items():
            name = "/".join(part.hex() for part in (*bucket.path, key))
            if isinstance(value, DeclaredBucket):
                lines.append(f"bucket {name} {value.sequence}")
                walk(value)
            else:
                lines.append(f"key {name} {value.hex()}")

    walk(bucket)
    return "\n".join(lines) + "\n"


def differences(path):
    """What two readers of a file do not read alike; that only one of them opens it is told as well."""
    opened = []
    for reader in (Database, DeclaredDatabase):
        try:
            opened.append(reader.open(path))
        except BoltError as error:  # noqa: PERF203 - two readers
            opened.append(error)
    if any(isinstance(each, BoltError) for each in opened):
        return [] if all(isinstance(each, BoltError) for each in opened) else opened
    with opened[0] as first, opened[1] as second:
        return list(compare(first, second))


@needs_go
@pytest.mark.parametrize("by", gobbolt.Bbolt)
@pytest.mark.parametrize("page_size", [1024, 65536])
@pytest.mark.parametrize("shape", SHAPES)
def test_reads_what_go_reads(tmp_path, shape, page_size, by):
    """Every key, value and sequence of every bucket, in the same order; nothing is wrong and nothing differs."""
    path = gobbolt.fill(tmp_path / "file.db", shape, page_size, by=by)
    with DeclaredDatabase.open(path) as database:
        assert dumped(database.root) == gobbolt.dump(path)
        assert list(check(database)) == []
    assert differences(path) == []


@needs_go
@pytest.mark.parametrize("seed", range(4))
def test_both_read_what_a_busy_database_left(tmp_path, seed):
    """After thousands of changes by Go's bbolt: the same as Go's dump, and no difference."""
    path = gobbolt.fill(tmp_path / "file.db", "mixed", 1024)
    assert gobbolt.churn(path, seed) == ""
    with DeclaredDatabase.open(path) as database:
        assert dumped(database.root) == gobbolt.dump(path)
    assert differences(path) == []


_keys = st.binary(min_size=1, max_size=40)
_trees = st.recursive(
    st.dictionaries(_keys, st.binary(max_size=300), max_size=12),
    lambda below: st.dictionaries(_keys, st.one_of(st.binary(max_size=2000), below), max_size=8),
    max_leaves=30,
)


@settings(max_examples=60, deadline=None)
@given(
    tree=st.dictionaries(_keys, _trees, max_size=6),
    options=st.fixed_dictionaries(
        {
            "page_size": st.sampled_from([1024, 4096]),
            "inline": st.booleans(),
            "freelist": st.booleans(),
            "fill": st.sampled_from([0.3, 1.0]),
        }
    ),
)
def test_readers_agree_on_any_database(tmp_path_factory, tree, options):
    """Any nested buckets: both read what was written, no difference, and no damage."""
    path = tmp_path_factory.getbasetemp() / "any.db"
    boltwriter.write(path, tree, free=1, **options)

    def plain(bucket):
        return {key: plain(value) if isinstance(value, DeclaredBucket) else value for key, value in bucket.items()}

    with DeclaredDatabase.open(path) as database:
        assert plain(database.root) == tree
        assert list(check(database)) == []
    assert differences(path) == []


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SOUND.data) - 9), st.binary(min_size=1, max_size=9)), max_size=6))
def test_readers_agree_on_damage(tmp_path_factory, patches):
    """Any few bytes changed anywhere: where one reader cannot go on, the other cannot either; else they read alike."""
    path = tmp_path_factory.getbasetemp() / "patched.db"
    data = bytearray(SOUND.data)
    for offset, raw in patches:
        data[offset : offset + len(raw)] = raw
    path.write_bytes(data)
    assert differences(path) == []


@pytest.mark.parametrize("size", [0, 1, 79, 80, 1023, 1024, 1100, 2047, 2048, 3000, 5000, 9999])
def test_readers_agree_on_a_file_cut_off(tmp_path, size):
    """Wherever it ends: both read the same, or neither opens it; the check tells it."""
    SOUND.save(tmp_path / "whole.db")
    path = tmp_path / "short.db"
    path.write_bytes(bytes(SOUND.data[:size]))
    assert differences(path) == []
    try:
        with DeclaredDatabase.open(path) as database:
            assert "short-file" in {damage.code for damage in check(database)}
    except NotBolt:
        assert size < 2048


def test_what_is_no_file_is_refused(tmp_path):
    """A folder, a device, nothing at all: a typed error."""
    for path in (tmp_path, "/dev/null", tmp_path / "none"):
        with pytest.raises(BoltError):
            DeclaredDatabase.open(path)


def _read_wrong(monkeypatch, field):
    """Have the fast reader take one field for another, as a bug in it would."""
    if field == "sequence":
        monkeypatch.setattr(bbolt_reader.bucket.Bucket, "sequence", property(lambda _: 7))
        return
    of = Shape.of

    def wrong(before, entries):
        return of(before, [each._replace(**{field: max(0, getattr(each, field) - 1)}) for each in entries])

    monkeypatch.setattr(Shape, "of", wrong)


@pytest.mark.parametrize("field", ["key", "value", "sequence"])
def test_finds_a_planted_disagreement(tmp_path, monkeypatch, field):
    """One field of the fast reader decoded wrong: told, with a place in the file and the bucket."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"flat": {b"key%d" % i: b"value" for i in range(9)}}, inline=False)
    assert differences(path) == []
    _read_wrong(monkeypatch, field)
    found = differences(path)
    assert found
    assert all(each.page == each.offset // 4096 for each in found)
    assert any(each.path[:1] == (b"flat",) for each in found) or field == "key"


@pytest.mark.parametrize(("module", "who"), [("tree", "first"), ("declared", "second")])
def test_finds_a_reader_that_gives_up_alone(tmp_path, monkeypatch, module, who):
    """One reader takes a key for too long: what the other reads is told, and which of them stopped."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"flat": {b"a": b"1", b"long": {b"b": b"2"}}, b"zzzzz": {b"c": b""}}, inline=False)
    monkeypatch.setattr(f"bbolt_reader.{module}.MAX_KEY", 3)
    found = differences(path)
    assert any(f"only the {who} reader cannot read on" in each.message for each in found)
    missing = ("a bucket", "no such key") if who == "second" else ("no such key", "a bucket")
    told = {each.path: each.message for each in found}
    assert told[b"flat",] == f"{missing[0]} by the first reader, {missing[1]} by the second"


def test_finds_a_bucket_that_is_read_as_a_value(tmp_path, monkeypatch):
    """The flag of an element, read by one and not by the other."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"flat": {b"a": b"1"}})
    parse = bbolt_reader.declared.parse_leaf
    monkeypatch.setattr(
        bbolt_reader.declared, "parse_leaf", lambda *page: [{**element, "flags": 0} for element in parse(*page)]
    )
    (found,) = differences(path)
    assert (found.path, found.message) == ((b"flat",), "a bucket by the first reader, a value by the second")


def test_finds_a_reader_that_takes_positions_for_granted(tmp_path, monkeypatch):
    """A file whose entries do not follow each other: a reader that does not look at ``pos`` reads other bytes."""
    layout = boltwriter.image({b"flat": {b"a": b"1111", b"b": b"2222"}}, inline=False)
    at = layout.roots[b"flat",] * 4096
    # The second entry, moved by five bytes.
    (pos,) = struct.unpack_from("<L", layout.data, at + 36)
    layout.patch(at + 36, struct.pack("<L", pos + 5)).patch(at + 32 + pos + 5, b"b3333")
    layout.save(tmp_path / "file.db")
    assert differences(tmp_path / "file.db") == []
    of = Shape.of
    monkeypatch.setattr(Shape, "of", lambda before, entries: of(before, [each._replace(gap=0) for each in entries]))
    told = {each.path: each.message for each in differences(tmp_path / "file.db")}
    assert told[b"flat", b"b"] == "different values, of 4 and 4 bytes"


def test_finds_a_page_that_is_read_by_the_memory_of_another(tmp_path, monkeypatch):
    """The fast reader remembers pages that begin alike; were its memory keyed by the count alone, this would show."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"one": {b"a": b"11"}, b"two": {b"bb": b"2"}, b"tri": {b"ccc": b""}}, inline=False)
    assert differences(path) == []
    monkeypatch.setattr("bbolt_reader.tree.Tree.shape_of", _by_count_alone())
    assert {each.path[0] for each in differences(path)} >= {b"tri", b"two"}


def _by_count_alone():
    known = {}

    def shape_of(tree, page):
        _, data, start, end, count, base = page
        first = start + 16
        if (count, bool(base)) not in known:
            known[count, bool(base)] = tree.shape(data[first : first + 16 * count], end - first - 16 * count, first)
        return known[count, bool(base)]

    return shape_of


def test_tells_how_far_it_is(tmp_path):
    """Progress adds up to the keys that were compared."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"flat": {b"key%05d" % i: b"" for i in range(9000)}})
    told = []
    with Database.open(path) as first, DeclaredDatabase.open(path) as second:
        assert list(compare(first, second, told.append)) == []
    assert sum(told) == 9001
    assert len(told) > 2


def test_a_cycle_ends(tmp_path):
    """A branch that leads back to itself, and a bucket to its parent: an error with a place."""
    layout = boltwriter.write(tmp_path / "file.db", TREE, page_size=1024)
    branch = layout.roots[b"v1", b"many"]
    layout.patch_page(branch, 24, struct.pack("<Q", branch))
    with DeclaredDatabase.open(tmp_path / "file.db") as database:
        assert {"corrupt", "unreachable"} <= {damage.code for damage in check(database)}
    assert differences(tmp_path / "file.db") == []


@pytest.mark.parametrize("depth", [60, 64, 65, 70])
def test_depth_is_bounded_alike(tmp_path, depth):
    """Buckets in each other: both readers stop at the same one."""
    tree = {b"k": b"v"}
    for _ in range(depth):
        tree = {b"b": tree}
    boltwriter.write(tmp_path / "file.db", tree, page_size=1024, inline=False)
    assert differences(tmp_path / "file.db") == []
    with Database.open(tmp_path / "file.db") as first, DeclaredDatabase.open(tmp_path / "file.db") as second:
        assert {each.code for each in verify(first)} == {each.code for each in check(second)}
        assert bool(list(check(second))) == (depth > 64)


def test_holes_of_any_size_take_no_time(tmp_path):
    """A file of a TiB that is nearly all hole, whose pages claim overflow all over it: bounded time and memory."""
    path = tmp_path / "file.db"
    layout = boltwriter.write(path, {b"b%02d" % i: {b"k": b"v" * 300} for i in range(50)}, page_size=1024, inline=False)
    layout.patch_meta(high_water=1 << 30)
    os.truncate(path, 1 << 40)
    with path.open("r+b") as file:
        for number, pgid in enumerate(sorted(set(layout.roots.values()) - {layout.root})):
            far = (number + 1) << 17
            file.seek(layout.data.index(struct.pack("<QQ", pgid, 0), 2048))
            file.write(struct.pack("<Q", far))
            file.seek(far * 1024)
            file.write(struct.pack("<QHHL", far, 2, 1, 60_000) + layout.data[pgid * 1024 + 16 : (pgid + 1) * 1024])
    start = time.process_time()
    tracemalloc.start()
    with DeclaredDatabase.open(path) as database:
        assert "corrupt" in {damage.code for damage in check(database)}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400 << 20
    assert time.process_time() - start < 60


def test_construct_is_imported_on_demand(tmp_path):
    """Neither the package nor the fast reader imports construct; asking for the second reader does."""
    code = "import sys, bbolt_reader; bbolt_reader.Database; a = 'construct' in sys.modules; bbolt_reader.compare; "
    code += "print(a, 'construct' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert said == "False True\n"


@pytest.mark.parametrize("capture", captures(), ids=lambda each: each.name)
def test_both_read_every_database_of_every_capture(tmp_path, capture):
    """containerd's, BuildKit's and Docker's own: no difference, and damage only in the one that was cut off."""
    command = ["tar", "--zstd", "--no-same-owner", "--wildcards", "-C", tmp_path, "-xf", capture.archive, "*.db"]
    subprocess.run(command, check=True)
    found = [path for path in sorted(tmp_path.rglob("*.db")) if path.is_file() and path.stat().st_size]
    assert found
    for path in found:
        assert differences(path) == [], path
        with DeclaredDatabase.open(path) as database:
            severe = [damage for damage in check(database) if damage.severe]
            assert bool(severe) == ("truncated-metadb" in capture.name and path.name == "meta.db"), path


def test_the_example_in_the_docs_works(tmp_path):
    """docs/bolt.md's lines of Python, on a file of that name: no damage, no difference, and a page's fields."""
    boltwriter.write(tmp_path / "meta.db", TREE)
    text = (Path(__file__).parents[2] / "docs/bolt.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=tmp_path).stdout
    assert said.splitlines()[:3] == ["[] []", "0x2000 id 2", "0x2008 flags 2"]


def test_a_freelist_of_any_size_takes_little_memory(tmp_path, monkeypatch):
    """A page of 2 MiB, nearly all of it a hole, that lists 262,141 pages: a few times its size."""
    monkeypatch.setattr("bbolt_reader.dissection._IDS_SHOWN", 1000)
    path = tmp_path / "file.db"
    layout = boltwriter.write(path, {b"a": {b"k": b"v"}}, free=1)
    layout.patch_meta(high_water=1 << 20)
    ids = (2 << 20) // 8 - 3
    layout.patch_page(layout.freelist, 8, struct.pack("<HHL", 0x10, 0xFFFF, 511) + struct.pack("<Q", ids))
    os.truncate(path, 1 << 32)
    tracemalloc.start()
    with DeclaredDatabase.open(path) as database:
        assert "freelist" in {damage.code for damage in check(database)}
        page = dissect(database.lenient, layout.freelist)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert page.fields[4][2:4] == ("real count", ids)
    assert sum(field.length for field in page.fields) == 2 << 20
    assert len(page.fields) < 1010
    assert peak < 40 << 20
