"""Whatever Go's check reports or does not survive, both checks report; and nothing about what Go wrote."""

import random
import struct
import sys

import pytest
from fuzz.pages import File
from tests.support import boltwriter, gobbolt

from bbolt_reader import BoltError, Database, DeclaredDatabase, Form, check, verify

needs_go = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")

TREE = {
    b"v1": {
        b"version": b"\x06",
        b"many": {b"key%04d" % i: b"value" * (i % 7) for i in range(200)},
        b"big": {b"k": b"v" * 3000},
        b"inline": {b"a": b"1", b"b": b""},
    },
}


def found(path):
    """What verify says, an error at opening included; the check by the declarations says at least that."""
    first, second = _said(Database, verify, path), _said(DeclaredDatabase, check, path)
    assert bool(first) == bool(second)
    # Of a page that cannot be read whole, one tells the gaps in front of the entry that is wrong, too.
    kinds = [{getattr(each, "code", "not bbolt") for each in said} - {"gap"} for said in (first, second)]
    assert kinds[0] <= kinds[1]
    assert [each for each in first if not getattr(each, "severe", True)] == [
        each for each in second if not getattr(each, "severe", True)
    ]
    return first


def _said(reader, look, path):
    try:
        with reader.open(path) as database:
            return list(look(database))
    except BoltError as error:
        return [error]


def codes(path):
    """The kinds of damage, sorted."""
    return sorted({damage.code for damage in found(path)})


@needs_go
@pytest.mark.parametrize("page_size", [1024, 4096, 65536])
@pytest.mark.parametrize(
    "shape", ["empty", "flat", "nested", "inline", "overflow", "deleted", "mixed", "mixed-nofreelist", "blobs"]
)
@pytest.mark.parametrize("by", gobbolt.Bbolt)
def test_says_nothing_about_what_go_wrote(tmp_path, shape, page_size, by):
    """A sound file has no damage, whatever its shape and the version that wrote it."""
    assert found(gobbolt.fill(tmp_path / "file.db", shape, page_size, by=by)) == []


@pytest.mark.parametrize("options", [{}, {"freelist": False}, {"free": 3}, {"inline": False}, {"extra": 5000}])
def test_says_nothing_about_what_the_tests_write(tmp_path, options):
    """The same for the files that damage is done to below."""
    boltwriter.write(tmp_path / "file.db", TREE, page_size=1024, **options)
    assert found(tmp_path / "file.db") == []


def header_patches(layout):
    """Every field of the header and the first elements of every page, with values that break each."""
    for pgid in range(2, layout.high_water):
        for offset, form in ((0, "<Q"), (8, "<H"), (10, "<H"), (12, "<I")):
            for value in (0, 1, 2, 3, 5, 0x10, 0xFFFF):
                yield pgid * layout.page_size + offset, struct.pack(form, value)
        for element in range(2):
            for offset in (0, 4, 8, 12):
                for value in (0, 1, 2, 3, 7, 900, 0x7FFFFFFF, 0xFFFFFFFF):
                    yield pgid * layout.page_size + 16 + 16 * element + offset, struct.pack("<I", value)


@needs_go
@pytest.mark.slow
@pytest.mark.parametrize("options", [{"free": 2}, {"freelist": False}])
def test_finds_what_go_finds_wherever_a_number_is_wrong(tmp_path, options):
    """Each number of each page overwritten in turn: where Go reports, panics or hangs, so do we report."""
    path = tmp_path / "file.db"
    sound = boltwriter.image(TREE, page_size=1024, **options)
    reported = 0
    patches = list(header_patches(sound))
    for offset, data in random.Random(7).sample(patches, 300):
        if sound.data[offset : offset + len(data)] == data:
            continue
        boltwriter.image(TREE, page_size=1024, **options).save(path).patch(offset, data)
        code, said = gobbolt.check(path, timeout=1)
        if code:
            reported += 1
            assert found(path), f"{offset:#x} {data.hex()}: Go said {code} {said[:300]}"
    assert reported > 100


@needs_go
@pytest.mark.slow
def test_finds_what_go_finds_wherever_a_meta_is_wrong(tmp_path):
    """The same for the fields of the metas, with checksums that fit and that do not."""
    path = tmp_path / "file.db"
    for field in ("root", "freelist", "high_water", "page_size", "magic", "version", "txid"):
        for value in (0, 2, 5, 1000):
            if field == "page_size" and value == 0:
                continue
            layout = boltwriter.write(path, TREE, page_size=1024, free=2)
            layout.patch_meta(**{field: value})
            code, said = gobbolt.check(path, timeout=1)
            assert not code or found(path), f"{field}={value}: Go said {code} {said[:300]}"


def test_tells_a_meta_that_does_not_count_as_less(tmp_path):
    """The other meta may be torn by a crash, and bbolt goes on; so that alone is nothing severe."""
    path = tmp_path / "file.db"
    layout = boltwriter.write(path, TREE)
    layout.patch((1 - layout.newest) * 4096 + 16, b"\0")
    (damage,) = found(path)
    assert (damage.code, damage.severe, damage.page) == ("meta", False, 1 - layout.newest)


def test_a_meta_without_a_checksum_is_severe(tmp_path):
    """The bbolt of v1.3.6 would use it, with whatever is in it."""
    path = tmp_path / "file.db"
    layout = boltwriter.write(path, TREE)
    layout.patch(layout.newest * 4096 + 16 + 56, bytes(8))
    (damage,) = found(path)
    assert (damage.code, damage.severe) == ("meta", True)


def test_finds_free_pages_in_use_and_twice(tmp_path):
    """A page in the freelist that the tree uses, one named twice, one past the end, and one that nothing names."""
    path = tmp_path / "file.db"
    layout = boltwriter.write(path, TREE, free=4)
    layout.patch_page(layout.freelist, 16, struct.pack("<4Q", 2, 2, layout.root, 10**6))
    damages = [(damage.code, damage.page) for damage in found(path)]
    assert ("freed", layout.root) in damages
    assert damages.count(("freelist", layout.freelist)) == 2
    assert ("unreachable", 3) in damages


def test_keys_that_were_in_order_elsewhere_must_be_in_their_branch_too(tmp_path):
    """A page below a branch with the very keys of a page that was found sound: they belong to another page's range."""
    path = tmp_path / "db"
    names = [b"key%02d" % number for number in range(24)]
    # Pages of fourteen keys; the last bucket is looked at first.
    tree = {b"many": dict.fromkeys(names, b"v" * 50), b"one": dict.fromkeys(names[:14], b"w" * 50)}
    layout = boltwriter.write(path, tree, page_size=1024)
    assert codes(path) == []
    pages = {at: layout.data[at * 1024 : at * 1024 + 1024] for at in range(2, layout.high_water)}
    (second,) = (at for at, page in pages.items() if names[-1] + b"v" in page)
    one = layout.roots[b"one",] * 1024
    layout.patch_page(second, 8, layout.data[one + 8 : one + 1024])
    assert codes(path) == ["order"]


def test_finds_keys_out_of_order(tmp_path):
    """Keys that a search would miss, within a page and against the page above."""
    path = tmp_path / "file.db"
    layout = boltwriter.write(path, TREE, page_size=1024)
    at = layout.data.index(b"key0100") + 3
    layout.patch(at, b"9")
    assert codes(path) == ["order"]


def test_finds_a_cycle(tmp_path):
    """A branch that leads back to itself is told once, and ends."""
    path = tmp_path / "file.db"
    layout = boltwriter.write(path, TREE, page_size=1024)
    branch = layout.roots[b"v1", b"many"]
    layout.patch_page(branch, 24, struct.pack("<Q", branch))
    assert {"corrupt", "unreachable"} <= set(codes(path))


def test_finds_that_the_file_is_short(tmp_path):
    """A file cut off behind its metas: what is missing is told, and where."""
    path = tmp_path / "file.db"
    layout = boltwriter.write(path, TREE, page_size=1024)
    layout.truncate(5 * 1024 + 100)
    assert "short-file" in codes(path)


def test_counts_what_there_is_too_much_of(tmp_path):
    """A freelist of nothing but zeros does not become a report of its own size."""
    path = tmp_path / "file.db"
    layout = boltwriter.write(path, TREE, free=300)
    layout.patch_page(layout.freelist, 16, b"\0" * 2400)
    said = found(path)
    assert len(said) < 110
    assert any("200 more" in damage.message for damage in said)


@pytest.mark.parametrize("inline", [True, False])
def test_finds_every_count_that_is_too_small(tmp_path, inline):
    """Elements that a count leaves out are not read, and are seen by the bytes they left; also without a freelist."""
    options = {"page_size": 1024, "freelist": False, "inline": inline}
    sound = bytes(boltwriter.image(TREE, **options).data)
    counts = [number.offset for number in File(sound).numbers if number.what == "count"]
    tried = 0
    for offset in counts:
        (count,) = struct.unpack_from("<H", sound, offset)
        # The root bucket alone may be left empty by who does not blank the page; without it nothing is recorded at all.
        for less in range(0 if offset != boltwriter.image(TREE, **options).root * 1024 + 10 else 1, count):
            boltwriter.image(TREE, **options).save(tmp_path / "file.db").patch(offset, struct.pack("<H", less))
            assert found(tmp_path / "file.db"), (offset, less)
            tried += 1
    assert tried > 200


def test_records_like_others_are_looked_at_as_well(tmp_path, monkeypatch):
    """Whatever byte of a record is wrong, the ones like it that came before hide nothing of it."""
    path = tmp_path / "file.db"
    record = {b"createdat": b"123456", b"size": b"78", b"updatedat": b"9"}
    boltwriter.write(path, {b"v1": {b"record%d" % number: record for number in range(4)}}, page_size=1024)
    sound = path.read_bytes()
    start = sound.rindex(b"record3") + len(b"record3")
    length = 16 + 16 + 3 * 16 + sum(map(len, (*record, *record.values())))
    told = 0
    for place in range(start, start + length):
        for change in (1, 0x80, 0x20):
            data = bytearray(sound)
            data[place] ^= change
            path.write_bytes(data)
            short = found(path)
            with monkeypatch.context() as patch:
                patch.setattr("bbolt_reader.tree._SHAPES_KEPT", 0)
                assert list(map(str, found(path))) == list(map(str, short))
            told += bool(short)
    assert told > length


RECORD = {b"createdat": b"123456", b"size": b"78", b"updatedat": b"9"}
LABELLED = RECORD | {b"labels": {b"one": b"1", b"two": b"2" * 150}}


@pytest.mark.parametrize(("record", "number", "at_least"), [(RECORD, 40, 120), (LABELLED, 6, 200)])
def test_a_form_hides_no_damage_from_the_check(tmp_path, monkeypatch, record, number, at_least):
    """Of records in pages below a branch, and of records with a page of their own: whatever byte of one is wrong."""
    path = tmp_path / "file.db"
    records = {b"record%02d" % each: record for each in range(number)}
    boltwriter.write(path, {b"v1": {b"records": records}}, page_size=1024)
    sound = path.read_bytes()
    last = b"record%02d" % (number - 1)
    if record is LABELLED:
        start = struct.unpack_from("<Q", sound, sound.rindex(last) + len(last))[0] * 1024
        length = 16 + 4 * 16 + 250
    else:
        start = sound.rindex(last) + len(last)
        length = 16 + 16 + 3 * 16 + sum(map(len, (*record, *record.values())))
    told, forms = 0, []
    met = Form.met
    monkeypatch.setattr(Form, "met", lambda bucket: forms.append(bucket) or met(bucket))
    for place in range(start, start + length):
        for change in (1, 0x80):
            data = bytearray(sound)
            data[place] ^= change
            path.write_bytes(data)
            forms.clear()
            short = found(path)
            assert forms
            with monkeypatch.context() as patch:
                patch.setattr("bbolt_reader.tree._FORMS_KEPT", 0)
                patch.setattr(sys.modules["bbolt_reader.verify"], "_FORMS_KEPT", 0)
                forms.clear()
                assert list(map(str, found(path))) == list(map(str, short))
                assert not forms
            told += bool(short)
    assert told > at_least
