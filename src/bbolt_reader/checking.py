"""The second reader's own check of a file: every page by the declarations, every entry, and every place.

It reports the kinds of damage that verify.py reports, found by a walk of its own.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import pairwise
from typing import Final, NamedTuple

from bbolt_reader.declared import (
    FREELIST,
    LEAF,
    MAX_DEPTH,
    DeclaredBucket,
    DeclaredDatabase,
    DeclaredLeaf,
    DeclaredPage,
    DeclaredTree,
)
from bbolt_reader.errors import BoltError
from bbolt_reader.meta import PAGE_META, Meta
from bbolt_reader.parsing import HEADER
from bbolt_reader.verify import Damage, damage_of, tell_some

_OFTEN: Final = 256
_ROOT, _FREELIST = HEADER + 16, HEADER + 32
"""Bytes from the start of a meta page to the header of the root bucket, and to the freelist's page."""


class _PageToCheck(NamedTuple):
    """A page to look at: the place that refers to it, and the range that its keys must be in."""

    bucket: DeclaredBucket
    pgid: int
    referrer: int
    low: bytes
    high: bytes | None
    depth: int


def check(database: DeclaredDatabase, progress: Callable[[int], None] | None = None) -> Iterator[Damage]:
    """Look at every page and every entry once.

    Args:
        database: an open file; reading the other meta's tree is not part of this.
        progress: called with the number of pages looked at since its last call.

    Yields:
        What is wrong, at most :data:`~bbolt_reader.verify.EACH` of a kind, then how many more there were.
    """
    return tell_some(_Check(database, progress).run())


class _Check:
    def __init__(self, database: DeclaredDatabase, progress: Callable[[int], None] | None) -> None:
        self._database = database
        self._progress = progress
        self._meta = database.meta
        self._tree = DeclaredTree(database.source, database.meta)

    def run(self) -> Iterator[Damage]:
        for each in self._database.metas:
            yield from self._metas(each)
        meta, size = self._meta, self._database.size
        if meta.high_water > self._database.pages:
            message = f"the file has {size} bytes, but its pages need {meta.high_water * meta.page_size}"
            yield Damage("short-file", message, self._database.pages, size)
        free: array[int] = array("Q")
        if meta.has_freelist:
            try:
                page = self._tree.load(meta.freelist, meta.offset + _FREELIST, (FREELIST,))
                free = self._tree.free(page)
            except BoltError as error:
                yield damage_of(error, "freelist")
        yield from self._walk()
        yield from self._places(free)

    def _metas(self, meta: Meta) -> Iterator[Damage]:
        if not meta.valid:
            # bbolt v1.3.6 (db.go, validate) uses a meta whose checksum is 0.
            severe = meta.reason.startswith("checksum") and not meta.checksum
            message = f"meta {meta.index} is not valid: {meta.reason}"
            yield Damage("meta", message, meta.index, meta.offset, severe=severe)
        elif (meta.id, meta.flags) != (meta.index, PAGE_META):
            message = f"the page of meta {meta.index} has id {meta.id} and flags {meta.flags:#x}"
            yield Damage("meta", message, meta.index, meta.offset)

    def _walk(self) -> Iterator[Damage]:
        meta = self._meta
        offset = meta.offset + _ROOT
        root = DeclaredBucket(self._tree, (), {"root": meta.root, "sequence": meta.sequence}, b"", offset)
        stack: list[_PageToCheck] = []
        yield from self._put_off(stack, [_PageToCheck(root, meta.root, offset, b"", None, 0)])
        seen = 0
        while stack:
            step = stack.pop()
            seen += 1
            if self._progress is not None and not seen % _OFTEN:
                self._progress(_OFTEN)
            below: list[_PageToCheck] = []
            try:
                page = self._tree.load(step.pgid, step.referrer)
                look = self._leaf if page.header["flags"] == LEAF else self._branch
                yield from look(page, step, below)
            except BoltError as error:
                yield damage_of(error)
            yield from self._put_off(stack, below)

    def _put_off(self, stack: list[_PageToCheck], steps: list[_PageToCheck]) -> Iterator[Damage]:
        """Claim pages before they are looked at, so that no more pages are put off than the file has."""
        claimed: list[_PageToCheck] = []
        for step in steps:
            try:
                self._tree.claim(step.pgid, step.referrer)
                claimed.append(step)
            except BoltError as error:  # noqa: PERF203 - each is reported
                yield damage_of(error)
        # Reversed: the first is taken from the stack first, so that damage is reported in the order of the file.
        stack += reversed(claimed)

    def _branch(self, page: DeclaredPage, step: _PageToCheck, below: list[_PageToCheck]) -> Iterator[Damage]:
        if step.depth == MAX_DEPTH:
            raise self._tree.corrupt(f"more than {MAX_DEPTH} levels of branch pages", step.referrer)
        children = self._tree.branch(page)
        last, end = step.low, HEADER * (len(children) + 1)
        for index, child in enumerate(children):
            if child.end - len(child.key) != end:
                yield self._gap(child.offset)
            end = child.end
            if _is_astray(child.key, last, step.high, first=not index):
                yield Damage("order", f"the key of child {index} is out of order", *self._place(child.offset))
            last = child.key
            high = children[index + 1].key if index + 1 < len(children) else step.high
            below.append(_PageToCheck(step.bucket, child.pgid, child.offset, child.key, high, step.depth + 1))

    def _leaf(self, page: DeclaredPage, step: _PageToCheck, below: list[_PageToCheck]) -> Iterator[Damage]:
        leaf = step.bucket.leaf(page)
        if not leaf.keys and step.bucket.path and any(page.data[HEADER : 2 * HEADER]):
            # bbolt makes an emptied bucket an inline one (v1.3.6 bucket.go spill); other writers leave the page blank.
            yield self._gap(page.offset)
        yield from self._entries(leaf, step.low, step.high)
        for bucket in leaf.values:
            if not isinstance(bucket, DeclaredBucket):
                continue
            if bucket.root:
                below.append(_PageToCheck(bucket, bucket.root, bucket.offset, b"", None, 0))
                continue
            try:
                inner = bucket.leaf(bucket.inline())
            except BoltError as error:
                yield damage_of(error)
                continue
            yield from self._entries(inner, b"", None)
            if inner.end(len(inner.keys) - 1) != inner.page.offset + len(inner.page.data):
                yield self._gap(bucket.offset)

    def _entries(self, leaf: DeclaredLeaf, low: bytes, high: bytes | None) -> Iterator[Damage]:
        last = low
        for index, key in enumerate(leaf.keys):
            if leaf.has_gap(index):
                yield self._gap(leaf.offset(index))
            if _is_astray(key, last, high, first=not index):
                message = f"key {index} of {len(leaf.keys)} is out of order"
                yield Damage("order", message, *self._place(leaf.offset(index)))
            last = key

    def _places(self, free: array[int]) -> Iterator[Damage]:
        """Check that either the tree or the freelist has every place below the high-water mark, and not both."""
        meta, owners = self._meta, self._tree.owners
        ordered: Sequence[int] = free
        if any(after < before for before, after in pairwise(free)):
            yield Damage("freelist", "the freelist is not in ascending order", meta.freelist)
            ordered = sorted(free)
        last = -1
        for pgid in ordered:
            if not 2 <= pgid < meta.high_water:
                yield Damage(
                    "freelist",
                    f"the freelist has page {pgid}, which cannot be free (of {meta.high_water} pages)",
                    meta.freelist,
                )
            elif pgid == last:
                yield Damage("freelist", f"the freelist has page {pgid} twice", meta.freelist)
            elif pgid in owners:
                yield Damage("freed", "the page is in use, and listed as free", *self._place(pgid * meta.page_size))
            last = pgid
        if not meta.has_freelist:
            return
        expected = 2
        for pgid in merge(sorted(owners), ordered, (self._tree.end,)):
            if expected < pgid <= self._tree.end:
                what = f"pages {expected} to {pgid - 1} are" if pgid - 1 > expected else f"page {expected} is"
                place = self._place(expected * meta.page_size)
                yield Damage("unreachable", f"{what} neither in use nor free", *place)
            expected = max(expected, pgid + 1)

    def _gap(self, offset: int) -> Damage:
        what = "an entry does not begin where the entry before it ends: entries may be lost"
        return Damage("gap", what, *self._place(offset))

    def _place(self, offset: int) -> tuple[int, int]:
        return offset // self._meta.page_size, offset


def _is_astray(key: bytes, last: bytes, high: bytes | None, *, first: bool) -> bool:
    """Whether a key is not above the one before it, or is outside of the range of its page."""
    return key < last or (key == last and not first) or (high is not None and key >= high)
