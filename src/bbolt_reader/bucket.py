"""Buckets: keys, values and buckets in them, in the order of the file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain
from typing import Final

from bbolt_reader.page import HEADER, PAGE_LEAF
from bbolt_reader.tree import MAX_DEPTH, Loaded, Tree

_INLINE: Final = bytes(8)
"""Begins the value of an inline bucket: root 0."""
_COUNT: Final = HEADER + 10
"""Byte of an inline bucket's value where its page's count is."""


class Bucket:
    """One bucket of an open database; valid until that is closed.

    Any method may raise :class:`~bbolt_reader.errors.BoltError`, also while an iterator of it is read.

    Attributes:
        offset: byte of the file its header lies at.
        tree: the pages it is part of.
    """

    __slots__ = ("_depth", "_key", "_parent", "_value", "offset", "tree")

    def __init__(  # noqa: PLR0917  by position: made once per record, where names cost a tenth of the time
        self, tree: Tree, parent: Bucket | None, key: bytes, depth: int, value: bytes, offset: int
    ) -> None:
        self.tree = tree
        self._parent = parent
        self._key = key
        self._depth = depth
        self._value = value
        self.offset = offset

    def __repr__(self) -> str:
        return f"Bucket(path={self.path!r}, root={self.root})"

    @property
    def root(self) -> int:
        """The page its tree starts at; 0 where it is inline."""
        return int(self.tree.bucket(self._value)[0])

    @property
    def sequence(self) -> int:
        """The last number its NextSequence gave out."""
        return int(self.tree.bucket(self._value)[1])

    @property
    def path(self) -> tuple[bytes, ...]:
        """The names from the root bucket, whose path is empty, to this one."""
        names: list[bytes] = []
        bucket = self
        while bucket._parent is not None:
            names.append(bucket._key)
            bucket = bucket._parent
        return tuple(reversed(names))

    def items(self) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """All keys, each with its value or the bucket it names."""
        tree, value = self.tree, self._value
        if value.startswith(_INLINE):
            # The hot path: what a header and elements like these say was checked when they were first met.
            after = (
                HEADER + HEADER + HEADER * (value[_COUNT] | value[_COUNT + 1] << 8) if len(value) > _COUNT + 1 else 0
            )
            known = tree.inlines.get(value[HEADER:after])
            if known is None:
                return self._first_of_its_kind(value[HEADER:after])
            unpack, size, _ = known
            if after + size > len(value):
                raise tree.corrupt("entries that lead out of their page", self.offset + HEADER)
            fields = iter(unpack(value, after))
            return zip(fields, fields)  # noqa: B905 - a keyword costs more than the zip
        page = tree.load(tree.bucket(value)[0], self.offset)
        if page[0] == PAGE_LEAF:
            return self.entries(page)
        return chain.from_iterable(map(self.entries, tree.leaves(page)))

    def _first_of_its_kind(self, kind: bytes) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """The entries of an inline bucket, checked in full; ``kind`` is its page's header and elements."""
        found = self.entries(self.inline())
        shape = self.tree.shapes.get(kind[HEADER:])
        if shape is not None:
            self.tree.inlines[kind] = shape
        return found

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
        leaf = self._leaf_of(key) if self.root else self.inline()
        for found, value in self.entries(leaf):
            if found == key:
                return value
        return None

    def _leaf_of(self, key: bytes) -> Loaded:
        """The leaf page where a key must be, if it is anywhere."""
        tree, pgid, referrer = self.tree, self.root, self.offset
        for _ in range(MAX_DEPTH):
            page = tree.load(pgid, referrer)
            if page[0] == PAGE_LEAF:
                return page
            children = tree.children(page)
            child = children[max(bisect_right([child.key for child in children], key) - 1, 0)]
            pgid, referrer = child.pgid, child.offset
        raise tree.corrupt(f"more than {MAX_DEPTH} branch pages above each other", referrer)

    def inline(self) -> Loaded:
        """The page of an inline bucket.

        Raises:
            Corrupt: there is none.
        """
        value = self._value
        if len(value) < HEADER + HEADER:
            raise self.tree.corrupt("an inline bucket without a page", self.offset)
        _, flags, count, _ = self.tree.header(value, HEADER)
        if flags != PAGE_LEAF or HEADER * (count + 2) > len(value):
            raise self.tree.corrupt(f"an inline bucket with flags {flags:#x}, {count} elements", self.offset + HEADER)
        return flags, value, HEADER, len(value), count, self.offset

    def entries(self, page: Loaded) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """The entries of one leaf page."""
        # The hot path. Records of one kind have pages of one shape: each shape is worked out once, and the iteration
        # over what was unpacked is left to C.
        _, data, start, end, count, base = page
        if not count:
            return iter(())
        tree = self.tree
        first = start + HEADER
        after = first + HEADER * count
        elements = data[first:after]
        shape = tree.shapes.get(elements)
        if shape is None:
            shape = tree.shape(elements, end - after, base + first)
        unpack, size, buckets = shape
        if after + size > end:
            raise tree.corrupt("entries that lead out of their page", base + start)
        fields = iter(unpack(data, after))
        if not buckets:
            return zip(fields, fields)  # noqa: B905 - a keyword costs more than the zip
        depth = self._depth + 1
        if self._value.startswith(_INLINE) or depth > MAX_DEPTH:
            raise tree.corrupt("a bucket in an inline bucket, or too deep", base + start)
        entries: list[tuple[bytes, bytes | Bucket]] = list(zip(fields, fields))  # noqa: B905 - the same
        offset = base + after
        for index, at in buckets:
            key, value = entries[index]
            entries[index] = key, Bucket(tree, self, key, depth, value, offset + at)  # type: ignore[arg-type] # fields are bytes
        return iter(entries)
