"""The tree of pages under one meta: each page read by position, with every number checked against where it must lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

from bbolt_reader.errors import Corrupt
from bbolt_reader.meta import Meta
from bbolt_reader.page import HEADER, LEAF_BUCKET, MAX_KEY, PAGE_BRANCH, PAGE_LEAF, BranchElement, formats
from bbolt_reader.source import READ_LIMIT, Source

MAX_DEPTH: Final = 64
"""The most branch pages above a leaf, and the most buckets above a bucket. Two children a branch fill 2**64 pages."""

_SHAPES_KEPT: Final = 4096
_SHAPE_ELEMENTS: Final = 64

Leaf: TypeAlias = "tuple[bytes | mmap, int, int, int, int]"
"""A leaf page in a buffer: the buffer, where the page starts and ends in it, its elements, the buffer's file offset."""


class Loaded(NamedTuple):
    """A branch or leaf page whose header is right."""

    flags: int
    leaf: Leaf


@dataclass(frozen=True, slots=True)
class Shape:
    """How the keys and values of a leaf page follow each other: what its elements say, once checked."""

    unpack: Any
    """``Struct.unpack_from``: key, value, key, value, … of a page whose elements end at the given offset."""
    size: int
    """Bytes it takes behind the elements."""
    buckets: tuple[int, ...]
    """For each element that is a bucket, where its value starts behind the elements, else 0; empty if none is one."""


class Tree:
    """The pages one meta reaches.

    Each page belongs to one place that refers to it. A page that is reached from a second place is an error, so no
    walk, however often a file's pages point at each other, does more than read the file once.
    """

    __slots__ = (
        "_high_water",
        "_owners",
        "branch",
        "bucket",
        "header",
        "leaf",
        "meta",
        "page_size",
        "shapes",
        "source",
    )

    def __init__(self, source: Source, meta: Meta) -> None:
        self.source = source
        self.meta = meta
        self.page_size = meta.page_size
        self.header = formats().header.unpack_from
        self.bucket = formats().bucket.unpack_from
        self.branch = formats().branch.iter_unpack
        self.leaf = formats().leaf.iter_unpack
        self.shapes: dict[bytes, Shape] = {}
        self._high_water = meta.high_water
        self._owners: dict[int, int] = {}

    def load(self, pgid: int, referrer: int) -> Loaded:
        """A branch or leaf page.

        Args:
            pgid: its position.
            referrer: the byte of the file that names it; the same at every call for this page.

        Raises:
            Corrupt: it is no such page, or belongs to something else.
            Truncated: it lies behind the end of the file.
            Unreadable: the file cannot be read.
        """
        if not 2 <= pgid < self._high_water:
            raise self.corrupt(f"page {pgid} is named, of {self._high_water}", referrer)
        if self._owners.setdefault(pgid, referrer) != referrer:
            raise self.corrupt(f"page {pgid} is named here and at offset {self._owners[pgid]:#x}", referrer)
        length = self.page_size
        offset = pgid * length
        data, start = self.source.window(offset, length, pgid)
        own, flags, count, overflow = self.header(data, start)
        if own != pgid:
            raise self.corrupt(f"the page says it is page {own}", offset)
        if flags not in {PAGE_BRANCH, PAGE_LEAF}:
            raise self.corrupt(f"neither a branch nor a leaf: flags {flags:#x}", offset)
        if overflow:
            length *= overflow + 1
            self._cover(pgid, overflow, referrer)
            data, start = self.source.window(offset, length, pgid)
        if HEADER + HEADER * count > length:
            raise self.corrupt(f"{count} elements in {length} bytes", offset)
        return Loaded(flags, (data, start, start + length, count, offset - start))

    def leaves(self, root: int, referrer: int) -> Iterator[Leaf] | tuple[Leaf]:
        """The leaf pages below a page, in order."""
        page = self.load(root, referrer)
        return (page.leaf,) if page.flags == PAGE_LEAF else self._descend(page)

    def children(self, page: Loaded) -> list[BranchElement]:
        """The elements of a branch page.

        Raises:
            Corrupt: there is none, or one leads out of the page.
        """
        data, start, end, count, base = page.leaf
        if not count:
            raise self.corrupt("a branch without children", base + start)
        at = start + HEADER
        floor = at + HEADER * count
        found = []
        for pos, ksize, child in self.branch(data[at:floor]):
            key_at = at + pos
            if key_at < floor or (floor := key_at + ksize) > end or not 0 < ksize <= MAX_KEY:
                raise self.corrupt("a key that leads out of its page, into another, or has no valid length", base + at)
            found.append(BranchElement(base + at, data[key_at:floor], child))
            at += HEADER
        return found

    def shape(self, elements: bytes, room: int, offset: int) -> Shape:
        """Check the elements of a leaf page.

        What bbolt writes lies in the order of the elements. That positions may only grow bounds what hostile ones can
        make us copy to the size of the page.

        Args:
            elements: all of them.
            room: bytes between them and the end of the page.
            offset: byte of the file they start at.

        Raises:
            Corrupt: a key or value leads out of the page or into another, or is of no valid length, or no valid flags.
        """
        codes: list[str] = []
        values: list[int] = []
        at, end, some = -len(elements), 0, False
        for flags, pos, ksize, vsize in self.leaf(elements):
            key_at = at + pos
            if key_at < end or key_at + ksize + vsize > room or not 0 < ksize <= MAX_KEY:
                raise self.corrupt(
                    "an entry out of its page, into another, or with a key of no valid length",
                    offset + len(elements) + at,
                )
            if flags and (flags != LEAF_BUCKET or vsize < HEADER):
                raise self.corrupt(f"an entry with flags {flags:#x} and {vsize} bytes", offset + len(elements) + at)
            codes.append(f"{key_at - end}x{ksize}s{vsize}s")
            end = key_at + ksize + vsize
            values.append(key_at + ksize if flags else 0)
            some = some or flags != 0
            at += HEADER
        shape = Shape(Struct("<" + "".join(codes)).unpack_from, end, tuple(values) if some else ())
        if len(values) <= _SHAPE_ELEMENTS and len(self.shapes) < _SHAPES_KEPT:
            self.shapes[elements] = shape
        return shape

    def corrupt(self, message: str, offset: int) -> Corrupt:
        """An error at a byte of the file."""
        return Corrupt(message, file=self.source.name, page=offset // self.page_size, offset=offset)

    def _descend(self, page: Loaded) -> Iterator[Leaf]:
        stack = [iter([(child.pgid, child.offset) for child in self.children(page)])]
        while stack:
            for pgid, referrer in stack[-1]:
                page = self.load(pgid, referrer)
                if page.flags == PAGE_LEAF:
                    yield page.leaf
                    continue
                if len(stack) == MAX_DEPTH:
                    raise self.corrupt(f"more than {MAX_DEPTH} branch pages above each other", referrer)
                stack.append(iter([(child.pgid, child.offset) for child in self.children(page)]))
                break
            else:
                stack.pop()

    def _cover(self, pgid: int, overflow: int, referrer: int) -> None:
        """Claim the places a page's overflow takes."""
        offset = pgid * self.page_size
        if pgid + overflow >= self._high_water:
            raise self.corrupt(f"reaches to page {pgid + overflow}, of {self._high_water}", offset)
        if (overflow + 1) * self.page_size > READ_LIMIT:
            raise self.corrupt(f"a page of {(overflow + 1) * self.page_size} bytes", offset)
        for covered in range(pgid + 1, pgid + overflow + 1):
            if self._owners.setdefault(covered, referrer) != referrer:
                raise self.corrupt(f"covers page {covered}, which {self._owners[covered]:#x} names", offset)
