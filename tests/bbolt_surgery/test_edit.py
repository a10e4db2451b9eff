"""A file without what was deleted, and with it again: held against Go's bbolt, which reads, checks and uses it."""

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import boltwriter, gobbolt
from tests.support.captures import CaptureUnavailable, capture, captures, unpack
from tests.support.surgery import dump, edit, everything, undo, use_and_undo, without

from bbolt_reader import Database, verify
from bbolt_surgery import Damaged, Deletion, Moved, SurgeryError, change

pytestmark = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")

LONG = "DRYDOCK_TEST_LONG" in os.environ
SHAPES = ["empty", "flat", "nested", "inline", "overflow", "deleted", "mixed", "mixed-nofreelist", "blobs"]
PAGE_SIZES = [1024, 4096, 16384, 65536]
KEYS = st.binary(min_size=1, max_size=12) | st.sampled_from([b"k" * 300, b"a", b"b", b"c"])
VALUES = st.binary(max_size=40) | st.integers(200, 9000).map(lambda size: b"v" * size)
TREES = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=12),
    lambda below: st.dictionaries(KEYS, VALUES | below, max_size=12),
    max_leaves=25,
).map(lambda tree: {key: value if isinstance(value, dict) else {key: value} for key, value in tree.items()})
"""Go's Compact cannot have plain keys in the root bucket, where bbolt has no way to put any."""


def proven(path: Path, deletions, seed: int = 0):
    """Delete, hold the result against the text of the dump before, undo, and let Go use both."""
    before = gobbolt.dump(path)
    size, inode = path.stat().st_size, path.stat().st_ino
    receipt = edit(path, deletions)
    expected = without(before, deletions)
    assert gobbolt.check(path) == (0, "")
    assert gobbolt.dump(path) == expected
    assert dump(path) == expected
    assert path.stat().st_ino == inode
    assert path.stat().st_size == size + receipt.grew_by
    assert bool(receipt.deleted) == (expected != before)
    use_and_undo(path, receipt, before, seed)
    return receipt


def written(part: int) -> list[tuple[str, int]]:
    """Shapes of files that Go writes, each in one of the page sizes: those of one of four parts; all in ./run prove."""
    sizes = list(enumerate(PAGE_SIZES))
    return [(each, size) for row, each in enumerate(SHAPES) for at, size in sizes if LONG or (row + at) % 4 == part]


def bottom(path: Path):
    """What is no bucket, so that deleting it leaves the buckets empty."""
    with_buckets = {each.path for each in everything(path)}
    return [each for each in everything(path) if (*each.path, each.key) not in with_buckets]


@pytest.mark.parametrize(("shape", "page_size"), written(0))
def test_deletes_what_is_named_from_what_go_wrote(tmp_path, shape, page_size):
    """A few, half, nearly all, and all keys of every bucket go; all else and each sequence stay, and Go works on."""
    path = gobbolt.fill(tmp_path / "file.db", shape, page_size, 600)
    names = everything(path)
    choose = random.Random(page_size)
    for share in (0.01, 0.5, 0.95):
        proven(path, choose.sample(names, int(len(names) * share)), seed=choose.randrange(100))
    plain = bottom(path)
    proven(path, choose.sample(plain, len(plain) * 9 // 10), seed=1)
    proven(path, plain, seed=2)
    proven(path, names, seed=3)


FILES = st.fixed_dictionaries({
    "page_size": st.sampled_from([1024, 4096, 16384, 65536]),
    "freelist": st.booleans(),
    "inline": st.booleans(),
    "free": st.integers(0, 9),
    "fill": st.sampled_from([0.3, 1.0]),
    "extra": st.sampled_from([4096, 4796, 16384]),  # bbolt does not open files of less than 4096 bytes
    "txid": st.integers(5, 8),
})  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(tree=TREES, file=FILES, chosen=st.randoms(use_true_random=False), share=st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_deletes_what_is_named_from_any_tree(tree, file, chosen, share):
    """The same for trees of any form, with sequences, free pages and bytes behind the high water."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.db"
        boltwriter.write(path, tree, sequences=_sequences(tree), **file)
        names = everything(path)
        proven(path, [each for each in names if chosen.random() < share])


def _sequences(tree, path=()):
    found = {path: len(path) * 1000 + len(tree)}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= _sequences(value, (*path, key))
    return found


def test_edits_follow_each_other(tmp_path):
    """Forty edits in a row, each on what the last one left, end where the sum of them would, in bounded space."""
    path = gobbolt.fill(tmp_path / "file.db", "mixed", 1024, 600)
    choose, before, names = random.Random(4), gobbolt.dump(path), everything(path)
    size = path.stat().st_size
    gone = []
    for _ in range(40):
        some = choose.sample(names, 12)
        edit(path, some)
        gone += some
    assert gobbolt.dump(path) == without(before, gone)
    assert gobbolt.check(path) == (0, "")
    assert gobbolt.churn(path, 5) == ""
    assert path.stat().st_size < 3 * size


def test_names_what_was_there_and_what_was_not(tmp_path):
    """A key named twice counts once, one inside a deleted bucket counts too, and absent ones of each kind are told."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"b": {b"in": {b"x": b"1"}, b"key": b"2"}, b"top": b"3"})
    there = [Deletion((b"b",), b"in"), Deletion((b"b", b"in"), b"x"), Deletion((), b"top")]
    gone = [
        Deletion((), b"no"),
        Deletion((b"b",), b""),
        Deletion((b"b", b"key"), b"under a value"),
        Deletion((b"no",), b"k"),
    ]
    receipt = edit(path, [*there, *there, *gone])
    assert receipt.deleted == tuple(sorted(there))
    assert receipt.absent == tuple(sorted(gone))
    assert gobbolt.dump(path) == f"bucket / 0\nbucket {b'b'.hex()} 0\nkey {b'b'.hex()}/{b'key'.hex()} {b'2'.hex()}\n"


def test_a_deleted_bucket_and_an_edit_deep_in_it(tmp_path):
    """Where a bucket goes, what was to go inside it, at any depth and on other pages, goes with it."""
    path = gobbolt.fill(tmp_path / "file.db", "nested", 1024)
    names = everything(path)
    proven(path, [each for each in names if each.path[:1] == (b"top-1",)] + [Deletion((), b"top-1")])


def test_a_second_time_nothing_is_written(tmp_path):
    """Deleting again what is gone leaves every byte and time of the file, and its receipt undoes nothing."""
    path = gobbolt.fill(tmp_path / "file.db", "nested")
    some = everything(path)[10:20]
    edit(path, some)
    image, changed = path.read_bytes(), path.stat().st_mtime_ns
    receipt = edit(path, some, on_ready=pytest.fail)
    assert (receipt.deleted, receipt.absent) == ((), tuple(sorted(some)))
    assert (receipt.pages_written, receipt.grew_by, receipt.txid_after) == (0, 0, receipt.txid_before)
    undo(path, receipt, on_ready=pytest.fail)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (image, changed)


def test_undoing_the_undoing_deletes_again(tmp_path):
    """The receipt of an undo is one as well."""
    path = gobbolt.fill(tmp_path / "file.db", "mixed")
    before, some = dump(path), everything(path)[::3]
    back = undo(path, edit(path, some))
    assert dump(path) == before
    undo(path, back)
    assert dump(path) == without(before, some)
    assert gobbolt.check(path) == (0, "")
    assert gobbolt.churn(path, 8) == ""


def test_undo_refuses_after_somebody_wrote(tmp_path):
    """A commit since then, by Go or by another edit, is not undone; and neither is the file written to."""
    path = gobbolt.fill(tmp_path / "file.db", "flat")
    names = everything(path)[1:]
    first = edit(path, names[:5])
    edit(path, names[5:10])
    image = path.read_bytes()
    with pytest.raises(Moved):
        undo(path, first)
    assert path.read_bytes() == image
    last = edit(path, names[10:15])
    assert gobbolt.churn(path, 1, 100) == ""
    image = path.read_bytes()
    with pytest.raises(Moved):
        undo(path, last)
    assert path.read_bytes() == image


def test_undo_refuses_a_former_tree_that_is_damaged(tmp_path):
    """Its pages are looked at once more before they count again."""
    layout = boltwriter.write(tmp_path / "file.db", {b"a": b"1", b"b": b"2"})
    receipt = edit(layout.path, [Deletion((), b"a")])
    with layout.path.open("r+b") as file:
        file.seek(layout.root * 4096 + 16 + 8)
        file.write(b"\xff\xff")
    with pytest.raises(Damaged):
        undo(layout.path, receipt)
    assert dump(layout.path) == f"bucket / 0\nkey {b'b'.hex()} {b'2'.hex()}\n"


def test_writes_over_a_meta_that_was_lost(tmp_path):
    """With either meta gone the other one counts, and the lost one is where the commit goes."""
    for lost in (0, 1):
        path = gobbolt.fill(tmp_path / f"{lost}.db", "deleted", 1024)
        with path.open("r+b") as file:
            file.seek(lost * 1024)
            file.write(b"\xee" * 1024)
        before, some = dump(path), everything(path)[1:20]
        receipt = edit(path, some)
        assert receipt.txid_after % 2 == lost
        assert gobbolt.dump(path) == without(before, some)
        assert gobbolt.churn(path, lost) == ""


def test_the_meta_that_counts_is_never_written_over(tmp_path):
    """Also where it lies on the page that its number would not have put it on, as in copies that bbolt makes."""
    layout = boltwriter.write(tmp_path / "file.db", {b"a": b"1", b"b": b"2"}, txid=10)
    layout.patch_meta(0, txid=11).patch_meta(1, txid=10)
    newest = layout.path.read_bytes()[:80]
    receipt = edit(layout.path, [Deletion((), b"a")])
    assert layout.path.read_bytes()[:80] == newest
    assert receipt.txid_after == 13
    assert gobbolt.dump(layout.path) == f"bucket / 0\nkey {b'b'.hex()} {b'2'.hex()}\n"


def test_refuses_descriptors_it_could_do_harm_with(tmp_path):
    """One that cannot be written to, or that writes at the end wherever it is told to."""
    path = gobbolt.fill(tmp_path / "file.db", "nested")
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_APPEND):
        fd = os.open(path, flags)
        with pytest.raises(SurgeryError):
            change(fd, b"file.db", everything(path))
        os.close(fd)
    with pytest.raises(SurgeryError):
        change(fd, b"file.db", [])


@pytest.mark.root
@pytest.mark.parametrize("name", [each.name for each in captures()])
def test_deletes_records_of_real_engines(tmp_path, name):
    """From each database of each capture, at random, records and rows, one or many."""
    try:
        folder = unpack(capture(name), tmp_path)
    except CaptureUnavailable as reason:
        pytest.skip(str(reason))
    found = [path for path in folder.rglob("*.db") if path.name in {"meta.db", "metadata.db", "metadata_v2.db"}]
    assert len(found) >= 2
    choose = random.Random(name)
    for path in found:
        with Database.open(path) as database:
            damaged = any(damage.severe for damage in verify(database))
        if damaged:  # as one of the captures is meant to be
            image = path.read_bytes()
            with pytest.raises(Damaged):
                edit(path, [Deletion((), b"v1")])
            assert path.read_bytes() == image
            continue
        names = everything(path)
        for count in (1, 3, 10, 40, len(names)) if LONG else (3, 40, len(names)):
            proven(path, choose.sample(names, min(count, len(names))), seed=count)
