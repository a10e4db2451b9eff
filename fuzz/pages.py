"""Sound bbolt files by the shortest way: what they hold, and where their numbers lie. Shares nothing with src/."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

HEADER = struct.Struct("<QHHI")
LEAF = struct.Struct("<IIII")
BRANCH = struct.Struct("<IIQ")
BUCKET = struct.Struct("<QQ")
META = struct.Struct("<IIIIQQQQQ")
_SIZE = 16
_CHECKED = META.size
_LEAF_PAGE = 2
_MAGIC, _VERSION = 0xED0CDAED, 2
_OFFSET, _PRIME = 14695981039346656037, 1099511628211


class Number(NamedTuple):
    """A number of the format in a file: where it lies, how wide it is, and what it is."""

    offset: int
    width: int
    what: str


def fnv1a(data: bytes) -> int:
    """The checksum of a meta."""
    value = _OFFSET
    for byte in data:
        value = ((value ^ byte) * _PRIME) % 2**64
    return value


def page_size(data: bytes) -> int:
    """As the first meta says it; 1024 where that is not to be believed."""
    if len(data) < _SIZE + META.size:
        return 1024
    size: int = META.unpack_from(data, _SIZE)[2]
    return size if size in {1024 << power for power in range(7)} else 1024


def _meta(data: bytes, at: int) -> tuple[int, ...] | None:
    """The numbers of a meta that counts (bbolt meta.go Validate, v1.3.11)."""
    meta: tuple[int, ...] = META.unpack_from(data, at)
    (total,) = struct.unpack_from("<Q", data, at + _CHECKED)
    return meta if meta[:2] == (_MAGIC, _VERSION) and total == fnv1a(data[at : at + _CHECKED]) else None


def checked(data: bytes | bytearray) -> bytes:
    """The file with checksums that fit both metas, where the file is long enough to have them."""
    fixed = bytearray(data)
    for at in (_SIZE, page_size(bytes(data)) + _SIZE):
        if at + _CHECKED + 8 <= len(fixed):
            struct.pack_into("<Q", fixed, at + _CHECKED, fnv1a(bytes(fixed[at : at + _CHECKED])))
    return bytes(fixed)


class File:
    """A sound file, read as its newest meta has it.

    Attributes:
        pages: those the tree takes, overflow included.
        numbers: every number that says where something is, how long, how many, or of what kind.
        contents: each bucket's sequence and each value, by its path.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = page_size(data)
        metas = [_meta(data, index * self.size + _SIZE) for index in (0, 1)]
        # A meta of another page size than its file's is none that counts, whatever its checksum.
        newest = max((meta for meta in metas if meta and meta[2] == self.size), key=lambda meta: meta[8])
        self.high_water: int = newest[7]
        self.pages: set[int] = set()
        self.numbers: list[Number] = []
        self.contents: dict[tuple[bytes, ...], int | bytes] = {(): newest[5]}
        for path, entries in self._tree(newest[4], ()):
            self._entries(path, entries)

    def _tree(self, pgid: int, path: tuple[bytes, ...]) -> Iterator[tuple[tuple[bytes, ...], int]]:
        at = pgid * self.size
        _, flags, count, overflow = HEADER.unpack_from(self.data, at)
        self.pages.update(range(pgid, pgid + overflow + 1))
        self._header(at)
        if flags == _LEAF_PAGE:
            yield path, at
            return
        for index in range(count):
            element = at + _SIZE * (index + 1)
            self._number(element, 4, "pos")
            # The length of the last key may grow into what lies behind it.
            self._number(element + 4, 4, "size" if index + 1 < count else "last")
            self._number(element + 8, 8, "page")
            yield from self._tree(BRANCH.unpack_from(self.data, element)[2], path)

    def _entries(self, path: tuple[bytes, ...], at: int, *, inline: bool = False) -> None:
        count = HEADER.unpack_from(self.data, at)[2]
        for index in range(count):
            element = at + _SIZE * (index + 1)
            flags, pos, ksize, vsize = LEAF.unpack_from(self.data, element)
            self._number(element, 4, "flags")
            self._number(element + 4, 4, "pos")
            last = index + 1 == count and not inline
            self._number(element + 8, 4, "last" if last else "size")
            self._number(element + 12, 4, "last" if last else "size")
            key_at = element + pos
            key = self.data[key_at : key_at + ksize]
            value_at = key_at + ksize
            if not flags:
                self.contents[(*path, key)] = self.data[value_at : value_at + vsize]
                continue
            root, sequence = BUCKET.unpack_from(self.data, value_at)
            self.contents[(*path, key)] = sequence
            self._number(value_at, 8, "page")
            if root:
                for below, entries in self._tree(root, (*path, key)):
                    self._entries(below, entries)
            else:
                self._header(value_at + _SIZE)
                self._entries((*path, key), value_at + _SIZE, inline=True)

    def _header(self, at: int) -> None:
        self._number(at, 8, "id")
        self._number(at + 8, 2, "flags")
        self._number(at + 10, 2, "count")
        self._number(at + 12, 4, "overflow")

    def _number(self, offset: int, width: int, what: str) -> None:
        self.numbers.append(Number(offset, width, what))
