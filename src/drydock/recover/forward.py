"""A layer as tarfile reads it: forward only, never behind its end, and no header of any length."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from typing import Final, cast

from drydock.recover.decoder import Unreadable

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
    """Refuses headers that would take any amount of memory, and takes nothing from one of the whole archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Header:
        """As tarfile's own.

        Raises:
            Unreadable: it is of an entry that tarfile reads at once, and that is longer than Go's reader accepts.
        """
        return cls._checked(super().frombuf(buf, encoding, errors))

    @classmethod
    def _frombuf(cls, *arguments: object, **options: object) -> Header:
        # Where there is this one (CPython since its fix of directories' names, 2026), fromtarfile goes past frombuf.
        return cls._checked(super()._frombuf(*arguments, **options))  # type: ignore[misc] # not in typeshed

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
    def _checked(header: tarfile.TarInfo) -> Header:
        if header.type in _SPECIAL and header.size > _LONGEST_HEADER:
            raise Unreadable("its layer has a header longer than containerd reads")
        return cast("Header", header)
