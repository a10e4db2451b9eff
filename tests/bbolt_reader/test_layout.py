"""The struct twins read what the construct declarations read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbolt_reader import layout, packed
from bbolt_reader.page import HEADER, formats

DECLARED = ["PAGE_HEADER", "BRANCH_ELEMENT", "LEAF_ELEMENT", "BUCKET_HEADER", "FREE_PAGE", "META"]


@pytest.mark.parametrize("name", DECLARED)
@given(data=st.data())
def test_struct_and_construct_agree(name, data):
    """Any bytes give the same numbers under the same names, and the same bytes back."""
    declaration = getattr(layout, name)
    twin = layout.packed(declaration)
    assert getattr(packed, name).format == twin.format
    raw = data.draw(st.binary(min_size=twin.size, max_size=twin.size))
    parsed = declaration.parse(raw)
    assert declaration.sizeof() == twin.size
    assert tuple(parsed[field.name] for field in declaration.subcons) == twin.unpack(raw)
    assert declaration.build(parsed) == raw


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=20))
def test_arrays_agree(elements):
    """An array read by struct has the elements construct reads one by one."""
    raw = b"".join(elements)
    for declaration, twin in ((layout.LEAF_ELEMENT, formats().leaf), (layout.BRANCH_ELEMENT, formats().branch)):
        names = [field.name for field in declaration.subcons]
        parsed = declaration[len(elements)].parse(raw)
        assert [tuple(one[name] for name in names) for one in parsed] == list(twin.iter_unpack(raw))


def test_sizes_are_those_the_reader_counts_with():
    """All headers and elements of pages are 16 bytes long."""
    twins = formats()
    assert {twin.size for twin in (twins.header, twins.branch, twins.leaf, twins.bucket)} == {HEADER}
    assert twins.free.size == 8


def test_only_integers_can_be_packed():
    """A declaration that struct cannot express is refused, not misread."""
    from construct import Bytes, Struct

    with pytest.raises(TypeError):
        layout.packed(Struct("raw" / Bytes(3)))
