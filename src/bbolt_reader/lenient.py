"""Single pages of a damaged file: every entry that is whole, however many others are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from bbolt_reader.errors import BoltError
from bbolt_reader.page import HEADER, LEAF_BUCKET, MAX_KEY, PAGE_BRANCH, PAGE_LEAF, BranchElement, LeafElement
from bbolt_reader.parsing import parse_branch, parse_header, parse_leaf
from bbolt_reader.source import CHUNK, READ_LIMIT, Source

_HEADERS_AT_ONCE: Final = 16384
"""Above this page size, headers are read one by one."""


class ElementSpan(NamedTuple):
    """The position in a page of an element's key and value; ``extra`` is the flags in a leaf, the child in a branch."""

    number: int
    extra: int
    start: int
    middle: int
    end: int


@dataclass(frozen=True, slots=True)
class LenientPage:
    """A branch or leaf page with a plausible header."""

    pgid: int
    offset: int
    flags: int
    places: int
    """How many places it takes with its overflow, as far as the file has it."""
    entries: Sequence[LeafElement]
    """The entries of a leaf."""
    children: Sequence[BranchElement]
    """The children of a branch."""
    lost: int
    """How many elements cannot be read."""

    @property
    def is_leaf(self) -> bool:
        """Whether it is a leaf page."""
        return self.flags == PAGE_LEAF

    def keys(self) -> list[bytes]:
        """Its keys."""
        return [*(entry.key for entry in self.entries), *(child.key for child in self.children)]


class LenientPages:
    """The pages of a file, by position, without a tree.

    Args:
        source: the file.
        page_size: of its pages.
        told: called for each page that is read, with 1 and the number of places of the file.
    """

    def __init__(self, source: Source, page_size: int, told: Callable[[int, int], None] | None = None) -> None:
        self.source = source
        self._told = told
        self.page_size = page_size
        self.count = -(-source.size // page_size)
        """How many places the file has; the last one may be cut off."""

    @cached_property
    def held(self) -> int:
        """How many places do not begin in a hole."""
        return sum(map(len, self.ranges()))

    def ranges(self) -> Iterator[range]:
        """The positions that do not begin in a hole, in ascending order; the header of any other is all zeros."""
        last = 0
        for start, end in self.source.stretches():
            found = range(max(last, -(-start // self.page_size)), -(-end // self.page_size))
            last = found.stop
            if found:
                yield found

    def header(self, pgid: int) -> tuple[int, int, int, int]:
        """Id, flags, elements and overflow.

        Raises:
            BoltError: the file has no such bytes.
        """
        return _header(self.source.read(pgid * self.page_size, HEADER, pgid))

    def sane(self, kinds: tuple[int, ...] = (PAGE_LEAF, PAGE_BRANCH)) -> list[int]:
        """The positions whose header has this position and one of these kinds, in ascending order."""
        found: list[int] = []
        size = self.page_size
        step = max(1, CHUNK // size) if size <= _HEADERS_AT_ONCE else 1
        for places in (part[at : at + step] for part in self.ranges() for at in range(0, len(part), step)):
            first = places.start
            length = min(len(places) * size, self.source.size - first * size)
            try:
                data = self.source.read(first * size, length if step > 1 else min(length, HEADER), first)
            except BoltError:
                found += [pgid for pgid in places if self._is(pgid, kinds)]
                continue
            for index in range(len(places)):
                at = index * size
                if at + HEADER <= len(data):
                    own, flags, count, _ = _header(data[at : at + HEADER])
                    if own == first + index and flags in kinds and (count or flags == PAGE_LEAF):
                        found.append(first + index)
        return found

    def _is(self, pgid: int, kinds: tuple[int, ...]) -> bool:
        try:
            own, flags, count, _ = self.header(pgid)
        except BoltError:
            return False
        return own == pgid and flags in kinds and bool(count or flags == PAGE_LEAF)

    def page(self, pgid: int, until: int | None = None) -> LenientPage | str:
        """The readable entries of the page at a position; or, in one line, why nothing can be read.

        Args:
            pgid: the position.
            until: the first place behind it that belongs to another page, if that is known.
        """
        if self._told is not None:
            self._told(1, self.held)
        size, offset = self.page_size, pgid * self.page_size
        end = self.count if until is None else min(until, self.count)
        try:
            own, flags, count, overflow = self.header(pgid)
            if own != pgid:
                return f"the page is overwritten: its header has the number {own}"
            if flags not in {PAGE_LEAF, PAGE_BRANCH}:
                return f"flags {flags:#x}"
            places = min(overflow + 1, end - pgid)
            length = min(places * size, self.source.size - offset)
            if HEADER * (count + 1) > length or length > READ_LIMIT:
                return f"the page has {count} elements in {length} bytes"
            data = self.source.read(offset, length, pgid)
        except BoltError as error:
            return error.message
        found = parts(data, count, flags)
        entries: list[LeafElement] = []
        children: list[BranchElement] = []
        for index, extra, start, middle, stop in found:
            at = offset + HEADER * (index + 1)
            if flags == PAGE_LEAF:
                entries.append(LeafElement(at, extra, data[start:middle], data[middle:stop]))
            else:
                children.append(BranchElement(at, data[start:middle], extra))
        return LenientPage(pgid, offset, flags, places, entries, children, count - len(found))


def inline(element: LeafElement) -> tuple[list[LeafElement], int]:
    """The entries of an inline bucket, all at the offset of the element with the bucket, and how many are lost."""
    page = element.value[HEADER:]
    if len(page) < HEADER:
        return [], 1
    _, flags, count, _ = _header(page)
    if flags != PAGE_LEAF or HEADER * (count + 1) > len(page):
        return [], 1
    found = [part for part in parts(page, count, PAGE_LEAF) if not part.extra]  # no bucket is inline in an inline one
    entries = [
        LeafElement(element.offset, 0, page[part.start : part.middle], page[part.middle : part.end]) for part in found
    ]
    return entries, count - len(found)


def parts(page: bytes, count: int, kind: int) -> list[ElementSpan]:
    """The elements of a page that can be trusted, in order; no byte belongs to two of them.

    bbolt writes keys and values without gaps, in the order of the elements. So an element is wrong if it neither starts
    where the one before it ends, nor ends where the one behind it starts. If two neighbours do not meet, the one whose
    other end does not meet its neighbour either is wrong.
    """
    floor = HEADER * (count + 1)
    made: list[ElementSpan] = []
    is_leaf = kind == PAGE_LEAF
    for index, element in enumerate(parse_leaf(page, count) if is_leaf else parse_branch(page, count)):
        extra, vsize = (element["flags"], element["vsize"]) if is_leaf else (element["pgid"], 0)
        ksize = element["ksize"]
        start = HEADER * (index + 1) + element["pos"]
        middle = start + ksize
        end = middle + vsize
        whole = floor <= start and end <= len(page) and 0 < ksize <= MAX_KEY
        if whole and is_leaf and extra:
            whole = extra == LEAF_BUCKET and vsize >= HEADER
        if whole:
            made.append(ElementSpan(index, extra, start, middle, end))
    made = [part for place, part in enumerate(made) if _meets(made, place, floor, count)]
    kept: list[ElementSpan] = []
    for place, part in enumerate(made):
        behind = made[place + 1] if place + 1 < len(made) else None
        if behind is not None and (
            part.end > behind.start or (part.end != behind.start and behind.number == part.number + 1)
        ):
            continue  # the one behind it is right: its other end meets its neighbour
        if kept and part.start < kept[-1].end:
            continue
        kept.append(part)
    return kept


def _meets(made: Sequence[ElementSpan], place: int, floor: int, count: int) -> bool:
    part = made[place]
    before = made[place - 1] if place else None
    behind = made[place + 1] if place + 1 < len(made) else None
    if part.number == 0:
        starts = part.start == floor
    else:
        # If the one before it is lost, its right start is not known.
        starts = before is None or before.number != part.number - 1 or part.start == before.end
    if part.number == count - 1:
        ends = starts  # nothing says where the last one ends
    else:
        ends = behind is None or behind.number != part.number + 1 or part.end == behind.start
    return starts or ends


def _header(data: bytes) -> tuple[int, int, int, int]:
    fields = parse_header(data)
    return fields["id"], fields["flags"], fields["count"], fields["overflow"]
