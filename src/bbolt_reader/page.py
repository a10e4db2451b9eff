"""Pages: read once each, by position, with every number in them checked against where it must lie."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from bbolt_reader.errors import Corrupt
from bbolt_reader.meta import PAGE_META, Meta
from bbolt_reader.source import READ_LIMIT, Source

PAGE_BRANCH: Final = 0x01
PAGE_LEAF: Final = 0x02
PAGE_FREELIST: Final = 0x10
LEAF_BUCKET: Final = 0x01
HEADER: Final = 16
"""Bytes of a page header; also of an element and of a bucket header."""
MAX_KEY: Final = 32768
MAX_DEPTH: Final = 64
"""The most branch pages above a leaf, and the most buckets above a bucket. Two children a branch fill 2**64 pages."""

KINDS: Final = {PAGE_BRANCH: "branch", PAGE_LEAF: "leaf", PAGE_META: "meta", PAGE_FREELIST: "freelist"}

Leaf: TypeAlias = "tuple[bytes, int, int, int, int]"
"""A leaf page in a buffer: the buffer, where the page starts and ends in it, its elements, the buffer's file offset."""


class Formats(NamedTuple):
    """The ``struct`` twins of layout.py."""

    header: Struct
    branch: Struct
    leaf: Struct
    bucket: Struct
    free: Struct


@functools.cache
def formats() -> Formats:
    """The ``struct`` twins of layout.py, made at the first use."""
    from bbolt_reader import layout  # noqa: PLC0415  construct is slow to import; see there

    return Formats(
        layout.packed(layout.PAGE_HEADER),
        layout.packed(layout.BRANCH_ELEMENT),
        layout.packed(layout.LEAF_ELEMENT),
        layout.packed(layout.BUCKET_HEADER),
        layout.packed(layout.FREE_PAGE),
    )


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


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it lies in the file; its header is not checked."""

    position: int
    offset: int
    """Byte of the file it starts at."""
    id: int
    flags: int
    count: int
    overflow: int
    data: bytes = field(repr=False)
    """All its bytes, header and overflow included; only the first place where the overflow leads out of the file."""

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
            raise Corrupt(f"element {index} leads out of its page", page=self.position, offset=self.offset + at)
        return at + pos


class Tree:
    """The pages one meta reaches.

    Each page belongs to one place that refers to it. A page that is reached from a second place is an error, so no
    walk, however often a file's pages point at each other, does more than read the file once.
    """

    __slots__ = ("_branch", "_header", "_owners", "meta", "page_size", "source")

    def __init__(self, source: Source, meta: Meta) -> None:
        self.source = source
        self.meta = meta
        self.page_size = meta.page_size
        self._header = formats().header.unpack_from
        self._branch = formats().branch
        self._owners: dict[int, int] = {}

    def load(self, pgid: int, referrer: int) -> tuple[bytes, int, int]:
        """The bytes, flags and element count of a branch or leaf page.

        Args:
            pgid: its position.
            referrer: the byte of the file that names it; the same at every call for this page.

        Raises:
            Corrupt: it is no such page, or belongs to something else.
            Truncated: it lies behind the end of the file.
        """
        if not 2 <= pgid < self.meta.high_water:
            raise self.corrupt(f"page {pgid} is named, of {self.meta.high_water}", referrer)
        page_size = self.page_size
        offset = pgid * page_size
        if self._owners.setdefault(pgid, referrer) != referrer:
            raise self.corrupt(f"page {pgid} is named here and at offset {self._owners[pgid]:#x}", referrer)
        data = self.source.read(offset, page_size, pgid)
        own, flags, count, overflow = self._header(data)
        if own != pgid:
            raise self.corrupt(f"the page says it is page {own}", offset)
        if flags not in {PAGE_BRANCH, PAGE_LEAF}:
            raise self.corrupt(f"neither a branch nor a leaf: flags {flags:#x}", offset)
        if overflow:
            data = self._overflow(pgid, overflow, data, referrer)
        if HEADER + HEADER * count > len(data):
            raise self.corrupt(f"{count} elements in {len(data)} bytes", offset)
        return data, flags, count

    def leaves(self, root: int, referrer: int) -> Iterator[Leaf] | tuple[Leaf]:
        """The leaf pages below a page, in order."""
        data, flags, count = self.load(root, referrer)
        if flags == PAGE_LEAF:
            return ((data, 0, len(data), count, root * self.page_size),)
        return self._descend(root, data, count)

    def children(self, pgid: int, data: bytes, count: int) -> list[BranchElement]:
        """The elements of a branch page that :meth:`load` gave.

        Raises:
            Corrupt: there is none, or one leads out of the page.
        """
        if not count:
            raise self.corrupt("a branch without children", pgid * self.page_size)
        base = pgid * self.page_size
        floor, end, at = HEADER + HEADER * count, len(data), HEADER
        found = []
        for pos, ksize, child in self._branch.iter_unpack(data[HEADER:floor]):
            start = at + pos
            if start < floor or (floor := start + ksize) > end or not 0 < ksize <= MAX_KEY:
                raise self.corrupt("a key that leads out of its page, into another, or has no valid length", base + at)
            found.append(BranchElement(base + at, data[start:floor], child))
            at += HEADER
        return found

    def corrupt(self, message: str, offset: int) -> Corrupt:
        """An error at a byte of the file."""
        return Corrupt(message, file=self.source.name, page=offset // self.page_size, offset=offset)

    def _descend(self, root: int, data: bytes, count: int) -> Iterator[Leaf]:
        page_size = self.page_size
        stack = [iter([(child.pgid, child.offset) for child in self.children(root, data, count)])]
        while stack:
            for pgid, referrer in stack[-1]:
                data, flags, count = self.load(pgid, referrer)
                if flags == PAGE_LEAF:
                    yield data, 0, len(data), count, pgid * page_size
                    continue
                if len(stack) == MAX_DEPTH:
                    raise self.corrupt(f"more than {MAX_DEPTH} branch pages above each other", pgid * page_size)
                stack.append(iter([(child.pgid, child.offset) for child in self.children(pgid, data, count)]))
                break
            else:
                stack.pop()

    def _overflow(self, pgid: int, overflow: int, first: bytes, referrer: int) -> bytes:
        offset, length = pgid * self.page_size, (overflow + 1) * self.page_size
        if pgid + overflow >= self.meta.high_water:
            raise self.corrupt(f"reaches to page {pgid + overflow}, of {self.meta.high_water}", offset)
        if length > READ_LIMIT:
            raise self.corrupt(f"a page of {length} bytes", offset)
        for covered in range(pgid + 1, pgid + overflow + 1):
            if self._owners.setdefault(covered, referrer) != referrer:
                raise self.corrupt(f"covers page {covered}, which {self._owners[covered]:#x} names", offset)
        return first + self.source.read(offset + len(first), length - len(first), pgid)
