"""New pages: entries distributed to leaves, branches above them, and a place for each page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bbolt_reader.page import HEADER, LEAF_BUCKET, MAX_KEY, formats
from bbolt_reader.source import READ_LIMIT
from bbolt_reader.tree import MAX_DEPTH
from bbolt_surgery.changes import NewBucket
from bbolt_surgery.errors import Unfit
from bbolt_surgery.node import MAX_COUNT, BranchNode, LeafNode, Node, encode, first_key, size

FULL: Final = 1.0
"""Fill all pages but the last one, for buckets that are written once."""
HALF: Final = 0.5
"""Leave split pages half empty, so that the next keys fit (bbolt v1.3.6, bucket.go, DefaultFillPercent)."""
_INLINE: Final = 4
"""A bucket of up to this part of a page is inline in its parent's page (bbolt v1.3.6, bucket.go,
maxInlineBucketSize)."""


class Builder:
    """Makes the pages of new buckets, and gives nodes their places."""

    def __init__(self, page_size: int, take: Callable[[int], int], put: Callable[[int, bytes], None]) -> None:
        """Make a builder.

        Args:
            page_size: of the file.
            take: returns the first of so many places in a row.
            put: called with the position and the bytes of a page, which are not padded.
        """
        self._page_size = page_size
        self._take = take
        self._put = put

    def entry(self, key: bytes, value: bytes | NewBucket, depth: int) -> tuple[int, bytes, bytes]:
        """The leaf entry of a key; the pages of a bucket get their places first.

        Args:
            key: of any length.
            value: of any length, or a bucket.
            depth: how many buckets are above the one with the key.

        Raises:
            Unfit: no bbolt file can have the entry.
        """
        if not 0 < len(key) <= MAX_KEY:
            raise Unfit(f"a key of {len(key)} bytes")
        if isinstance(value, bytes):
            if HEADER * 2 + len(key) + len(value) > READ_LIMIT - self._page_size:
                raise Unfit(f"a value of {len(value)} bytes")
            return 0, key, value
        flat = [(0, name, inner) for name, inner in sorted(value.entries.items()) if isinstance(inner, bytes)]
        leaf = LeafNode(flat)
        if len(flat) == len(value.entries) and fits_inline(leaf, self._page_size):
            return LEAF_BUCKET, key, formats().bucket.pack(0, value.sequence) + encode(0, 0, leaf)
        return LEAF_BUCKET, key, formats().bucket.pack(self.bucket(value, depth + 1), value.sequence)

    def bucket(self, bucket: NewBucket, depth: int) -> int:
        """Place the pages of a bucket, after those of the buckets in it, and return its root page.

        Raises:
            Unfit: as :meth:`entry`.
        """
        if depth > MAX_DEPTH:
            raise Unfit(f"more than {MAX_DEPTH} levels of buckets")
        leaf = LeafNode([self.entry(key, bucket.entries[key], depth) for key in sorted(bucket.entries)])
        return self.place(join(share(leaf, self._page_size, FULL), self._page_size, FULL))

    def place(self, node: Node) -> int:
        """Give a node and the new nodes below it their places, and return its page."""
        if isinstance(node, BranchNode):
            node = BranchNode([(key, child if isinstance(child, int) else self.place(child)) for key, child in
                           node.children])  # fmt: skip
        places = -(-size(node) // self._page_size)
        pgid = self._take(places)
        self._put(pgid, encode(pgid, places - 1, node))
        return pgid


def fits_inline(leaf: LeafNode, page_size: int) -> bool:
    """Whether bbolt keeps a bucket with these entries in its parent's page."""
    return size(leaf) <= page_size // _INLINE and len(leaf.entries) <= MAX_COUNT and not has_buckets(leaf)


def has_buckets(leaf: LeafNode) -> bool:
    """Whether a bucket is among its entries: bbolt has no bucket in an inline bucket."""
    return any(flags for flags, _, _ in leaf.entries)


def share(node: Node, page_size: int, fill: float) -> list[Node]:
    """Split a node into nodes that fit a page each, unless one element alone does not.

    Args:
        node: of any size.
        page_size: of the file.
        fill: how full the nodes that are cut off become at most; the rest fits a page.
    """
    if isinstance(node, LeafNode):
        entries = node.entries
        sizes = [HEADER + len(key) + len(value) for _, key, value in entries]
        return [LeafNode(entries[first:last]) for first, last in _cuts(sizes, page_size, 1, fill)]
    children = node.children
    # bbolt panics when it rebalances below a branch of one child.
    cuts = _cuts([HEADER + len(key) for key, _ in children], page_size, 2, fill)
    return [BranchNode(children[first:last]) for first, last in cuts]


def join(nodes: list[Node], page_size: int, fill: float) -> Node:
    """The one node above some nodes of one kind, in order; of one node, the node itself."""
    while len(nodes) > 1:
        nodes = share(BranchNode([(first_key(node), node) for node in nodes]), page_size, fill)
    return nodes[0]


def _cuts(sizes: Sequence[int], page_size: int, least: int, fill: float) -> list[tuple[int, int]]:
    """The parts of a row of elements with these sizes, each with at least so many elements."""
    cuts: list[tuple[int, int]] = []
    first, rest, limit = 0, HEADER + sum(sizes), int(page_size * fill)
    while rest > page_size or len(sizes) - first > MAX_COUNT:
        last, used = first, HEADER
        while last < len(sizes) and (
            last - first < least or (used + sizes[last] <= limit and last - first < MAX_COUNT)
        ):
            used += sizes[last]
            last += 1
        if last == len(sizes):
            break
        cuts.append((first, last))
        first, rest = last, rest - used + HEADER
    cuts.append((first, len(sizes)))
    if len(cuts) > 1 and cuts[-1][1] - cuts[-1][0] < least:
        (start, middle), (_, end) = cuts[-2:]
        cuts[-2:] = [(start, middle - 1), (middle - 1, end)] if middle - start > least else [(start, end)]
    return cuts
