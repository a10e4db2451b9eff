"""Every byte of a page is one field, at the offset it is said to lie at."""

import struct

import pytest
from tests.support import boltwriter

from bbolt_reader import Truncated, dissect
from bbolt_reader.dissection import list_pages
from bbolt_reader.lenient import LenientPages
from bbolt_reader.source import Source

TREE = {
    b"v1": {
        b"many": {b"key%04d" % i: b"value" * (i % 7) for i in range(120)},
        b"big": {b"k": b"v" * 3000},
        b"inline": {b"a": b"1", b"b": b""},
    },
}
LAYOUT = boltwriter.image(TREE, page_size=1024, free=2, sequences={(b"v1", b"inline"): 5})
FORMS = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}


@pytest.fixture
def lenient(tmp_path):
    """The pages of a file that is not written through the reader."""

    def of(layout=LAYOUT):
        (tmp_path / "file.db").write_bytes(layout.data)
        return LenientPages(Source.open(bytes(tmp_path / "file.db"), mapped=False), 1024)

    return of


def fields(page):
    """Values by name."""
    return {field.name: field.value for field in page.fields if field.name != "unused"}


def test_every_byte_is_in_one_field_and_says_what_lies_there(lenient):
    """All pages: fields follow each other from the first byte to the last, and have the value of their bytes."""
    pages = lenient()
    for listed in list_pages(pages):
        page = dissect(pages, listed.page)
        at = page.offset
        for field in page.fields:
            assert field.offset == at
            raw = bytes(LAYOUT.data[at : at + field.length])
            number = struct.unpack(FORMS[field.length], raw)[0] if isinstance(field.value, int) else raw
            assert field.value == number
            at += field.length
        assert at == page.offset + page.length
        assert page.problems == []


def test_metas_leaves_branches_freelists_and_inline_buckets(lenient):
    """The numbers are those that were written, by the names of the declarations."""
    pages = lenient()
    meta = fields(dissect(pages, LAYOUT.newest))
    assert (meta["magic"], meta["root"], meta["freelist"]) == (0xED0CDAED, LAYOUT.root, LAYOUT.freelist)
    assert meta["checksum"] == boltwriter.fnv1a(LAYOUT.data[LAYOUT.newest * 1024 + 16 : LAYOUT.newest * 1024 + 72])
    free = fields(dissect(pages, LAYOUT.freelist))
    assert (free["count"], free["[0].id"], free["[1].id"]) == (2, 2, 3)
    branch = dissect(pages, LAYOUT.roots[b"v1", b"many"])
    assert branch.kind == "branch"
    assert fields(branch)["[0].key"] == b"key0000"
    inline = fields(dissect(pages, LAYOUT.roots[b"v1",]))
    assert inline["[1].key"] == b"inline"
    assert (inline["[1].root"], inline["[1].sequence"]) == (0, 5)
    assert (inline["[1].page.count"], inline["[1].page[0].key"], inline["[1].page[1].value"]) == (2, b"a", b"")
    big = LAYOUT.roots[b"v1", b"big"]
    assert dissect(pages, big).length == 3 * 1024 + 1024 * (3000 % 1024 > 1000)
    assert fields(dissect(pages, big))["[0].value"] == b"v" * 3000
    rest = dissect(pages, big + 1)
    assert (rest.kind, rest.owner, rest.problems) == ("overflow", big, [])


@pytest.mark.parametrize(
    ("offset", "form", "value", "problem"),
    [
        (0, "<Q", 999, "the page is overwritten: its header has the number 999"),
        (8, "<H", 0x40, "flags 0x40: no kind of page"),
        (10, "<H", 60000, "60000 elements in 1024 bytes"),
        (12, "<I", 0xFFFFFFFF, "overflow of 4294967295 pages: more than there is, or than is read"),
        (16, "<I", 7, "[0]: flags 0x7, and a value of "),
        (20, "<I", 0x7FFFFFFF, "[0]: its key or value is not where it can be"),
        (24, "<I", 0, "[0]: its key or value is not where it can be"),
        (36, "<I", 0, "[1]: its key or value is not where it can be"),
    ],
)
def test_what_is_wrong_with_a_page_is_said(lenient, offset, form, value, problem):
    """A number that cannot be: the fields around it are shown all the same, and all bytes are accounted for."""
    layout = boltwriter.image(TREE, page_size=1024, free=2)
    layout.patch_page(layout.roots[b"v1",], offset, struct.pack(form, value))
    page = dissect(lenient(layout), layout.roots[b"v1",])
    assert any(each.startswith(problem) for each in page.problems)
    assert sum(field.length for field in page.fields) >= page.length
    assert {"id", "flags", "count", "overflow"} <= set(fields(page))


def test_a_bucket_in_an_inline_bucket_is_said(lenient):
    """Such a bucket is none that bbolt writes."""
    layout = boltwriter.image(TREE, page_size=1024, free=2)
    at = layout.roots[b"v1",] * 1024
    inline = layout.data.index(b"inline", at) + len(b"inline")
    layout.patch(inline + 32, struct.pack("<I", 1))
    assert any(
        "in an inline bucket" in each or "[1].page[0]" in each for each in dissect(lenient(layout), at // 1024).problems
    )


def test_the_last_place_of_a_file_cut_off_is_no_overflow(lenient):
    """What is left of it belongs to no page that has no overflow."""
    layout = boltwriter.image(TREE, page_size=1024, free=2)
    layout.truncate(2 * 1024 + 100)
    page = dissect(lenient(layout), 2)
    assert (page.kind, page.owner) == ("unknown", 2)


def test_the_end_of_the_file(lenient):
    """A page that the file ends in, also in its header; one behind the end is none."""
    layout = boltwriter.image(TREE, page_size=1024, free=2)
    layout.truncate(4 * 1024 + 500)
    assert "the file ends in this page" in dissect(lenient(layout), 4).problems
    layout.truncate(4 * 1024 + 5)
    page = dissect(lenient(layout), 4)
    assert (page.kind, page.length, page.problems) == ("unknown", 5, ["the file ends in its header"])
    with pytest.raises(Truncated):
        dissect(lenient(layout), 5)


def test_a_blank_page_has_no_problem(lenient):
    """What was never written to is zeros."""
    page = dissect(lenient(), 2)
    assert page.problems == []
    assert page.fields[-1].meaning == "zeros"
