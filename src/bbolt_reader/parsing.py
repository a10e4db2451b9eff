"""The declarations of layout.py, compiled by construct: bytes to fields.

Each function expects as many bytes as the declaration takes, so the caller compares a count with the length first.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Final, NamedTuple, TypeAlias, cast

from construct import Construct

from bbolt_reader import layout

Fields: TypeAlias = "Mapping[str, int]"
"""The numbers of one declaration, by their names in it."""

HEADER: Final[int] = layout.PAGE_HEADER.sizeof()
"""Bytes of a page header; an element and a bucket header have as many."""
META: Final[int] = layout.META.sizeof()
FREE_PAGE: Final[int] = layout.FREE_PAGE.sizeof()
COUNT_IN_IDS: Final = 0xFFFF
"""The count in the header of a freelist that has its real count in front of its ids."""
_IDS_AT_ONCE: Final = 4096


_Parse: TypeAlias = "Callable[[BytesIO, dict[str, int | None]], object]"


def _compiled(declaration: Construct) -> _Parse:
    # Compiled.parse() makes a context that refers to itself, which the garbage collector has to find: a third of the
    # time. This is the function that it calls; a context with `_root` in it does not refer to itself.
    return cast("_Parse", declaration.compile().parsefunc)


_PAGE_HEADER = _compiled(layout.PAGE_HEADER)
_BUCKET_HEADER = _compiled(layout.BUCKET_HEADER)
_META = _compiled(layout.META)
_BRANCH_ELEMENTS = _compiled(layout.BRANCH_ELEMENTS)
_LEAF_ELEMENTS = _compiled(layout.LEAF_ELEMENTS)
_FREE_PAGES = _compiled(layout.FREE_PAGES)


def parse_header(data: bytes) -> Fields:
    """The page header at the start of ``data``."""
    return cast("Fields", _PAGE_HEADER(BytesIO(data), {"_params": None, "_root": None}))


def parse_bucket(value: bytes) -> Fields:
    """The bucket header at the start of a value."""
    return cast("Fields", _BUCKET_HEADER(BytesIO(value), {"_params": None, "_root": None}))


def parse_meta(page: bytes) -> Fields:
    """The meta behind the header of a meta page."""
    return cast("Fields", _META(_behind_header(page), {"_params": None, "_root": None}))


def parse_leaf(page: bytes, count: int) -> Sequence[Fields]:
    """The elements of a leaf page."""
    return _array(_LEAF_ELEMENTS, page, count)


def parse_branch(page: bytes, count: int) -> Sequence[Fields]:
    """The elements of a branch page."""
    return _array(_BRANCH_ELEMENTS, page, count)


class FreeList(NamedTuple):
    """The contents of a freelist page."""

    declared_count: int
    """How many ids it should have."""
    first: int
    """The byte of the page where the first id starts."""
    ids: array[int]
    """The ids, at most as many as the page has room for."""


def parse_freelist(page: bytes, count: int) -> FreeList:
    """The ids of a freelist page whose header has this count.

    A page of 64 MiB has eight million ids. They are parsed in parts, because a number from construct takes a hundred
    times the memory of an id.
    """
    first, room = HEADER, (len(page) - HEADER) // FREE_PAGE
    if count == COUNT_IN_IDS and room:
        count = _array(_FREE_PAGES, page[: HEADER + FREE_PAGE], 1)[0]["id"]
        first, room = first + FREE_PAGE, room - 1
    ids: array[int] = array("Q")
    left = min(count, room)
    while left:
        at, part = first + FREE_PAGE * len(ids), min(left, _IDS_AT_ONCE)
        # In place of the header stand the bytes in front of these ids.
        parsed = _array(_FREE_PAGES, page[at - HEADER : at + FREE_PAGE * part], part)
        ids.extend(each["id"] for each in parsed)
        left -= part
    return FreeList(count, first, ids)


def _array(parse: _Parse, page: bytes, count: int) -> Sequence[Fields]:
    return cast("Sequence[Fields]", parse(_behind_header(page), {"_params": None, "_root": None, "count": count}))


def _behind_header(page: bytes) -> BytesIO:
    stream = BytesIO(page)
    stream.seek(HEADER)
    return stream
