"""Buckets: keys, values and buckets in them, in the order of the file."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from mmap import mmap
from typing import Any, Final, TypeAlias

from bbolt_reader.page import COUNT, HEADER, ID, PAGE_LEAF
from bbolt_reader.shape import PageForm, Shape
from bbolt_reader.source import CHUNK
from bbolt_reader.tree import MAX_DEPTH, Loaded, Tree

Batch: TypeAlias = "tuple[Sequence[bytes], Sequence[bytes | Bucket], Sequence[Bucket]]"
"""The keys of a page; for each key its value or its bucket; and these buckets once more."""

_PAGE: Final = 8
"""Where the page of an inline bucket starts in the bytes behind a bucket's root: behind the sequence."""
_COUNT: Final = _PAGE + COUNT


class Bucket:
    """One bucket of an open database; valid until that is closed.

    Any method may raise :class:`~bbolt_reader.errors.BoltError`, also while an iterator of it is read.

    Attributes:
        tree: the pages it is part of.
        root: the page where its tree starts; 0 for an inline bucket.
        offset: the byte of the file where its header starts.
    """

    __slots__ = ("_depth", "_key", "_parent", "_rest", "offset", "root", "tree")

    def __init__(  # noqa: PLR0917  by position: made once per record, where names cost a tenth of the time
        self, tree: Tree, parent: Bucket | None, key: bytes, depth: int, root: int, rest: bytes, offset: int
    ) -> None:
        self.tree = tree
        self._parent = parent
        self._key = key
        self._depth = depth
        self.root = root
        self._rest = rest
        self.offset = offset

    def __repr__(self) -> str:
        return f"Bucket(path={self.path!r}, root={self.root})"

    @property
    def sequence(self) -> int:
        """The last number that NextSequence gave out."""
        return int.from_bytes(self._rest[:_PAGE], "little")

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
        """All keys, each with its value or its bucket."""
        batches = self.batches()
        if type(batches) is tuple:
            keys, values, _ = batches[0]
            return zip(keys, values)  # noqa: B905 - a keyword costs more than the zip; they are of one length
        return chain.from_iterable(zip(keys, values, strict=True) for keys, values, _ in batches)

    def batches(self) -> Iterable[Batch]:
        """All keys and values, a page at a time; most buckets have one page."""
        # The hot path. Records of one kind have pages of one shape. The bytes between a page's id and its first key are
        # checked when they are first met; pages with the same bytes are unpacked, with the id, in one call.
        tree, pgid = self.tree, self.root
        if not pgid:
            rest = self._rest
            elements = HEADER * rest[_COUNT] if len(rest) > _COUNT else 0
            shape = tree.inlines.get(rest[_PAGE + ID : _PAGE + HEADER + elements])
            if shape is None:
                return (self._learn(self.inline()),)
            unpack, size, _, keys, values = shape
            if _PAGE + size != len(rest):
                self._ends(size)  # raises if it is too short
            fields = unpack(rest, _PAGE)
            return ((keys(fields), values(fields), ()),)
        start = pgid * tree.page_size
        if pgid < tree.end and start // CHUNK in tree.populated:
            mapping = tree.mapping
            shape = tree.leaves.get(mapping[start + ID : start + HEADER + HEADER * mapping[start + COUNT]])
            if shape is not None:
                fields = shape.unpack(mapping, start)
                # Its id must be the one that was asked for; load() raises if it is not.
                if fields[0] == pgid:
                    # As claim() if all is well, without the call.
                    if pgid > 1 and not tree.owners[pgid]:
                        tree.owners[pgid] = self.offset
                    else:
                        tree.claim(pgid, self.offset)
                    if not shape.buckets:
                        return ((shape.keys(fields), shape.values(fields), ()),)
                    return (self._place(shape, fields, start),)
        page = tree.load(pgid, self.offset)
        return (self._learn(page),) if page[0] == PAGE_LEAF else map(self.batch, tree.leaves_below(page))

    def formed(self) -> tuple[PageForm, tuple[Any, ...]] | None:
        """The form of this bucket's only page, and the page as its form unpacks it.

        None if the bucket has more pages or none, or if too few pages of its form were met yet.
        """
        tree, pgid = self.tree, self.root
        start = pgid * tree.page_size
        if not 1 < pgid < tree.end or self._depth >= MAX_DEPTH:
            return None
        if start // CHUNK in tree.populated:
            data: bytes | mmap = tree.mapping
        elif tree.leaves:
            data, start = tree.window(start, tree.page_size, pgid)
        else:
            return None
        head = data[start + ID : start + HEADER + HEADER * data[start + COUNT]]
        form = tree.forms.get(head)
        if form is None:
            if head in tree.leaves and head not in tree.forms:
                tree.learn_form(head, data[start : start + tree.page_size])
            return None
        fields = form.unpack(data, start)
        if fields[0] != pgid or form.fixed_of(fields) != form.fixed:
            return None
        # As in batches().
        if tree.owners[pgid]:
            tree.claim(pgid, self.offset)
        else:
            tree.owners[pgid] = self.offset
        return form, fields

    def leaves(self) -> Iterator[Leaf]:
        """The leaf pages, each with its entries as they lie there: no bucket of them is made before it is asked for."""
        page = self.tree.load(self.root, self.offset) if self.root else self.inline()
        return map(self.leaf, (page,) if page[0] == PAGE_LEAF else self.tree.leaves_below(page))

    def count_leaves(self) -> int:
        """The number of its leaf pages, without a look at more than one of them: all of them are equally deep."""
        if not self.root:
            return 1
        tree = self.tree
        level = [tree.load(self.root, self.offset)]
        for _ in range(MAX_DEPTH):
            if level[0][0] == PAGE_LEAF:
                return len(level)
            children = list(chain.from_iterable(map(tree.children, level)))
            if tree.load(children[0].pgid, children[0].offset)[0] == PAGE_LEAF:
                return len(children)
            level = [tree.load(child.pgid, child.offset) for child in children]
        raise tree.corrupt(f"more than {MAX_DEPTH} levels of branch pages", self.offset)

    def leaf(self, page: Loaded) -> Leaf:
        """One leaf page of this bucket, with its entries as they lie there."""
        shape = self.tree.shape_of(page)
        _, data, start, _, _, base = page
        if not self.root:
            self._ends(shape.size)
        if shape.buckets:
            self._check_below(base + start)
        return Leaf(self, shape, shape.unpack(data, start), base + start)

    def _check_below(self, offset: int) -> None:
        """Check that the buckets of a page, which lies at a byte of the file, may be there."""
        if not self.root:
            raise self.tree.corrupt("a bucket in an inline bucket", offset)
        if self._depth >= MAX_DEPTH:
            raise self.tree.corrupt(f"more than {MAX_DEPTH} levels of buckets", offset)

    def _learn(self, page: Loaded) -> Batch:
        """The entries of this bucket's only page, whose shape is remembered for the next bucket."""
        tree, batch = self.tree, self.batch(page)
        if not self.root:
            tree.learn(page, tree.inlines)
        elif page[3] - page[2] == tree.page_size:
            tree.learn(page, tree.leaves)
        return batch

    def batch(self, page: Loaded) -> Batch:
        """The entries of one leaf page of this bucket; for an inline bucket, of its only page."""
        shape = self.tree.shape_of(page)
        _, data, start, _, _, base = page
        if not self.root:
            self._ends(shape.size)
        fields = shape.unpack(data, start)
        if not shape.buckets:
            return shape.keys(fields), shape.values(fields), ()
        return self._place(shape, fields, base + start)

    def _ends(self, size: int) -> None:
        """Check that the value of an inline bucket ends where its last entry ends."""
        room = len(self._rest) - _PAGE
        if size > room:
            self.tree.shape_of(self.inline())  # raises, with the entry that leads out of it
        if size < room:
            self.tree.note_gap(self.offset)

    def _place(self, shape: Shape, fields: tuple[Any, ...], offset: int) -> Batch:
        """The entries of a page of buckets and values, which lies at a byte of the file."""
        self._check_below(offset)
        tree, depth = self.tree, self._depth + 1
        keys, buckets = shape.keys(fields), []
        values: list[Any] = list(shape.values(fields))
        for index, root, at in shape.buckets:
            bucket = Bucket(tree, self, keys[index], depth, fields[root], values[index], offset + at)
            values[index] = bucket
            buckets.append(bucket)
        return keys, values, buckets

    def buckets(self) -> Iterator[tuple[bytes, Bucket]]:
        """The keys with buckets, and the bucket of each."""
        for key, value in self.items():
            if isinstance(value, Bucket):
                yield key, value

    def values(self) -> Iterator[tuple[bytes, bytes]]:
        """The keys with values, and the value of each."""
        for key, value in self.items():
            if not isinstance(value, Bucket):
                yield key, value

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None if there is no such key, or it has a bucket."""
        value = self._find(key)
        return None if isinstance(value, Bucket) else value

    def bucket(self, key: bytes) -> Bucket | None:
        """The bucket of a key; None if there is no such key, or it has a value."""
        value = self._find(key)
        return value if isinstance(value, Bucket) else None

    def _find(self, key: bytes) -> bytes | Bucket | None:
        keys, values, _ = self.batch(self._leaf_of(key) if self.root else self.inline())
        return values[keys.index(key)] if key in keys else None

    def _leaf_of(self, key: bytes) -> Loaded:
        """The leaf page that has a key, if any has it."""
        tree, pgid, referrer = self.tree, self.root, self.offset
        for _ in range(MAX_DEPTH):
            page = tree.load(pgid, referrer)
            if page[0] == PAGE_LEAF:
                return page
            children = tree.children(page)
            child = children[max(bisect_right([child.key for child in children], key) - 1, 0)]
            pgid, referrer = child.pgid, child.offset
        raise tree.corrupt(f"more than {MAX_DEPTH} levels of branch pages", referrer)

    def inline(self) -> Loaded:
        """The page of an inline bucket.

        Raises:
            Corrupt: the value has no page.
        """
        rest = self._rest
        if len(rest) < _PAGE + HEADER:
            raise self.tree.corrupt("an inline bucket without a page", self.offset)
        _, flags, count, _ = self.tree.header(rest, _PAGE)
        if flags != PAGE_LEAF or _PAGE + HEADER * (count + 1) > len(rest):
            raise self.tree.corrupt(f"an inline bucket with flags {flags:#x}, {count} elements", self.offset + HEADER)
        return flags, rest, _PAGE, len(rest), count, self.offset + HEADER - _PAGE


class Leaf:
    """The entries of one leaf page of a bucket, as they lie there."""

    __slots__ = ("_fields", "_offset", "_owner", "_shape", "_values")

    def __init__(self, owner: Bucket, shape: Shape, fields: tuple[Any, ...], offset: int) -> None:
        self._owner = owner
        self._shape = shape
        self._fields = fields
        self._values = shape.values(fields)
        self._offset = offset

    def value(self, index: int) -> bytes | Bucket:
        """The value or the bucket of an entry, which has this number."""
        buckets = self._shape.buckets
        place = bisect_left(buckets, (index,))
        if place == len(buckets) or buckets[place][0] != index:
            return self._values[index]
        _, root, at = buckets[place]
        owner, fields = self._owner, self._fields
        return Bucket(
            owner.tree, owner, fields[root - 1], owner._depth + 1, fields[root], fields[root + 1], self._offset + at
        )

    @property
    def keys(self) -> Sequence[bytes]:
        """The keys of all entries."""
        return self._shape.keys(self._fields)

    def inlines(self) -> Sequence[bytes | None]:
        """Of each entry that is an inline bucket the bytes behind its root, which a :class:`Form` takes apart.

        None for any other entry; read its :meth:`value`.
        """
        values = self._values
        if len(self._shape.buckets) < len(values):  # few buckets have values among buckets
            return [None] * len(values)
        roots = self._fields[2::3]
        return [None if root else value for root, value in zip(roots, values, strict=True)] if any(roots) else values
