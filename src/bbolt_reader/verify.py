"""All damage of a file: what bbolt's own ``tx.Check`` finds, and damage that it does not survive.

``tx.Check`` of v1.3.6 reports pages that are reached twice, free and reached, neither of both, of another type, or
above the high-water mark, and free ids that are listed twice; v1.4 (tx_check.go) adds the order of keys. This module
also checks cycles, headers, positions, lengths and flags. At such damage bbolt panics, hangs, or reads bytes outside of
the page.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice, pairwise
from operator import lt
from typing import Final, NamedTuple

from bbolt_reader.bucket import Bucket, Leaf
from bbolt_reader.database import Database
from bbolt_reader.errors import BoltError, Truncated, Unreadable
from bbolt_reader.meta import PAGE_META, Meta
from bbolt_reader.page import HEADER, PAGE_FREELIST, PAGE_LEAF, formats
from bbolt_reader.shape import Form
from bbolt_reader.tree import MAX_DEPTH, Loaded

EACH: Final = 100
"""The most damages of one kind that are reported one by one; the others are counted."""

_OFTEN: Final = 256
_FORMS_KEPT: Final = 256
_FORM_BYTES: Final = 4096
"""The largest inline bucket that has a form: of a hostile file the forms must not take much memory."""
_FREELIST_FIELD: Final = HEADER + 32


class Damage(NamedTuple):
    """One damage."""

    code: str
    """Its kind: meta, short-file, freelist, corrupt, truncated, unreadable, order, gap, freed, or unreachable."""
    message: str
    """One line without control characters and without the place."""
    page: int | None = None
    offset: int | None = None
    severe: bool = True
    """False if bbolt reads the file as if nothing were wrong, because only the meta that is not in use is damaged."""


class _PageToVerify(NamedTuple):
    """A page below a branch: the place that refers to it, and the range that its keys must be in."""

    pgid: int
    referrer: int
    low: bytes
    high: bytes | None
    depth: int
    bucket: Bucket


def verify(
    database: Database,
    progress: Callable[[int], None] | None = None,
    in_use: Callable[[int], None] | None = None,
) -> Iterator[Damage]:
    """Look at every page and every entry once.

    Args:
        database: an open file; reading the other meta's tree is not part of this.
        progress: called with the number of pages looked at since its last call.
        in_use: called once with the number of pages that the tree and its freelist take, overflow included.

    Yields:
        What is wrong, at most :data:`EACH` of a kind, then how many more there were.
    """
    return tell_some(_Verifier(database, progress, in_use).run())


def tell_some(damages: Iterator[Damage]) -> Iterator[Damage]:
    """At most :data:`EACH` of a kind, then how many more there were."""
    told: Counter[str] = Counter()
    for damage in damages:
        told[damage.code] += 1
        if told[damage.code] <= EACH:
            yield damage
    for code, count in told.items():
        if count > EACH:
            yield Damage(code, f"{count - EACH} more of this kind")


def damage_of(error: BoltError, code: str = "") -> Damage:
    """The damage that an error is, which kept a part from being read."""
    if not code:
        code = {Truncated: "truncated", Unreadable: "unreadable"}.get(type(error), "corrupt")
    return Damage(code, error.message, error.page, error.offset)


class _Verifier:
    def __init__(
        self, database: Database, progress: Callable[[int], None] | None, in_use: Callable[[int], None] | None
    ) -> None:
        self._database = database
        self._progress = progress
        self._in_use = in_use
        self._meta = database.meta
        root = database.root_of(database.meta)
        self._tree = root.tree
        self._root = root
        # Most records have the keys of the record before, which are in order then: of a page, and of an inline bucket.
        self._usual: Sequence[bytes] = ()
        self._usual_inline: Sequence[bytes] = ()
        self._forms: dict[int, Form] = {}
        """Of inline buckets, by their bytes behind the root."""

    def run(self) -> Iterator[Damage]:
        for meta in self._database.metas:
            yield from self._of_meta(meta)
        database, meta = self._database, self._meta
        if meta.high_water > database.pages:
            yield Damage(
                "short-file",
                f"the file has {database.size} bytes, but its pages need {meta.high_water * meta.page_size}",
                page=database.pages,
                offset=database.size,
            )
        free: array[int] = array("Q")
        if meta.has_freelist:
            try:
                free = self._freelist()
            except BoltError as error:
                yield damage_of(error, "freelist")
        yield from self._pages()
        for offset in sorted(self._tree.gaps):
            what = "an entry does not begin where the entry before it ends: entries may be lost"
            yield Damage("gap", what, offset // meta.page_size, offset)
        yield from self._balance(free)
        if self._in_use is not None:
            self._in_use(sum(1 for _ in self._tree.claimed()))

    def _of_meta(self, meta: Meta) -> Iterator[Damage]:
        if not meta.valid:
            # bbolt v1.3.6 (db.go, meta.validate) takes a meta with checksum 0 for valid, and may use it.
            severe = len(meta.raw) == 5 * HEADER and meta.reason.startswith("checksum") and not meta.checksum
            yield Damage(
                "meta", f"meta {meta.index} is not valid: {meta.reason}", meta.index, meta.offset, severe=severe
            )
        elif meta.id != meta.index or meta.flags != PAGE_META:
            message = f"the page of meta {meta.index} has id {meta.id} and flags {meta.flags:#x}"
            yield Damage("meta", message, meta.index, meta.offset)

    def _freelist(self) -> array[int]:
        """The free pages in ascending order, as far as the list can be read.

        Raises:
            BoltError: the list cannot be read.
        """
        meta, tree = self._meta, self._tree
        pgid, referrer = meta.freelist, meta.offset + _FREELIST_FIELD
        _, data, start, end, count, base = tree.load(pgid, referrer, (PAGE_FREELIST,))
        at = start + HEADER
        if count == 0xFFFF:
            if end - at < 8:
                raise tree.corrupt("a freelist without its count", base + start)
            count = formats().free.unpack_from(data, at)[0]
            at += 8
        if count * 8 > end - at:
            raise tree.corrupt(f"{count} free pages in {end - at} bytes", base + start)
        return array("Q", data[at : at + 8 * count])

    def _pages(self) -> Iterator[Damage]:
        """Walk the tree of every bucket; a page that cannot be read is reported and skipped."""
        stack: list[Bucket | _PageToVerify] = [self._root]
        seen = 0
        while stack:
            step = stack.pop()
            seen += 1
            if self._progress is not None and not seen % _OFTEN:
                self._progress(_OFTEN)
            try:
                if isinstance(step, Bucket):
                    # The hot path: nearly all buckets have one page, which is like others.
                    if self._is_usual(step):
                        continue
                    batches = step.batches()
                    if type(batches) is tuple:
                        keys, _, buckets = batches[0]
                        yield from self._leaf(
                            keys, buckets, _PageToVerify(step.root, step.offset, b"", None, 0, step), stack
                        )
                        continue
                    step = _PageToVerify(step.root, step.offset, b"", None, 0, step)
                page = self._tree.load(step.pgid, step.referrer)
                if page[0] == PAGE_LEAF:
                    leaf = step.bucket.leaf(page)
                    yield from self._leaf(leaf.keys, self._unusual(leaf), step, stack)
                else:
                    yield from self._branch(page, step, stack)
            except BoltError as error:
                yield damage_of(error)

    def _branch(self, page: Loaded, step: _PageToVerify, stack: list[Bucket | _PageToVerify]) -> Iterator[Damage]:
        tree = self._tree
        if step.depth == MAX_DEPTH:
            raise tree.corrupt(f"more than {MAX_DEPTH} levels of branch pages", step.referrer)
        children = tree.children(page)
        last = step.low
        for index, child in enumerate(children):
            if child.key < last or (index and child.key == last) or (step.high is not None and child.key >= step.high):
                yield Damage("order", f"the key of child {index} is out of order", step.pgid, child.offset)
            last = child.key
        highs = [*(child.key for child in children[1:]), step.high]
        # Reversed: the first child is taken from the stack first, so that damage is reported in the order of the file.
        for child, high in zip(reversed(children), reversed(highs), strict=True):
            below = _PageToVerify(child.pgid, child.offset, child.key, high, step.depth + 1, step.bucket)
            try:
                # Claimed before it is put off, as a bucket is.
                tree.claim(below.pgid, below.referrer)
                stack.append(below)
            except BoltError as error:
                yield damage_of(error)

    def _is_usual(self, bucket: Bucket) -> bool:
        """Whether a bucket has one page that is like others, and is in order."""
        formed = bucket.formed()
        if formed is None:
            return False
        form, fields = formed
        keys = form.keys_of(fields)
        if keys != self._usual:
            if not _in_order(keys, b"", None):
                return False
            self._usual = keys
        return True

    def _unusual(self, leaf: Leaf) -> Iterator[Bucket]:
        """The buckets of a page, without inline buckets that are like others."""
        forms = self._forms
        for index, inline in enumerate(leaf.inlines()):
            if inline is not None:
                form = forms.get(len(inline))
                if form is None and len(inline) <= _FORM_BYTES and len(forms) < _FORMS_KEPT:
                    form = Form.met(inline)
                    if form is not None:
                        forms[len(inline)] = form
                if form is not None and form.unpack(inline)[::2] == form.fixed:
                    continue
            value = leaf.value(index)
            if isinstance(value, Bucket):
                yield value

    def _leaf(
        self, keys: Sequence[bytes], buckets: Iterable[Bucket], step: _PageToVerify, stack: list[Bucket | _PageToVerify]
    ) -> Iterator[Damage]:
        anywhere = not step.low and step.high is None
        if not keys:
            self._emptied(step)
        elif not anywhere or keys != self._usual:
            if not _in_order(keys, step.low, step.high):
                yield from self._disorder(self._tree.load(step.pgid, step.referrer), keys, step.low, step.high)
            elif anywhere:
                self._usual = keys
        for below in buckets:
            try:
                if below.root:
                    # Claimed before it is put off, so that no more pages are put off than the file has.
                    self._tree.claim(below.root, below.offset)
                    stack.append(below)
                    continue
                # An inline bucket has one page, and no buckets in it.
                ((names, _, _),) = below.batches()
                if names != self._usual_inline:
                    if _in_order(names, b"", None):
                        self._usual_inline = names
                    else:
                        yield from self._disorder(below.inline(), names, b"", None)
            except BoltError as error:
                yield damage_of(error)

    def _emptied(self, step: _PageToVerify) -> None:
        """Check that a page without entries never had one: then the bytes of the first element are zeros."""
        _, data, start, end, _, base = self._tree.load(step.pgid, step.referrer)
        if step.bucket.path and any(data[start + HEADER : min(start + 2 * HEADER, end)]):
            # bbolt makes an emptied bucket an inline one (v1.3.6 bucket.go spill); other writers leave the page blank.
            self._tree.note_gap(base + start)

    def _disorder(self, page: Loaded, keys: Sequence[bytes], low: bytes, high: bytes | None) -> Iterator[Damage]:
        _, _, start, _, count, base = page
        last = low
        for index, key in enumerate(keys):
            if key < last or (index and key == last) or (high is not None and key >= high):
                at = base + start + HEADER * (index + 1)
                yield Damage("order", f"key {index} of {count} is out of order", at // self._tree.page_size, at)
            last = key

    def _balance(self, free: array[int]) -> Iterator[Damage]:
        """Check that every page below the high-water mark is either reached or free, and that none is free twice."""
        meta, end = self._meta, min(self._meta.high_water, self._database.pages)
        ordered: Sequence[int] = free
        if any(after < before for before, after in pairwise(free)):
            yield Damage("freelist", "the freelist is not in ascending order", meta.freelist)
            ordered = sorted(free)
        used, expected = -1, 2
        last = -1
        claimed = ((pgid, False) for pgid in self._tree.claimed())
        for pgid, is_free in merge(claimed, ((pgid, True) for pgid in ordered), ((end, False),)):
            if not is_free:
                used = pgid
            elif not 2 <= pgid < meta.high_water:
                yield Damage(
                    "freelist",
                    f"the freelist has page {pgid}, which cannot be free (of {meta.high_water} pages)",
                    meta.freelist,
                )
                continue
            elif pgid == last:
                if pgid == used:
                    yield Damage("freed", "the page is in use, and listed as free", pgid, pgid * meta.page_size)
                else:
                    yield Damage("freelist", f"the freelist has page {pgid} twice", meta.freelist)
            if meta.has_freelist and expected < pgid <= end:
                what = f"pages {expected} to {pgid - 1} are" if pgid - 1 > expected else f"page {expected} is"
                yield Damage("unreachable", f"{what} neither in use nor free", expected, expected * meta.page_size)
            last, expected = pgid, max(expected, pgid + 1)


def _in_order(keys: Sequence[bytes], low: bytes, high: bytes | None) -> bool:
    """Whether each key is above the one before, none is below ``low``, and all are below ``high``."""
    if not keys:
        return True
    return keys[0] >= low and (high is None or keys[-1] < high) and all(map(lt, keys, islice(keys, 1, None)))
