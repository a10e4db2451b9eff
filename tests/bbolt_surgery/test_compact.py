"""A compacted file has the same contents and no more pages than it needs, whatever ends the run."""

import os
import random

import pytest
from tests.bbolt_surgery.test_commit import applied, crashes
from tests.support import boltwriter, gobbolt
from tests.support.captures import captures
from tests.support.surgery import Recorder, dump, edit

from bbolt_reader import Database
from bbolt_surgery import Damaged, Deletion, NotCommitted, compact

pytestmark = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")


def compacted(path):
    """Compact a file named by its path."""
    with path.open("r+b", buffering=0) as file:
        return compact(file.fileno(), os.fsencode(path))


def used(path):
    """The least size of a file, in pages."""
    told = []
    before = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        assert compact(file.fileno(), os.fsencode(path), told.append) is None
    assert path.read_bytes() == before
    (use,) = told
    assert use.size == len(before)
    return use.used


def grown(path, *, page_size=1024, seed=1, kept=0.2):
    """A file of nested, inline and overflowing content, of which most was deleted again."""
    choose = random.Random(seed)
    deep = {b"deeper": {b"%d" % number: b"z" * 200 for number in range(40)}}
    top = {b"%04d" % number: b"v" * choose.randrange(10, 300) for number in range(500)}
    top |= {b"in": {b"x": b"1", b"y": b"2"}, b"deep": deep}
    top |= {b"wide%d" % number: b"w" * choose.randrange(page_size, 9 * page_size) for number in range(12)}
    boltwriter.write(path, {b"top": top, b"other": {b"k": b"v"}}, page_size=page_size, free=9,
                     sequences={(b"top",): 7, (b"top", b"in"): 9})  # fmt: skip
    gone = [Deletion((b"top",), key) for key in top if choose.random() > kept and key not in (b"deep", b"in")]
    edit(path, gone)
    return path


@pytest.mark.parametrize("page_size", [1024, 4096])
@pytest.mark.parametrize("seed", range(6))
def test_the_contents_stay_and_the_file_is_short(tmp_path, page_size, seed):
    """Go reads the same keys, values and sequences, and finds nothing wrong; hardly a page is free."""
    path = grown(tmp_path / "file.db", page_size=page_size, seed=seed)
    old, size, least = gobbolt.dump(path), path.stat().st_size, used(path)
    inode, mode = path.stat().st_ino, path.stat().st_mode
    done = compacted(path)
    assert gobbolt.dump(path) == dump(path) == old
    assert gobbolt.check(path) == (0, "")
    assert (done.bytes_before, done.bytes_after) == (size, path.stat().st_size)
    assert least <= done.bytes_after <= least + 12 * page_size < size
    assert (path.stat().st_ino, path.stat().st_mode) == (inode, mode)
    again = compacted(path)
    assert again.bytes_after == done.bytes_after


def test_both_metas_have_the_same_tree(tmp_path):
    """Neither needs a page beyond the end, so that the loss of one does not lose the file."""
    path = grown(tmp_path / "file.db")
    old = gobbolt.dump(path)
    compacted(path)
    image = path.read_bytes()
    for lost in (0, 1):
        path.write_bytes(applied(image, [(lost * 1024 + 16, bytes(64))]))
        with Database.open(path) as database:
            assert database.meta.high_water <= database.pages
        assert dump(path) == old


@pytest.mark.parametrize("of", captures(), ids=lambda each: each.name)
def test_databases_of_real_engines(of, unpacked, tmp_path):
    """Each database of each capture that is sound keeps its contents, as Go and the reader have them."""
    count = 0
    for number, found in enumerate(sorted(unpacked(of).rglob("*.db"))):
        if gobbolt.check(found) != (0, ""):
            continue
        path = tmp_path / f"{number}.db"
        path.write_bytes(found.read_bytes())
        old = gobbolt.dump(path)
        done = compacted(path)
        assert done.bytes_after <= max(done.bytes_before, 0x1000)
        assert gobbolt.dump(path) == dump(path) == old
        assert gobbolt.check(path) == (0, "")
        count += 1
    assert count or "truncated" in of.name


def test_go_writes_on(tmp_path):
    """The engine's bbolt goes on with the file: it puts in and deletes, and nothing is wrong."""
    path = gobbolt.fill(tmp_path / "file.db", "nested")
    compacted(path)
    assert not gobbolt.churn(path, 1)
    compacted(path)
    assert gobbolt.check(path) == (0, "")


def test_a_crash_anywhere_keeps_the_contents(tmp_path, monkeypatch):
    """Replayed write by write, in parts, out of order and torn: the contents are the same in each state."""
    path = grown(tmp_path / "file.db", kept=0.05)
    old, image = gobbolt.dump(path), path.read_bytes()
    with monkeypatch.context() as patch:
        recorder = Recorder(patch)
        compacted(path)
    assert sum(kind == "sync" for kind, _, _ in recorder.calls) >= 8
    crashed = tmp_path / "crashed.db"
    states = set(crashes(image, [call for call in recorder.calls if call[0] != "cut"], 1024))
    for number, state in enumerate(states):
        crashed.write_bytes(state)
        assert dump(crashed) == old
        if number % 10 == 0:
            assert gobbolt.dump(crashed) == old
            assert gobbolt.check(crashed) == (0, "")
    # What was cut off is needed by neither meta.
    (size,) = [at for kind, at, _ in recorder.calls if kind == "cut"][-1:]
    crashed.write_bytes(applied(image, [(at, data) for kind, at, data in recorder.calls if kind == "write"])[:size])
    assert gobbolt.dump(crashed) == old


@pytest.mark.parametrize("fail_at", range(0, 40, 3))
def test_each_call_that_fails_keeps_the_contents(tmp_path, monkeypatch, fail_at):
    """A full disk or a broken one at any call: an error, the same contents, and the next run ends the work."""
    path = grown(tmp_path / "file.db")
    old = gobbolt.dump(path)
    with monkeypatch.context() as patch:
        Recorder(patch, fail_at=fail_at, error=28)
        with pytest.raises(NotCommitted):
            compacted(path)
    assert gobbolt.dump(path) == old
    assert gobbolt.check(path) == (0, "")
    assert compacted(path).bytes_after < 200 * 1024
    assert gobbolt.dump(path) == old


def test_a_damaged_file_is_not_touched(tmp_path):
    """A page that is overwritten: nothing is written."""
    path = grown(tmp_path / "file.db")
    with Database.open(path) as database:
        page = database.meta.root
    damaged = applied(path.read_bytes(), [(page * 1024, b"\xff" * 16)])
    path.write_bytes(damaged)
    with pytest.raises(Damaged):
        compacted(path)
    assert path.read_bytes() == damaged
