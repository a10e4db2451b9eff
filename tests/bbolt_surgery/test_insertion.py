"""A file with what was put in: held against dictionaries, and against Go's bbolt, which reads, checks and uses it."""

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bbolt_surgery.test_commit import crashes, held
from tests.bbolt_surgery.test_edit import FILES, KEYS, TREES, VALUES, written
from tests.bbolt_surgery.test_rewrite import shape
from tests.support import boltwriter, gobbolt
from tests.support.surgery import Recorder, changed, dump, edit, everything, reached, told, tree, undo, use_and_undo

from bbolt_reader import Database
from bbolt_surgery import Deletion, Insertion, NewBucket, Unfit

pytestmark = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")


def proven(path: Path, deletions, insertions, seed: int = 0):
    """Change, hold the result against dictionaries, undo, and let Go use both."""
    before, model = gobbolt.dump(path), tree(path)
    assert told(model) == before
    former, image = reached(path), path.read_bytes()
    with Database.open(path) as database:
        page_size = database.page_size
    refused = changed(model, deletions, insertions)
    receipt = edit(path, deletions, insertions)
    assert gobbolt.check(path) == (0, "")
    assert gobbolt.dump(path) == told(model) == dump(path)
    assert list(receipt.present) == refused
    assert sorted((*receipt.inserted, *receipt.present), key=lambda each: each[:2]) == sorted(
        insertions, key=lambda each: each[:2]
    )
    edited = path.read_bytes()
    for pgid in former:
        assert edited[pgid * page_size : (pgid + 1) * page_size] == image[pgid * page_size : (pgid + 1) * page_size]
    for keys, firsts, kinds in shape(path):
        assert keys == firsts
        assert len(kinds) == 1
    use_and_undo(path, receipt, before, seed)
    return receipt


def some(choose: random.Random, depth: int = 0):
    """A value, or now and then a bucket of values and buckets."""
    if choose.random() < 0.1 / (depth + 1):
        count = choose.choice([0, 1, 4, 30])
        entries = {choose.randbytes(choose.choice([1, 9, 90])): some(choose, depth + 1) for _ in range(count)}
        return NewBucket(choose.choice([0, 5, 1 << 40]), entries)
    return choose.randbytes(choose.choice([0, 1, 30, 30, 400] + [6000] * (depth == 0 and choose.random() < 0.1)))


@pytest.mark.parametrize(("shape", "page_size"), written(2))
def test_puts_into_what_go_wrote(tmp_path, shape, page_size):
    """One key, some, and many, into each kind of bucket that Go makes, with deletions and without; sequences stay."""
    path = gobbolt.fill(tmp_path / "file.db", shape, page_size, 300)
    names = everything(path)
    with Database.open(path) as database:
        places = [each for each in names if database.root.bucket(each.key) is not None and not each.path]
    choose = random.Random(page_size)
    for count, share in ((1, 0), (20, 0), (20, 0.3), (300, 0.01)):
        insertions = []
        for _ in range(count):
            above = choose.choice([*places, Deletion((), b"new-%d" % choose.randrange(5))])
            path_ = (*above.path, above.key, *([b"deep"] * choose.choice([0, 0, 0, 1, 2])))
            insertions.append(Insertion(path_, choose.randbytes(choose.choice([2, 20, 200])), some(choose)))
        proven(path, choose.sample(names, int(len(names) * share)), insertions, seed=choose.randrange(100))


VALUE = st.recursive(
    VALUES,
    lambda below: st.dictionaries(KEYS, below, max_size=6).map(lambda made: NewBucket(3, made)),
    max_leaves=20,
)
NEW = st.lists(
    st.builds(Insertion, st.lists(KEYS, min_size=1, max_size=3).map(tuple), KEYS, VALUE),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(old=TREES, file=FILES, new=NEW, chosen=st.randoms(use_true_random=False), share=st.sampled_from([0, 0.2, 1.0]))
def test_puts_into_any_tree(old, file, new, chosen, share):
    """The same for trees of any form; half of the paths lead into buckets, or values, that are there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.db"
        boltwriter.write(path, old, sequences={(): 9, **{(key,): 70 for key in old}}, **file)
        names = everything(path)
        there = [(*each.path, each.key) for each in names]
        insertions = [
            each._replace(path=(*chosen.choice(there), *each.path[2:])) if there and chosen.random() < 0.5 else each
            for each in new
        ]
        proven(path, [each for each in names if chosen.random() < share], insertions)


@pytest.mark.parametrize(("page_size", "longest"), [(1024, 120), (4096, 120), (1024, 430), (4096, 1800)])
@pytest.mark.parametrize("seed", range(4))
def test_a_bucket_grows_and_shrinks(tmp_path, seed, page_size, longest):
    """From inline over one leaf to branches of branches and back, edit by edit; pages that fit stay within theirs."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"top": {b"m": b"1"}}, page_size=page_size, sequences={(b"top",): 77})
    choose, model = random.Random(seed), tree(path)
    size = lambda: choose.choice([1, 30, longest])  # noqa: E731
    for count in (1, 3, 10, 50, 200, 900, 30, 1):
        new = [Insertion((b"top",), choose.randbytes(size()), choose.randbytes(size())) for _ in range(count)]
        gone = choose.sample(everything(path)[1:], len(everything(path)) // 9)
        changed(model, gone, new)
        edit(path, gone, new)
        assert gobbolt.check(path) == (0, "")
        assert gobbolt.dump(path) == told(model)
        for keys, firsts, kinds in shape(path):
            assert (keys == firsts, len(kinds), len(keys) > 1) == (True, 1, True)
    with Database.open(path) as database:
        list(database.root.bucket(b"top").items())
        pages = [database.page(pgid) for pgid in reached(path)]
        heads = [page for page in pages if page.id == page.position]
        # Of three keys that are each nearly half a page, a branch with two is left one that overflows.
        assert longest > 120 or not any(page.overflow for page in heads)
        assert any(page.kind == "branch" for page in heads)
    assert gobbolt.churn(path, seed, 5000) == ""
    edit(path, everything(path)[1:])
    assert gobbolt.dump(path) == f"bucket / 0\nbucket {b'top'.hex()} 77\n"


def test_what_is_there_is_never_replaced(tmp_path):
    """A key, a bucket, a value where a bucket should be, and a key that is named twice: each is told as present."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"b": {b"k": b"old", b"in": {b"x": b"1"}}})
    image = path.read_bytes()
    taken = [
        Insertion((b"b",), b"in", b"new"),
        Insertion((b"b",), b"k", NewBucket()),
        Insertion((b"b", b"k"), b"x", b"new"),
        Insertion((b"b", b"k", b"l"), b"x", b"new"),
    ]
    receipt = edit(path, [], taken, on_ready=pytest.fail)
    assert (receipt.inserted, receipt.present) == ((), tuple(taken))
    assert path.read_bytes() == image
    receipt = edit(path, [], [Insertion((b"b",), b"n", b"1"), Insertion((b"b",), b"n", b"2")])
    assert receipt.inserted == (Insertion((b"b",), b"n", b"1"),)
    assert receipt.present == (Insertion((b"b",), b"n", b"2"),)


def test_deleting_comes_first(tmp_path):
    """What is deleted and put in is replaced, a value by a bucket too, and a bucket with its sequence."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"b": {b"k": b"old", b"in": {b"x": b"1"}}}, sequences={(b"b", b"in"): 9})
    gone = [Deletion((b"b",), b"k"), Deletion((b"b",), b"in")]
    proven(path, gone, [Insertion((b"b", b"k"), b"x", b"new"), Insertion((b"b", b"in", b"y"), b"z", b"2")])
    proven(path, [Deletion((), b"b")], [Insertion((b"b",), b"k", NewBucket(4, {b"n": b""}))])


def test_what_the_caller_gave_is_not_changed(tmp_path):
    """A bucket that another insertion goes into is the file's own."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"b": {b"k": b"v"}})
    given_ = NewBucket(1, {b"inner": NewBucket(2, {})})
    edit(path, [], [Insertion((b"b",), b"new", given_), Insertion((b"b", b"new", b"inner"), b"x", b"1")])
    assert given_ == NewBucket(1, {b"inner": NewBucket(2, {})})
    assert tree(path).entries[b"b"].entries[b"new"] == NewBucket(1, {b"inner": NewBucket(2, {b"x": b"1"})})


@pytest.mark.parametrize("new", [
    Insertion((b"b",), b"", b"v"),
    Insertion((b"b",), b"k" * 32769, b"v"),
    Insertion((b"b",), b"x", b"v" * (64 << 20)),
    Insertion((b"b", b""), b"x", b"v"),
    Insertion(tuple(b"%d" % depth for depth in range(900)), b"x", b"v"),
])  # fmt: skip
def test_refuses_what_no_file_can_hold(tmp_path, new):
    """Keys and values without a valid length, and buckets too deep in each other: nothing is written."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"b": {b"k": b"v"}})
    image = path.read_bytes()
    with pytest.raises(Unfit):
        edit(path, [], [new])
    assert path.read_bytes() == image


def test_refuses_buckets_without_an_end(tmp_path):
    """A value that is one bucket in another, deeper than Python itself would follow."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"b": {b"k": b"v"}})
    deep = NewBucket()
    for _ in range(5000):
        deep = NewBucket(0, {b"x": deep})
    image = path.read_bytes()
    with pytest.raises(Unfit):
        edit(path, [], [Insertion((b"b",), b"deep", deep)])
    assert path.read_bytes() == image


def test_more_keys_than_a_page_can_count(tmp_path):
    """In a file of large pages, where they would all fit one, or be inline: a page counts with 16 bits."""
    path = tmp_path / "file.db"
    many = {b"%05d" % number: b"v" for number in range(65_530)}
    boltwriter.write(path, {b"b": many, b"c": {}}, page_size=16 << 20)
    insertions = [Insertion((b"b",), b"new-%d" % number, b"") for number in range(8)]
    insertions.append(Insertion((b"c",), b"new", NewBucket(0, {**many, **{each.key: b"" for each in insertions}})))
    assert len(edit(path, [], insertions).inserted) == 9
    assert gobbolt.check(path) == (0, "")
    assert gobbolt.dump(path).count("\n") == 4 + 2 * (len(many) + 8)


def subject(path, *, page_size, free, extra):
    """A file, and insertions that split its leaf, make an inline bucket real, and need new ones."""
    top = {b"%03d" % number: b"v" * 60 for number in range(0, 120, 2)} | {b"in": {b"x": b"1"}}
    boltwriter.write(path, {b"top": top}, page_size=page_size, free=free, extra=extra, sequences={(b"top",): 7})
    return [Deletion((b"top",), b"%03d" % number) for number in range(0, 40, 6)], [
        *(Insertion((b"top",), b"%03d" % number, b"w" * 70) for number in range(1, 120, 2)),
        *(Insertion((b"top", b"in"), b"%d" % number, b"z" * 100) for number in range(12)),
        Insertion((b"top", b"new", b"deep"), b"k", NewBucket(5, {b"a": b"b" * 3000})),
    ]


@pytest.mark.parametrize("page_size", [1024, 4096])
@pytest.mark.parametrize("space", [{"free": 0, "extra": 1024}, {"free": 40, "extra": 1024}, {"free": 3, "extra": 0}])
def test_a_crash_anywhere_leaves_the_old_or_the_new(tmp_path, monkeypatch, page_size, space):
    """Replayed write by write, in parts, out of order and torn, as for deletions."""
    path = tmp_path / "file.db"
    gone, new = subject(path, page_size=page_size, **space)
    old, image = gobbolt.dump(path), path.read_bytes()
    with monkeypatch.context() as patch:
        recorder = Recorder(patch)
        receipt = edit(path, gone, new)
    after, edited = gobbolt.dump(path), path.read_bytes()
    assert len(receipt.inserted) == len(new)
    held(tmp_path / "crashed.db", crashes(image, recorder.calls, page_size), old, after)
    with monkeypatch.context() as patch:
        recorder = Recorder(patch)
        undo(path, receipt)
    held(tmp_path / "crashed.db", crashes(edited, recorder.calls, page_size), after, old)
