"""Damage: refused, or what was not damaged is edited rightly; and never a write where the old tree lies."""

import random

import pytest
from tests.support import boltwriter, gobbolt
from tests.support.surgery import Recorder, dump, edit, everything, reached, without

from bbolt_reader import BoltError
from bbolt_surgery import Damaged, Deletion

PAGE = 1024


def subject(path, free=30):
    """A file with branches, nested, inline and overflowing content, and a freelist."""
    tree = {b"%02d" % number: {b"%03d" % key: b"v" * 50 for key in range(number * 9)} for number in range(12)}
    tree[b"05"][b"in"] = {b"%03d" % key: b"v" * 90 for key in range(60)}
    tree[b"06"][b"wide"] = b"w" * 5000
    return boltwriter.write(path, tree, page_size=PAGE, free=free)


def broken(image, choose):
    """A file with one part overwritten: anywhere, in the front of a page where the numbers are, or by another page."""
    result = bytearray(image)
    pgid = choose.randrange(len(image) // PAGE)
    kind = choose.randrange(4)
    if kind == 0:
        at = choose.randrange(len(image))
        result[at] ^= 1 << choose.randrange(8)
    elif kind == 1:
        at = pgid * PAGE + choose.randrange(64)
        result[at : at + 4] = choose.choice([bytes(4), b"\xff" * 4, choose.randbytes(4), b"\x05\0\0\0"])
    elif kind == 2:
        other = choose.randrange(len(image) // PAGE)
        result[pgid * PAGE : (pgid + 1) * PAGE] = image[other * PAGE : (other + 1) * PAGE]
    else:
        at = choose.randrange(2) * PAGE + 16 + choose.randrange(64)
        result[at : at + 1] = choose.randbytes(1)
    return bytes(result)


@pytest.mark.parametrize("seed", range(2))
def test_damage_is_refused_or_does_no_harm(tmp_path, monkeypatch, seed):
    """Not a byte is written, or the result is what was read minus what was named; no page of the tree is touched."""
    path = tmp_path / "file.db"
    layout = subject(path)
    image = bytes(layout.data)
    names = everything(path)
    choose = random.Random(seed)
    refused = done = 0
    for _ in range(150):
        damaged = broken(image, choose)
        path.write_bytes(damaged)
        gone = choose.sample(names, 20)
        try:
            before, old = dump(path), reached(path)
        except BoltError:
            before, old = None, set()
        with monkeypatch.context() as patch:
            recorder = Recorder(patch)
            try:
                receipt = edit(path, gone)
            except Damaged:
                assert not recorder.calls
                assert path.read_bytes() == damaged
                refused += 1
                continue
        assert before is not None
        assert dump(path) == without(before, gone)
        assert not {at // PAGE + more for kind, at, data in recorder.calls if kind == "write" for more in
                    range(-(-len(data) // PAGE))} & old  # fmt: skip
        assert receipt.deleted
        if not gobbolt.why_not():
            assert gobbolt.check(path) == (0, "")
            assert gobbolt.dump(path) == dump(path)
        done += 1
    assert refused > 10
    assert done > 10


@pytest.mark.parametrize(
    ("offset", "data"),
    [
        (16 + 4, b"\xff\x00\x00\x00"),  # the first element's position
        (16 + 8, b"\x00\x00\x00\x00"),  # its key's size
        (8, b"\x09\x00"),  # flags
        (10, b"\xfe\xff"),  # count
        (12, b"\x03\x00\x00\x00"),  # overflow
        (0, b"\x07\x00"),  # id
    ],
)
def test_refuses_each_number_that_is_wrong(tmp_path, offset, data):
    """In a leaf that the deletion itself does not touch."""
    layout = subject(tmp_path / "file.db")
    layout.patch_page(layout.roots[(b"01",)], offset, data)
    with pytest.raises(Damaged):
        edit(layout.path, [Deletion((), b"07")])


def test_refuses_a_short_file_and_a_meta_that_leads_nowhere(tmp_path):
    """Less than the high water, no root, a root that is a meta, a transaction at the end of all numbers."""
    for number, fields in enumerate([{"root": 0}, {"root": 1}, {"root": 10**9}, {"txid": 2**64 - 1},
                                     {"high_water": 10**12}, {"freelist": 3}, {"freelist": 10**9}]):  # fmt: skip
        layout = subject(tmp_path / f"{number}.db").patch_meta(**fields)
        with pytest.raises(Damaged):
            edit(layout.path, [Deletion((), b"07")])
    layout = subject(tmp_path / "short.db")
    layout.truncate(layout.high_water * PAGE - 1)
    with pytest.raises(Damaged):
        edit(layout.path, [Deletion((), b"07")])


def test_an_older_tree_that_is_broken_does_not_matter(tmp_path):
    """Writes go over the pages of a tree before they go over its meta, also in bbolt, so a crash can leave that."""
    layout = subject(tmp_path / "file.db")
    layout.patch_meta(1 - layout.newest, root=7)
    before = dump(layout.path)
    edit(layout.path, [Deletion((), b"07")])
    assert dump(layout.path) == without(before, [Deletion((), b"07")])


def test_the_older_tree_is_not_written_to(tmp_path, monkeypatch):
    """It stays whole until the commit takes its meta's place, so that losing the newer meta loses no more than that."""
    path = tmp_path / "file.db"
    subject(path, free=0)
    names = everything(path)
    edit(path, names[40:41])
    older = reached(path)
    edit(path, names[13::20])
    assert len(older - reached(path)) > 10
    newer = reached(path)
    recorder = Recorder(monkeypatch)
    edit(path, names[17::20])
    pages = {at // PAGE + more for kind, at, data in recorder.calls if kind == "write" for more in
             range(-(-len(data) // PAGE)) if at >= 2 * PAGE}  # fmt: skip
    assert pages
    assert not pages & (older | newer)
