"""Buckets: keys, values and buckets in them, in the order of the file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from bbolt_reader.page import HEADER, LEAF_BUCKET, MAX_DEPTH, MAX_KEY, PAGE_LEAF, Leaf, Tree, formats


class Bucket:
    """One bucket of an open database; valid until that is closed.

    Any method may raise :class:`~bbolt_reader.errors.BoltError`, also while an iterator of it is read.
    """

    __slots__ = ("_base", "_data", "_depth", "_end", "_key", "_parent", "_start", "_tree")

    def __init__(  # noqa: PLR0917  by position: made once per record
        self,
        tree: Tree,
        parent: Bucket | None,
        key: bytes,
        depth: int,
        data: bytes,
        start: int,
        end: int,
        base: int,
    ) -> None:
        self._tree = tree
        self._parent = parent
        self._key = key
        self._depth = depth
        # data[start:end] is the bucket's header and, if it is inline, its page; data starts at byte base of the file.
        self._data = data
        self._start = start
        self._end = end
        self._base = base

    def __repr__(self) -> str:
        return f"Bucket(path={self.path!r}, root={self.root})"

    @property
    def path(self) -> tuple[bytes, ...]:
        """The names from the root bucket, whose path is empty, to this one."""
        names: list[bytes] = []
        bucket = self
        while bucket._parent is not None:
            names.append(bucket._key)
            bucket = bucket._parent
        return tuple(reversed(names))

    @property
    def root(self) -> int:
        """The page its tree starts at; 0 where it is inline."""
        return int(formats().bucket.unpack_from(self._data, self._start)[0])

    @property
    def sequence(self) -> int:
        """The last number its NextSequence gave out."""
        return int(formats().bucket.unpack_from(self._data, self._start)[1])

    @property
    def offset(self) -> int:
        """Byte of the file its header lies at."""
        return self._base + self._start

    def items(self) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """All keys, each with its value or the bucket it names."""
        return self._entries(self._leaves())

    def buckets(self) -> Iterator[tuple[bytes, Bucket]]:
        """The keys that name buckets, with these."""
        for key, value in self.items():
            if isinstance(value, Bucket):
                yield key, value

    def values(self) -> Iterator[tuple[bytes, bytes]]:
        """The keys that name values, with these."""
        for key, value in self.items():
            if not isinstance(value, Bucket):
                yield key, value

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None where there is none, or a bucket."""
        value = self._find(key)
        return None if isinstance(value, Bucket) else value

    def bucket(self, key: bytes) -> Bucket | None:
        """The bucket a key names; None where there is none, or a value."""
        value = self._find(key)
        return value if isinstance(value, Bucket) else None

    def _find(self, key: bytes) -> bytes | Bucket | None:
        for found, value in self._entries(self._leaves(key)):
            if found == key:
                return value
        return None

    def _leaves(self, key: bytes | None = None) -> Iterable[Leaf]:
        """All leaf pages, or the one where ``key`` must be."""
        tree, root = self._tree, self.root
        referrer = self._base + self._start
        if not root:
            return (self._inline(),)
        if key is None:
            return tree.leaves(root, referrer)
        data, flags, count = tree.load(root, referrer)
        for _ in range(MAX_DEPTH):
            if flags == PAGE_LEAF:
                return ((data, 0, len(data), count, root * tree.page_size),)
            children = tree.children(root, data, count)
            at = bisect_right([child.key for child in children], key)
            child = children[max(at - 1, 0)]
            root = child.pgid
            data, flags, count = tree.load(root, child.offset)
        raise tree.corrupt(f"more than {MAX_DEPTH} branch pages above each other", root * tree.page_size)

    def _inline(self) -> Leaf:
        start = self._start + HEADER
        if start + HEADER > self._end:
            raise self._tree.corrupt("an inline bucket without a page", self._base + self._start)
        _, flags, count, _ = formats().header.unpack_from(self._data, start)
        if flags != PAGE_LEAF or start + HEADER + HEADER * count > self._end:
            raise self._tree.corrupt(f"an inline bucket with flags {flags:#x}, {count} elements", self._base + start)
        return self._data, start, self._end, count, self._base

    def _entries(self, leaves: Iterable[Leaf]) -> Iterator[tuple[bytes, bytes | Bucket]]:
        # The hot loop: one generator deep, one test of all positions an element. What bbolt writes lies in the order of
        # the elements, so that positions only grow bounds what hostile ones can make us copy to the size of the page.
        tree, depth = self._tree, self._depth + 1
        unpack = formats().leaf.iter_unpack
        inline = not self.root
        for data, start, end, count, base in leaves:
            at = start + HEADER
            floor = at + HEADER * count
            for flags, pos, ksize, vsize in unpack(data[at:floor]):
                key_at = at + pos
                value_at = key_at + ksize
                if key_at < floor or (floor := value_at + vsize) > end or not 0 < ksize <= MAX_KEY:
                    raise tree.corrupt(
                        "an entry out of its page, into another, or with a key of no valid length", base + at
                    )
                key = data[key_at:value_at]
                if not flags:
                    yield key, data[value_at:floor]
                elif flags != LEAF_BUCKET or vsize < HEADER:
                    raise tree.corrupt(f"an entry with flags {flags:#x} and {vsize} bytes", base + at)
                elif inline or depth > MAX_DEPTH:
                    raise tree.corrupt("a bucket in an inline bucket, or too deep", base + at)
                else:
                    yield key, Bucket(tree, self, key, depth, data, value_at, floor, base)
                at += HEADER
