"""The shape of what is left of a tree: what bbolt relies on, beyond what Tx.Check looks at."""

import random

import pytest
from tests.support import boltwriter, gobbolt
from tests.support.surgery import dump, edit, everything, reached, without

from bbolt_reader import Database

pytestmark = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")


def shape(path):
    """For each branch page of the file: its keys, its children's first keys, and what kind each child is."""
    with Database.open(path) as database:
        list(walk(database.root))
        for pgid in database.root.tree.claimed():
            page = database.page(pgid)
            if page.id != pgid or page.kind != "branch":
                continue
            branches = list(page.branches())
            children = [database.page(each.pgid) for each in branches]
            firsts = [next(iter(child.branches() if child.kind == "branch" else child.leaves())).key
                      for child in children]  # fmt: skip
            yield [each.key for each in branches], firsts, {child.kind for child in children}


def walk(bucket):
    """All buckets, so that their pages count as reached."""
    for _, below in bucket.buckets():
        yield below
        yield from walk(below)


@pytest.mark.parametrize("written", ["long", "flat"])
@pytest.mark.parametrize("seed", range(4))
def test_branches_stay_as_bbolt_needs_them(tmp_path, written, seed):
    """Each branch keeps two children or more, all of one kind, under their own first keys.

    Else bbolt panics or loses pages at a later change. The trees have several levels, and are thinned out until nothing
    is left, at random and in runs.
    """
    choose = random.Random(seed)
    path = gobbolt.fill(tmp_path / "file.db", written, 1024, 1500)
    assert sum(1 for _ in shape(path)) > 10
    names = everything(path)[1:]
    before = dump(path)
    gone = []
    while len(gone) < len(names) - 3:
        left = [name for name in names if name not in set(gone)]
        start = choose.randrange(len(left))
        some = choose.choice([
            left[start : start + choose.choice([1, 30, 300])],
            left[:start][-500:],
            [name for name in left if choose.random() < 0.6],
        ])  # fmt: skip
        edit(path, some)
        gone += some
        for keys, firsts, kinds in shape(path):
            assert keys == firsts
            assert len(kinds) == 1
            assert len(keys) > 1
    assert gobbolt.check(path) == (0, "")
    assert dump(path) == without(before, gone)


def test_a_branch_joined_with_its_neighbour_may_be_too_big(tmp_path):
    """Where only the last child of each lower branch is left, they are joined, or get one from their neighbour."""
    path = gobbolt.fill(tmp_path / "file.db", "long", 1024, 1500)
    for share in range(2, 30):
        names = everything(path)
        before = dump(path)
        gone = [name for number, name in enumerate(names) if name.path and number % share and number % 97]
        edit(path, gone)
        assert dump(path) == without(before, gone)
        assert all(len(keys) > 1 for keys, _, _ in shape(path))
    assert gobbolt.churn(path, 3, 4000) == ""


def test_a_longer_first_key_makes_its_branch_overflow(tmp_path):
    """Where the new first keys of the children do not fit into the branch's page, it takes two; bbolt splits it."""
    path = gobbolt.fill(tmp_path / "file.db", "steps", 1024, 200)
    gone = [name for name in everything(path) if name.path and len(name.key) == 3]
    before = dump(path)
    edit(path, gone)
    with Database.open(path) as database:
        list(walk(database.root))
        pages = [database.page(pgid) for pgid in reached(path)]
    assert any(page.kind == "branch" and page.overflow for page in pages if page.id == page.position)
    assert dump(path) == without(before, gone) == gobbolt.dump(path)
    assert gobbolt.check(path) == (0, "")
    assert gobbolt.churn(path, 1, 4000) == ""


def test_an_emptied_bucket_stays(tmp_path):
    """With its sequence, as a page without entries or inline; Go fills it again and deletes it."""
    path = tmp_path / "file.db"
    tree = {b"big": {b"%04d" % number: b"v" * 100 for number in range(500)}, b"small": {b"k": b"v"}}
    boltwriter.write(path, tree, sequences={(b"big",): 77, (b"small",): 78})
    edit(path, [name for name in everything(path) if name.path])
    assert gobbolt.dump(path) == f"bucket / 0\nbucket {b'big'.hex()} 77\nbucket {b'small'.hex()} 78\n"
    assert gobbolt.churn(path, 2) == ""
    edit(path, everything(path))
    assert gobbolt.dump(path) == "bucket / 0\n"
    assert gobbolt.check(path) == (0, "")
