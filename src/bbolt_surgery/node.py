"""Branch and leaf pages as lists: every number is checked when they are read; they are written as bbolt writes them."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from bbolt_reader.errors import Corrupt
from bbolt_reader.page import HEADER, LEAF_BUCKET, MAX_KEY, PAGE_BRANCH, PAGE_LEAF, formats
from bbolt_reader.source import READ_LIMIT, Source

MAX_COUNT: Final = 0xFFFE
"""The most elements of a page (bbolt v1.3.6, node.go, write: fewer than 0xFFFF)."""

_KEPT: Final = 32


class LeafNode(NamedTuple):
    """A leaf page."""

    entries: list[tuple[int, bytes, bytes]]
    """Flags (LEAF_BUCKET or 0), key and value of each entry."""


class BranchNode(NamedTuple):
    """A branch page."""

    children: list[tuple[bytes, Child]]
    """The first key of each child, and the child: a page of the file, or a node that is still to be written."""


Node: TypeAlias = "LeafNode | BranchNode"
Child: TypeAlias = "int | LeafNode | BranchNode"


class NodeFile:
    """The pages of one file below a high-water mark, read as nodes."""

    def __init__(self, source: Source, page_size: int, high_water: int) -> None:
        self.source = source
        self.page_size = page_size
        self.high_water = high_water
        self.node = lru_cache(maxsize=_KEPT)(self._node)

    def header(self, pgid: int, kinds: tuple[int, ...]) -> tuple[int, int, int]:
        """Flags, elements and places of a page.

        Raises:
            Corrupt: the page is of another kind, or reaches past the high-water mark.
            Truncated: the page is behind the end of the file.
            Unreadable: the file cannot be read.
        """
        if not 2 <= pgid < self.high_water:
            raise Corrupt(f"page {pgid} is named, of {self.high_water}", file=self.source.name)
        raw = self.source.read(pgid * self.page_size, HEADER, pgid)
        own, flags, count, overflow = formats().header.unpack(raw)
        if own != pgid:
            raise self.corrupt(pgid, f"the page is overwritten: its header has the number {own}")
        if flags not in kinds:
            raise self.corrupt(pgid, f"the page has flags {flags:#x}, not one of {', '.join(map(hex, kinds))}")
        if pgid + overflow >= self.high_water:
            raise self.corrupt(pgid, f"reaches to page {pgid + overflow}, of {self.high_water}")
        return flags, count, overflow + 1

    def corrupt(self, pgid: int, message: str) -> Corrupt:
        """An error about a page."""
        return Corrupt(message, file=self.source.name, page=pgid, offset=pgid * self.page_size)

    def _node(self, pgid: int) -> tuple[Node, int]:
        """A page as a node, which must not be changed, and how many places it takes.

        Raises: as :meth:`header`; and Corrupt if an element leads out of the page.
        """
        flags, count, places = self.header(pgid, (PAGE_LEAF, PAGE_BRANCH))
        if places * self.page_size > READ_LIMIT:
            raise self.corrupt(pgid, f"a page of {places * self.page_size} bytes")
        data = self.source.read(pgid * self.page_size, places * self.page_size, pgid)
        try:
            node: Node = LeafNode(leaf(data, count)) if flags == PAGE_LEAF else BranchNode(list(_children(data, count)))
        except ValueError as error:
            raise self.corrupt(pgid, str(error)) from error
        return node, places


def leaf(page: bytes, count: int) -> list[tuple[int, bytes, bytes]]:
    """The entries of a leaf page, also of the page of an inline bucket.

    Raises:
        ValueError: an entry leads out of the page or into another one, a key has an invalid length, or keys are out of
            order.
    """
    entries = []
    floor, last, at = HEADER * (count + 1), b"", HEADER
    if floor > len(page):
        raise ValueError(f"{count} elements in {len(page)} bytes")
    for flags, pos, ksize, vsize in formats().leaf.iter_unpack(page[HEADER:floor]):
        start = at + pos
        middle = start + ksize
        if start != floor or middle + vsize > len(page) or not 0 < ksize <= MAX_KEY:
            raise ValueError("an entry out of its page, not behind the one before, or with a key of no valid length")
        if flags and (flags != LEAF_BUCKET or vsize < HEADER):
            raise ValueError(f"an entry with flags {flags:#x} and {vsize} bytes")
        floor = middle + vsize
        key = page[start:middle]
        if key <= last:
            raise ValueError("keys out of order")
        entries.append((flags, key, page[middle:floor]))
        last = key
        at += HEADER
    return entries


def _children(page: bytes, count: int) -> list[tuple[bytes, int]]:
    children = []
    floor, last, at = HEADER * (count + 1), b"", HEADER
    if not count or floor > len(page):
        raise ValueError(f"a branch with {count} children in {len(page)} bytes")
    for pos, ksize, pgid in formats().branch.iter_unpack(page[HEADER:floor]):
        start = at + pos
        if start != floor or start + ksize > len(page) or not 0 < ksize <= MAX_KEY:
            raise ValueError("a key out of its page, not behind the one before, or of no valid length")
        floor = start + ksize
        key = page[start:floor]
        if key <= last:
            raise ValueError("keys out of order")
        children.append((key, pgid))
        last = key
        at += HEADER
    return children


def first_key(node: Node) -> bytes:
    """The first key of a node that is not empty."""
    return node.entries[0][1] if isinstance(node, LeafNode) else node.children[0][0]


def size(node: Node) -> int:
    """How many bytes a node takes in a page."""
    if isinstance(node, LeafNode):
        return HEADER + sum(HEADER + len(key) + len(value) for _, key, value in node.entries)
    return HEADER + sum(HEADER + len(key) for key, _ in node.children)


def encode(pgid: int, overflow: int, node: Node) -> bytes:
    """The bytes of a node, not padded. Its children must have pages already."""
    elements, data = bytearray(), bytearray()
    if isinstance(node, LeafNode):
        kind, ahead = PAGE_LEAF, HEADER * len(node.entries)
        for flags, key, value in node.entries:
            elements += formats().leaf.pack(flags, ahead - len(elements) + len(data), len(key), len(value))
            data += key + value
    else:
        kind, ahead = PAGE_BRANCH, HEADER * len(node.children)
        for key, child in node.children:
            elements += formats().branch.pack(ahead - len(elements) + len(data), len(key), child)
            data += key
    return formats().header.pack(pgid, kind, ahead // HEADER, overflow) + bytes(elements) + bytes(data)
