"""The tree of pages under one meta: each page is read by position, and every number in it is checked."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from mmap import mmap
from typing import Final, TypeAlias

from bbolt_reader.errors import Corrupt, Truncated
from bbolt_reader.meta import Meta
from bbolt_reader.page import (
    HEADER,
    ID,
    LEAF_BUCKET,
    MAX_KEY,
    PAGE_BRANCH,
    PAGE_FREELIST,
    PAGE_LEAF,
    BranchElement,
    formats,
)
from bbolt_reader.shape import Lengths, PageForm, Shape
from bbolt_reader.source import CHUNK, READ_LIMIT, Source

MAX_DEPTH: Final = 64
"""The most branch pages above a leaf, and the most buckets above a bucket: two children a branch make 2**64 pages."""

_SHAPES_KEPT: Final = 4096
_SHAPE_ELEMENTS: Final = 64
_FORMS_KEPT: Final = 512
_FORM_BYTES: Final = 1 << 16
"""The largest page that has a form: of a hostile file the forms must not take much memory."""
_GAPS_KEPT: Final = 100
_ARRAY_PAGES: Final = 1 << 23
_COVERED: Final = 1 << 18
"""Overflow may take so many places, or _SPARSE times as many as are no holes. bbolt writes pages in full, but a copy
may have made holes of zeros. Without a limit, a few damaged numbers would make a file be read that is larger than any
disk."""
_SPARSE: Final = 4

Loaded: TypeAlias = "tuple[int, bytes | mmap, int, int, int, int]"
"""A branch or leaf page with a correct header: its flags, a buffer, the start and the end of the page in the buffer,
the number of its elements, and the byte of the file where the buffer starts."""


class Tree:
    """The pages that one meta reaches.

    Each page belongs to the one place that refers to it, and a second reference is an error. So no walk reads more than
    the whole file once, however its pages refer to each other.
    """

    __slots__ = (
        "_covered",
        "_most_covered",
        "branch",
        "end",
        "forms",
        "gaps",
        "header",
        "inlines",
        "leaf",
        "leaves",
        "mapping",
        "meta",
        "owners",
        "page_size",
        "populated",
        "shapes",
        "source",
        "window",
    )

    def __init__(self, source: Source, meta: Meta) -> None:
        self.source = source
        self.meta = meta
        self.page_size = meta.page_size
        self.header = formats().header.unpack_from
        self.branch = formats().branch.iter_unpack
        self.leaf = formats().leaf.iter_unpack
        self.shapes: dict[bytes, Shape] = {}
        """The shapes of all pages, by their elements."""
        self.leaves: dict[bytes, Shape] = {}
        """The shapes of pages without overflow, by all bytes between a page's id and its first key, the count among
        them. Such bytes were checked in full when they were first met."""
        self.inlines: dict[bytes, Shape] = {}
        """As :attr:`leaves`, for the pages of inline buckets, which have no buckets in them."""
        self.forms: dict[bytes, PageForm | None] = {}
        """The forms of pages whose shape is in :attr:`leaves`, by the same bytes; None for a page that has none."""
        # bbolt leaves no byte between entries (v1.3.6 node.go write). A gap means that an element or the count was
        # written over. Pages of one shape are checked once, so this has some of the gaps, not all.
        self.gaps: set[int] = set()
        self._covered, self._most_covered = 0, _COVERED
        self.window = source.window
        # Both belong to the source: populated chunks lie wholly in the file, and a closed source has none.
        self.populated = source.populated if meta.page_size <= CHUNK else frozenset[int]()
        self.mapping: bytes | mmap = source.mapping or b""
        # The byte that refers to each page; 0 for none, because byte 0 cannot. An array takes a fifth of a dict's
        # memory, but all at once, and a file with holes may have any size.
        self.end = min(meta.high_water, source.size // meta.page_size)
        self.owners: array[int] | defaultdict[int, int]
        self.owners = array("Q", bytes(8 * self.end)) if self.end <= _ARRAY_PAGES else defaultdict(int)

    def load(self, pgid: int, referrer: int, kinds: tuple[int, ...] = (PAGE_LEAF, PAGE_BRANCH)) -> Loaded:
        """A branch or leaf page, or one of other kinds.

        Args:
            pgid: its position.
            referrer: the byte of the file that refers to it; the same at every call for this page.
            kinds: the flags that it may have.

        Raises:
            Corrupt: the page is of another kind, or another place refers to it.
            Truncated: it lies behind the end of the file.
            Unreadable: the file cannot be read.
        """
        length = self.page_size
        offset = pgid * length
        # As claim() and window() if all is well, without the two calls.
        if 2 <= pgid < self.end and not self.owners[pgid]:
            self.owners[pgid] = referrer
        else:
            self.claim(pgid, referrer)
        if offset // CHUNK in self.populated:
            data, start = self.mapping, offset
        else:
            data, start = self.window(offset, length, pgid)
        own, flags, count, overflow = self.header(data, start)
        if own != pgid:
            raise self.corrupt(f"the page is overwritten: its header has the number {own}", offset)
        if flags not in kinds:
            raise self.corrupt(f"the page has flags {flags:#x}, not one of {', '.join(map(hex, kinds))}", offset)
        if overflow:
            length *= overflow + 1
            self._cover(pgid, overflow, referrer)
            data, start = self.window(offset, length, pgid)
        if HEADER + HEADER * count > length and flags != PAGE_FREELIST:
            raise self.corrupt(f"the page has {count} elements in {length} bytes", offset)
        return flags, data, start, start + length, count, offset - start

    def claim(self, pgid: int, referrer: int) -> None:
        """Note which place refers to a page.

        Raises:
            Corrupt: it cannot be a page of the tree, or another place refers to it too.
            Truncated: the file has no such page.
        """
        if not 2 <= pgid < self.meta.high_water:
            raise self.corrupt(f"page {pgid} is referenced, but there are only {self.meta.high_water} pages", referrer)
        if pgid >= self.end:
            raise Truncated(
                f"the page is referenced at {referrer:#x}, but it is missing", file=self.source.name, page=pgid
            )
        owner = self.owners[pgid]
        if owner and owner != referrer:
            raise self.corrupt(f"page {pgid} is referenced here and at {owner:#x}", referrer)
        self.owners[pgid] = referrer

    def claimed(self) -> Iterator[int]:
        """The pages that some place refers to, as far as was read, in ascending order."""
        if isinstance(self.owners, array):
            return (pgid for pgid, owner in enumerate(self.owners) if owner)
        return iter(sorted(pgid for pgid, owner in self.owners.items() if owner))

    def leaves_below(self, page: Loaded) -> Iterator[Loaded]:
        """The leaf pages below a branch page, in order."""
        stack = [iter([(child.pgid, child.offset) for child in self.children(page)])]
        while stack:
            for pgid, referrer in stack[-1]:
                page = self.load(pgid, referrer)
                if page[0] == PAGE_LEAF:
                    yield page
                    continue
                if len(stack) == MAX_DEPTH:
                    raise self.corrupt(f"more than {MAX_DEPTH} levels of branch pages", referrer)
                stack.append(iter([(child.pgid, child.offset) for child in self.children(page)]))
                break
            else:
                stack.pop()

    def children(self, page: Loaded) -> list[BranchElement]:
        """The elements of a branch page.

        Raises:
            Corrupt: it has none, or one leads out of the page.
        """
        _, data, start, end, count, base = page
        if not count:
            raise self.corrupt("a branch without children", base + start)
        at = start + HEADER
        floor = at + HEADER * count
        found = []
        for pos, ksize, child in self.branch(data[at:floor]):
            key_at = at + pos
            if key_at != floor:
                self.note_gap(base + at)
            if key_at < floor or (floor := key_at + ksize) > end or not 0 < ksize <= MAX_KEY:
                raise self.corrupt(
                    "a key lies outside of its page, overlaps another, or has an invalid length", base + at
                )
            found.append(BranchElement(base + at, data[key_at:floor], child))
            at += HEADER
        return found

    def shape(self, elements: bytes, room: int, offset: int) -> Shape:
        """Check the elements of a leaf page.

        bbolt writes keys and values in the order of the elements. Because positions have to grow, hostile elements
        cannot make more be copied than the page has.

        Args:
            elements: all of them.
            room: bytes between them and the end of the page.
            offset: the byte of the file where they start.

        Raises:
            Corrupt: a key or value leads out of the page or into another one, or has an invalid length or flags.
        """
        entries: list[Lengths] = []
        at, end = -len(elements), 0
        for flags, pos, ksize, vsize in self.leaf(elements):
            key_at = at + pos
            if key_at < end or key_at + ksize + vsize > room or not 0 < ksize <= MAX_KEY:
                raise self.corrupt(
                    "an entry lies outside of its page, overlaps another, or has a key of an invalid length",
                    offset + len(elements) + at,
                )
            if flags and (flags != LEAF_BUCKET or vsize < HEADER):
                raise self.corrupt(f"an entry with flags {flags:#x} and {vsize} bytes", offset + len(elements) + at)
            if key_at != end:
                self.note_gap(offset + len(elements) + at)
            entries.append(Lengths(key_at - end, ksize, vsize, bool(flags)))
            end = key_at + ksize + vsize
            at += HEADER
        shape = Shape.of(HEADER + len(elements), entries)
        if len(entries) <= _SHAPE_ELEMENTS and len(self.shapes) < _SHAPES_KEPT:
            self.shapes[elements] = shape
        return shape

    def shape_of(self, page: Loaded) -> Shape:
        """The shape of a leaf page, whether a page like it was met before or not.

        Raises:
            Corrupt: as :meth:`shape`.
        """
        _, data, start, end, count, base = page
        first = start + HEADER
        after = first + HEADER * count
        elements = data[first:after]
        shape = self.shapes.get(elements)
        if shape is None or start + shape.size > end:
            shape = self.shape(elements, end - after, base + first)
        return shape

    def learn(self, page: Loaded, kinds: dict[bytes, Shape]) -> None:
        """Remember the shape of a leaf page for pages that begin with the same bytes.

        Args:
            page: a page without overflow, which is among its first bytes.
            kinds: :attr:`leaves` or :attr:`inlines`.

        Raises:
            Corrupt: as :meth:`shape_of`.
        """
        _, data, start, _, count, _ = page
        shape = self.shape_of(page)
        if count <= _SHAPE_ELEMENTS and len(kinds) < _SHAPES_KEPT:
            kinds[data[start + ID : start + HEADER + HEADER * count]] = shape

    def learn_form(self, head: bytes, page: bytes) -> None:
        """Remember the form of a page for pages like it, when its shape is met again: it takes longer than its check.

        Args:
            head: its first bytes, a key of :attr:`leaves`.
            page: all its bytes.
        """
        if len(self.forms) < _FORMS_KEPT and self.page_size <= _FORM_BYTES:
            self.forms[head] = PageForm.of(page)

    def forget(self) -> None:
        """Give back the memory of shapes; they are worked out again when they are needed."""
        self.shapes.clear()
        self.leaves.clear()
        self.forms.clear()
        self.inlines.clear()

    def note_gap(self, offset: int) -> None:
        """Remember a gap: an entry that does not start where the one before it ends, or bytes behind the last one."""
        if len(self.gaps) < _GAPS_KEPT:
            self.gaps.add(offset)

    def corrupt(self, message: str, offset: int) -> Corrupt:
        """An error at a byte of the file."""
        return Corrupt(message, file=self.source.name, page=offset // self.page_size, offset=offset)

    def _cover(self, pgid: int, overflow: int, referrer: int) -> None:
        """Claim the places that the overflow of a page takes."""
        offset = pgid * self.page_size
        if pgid + overflow >= self.meta.high_water:
            raise self.corrupt(
                f"the page reaches to page {pgid + overflow}, but there are only {self.meta.high_water} pages", offset
            )
        if (overflow + 1) * self.page_size > READ_LIMIT:
            raise self.corrupt(f"a page of {(overflow + 1) * self.page_size} bytes", offset)
        if pgid + overflow < self.end and self.owners[pgid + overflow] == referrer:
            return
        self._covered += overflow
        if self._covered > self._most_covered == _COVERED:
            held = sum(end - start for start, end in self.source.stretches()) // self.page_size
            self._most_covered = max(_COVERED + 1, _SPARSE * held)
        if self._covered > self._most_covered:
            raise self.corrupt(f"overflow over {self._covered} places, most of them holes", offset)
        for covered in range(pgid + 1, pgid + overflow + 1):
            self.claim(covered, referrer)
