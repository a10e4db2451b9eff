"""Pages: each is read by position, and every number in it is checked."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from bbolt_reader import packed
from bbolt_reader.errors import Corrupt
from bbolt_reader.meta import PAGE_META

PAGE_BRANCH: Final = 0x01
PAGE_LEAF: Final = 0x02
PAGE_FREELIST: Final = 0x10
LEAF_BUCKET: Final = 0x01
HEADER: Final = 16
"""Bytes of a page header; an element and a bucket header have as many."""
ID: Final = 8
"""Bytes of a page's id, which is first in its header."""
COUNT: Final = 10
"""Where a page's count is in its header; the lower of its two bytes alone is the count of most pages."""
MAX_KEY: Final = 32768

KINDS: Final = {PAGE_BRANCH: "branch", PAGE_LEAF: "leaf", PAGE_META: "meta", PAGE_FREELIST: "freelist"}


class Formats(NamedTuple):
    """The ``struct`` twins for reading pages."""

    header: Struct
    branch: Struct
    leaf: Struct
    bucket: Struct
    free: Struct


_FORMATS: Final = Formats(
    packed.PAGE_HEADER, packed.BRANCH_ELEMENT, packed.LEAF_ELEMENT, packed.BUCKET_HEADER, packed.FREE_PAGE
)


def formats() -> Formats:
    """The ``struct`` twins of layout.py."""
    return _FORMATS


class BranchElement(NamedTuple):
    """One child of a branch page."""

    offset: int
    """Byte of the file the element starts at."""
    key: bytes
    pgid: int


class LeafElement(NamedTuple):
    """One entry of a leaf page."""

    offset: int
    """Byte of the file the element starts at."""
    flags: int
    key: bytes
    value: bytes


class Page:
    """One page of the file; its header is not checked.

    Attributes:
        position: in the file, in pages.
        offset: the byte of the file where it starts.
        id: the position in its header.
        flags: exactly one of the PAGE_ flags, if the page is sound.
        count: the number of its elements.
        overflow: how many places it takes besides the first.
        data: all its bytes with header and overflow; without overflow if that leads out of the file.
    """

    __slots__ = ("count", "data", "flags", "id", "offset", "overflow", "position")

    def __init__(self, position: int, offset: int, header: tuple[int, int, int, int], data: bytes) -> None:
        self.position = position
        self.offset = offset
        self.id, self.flags, self.count, self.overflow = header
        self.data = data

    @property
    def kind(self) -> str:
        """``branch``, ``leaf``, ``meta``, ``freelist``, or ``unknown``."""
        return KINDS.get(self.flags, "unknown")

    def branches(self) -> Iterator[BranchElement]:
        """The elements of a branch page.

        Raises:
            Corrupt: one leads out of the page.
        """
        for index, (pos, ksize, pgid) in enumerate(formats().branch.iter_unpack(self._elements())):
            start = self._within(index, pos, ksize)
            yield BranchElement(self.offset + HEADER * (index + 1), self.data[start : start + ksize], pgid)

    def leaves(self) -> Iterator[LeafElement]:
        """The elements of a leaf page.

        Raises:
            Corrupt: one leads out of the page.
        """
        for index, (flags, pos, ksize, vsize) in enumerate(formats().leaf.iter_unpack(self._elements())):
            start = self._within(index, pos, ksize + vsize)
            middle = start + ksize
            at = self.offset + HEADER * (index + 1)
            yield LeafElement(at, flags, self.data[start:middle], self.data[middle : middle + vsize])

    def _elements(self) -> bytes:
        end = HEADER + HEADER * self.count
        if end > len(self.data):
            raise Corrupt(f"{self.count} elements in {len(self.data)} bytes", page=self.position, offset=self.offset)
        return self.data[HEADER:end]

    def _within(self, index: int, pos: int, size: int) -> int:
        at = HEADER * (index + 1)
        if pos < HEADER * (self.count - index) or at + pos + size > len(self.data):
            raise Corrupt(f"element {index} lies outside of its page", page=self.position, offset=self.offset + at)
        return at + pos
