"""A layer as tarfile reads it: forward only, never behind its end, and no header of any length."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from typing import Final, cast

from drydock.verification.decompression import UnreadableLayer

_CHUNK: Final = 1 << 20
_LONGEST_HEADER: Final = 1 << 20  # Go's reader refuses longer ones (archive/tar/common.go, maxSpecialFileSize, 1.22)
_SPECIAL: Final = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip


class Forward:
    """What is read at a byte of a stream, and how far that is.

    tarfile's own (``tarfile._Stream`` of CPython 3.11) reads on behind the end for as long as the size in a header
    says: a header of 512 bytes would take it years.

    Args:
        source: gives at most as many bytes as it is asked for, and none at the end.
    """

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source
        self._ahead = memoryview(b"")
        self._at = 0

    def tell(self) -> int:
        """Bytes that were read or gone past."""
        return self._at

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer where the stream ends before."""
        parts: list[memoryview] = []
        left = size
        while left > 0 and not self.is_at_end():
            part = self._ahead[:left]
            self._ahead = self._ahead[len(part) :]
            parts.append(part)
            left -= len(part)
        found = b"".join(parts)
        self._at += len(found)
        return found

    def seek(self, to: int) -> int:
        """Go on to a byte, or to the end where that comes first; where it is now.

        Raises:
            tarfile.StreamError: the byte is behind.
        """
        if to < self._at:
            raise tarfile.StreamError("seeking backwards is not allowed")
        while self._at < to and self.read(min(to - self._at, _CHUNK)):
            pass
        return self._at

    def is_at_end(self) -> bool:
        """Whether nothing follows."""
        return not self._ahead and not self._fill()

    def _fill(self) -> bool:
        self._ahead = memoryview(self._source(_CHUNK))
        return bool(self._ahead)


class Header(tarfile.TarInfo):
    """Refuses headers that would take any amount of memory, and takes nothing from one of the whole archive.

    Names are those that Go reads: only in some formats is there a prefix of one.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Header:
        """As tarfile's own.

        Raises:
            UnreadableLayer: it is of an entry that tarfile reads at once, and that is longer than Go's reader accepts.
        """
        return cls._checked(super().frombuf(buf, encoding, errors), buf, encoding, errors)

    @classmethod
    def _frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str, **options: object) -> Header:
        # Where there is this one (CPython since its fix of directories' names, 2026), fromtarfile goes past frombuf.
        header = super()._frombuf(buf, encoding, errors, **options)  # type: ignore[misc] # not in typeshed
        return cls._checked(header, buf, encoding, errors)

    def _proc_pax(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        # Go gives one of the whole archive as an entry, and applies it to no other (archive/tar/reader.go next, 1.22).
        if self.type == tarfile.XGLTYPE:
            return self._proc_builtin(archive)  # type: ignore[attr-defined, no-any-return] # not in typeshed
        return super()._proc_pax(archive)  # type: ignore[misc, no-any-return] # the same

    def _apply_pax_info(self, records: dict[str, str], encoding: str, errors: str) -> None:
        # Of several in a row Go takes the last, which comes first here, and nothing of an empty one (next, mergePAX).
        if self.pax_headers:
            return
        said = {keyword: value for keyword, value in records.items() if value}
        super()._apply_pax_info(said, encoding, errors)  # type: ignore[misc] # the same
        self.pax_headers = records

    @staticmethod
    def _checked(header: tarfile.TarInfo, buf: bytes | bytearray, encoding: str, errors: str) -> Header:
        if header.type in _SPECIAL and header.size > _LONGEST_HEADER:
            raise UnreadableLayer("its layer has a header longer than containerd reads")
        if not _has_prefix(bytes(buf)):
            name = bytes(buf[:100]).partition(b"\0")[0].decode(encoding, errors)
            header.name = name.rstrip("/") if header.isdir() else name
        return cast("Header", header)


def _has_prefix(header: bytes) -> bool:
    """Whether a prefix of the name stands at byte 345, as Go reads it (archive/tar/reader.go readHeader, 1.19).

    GNU headers have the times of the last access and change there. Go's own writer before 1.8 put a prefix into such
    headers too: what is no two times and is ASCII is one.
    """
    if header[257:265] != b"ustar  \0":
        return header[257:263] == b"ustar\0"
    if all(map(_is_number, (header[345:357], header[357:369]))):
        return False
    return header[345:500].partition(b"\0")[0].isascii()


def _is_number(field: bytes) -> bool:
    """Whether Go takes a time for a number: octal digits, or binary (archive/tar/strconv.go parseNumeric, 1.19)."""
    if field[0] & 0x80:
        # The bit below the first is the sign.
        return -(1 << 63) <= int.from_bytes(field, "big", signed=True) + (0 if field[0] & 0x40 else 1 << 95) < 1 << 63
    return field[0] == 0 or not field.strip(b" \0").partition(b"\0")[0].strip(b"01234567")
