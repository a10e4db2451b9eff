"""Reads tar archives forward only, by the rules of Go's archive/tar, with which containerd unpacks layers.

Where readers of tar differ, the files on disk are as Go read the layer, and a layer that Go refuses was never unpacked.
Anybody may have written a layer, so no header takes more than 1 MiB.

Sources: Go archive/tar reader.go (Next, readHeader, mergePAX, parsePAX, readOldGNUSparseMap, readGNUSparseMap1x0,
readGNUSparseMap0x1), strconv.go, format.go, common.go (validateSparseEntries), 1.19 to 1.26; POSIX.1-2017 pax; GNU tar
manual, "Storing Sparse Files".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from drydock.verification.decompression import UnreadableLayer

LINK: Final = b"1"
SYMLINK: Final = b"2"
CHARACTER: Final = b"3"
BLOCK: Final = b"4"
DIRECTORY: Final = b"5"
FIFO: Final = b"6"
GLOBAL: Final = b"g"
FILES: Final = (b"0", b"7", b"S")
"""Types of files: regular, contiguous (which no reader tells from regular), sparse in GNU's old format."""
_EXTENDED: Final = b"x"
_LONG_NAME, _LONG_LINK = b"L", b"K"
_OLD_SPARSE: Final = b"S"
_WITHOUT_DATA: Final = (LINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO)
"""Types without data, whatever size their header has."""
_BLOCK: Final = 512
_ZEROS: Final = bytes(_BLOCK)
_CHUNK: Final = 1 << 20
_LONGEST: Final = 1 << 20
"""Bytes of a header besides its own block, or of a map of holes (common.go maxSpecialFileSize, 1.19)."""
_USTAR: Final = b"ustar\0"
_GNU: Final = b"ustar  \0"
_STAR: Final = b"tar\0"
"""The last bytes of a header of Schily's star."""
_LARGEST: Final = (1 << 63) - 1
_SECOND: Final = 1_000_000_000
_SHORTEST: Final = 5
"""Length of the shortest record, ``5 a=`` with its newline."""
_MOST_DIGITS: Final = 4096
"""Longest number that is parsed: Python refuses longer ones, and only zeros could make one valid."""
_DECIMAL: Final = re.compile(rb"[+-]?[0-9]+\Z")
_DIGITS: Final = re.compile(rb"[0-9]*\Z")
_OCTAL: Final = re.compile(rb"[0-7]+\Z")
_STRINGS: Final = (b"path", b"linkpath", b"uname", b"gname")
_SPARSE_OFFSET, _SPARSE_LENGTH, _SPARSE_MAP = b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"GNU.sparse.map"

Segments = list[tuple[int, int]]
"""The parts of a file that have data: start and length of each."""


@dataclass(slots=True)
class TarEntry:
    """One entry, with its extended headers applied."""

    name: bytes
    """As in the archive: it may be absolute, have ``..`` parts, and end with a slash."""
    kind: bytes
    """Its type flag."""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    """Bytes of the file, including its holes."""
    target: bytes = b""
    """Of a link."""
    device: tuple[int, int] = (0, 0)
    """Major and minor number."""
    records: Mapping[bytes, bytes] = field(default_factory=dict)
    """Of its own pax header."""
    segments: Segments | None = None
    """Of a file with holes; None for any other entry."""
    modified: int = 0
    """Nanoseconds since 1970."""
    accessed: int = 0
    """The same; 0 if the archive does not have it."""


class TarReader:
    """Gives the entries of an archive one by one.

    Args:
        read: returns at most as many bytes as its argument, and none at the end of the archive.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._ahead = b""
        self._at = 0
        """Position in ``_ahead``."""
        self._left = 0
        """Bytes of data of the last entry that are not read yet."""
        self._padding = 0

    def next(self) -> TarEntry | None:
        """Read the next entry; None at the end of the archive.

        Raises:
            UnreadableLayer: Go cannot read it either.
        """
        records: dict[bytes, bytes] = {}
        long_name = long_target = b""
        while True:
            self._skip(self._left)
            # An archive may end without the padding of its last entry.
            self._take(self._padding)
            self._left = self._padding = 0
            block = self._header_block()
            if block is None:
                return None
            entry = _parse_header(block)
            self._expect(entry)
            if entry.kind in (_EXTENDED, GLOBAL):
                records = _parse_records(self._special())
                if entry.kind == GLOBAL:
                    # Go returns a global header as an entry, and applies it to no other.
                    return TarEntry(records.get(b"path") or entry.name, GLOBAL)
            elif entry.kind == _LONG_NAME:
                long_name = self._special().partition(b"\0")[0]
            elif entry.kind == _LONG_LINK:
                long_target = self._special().partition(b"\0")[0]
            else:
                _merge(entry, records)
                entry.name, entry.target = long_name or entry.name, long_target or entry.target
                if entry.kind == b"\0":
                    entry.kind = DIRECTORY if entry.name.endswith(b"/") else b"0"
                self._expect(entry)
                self._read_map(entry, block)
                return entry

    def data(self, entry: TarEntry) -> Iterator[bytes]:
        """Read the data of the entry that :meth:`next` returned last, holes as zeros, at most 1 MiB at a time.

        Raises:
            UnreadableLayer: the archive ends within the data.
        """
        if entry.segments is None:
            yield from self._chunks(self._left)
            return
        end = 0
        for start, length in [*entry.segments, (entry.size, 0)]:
            while end < start:
                zeros = bytes(min(start - end, _CHUNK))
                end += len(zeros)
                yield zeros
            for chunk in self._chunks(length):
                end += len(chunk)
                yield chunk

    def _expect(self, entry: TarEntry) -> None:
        """Set the size of the data after a header."""
        size = 0 if entry.kind in _WITHOUT_DATA else entry.size
        if size < 0:
            raise _bad("an entry has a negative size")
        self._left, self._padding = size, -size % _BLOCK

    def _header_block(self) -> bytes | None:
        block = self._take(_BLOCK)
        if block == _ZEROS:
            block = self._take(_BLOCK)
            if block == _ZEROS:
                return None
            if block:
                raise _bad("a header follows a block of zeros")
        if not block:
            return None
        if len(block) < _BLOCK:
            raise _bad("it ends within a header")
        return block

    def _special(self) -> bytes:
        """The data of an entry that is part of the next header."""
        if self._left > _LONGEST:
            raise UnreadableLayer("its layer has a header longer than containerd reads")
        return b"".join(self._chunks(self._left))

    def _read_map(self, entry: TarEntry, block: bytes) -> None:
        """Find the data of a file with holes; its size becomes that of the whole file."""
        entry.segments = self._old_map(entry, block) if entry.kind == _OLD_SPARSE else self._pax_map(entry)
        if entry.segments is None:
            return
        end = 0
        for start, length in entry.segments:
            if length < 0 or start < end or start + length > entry.size:
                raise _bad("a map of holes does not fit its file")
            end = start + length
        if entry.kind in _WITHOUT_DATA or entry.size < 0:
            raise _bad("a map of holes has no file")
        if sum(length for _, length in entry.segments) != self._left:
            raise _bad("a map of holes does not fit its data")

    def _old_map(self, entry: TarEntry, block: bytes) -> Segments:
        if block[257:265] != _GNU:
            raise _bad("a map of holes has an unknown form")
        entry.size = _number(block[483:495])
        found: Segments = []
        part, count, read = block[386:483], 4, 0
        while True:
            for at in range(0, 24 * count, 24):
                if part[at] == 0:
                    break
                found.append((_number(part[at : at + 12]), _number(part[at + 12 : at + 24])))
            if not part[24 * count]:
                return found
            # Blocks that continue a map are not part of the entry's data.
            part, count, read = self._take(_BLOCK), 21, read + _BLOCK
            if read > _LONGEST:
                raise _too_many_holes()
            if len(part) < _BLOCK:
                raise _bad("it ends within a map of holes")

    def _pax_map(self, entry: TarEntry) -> Segments | None:
        records = entry.records
        if not records:
            return None
        version = records.get(b"GNU.sparse.major", b""), records.get(b"GNU.sparse.minor", b"")
        is_old = version in ((b"0", b"0"), (b"0", b"1")) or (version == (b"", b"") and records.get(_SPARSE_MAP))
        if not is_old and version != (b"1", b"0"):
            return None
        entry.name = records.get(b"GNU.sparse.name") or entry.name
        size = records.get(b"GNU.sparse.size") or records.get(b"GNU.sparse.realsize")
        if size:
            entry.size = _decimal(size)
        if not is_old:
            return self._map_in_data()
        count = _decimal(records.get(b"GNU.sparse.numblocks", b""))
        numbers = records.get(_SPARSE_MAP)
        return _pairs(numbers.split(b",") if numbers else [], count)

    def _map_in_data(self) -> Segments:
        """Read the map of format 1.0: lines at the beginning of the data, up to the end of a block."""
        raw = b""
        while b"\n" not in raw:
            raw += self._map_block(len(raw))
        first, _, rest = raw.partition(b"\n")
        count = _decimal(first)
        parts, read, missing = [rest], len(raw), 2 * count - rest.count(b"\n")
        while missing > 0:
            parts.append(self._map_block(read))
            read += _BLOCK
            missing -= parts[-1].count(b"\n")
        lines = b"".join(parts).split(b"\n", max(0, 2 * count))
        return _pairs(lines[:-1], count)

    def _map_block(self, read: int) -> bytes:
        if read + _BLOCK > _LONGEST:
            raise _too_many_holes()
        if self._left < _BLOCK:
            raise _bad("it ends within a map of holes")
        return b"".join(self._chunks(_BLOCK))

    def _take(self, size: int) -> bytes:
        """Read the next bytes; fewer at the end of the archive."""
        found = self._ahead[self._at : self._at + size]
        self._at += len(found)
        while len(found) < size and self._fill():
            part = self._ahead[: size - len(found)]
            self._at = len(part)
            found += part
        return found

    def _chunks(self, length: int) -> Iterator[bytes]:
        """Read the next bytes of the entry's data."""
        while length:
            if self._at == len(self._ahead) and not self._fill():
                raise _bad("it ends within an entry")
            chunk = self._ahead[self._at : self._at + length]
            self._at += len(chunk)
            self._left -= len(chunk)
            length -= len(chunk)
            yield chunk

    def _skip(self, length: int) -> None:
        while length:
            if self._at == len(self._ahead) and not self._fill():
                raise _bad("it ends within an entry")
            step = min(length, len(self._ahead) - self._at)
            self._at += step
            length -= step

    def _fill(self) -> bool:
        self._ahead, self._at = self._read(_CHUNK), 0
        return bool(self._ahead)


def _bad(what: str) -> UnreadableLayer:
    return UnreadableLayer(f"its layer cannot be read: {what}")


def _too_many_holes() -> UnreadableLayer:
    return UnreadableLayer("its layer has a map of holes longer than containerd reads")


def _parse_header(block: bytes) -> TarEntry:
    """Parse one header block.

    Raises:
        UnreadableLayer: its checksum or one of its numbers is wrong.
    """
    checksum = _octal(block[148:156])
    if checksum != sum(block) - sum(block[148:156]) + 8 * ord(" ") and checksum != _signed_sum(block):
        raise _bad("a header has a wrong checksum")
    entry = TarEntry(
        _text(block[:100]), block[156:157], _number(block[100:108]), _number(block[108:116]), _number(block[116:124]),
        _number(block[124:136]), _text(block[157:257]),
    )  # fmt: skip
    entry.modified = _number(block[136:148]) * _SECOND
    prefix = b""
    magic = block[257:265]
    if magic.startswith(_USTAR):
        entry.device = _number(block[329:337]), _number(block[337:345])
        if block[508:] == _STAR:
            prefix = _text(block[345:476])
            entry.accessed = _number(block[476:488]) * _SECOND
            _number(block[488:500])
        else:
            prefix = _text(block[345:500])
    elif magic == _GNU:
        entry.device = _number(block[329:337]), _number(block[337:345])
        prefix = _gnu_prefix(block)
        if not prefix and block[345]:
            with suppress(UnreadableLayer):
                entry.accessed = _number(block[345:357]) * _SECOND
    if prefix:
        entry.name = prefix + b"/" + entry.name
    return entry


def _gnu_prefix(block: bytes) -> bytes:
    """The prefix of a name in a GNU header, where such headers have the times of the last access and change.

    Go's writer before 1.8 put a prefix there: if the fields are no times and ASCII, they are a prefix.
    """
    try:
        for field_ in (block[345:357], block[357:369]):
            if field_[0]:
                _number(field_)
    except UnreadableLayer:
        prefix = _text(block[345:500])
        return prefix if prefix.isascii() else b""
    return b""


def _merge(entry: TarEntry, records: Mapping[bytes, bytes]) -> None:
    """Apply the records of a pax header; an empty record leaves the field of the header."""
    entry.records = records
    for key, value in records.items():
        if not value:
            continue
        match key:
            case b"path":
                entry.name = value
            case b"linkpath":
                entry.target = value
            case b"uid":
                entry.uid = _decimal(value)
            case b"gid":
                entry.gid = _decimal(value)
            case b"size":
                entry.size = _decimal(value)
            case b"atime":
                entry.accessed = _time(value)
            case b"mtime":
                entry.modified = _time(value)
            case b"ctime":
                _time(value)


def _parse_records(raw: bytes) -> dict[bytes, bytes]:
    """Parse the records of a pax header; those of GNU's sparse format 0.0 become those of format 0.1.

    Raises:
        UnreadableLayer: a record is malformed.
    """
    records: dict[bytes, bytes] = {}
    numbers: list[bytes] = []
    at = 0
    while at < len(raw):
        space = raw.find(b" ", at)
        length = _decimal(raw[at:space]) if space >= 0 else 0
        end = at + length
        if length < _SHORTEST or end > len(raw) or space + 1 >= end or raw[end - 1 : end] != b"\n":
            raise _bad("a header has a record of a wrong length")
        key, equals, value = raw[space + 1 : end - 1].partition(b"=")
        if not key or not equals or b"\0" in (value if key in _STRINGS else key):
            raise _bad("a header has a record without a name")
        at = end
        if key in (_SPARSE_OFFSET, _SPARSE_LENGTH):
            if key != (_SPARSE_LENGTH if len(numbers) % 2 else _SPARSE_OFFSET) or b"," in value:
                raise _bad("a map of holes is out of order")
            numbers.append(value)
        else:
            records[key] = value
    if numbers:
        records[_SPARSE_MAP] = b",".join(numbers)
    return records


def _pairs(numbers: Sequence[bytes], count: int) -> Segments:
    if count < 0 or len(numbers) != 2 * count:
        raise _bad("a map of holes has a wrong length")
    parsed = [_decimal(each) for each in numbers]
    return list(zip(parsed[::2], parsed[1::2], strict=True))


def _text(field_: bytes) -> bytes:
    return field_.partition(b"\0")[0]


def _number(field_: bytes) -> int:
    """Parse a number of a header: octal digits, or binary, which may be negative."""
    if not field_[0] & 0x80:
        return _octal(field_)
    bits = 8 * len(field_) - 1
    value = int.from_bytes(field_, "big") & (1 << bits) - 1
    is_negative = field_[0] & 0x40
    if is_negative:
        value ^= (1 << bits) - 1
    if value > _LARGEST:
        raise _bad("a header has a number that is too large")
    return ~value if is_negative else value


def _octal(field_: bytes) -> int:
    digits = field_.strip(b" \0")
    if not digits:
        return 0
    if not _OCTAL.match(digits):
        digits = _text(digits)
        if not _OCTAL.match(digits):
            raise _bad("a header has an invalid number")
    return int(digits, 8)


def _decimal(raw: bytes) -> int:
    """Parse a number of a pax record as Go's strconv.ParseInt does, for 64 bits."""
    value = int(raw) if _DECIMAL.match(raw) and len(raw) <= _MOST_DIGITS else None
    if value is None or not -_LARGEST - 1 <= value <= _LARGEST:
        raise _bad("a header has an invalid number")
    return value


def _time(raw: bytes) -> int:
    """Parse a time of a pax record to nanoseconds since 1970, as Go's parsePAXTime does: further digits are cut off."""
    seconds, _, fraction = raw.partition(b".")
    whole = _decimal(seconds)
    if not _DIGITS.match(fraction):
        raise _bad("a header has an invalid time")
    part = int(fraction[:9].ljust(9, b"0"))
    return whole * _SECOND + (-part if seconds.startswith(b"-") else part)


def _signed_sum(block: bytes) -> int:
    """The checksum of Sun's tar, of signed bytes."""
    counted = block[:148] + b" " * 8 + block[156:]
    return sum(counted) - 256 * sum(byte >= 0x80 for byte in counted)
