"""A second reader of bbolt files, made of the declarations in layout.py alone.

It gives a second opinion, which forensics calls dual-tool verification. So it shares no decoding with database.py,
tree.py, page.py and shape.py: construct decodes the fields, metas, pages and entries are checked here once more, and
nothing is remembered of pages read before. It shares the declarations, the errors, ``Meta``, and of ``Source`` the
method ``read``, but never the mapping.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, NamedTuple, final

from bbolt_reader.errors import Corrupt, NotBolt, Truncated
from bbolt_reader.lenient import LenientPages
from bbolt_reader.meta import PAGE_SIZES, Meta
from bbolt_reader.parsing import (
    HEADER,
    META,
    Fields,
    parse_branch,
    parse_bucket,
    parse_freelist,
    parse_header,
    parse_leaf,
    parse_meta,
)
from bbolt_reader.source import READ_LIMIT, Source

BRANCH: Final = 0x01
LEAF: Final = 0x02
FREELIST: Final = 0x10
BUCKET: Final = 0x01
"""A flag of a leaf element."""
MAX_KEY: Final = 32768
MAX_DEPTH: Final = 64
"""The most branch pages above a leaf, and the most buckets above a bucket."""
_MAGIC: Final = 0xED0CDAED
_VERSION: Final = 2
_CHECKED: Final = META - 8
_COVERED: Final = 1 << 18
_SPARSE: Final = 4
"""Overflow may take _COVERED places, or _SPARSE times as many as the file has blocks for. A file with holes may be
larger than any disk, and a few damaged numbers would make all of it be read."""
_BLOCK: Final = 512


class DeclaredPage(NamedTuple):
    """One page of a tree, whose header is right."""

    header: Fields
    data: bytes
    """The bytes of the page, with its overflow."""
    offset: int
    """The byte of the file where it starts; for the page of an inline bucket, where the value with it starts."""


class DeclaredChild(NamedTuple):
    """One element of a branch page."""

    key: bytes
    pgid: int
    offset: int
    """The byte of the file where its element starts."""
    end: int
    """The byte of the page where its key ends."""


class DeclaredLeaf(NamedTuple):
    """The entries of a leaf page, in columns: making an object for each would take as long as decoding it."""

    page: DeclaredPage
    elements: Sequence[Fields]
    keys: list[bytes]
    values: list[bytes | DeclaredBucket]

    def offset(self, index: int) -> int:
        """The byte of the file where an element starts."""
        return self.page.offset + HEADER * (index + 1)

    def value_offset(self, index: int) -> int:
        """The byte of the file where a value starts."""
        element = self.elements[index]
        return self.offset(index) + element["pos"] + element["ksize"]

    def end(self, index: int) -> int:
        """The byte of the file behind an entry; for -1, behind the elements."""
        if index < 0:
            return self.offset(len(self.keys))
        return self.value_offset(index) + self.elements[index]["vsize"]

    def has_gap(self, index: int) -> bool:
        """Whether there is a gap in front of an entry: bbolt writes each entry directly behind the one before it."""
        return self.offset(index) + self.elements[index]["pos"] != self.end(index - 1)


@final
class DeclaredDatabase:
    """A bbolt file in the state of its newest valid meta, read by construct. Takes no lock: that is up to the caller.

    Attributes:
        metas: both metas, valid or not.
        meta: the one in use.
        page_size: in bytes.
        size: of the file, in bytes.
        name: of the file in errors.
        root: its root bucket.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.metas = read_metas(source)
        self.meta = choose(self.metas)
        self.page_size = self.meta.page_size
        self.size = source.size
        self.name = source.name
        self._tree = DeclaredTree(source, self.meta)
        offset = self.meta.offset + 2 * HEADER
        header = {"root": self.meta.root, "sequence": self.meta.sequence}
        self.root = DeclaredBucket(self._tree, (), header, b"", offset)

    @classmethod
    def open(cls, path: bytes | str | os.PathLike[str] | os.PathLike[bytes]) -> DeclaredDatabase:
        """Open a file by its name, read-only.

        Raises:
            Unreadable: it cannot be opened or read.
            NotBolt: neither of its metas is valid.
        """
        source = Source.open(os.fsencode(path), mapped=False)
        try:
            return cls(source)
        except BaseException:
            source.close()
            raise

    @classmethod
    def from_fd(cls, fd: int, name: bytes) -> DeclaredDatabase:
        """Read a file that is open already, and stays so when this database is closed.

        Raises:
            Unreadable: it cannot be read.
            NotBolt: neither of its metas is valid.
        """
        return cls(Source(fd, name, owned=False, mapped=False))

    def __enter__(self) -> DeclaredDatabase:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; its buckets cannot be read any more."""
        self.source.close()

    @property
    def lenient(self) -> LenientPages:
        """The pages by position, for :func:`~bbolt_reader.dissect`."""
        return LenientPages(self.source, self.page_size)

    @property
    def read(self) -> int:
        """How many pages were read so far from :attr:`root` on."""
        return len(self._tree.owners)

    @property
    def pages(self) -> int:
        """How many whole pages the file has."""
        return self.size // self.page_size


@final
class DeclaredBucket:
    """One bucket; valid until its database is closed.

    Attributes:
        path: the names from the root bucket, whose path is empty, to this one.
        root: the page where its tree starts; 0 for an inline bucket.
        sequence: the last number that NextSequence gave out.
        offset: the byte of the file where its header starts.
    """

    __slots__ = ("_page", "_tree", "offset", "path", "root", "sequence")

    def __init__(self, tree: DeclaredTree, path: tuple[bytes, ...], header: Fields, page: bytes, offset: int) -> None:
        self._tree = tree
        self._page = page
        self.path = path
        self.root = header["root"]
        self.sequence = header["sequence"]
        self.offset = offset

    def __repr__(self) -> str:
        return f"DeclaredBucket(path={self.path!r}, root={self.root})"

    def items(self) -> Iterator[tuple[bytes, bytes | DeclaredBucket]]:
        """All keys, each with its value or its bucket.

        Raises:
            BoltError: a page cannot be read; also while the iterator is read.
        """
        for leaf in self.leaves():
            yield from zip(leaf.keys, leaf.values, strict=True)

    def leaves(self) -> Iterator[DeclaredLeaf]:
        """All entries with their places, a leaf page at a time.

        Raises: as :meth:`items`.
        """
        for page in self._pages():
            yield self.leaf(page)

    def leaf(self, page: DeclaredPage) -> DeclaredLeaf:
        """The entries of one leaf page of this bucket.

        Raises:
            Corrupt: an entry cannot be read.
        """
        leaf = self._tree.leaf(page)
        for index, element in enumerate(leaf.elements):
            if not element["flags"]:
                continue
            if not self.root:
                raise self._tree.corrupt("a bucket in an inline bucket", leaf.offset(index))
            if len(self.path) == MAX_DEPTH:
                raise self._tree.corrupt(f"more than {MAX_DEPTH} levels of buckets", leaf.offset(index))
            value = leaf.values[index]
            assert isinstance(value, bytes)
            path = (*self.path, leaf.keys[index])
            below = DeclaredBucket(self._tree, path, parse_bucket(value), value[HEADER:], leaf.value_offset(index))
            leaf.values[index] = below
        return leaf

    def inline(self) -> DeclaredPage:
        """The page of an inline bucket.

        Raises:
            Corrupt: there is none.
        """
        page, offset = self._page, self.offset + HEADER
        if len(page) < HEADER:
            raise self._tree.corrupt("an inline bucket without a page", self.offset)
        header = parse_header(page)
        if header["flags"] != LEAF or HEADER * (header["count"] + 1) > len(page):
            message = f"an inline bucket with flags {header['flags']:#x}, {header['count']} elements"
            raise self._tree.corrupt(message, offset)
        return DeclaredPage(header, page, offset)

    def _pages(self) -> Iterator[DeclaredPage]:
        if not self.root:
            yield self.inline()
            return
        tree = self._tree
        page = tree.load(self.root, self.offset)
        if page.header["flags"] == LEAF:
            yield page
            return
        above = [iter(tree.branch(page))]
        while above:
            child = next(above[-1], None)
            if child is None:
                above.pop()
                continue
            page = tree.load(child.pgid, child.offset)
            if page.header["flags"] == LEAF:
                yield page
                continue
            if len(above) == MAX_DEPTH:
                raise tree.corrupt(f"more than {MAX_DEPTH} levels of branch pages", child.offset)
            above.append(iter(tree.branch(page)))


@final
class DeclaredTree:
    """The pages that one meta reaches. Each page belongs to the one place that refers to it.

    Attributes:
        owners: for each page, the byte of the file that refers to it.
    """

    def __init__(self, source: Source, meta: Meta) -> None:
        self.source = source
        self.meta = meta
        self.page_size = meta.page_size
        self.end = min(meta.high_water, source.size // meta.page_size)
        self.owners: dict[int, int] = {}
        self._covered = 0

    def load(self, pgid: int, referrer: int, kinds: tuple[int, ...] = (LEAF, BRANCH)) -> DeclaredPage:
        """The page at a position.

        Args:
            pgid: its position.
            referrer: the byte of the file that refers to it; the same at every call for this page.
            kinds: the flags that it may have.

        Raises:
            BoltError: the page is of another kind, another place refers to it, or it cannot be read.
        """
        size, offset = self.page_size, pgid * self.page_size
        self.claim(pgid, referrer)
        data = self.source.read(offset, size, pgid)
        header = parse_header(data)
        if header["id"] != pgid:
            raise self.corrupt(f"the page is overwritten: its header has the number {header['id']}", offset)
        if header["flags"] not in kinds:
            raise self.corrupt(f"the page has flags {header['flags']:#x}", offset)
        if header["overflow"]:
            self._cover(pgid, header["overflow"], referrer)
            data += self.source.read(offset + size, header["overflow"] * size, pgid)
        if header["flags"] != FREELIST and HEADER * (header["count"] + 1) > len(data):
            raise self.corrupt(f"the page has {header['count']} elements in {len(data)} bytes", offset)
        return DeclaredPage(header, data, offset)

    def leaf(self, page: DeclaredPage) -> DeclaredLeaf:
        """The entries of a leaf page; the values of buckets are not decoded.

        Raises:
            Corrupt: a key or a value lies outside of the page or in another one, or an element has impossible numbers.
        """
        header, data, offset = page
        elements = parse_leaf(data, header["count"])
        keys: list[bytes] = []
        values: list[bytes | DeclaredBucket] = []
        at, end, last = HEADER, HEADER * (header["count"] + 1), len(data)
        for element in elements:
            flags, ksize, vsize = element["flags"], element["ksize"], element["vsize"]
            start = at + element["pos"]
            middle = start + ksize
            stop = middle + vsize
            if start < end or stop > last or not 0 < ksize <= MAX_KEY:
                raise self.corrupt(f"a key of {ksize} and a value of {vsize} bytes do not fit here", offset + at)
            if flags and (flags != BUCKET or vsize < HEADER):
                raise self.corrupt(f"an element with flags {flags:#x} and {vsize} bytes", offset + at)
            keys.append(data[start:middle])
            values.append(data[middle:stop])
            at += HEADER
            end = stop
        return DeclaredLeaf(page, elements, keys, values)

    def branch(self, page: DeclaredPage) -> list[DeclaredChild]:
        """The children of a branch page.

        Raises:
            Corrupt: it has no child, or a key lies outside of the page or in another one.
        """
        header, data, offset = page
        if not header["count"]:
            raise self.corrupt("a branch without children", offset)
        found: list[DeclaredChild] = []
        at, end = HEADER, HEADER * (header["count"] + 1)
        for element in parse_branch(data, header["count"]):
            start, ksize = at + element["pos"], element["ksize"]
            if start < end or start + ksize > len(data) or not 0 < ksize <= MAX_KEY:
                raise self.corrupt(f"a key of {ksize} bytes does not fit here", offset + at)
            end = start + ksize
            found.append(DeclaredChild(data[start:end], element["pgid"], offset + at, end))
            at += HEADER
        return found

    def free(self, page: DeclaredPage) -> array[int]:
        """The ids of a freelist page.

        Raises:
            Corrupt: there are fewer of them than its count.
        """
        header, data, offset = page
        found = parse_freelist(data, header["count"])
        if found.declared_count > len(found.ids):
            raise self.corrupt(f"{found.declared_count} free pages in {len(data)} bytes", offset)
        return found.ids

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
        owner = self.owners.setdefault(pgid, referrer)
        if owner != referrer:
            raise self.corrupt(f"page {pgid} is referenced here and at {owner:#x}", referrer)

    def corrupt(self, message: str, offset: int) -> Corrupt:
        """An error at a byte of the file."""
        return Corrupt(message, file=self.source.name, page=offset // self.page_size, offset=offset)

    def _cover(self, pgid: int, overflow: int, referrer: int) -> None:
        """Claim the places that a page's overflow takes."""
        offset, length = pgid * self.page_size, (overflow + 1) * self.page_size
        if pgid + overflow >= self.meta.high_water:
            raise self.corrupt(
                f"the page reaches to page {pgid + overflow}, but there are only {self.meta.high_water} pages", offset
            )
        if length > READ_LIMIT:
            raise self.corrupt(f"a page of {length} bytes", offset)
        if self.owners.get(pgid + overflow) == referrer:
            return
        self._covered += overflow
        if self._covered > _COVERED:
            held = sum(end - start for start, end in self.source.stretches()) // self.page_size
            if self._covered > max(_COVERED, _SPARSE * held):
                raise self.corrupt(f"overflow over {self._covered} places, most of them holes", offset)
        for place in range(pgid + 1, pgid + overflow + 1):
            self.claim(place, referrer)


def read_metas(source: Source) -> tuple[Meta, Meta]:
    """Both metas of a file. Page 0 gives the page size; if it is lost, page 1 is looked for as bbolt does.

    Raises:
        NotBolt: neither is valid.
        Unreadable: the file cannot be read.
    """
    first = read_meta(source, 0, 0)
    if first.valid:
        return first, read_meta(source, 1, first.page_size)
    for size in PAGE_SIZES:
        second = read_meta(source, 1, size)
        if second.valid:
            return first, second
    raise NotBolt(f"not a bbolt file: {first.reason}, and no second meta", file=source.name, page=0, offset=0)


def choose(metas: tuple[Meta, Meta]) -> Meta:
    """The valid meta of the later transaction; the first of equal ones (bbolt v1.3.6 db.go, ``meta``)."""
    first, second = metas
    if first.valid and second.valid:
        return second if second.txid > first.txid else first
    return first if first.valid else second


def fnv1a(data: bytes) -> int:
    """FNV-1a, 64 bits: the checksum of a meta."""
    value = 14695981039346656037
    for byte in data:
        value = (value ^ byte) * 1099511628211 % (1 << 64)
    return value


def read_meta(source: Source, index: int, offset: int) -> Meta:
    """One meta page, valid or not.

    Raises:
        Unreadable: the file cannot be read.
    """
    length = HEADER + META
    raw = source.read(offset, max(0, min(length, source.size - offset)), index) if offset < source.size else b""
    if len(raw) < length:
        reason = "the file is too short for a meta" if source.size else "the file is empty"
        return Meta(index, offset, reason, raw)
    header, meta = parse_header(raw), parse_meta(raw)
    size = meta["page_size"]
    reasons = (
        (meta["magic"] == _MAGIC, f"magic {meta['magic']:#010x}, not {_MAGIC:#010x}"),
        (meta["version"] == _VERSION, f"version {meta['version']}, not {_VERSION}"),
        (meta["checksum"] == fnv1a(raw[HEADER : HEADER + _CHECKED]), "checksum does not match"),
        (size in PAGE_SIZES, f"page size {size}"),
        (index == 0 or size == offset, f"page size {size} in the meta at {offset}"),
    )
    reason = next((text for fits, text in reasons if not fits), "")
    return Meta(
        index,
        offset,
        reason,
        raw,
        id=header["id"],
        flags=header["flags"],
        page_size=size,
        root=meta["root"],
        sequence=meta["sequence"],
        freelist=meta["freelist"],
        high_water=meta["high_water"],
        txid=meta["txid"],
        checksum=meta["checksum"],
    )
