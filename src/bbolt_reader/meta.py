"""The two metas: which are valid, which one is in use, and the page size."""

from __future__ import annotations

from typing import Final, NamedTuple

from bbolt_reader import packed
from bbolt_reader.errors import NotBolt
from bbolt_reader.source import Source

MAGIC: Final = 0xED0CDAED
VERSION: Final = 2
NO_FREELIST: Final = 0xFFFFFFFFFFFFFFFF
PAGE_META: Final = 0x04
REBUILT: Final = 0x53414C56
"""A mark in the flags of a meta: the file was rebuilt from a damaged one. bbolt does not use these flags, and each
commit keeps those of the one before (v1.3.6 db.go, meta.copy; v1.4 internal/common/meta.go, Copy). So the mark stays
with the file and its copies, whoever changes them."""
PAGE_SIZES: Final = tuple(1024 << power for power in range(15))
"""1 KiB to 16 MiB: the sizes that bbolt tries if page 0 is lost (v1.4 db.go, getPageSizeFromSecondMeta)."""

_HEADER_SIZE: Final = 16
_SIZE: Final = 64
_CHECKED: Final = 56
_FLAGS: Final = slice(28, 32)


class Meta(NamedTuple):
    """One meta page of the file, valid or not."""

    index: int  # type: ignore[assignment] # shadows tuple.index, which nobody asks a meta for
    """0 or 1: the page it is on."""
    offset: int
    """The byte of the file where its page starts."""
    reason: str
    """Why it is not valid, in one line; empty if it is valid."""
    raw: bytes
    """Page header and meta, 80 bytes; fewer at the end of a short file."""
    id: int = 0
    """The page id in its page header."""
    flags: int = 0
    """The flags of its page header."""
    page_size: int = 0
    root: int = 0
    sequence: int = 0
    freelist: int = 0
    high_water: int = 0
    """The first page id that was never used."""
    txid: int = 0
    checksum: int = 0

    @property
    def valid(self) -> bool:
        """Whether bbolt would use it."""
        return not self.reason

    @property
    def is_rebuilt(self) -> bool:
        """Whether the file was rebuilt from a damaged one, and so may lack records."""
        return int.from_bytes(self.raw[_FLAGS], "little") == REBUILT

    @property
    def has_freelist(self) -> bool:
        """Whether there is a list of free pages; if not, the free pages are those that nothing reaches."""
        return self.freelist != NO_FREELIST


def checksum(data: bytes) -> int:
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def read_metas(source: Source) -> tuple[Meta, Meta]:
    """Both metas of a file, found as bbolt does: page 0 gives the page size, and if it is lost, page 1 is looked for.

    Raises:
        NotBolt: neither is valid.
        Unreadable: the file cannot be read.
    """
    first = _read(source, 0, 0)
    if first.valid:
        return first, _read(source, 1, first.page_size)
    for size in PAGE_SIZES:
        second = _read(source, 1, size)
        if second.valid:
            return first, second
    raise NotBolt(f"not a bbolt file: {first.reason}, and no second meta", file=source.name, page=0, offset=0)


def choose(metas: tuple[Meta, Meta]) -> Meta:
    """The valid meta of the later transaction; the first of equal ones, as bbolt's ``db.meta`` has it."""
    return max((meta for meta in metas if meta.valid), key=lambda meta: (meta.txid, -meta.index))


def _read(source: Source, index: int, offset: int) -> Meta:
    there = source.size - offset
    raw = source.read(offset, min(_HEADER_SIZE + _SIZE, there), index) if there > 0 else b""
    if len(raw) < _HEADER_SIZE + _SIZE:
        reason = "the file is too short for a meta" if source.size else "the file is empty"
        return Meta(index, offset, reason, raw)
    own, page_flags, _, _ = packed.PAGE_HEADER.unpack_from(raw)
    magic, version, page_size, _, root, sequence, freelist, high_water, txid, found = packed.META.unpack_from(
        raw, _HEADER_SIZE
    )
    reason = ""
    if magic != MAGIC:
        reason = f"magic {magic:#010x}, not {MAGIC:#010x}"
    elif version != VERSION:
        reason = f"version {version}, not {VERSION}"
    elif found != checksum(raw[_HEADER_SIZE : _HEADER_SIZE + _CHECKED]):
        reason = "checksum does not match"
    elif page_size not in PAGE_SIZES:
        reason = f"page size {page_size}"
    elif index and page_size != offset:
        reason = f"page size {page_size} in the meta at {offset}"
    return Meta(
        index,
        offset,
        reason,
        raw,
        own,
        page_flags,
        page_size,
        root,
        sequence,
        freelist,
        high_water,
        txid,
        found,
    )
