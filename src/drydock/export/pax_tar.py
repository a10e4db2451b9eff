"""Tar archives that hold any name and attribute: pax headers by the standard library, sparse files in GNU's format 1.0.

``TarInfo.tobuf`` writes the headers: names as bytes (``hdrcharset=BINARY`` where they are not UTF-8), long names, large
numbers. The map of a sparse file is written here, as the standard library writes none.

Sources: POSIX.1-2017 pax, "pax Interchange Format"; GNU tar manual, "Storing Sparse Files", "PAX 1"; GNU tar
src/xheader.c (xattr_encode_keyword, v1.30), which took SCHILY.xattr from star.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

_CHUNK: Final = 1 << 20
_SECOND: Final = 1_000_000_000
_LATEST: Final = 8**11 - 1
"""The last second that a header without extensions has digits for."""
_TYPES: Final = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


class ByteSink(Protocol):
    """Receives the bytes of an archive."""

    def write(self, data: bytes, /) -> object:
        """Write all of ``data``."""


class FileData(Protocol):
    """An open file to put into an archive."""

    size: int
    allocated: int
    """Bytes that it occupies on disk."""

    def segments(self) -> Iterator[tuple[int, int]]:
        """List where it has data: start and length of each part, with an empty part at its end if it ends in a hole."""

    def read(self, length: int, at: int, /) -> bytes:
        """Read at most ``length`` bytes from ``at`` on: zeros in holes, none after the end."""

    def close(self) -> None:
        """Close it."""


class Archive:
    """Writes one tar archive, entry by entry.

    Args:
        output: receives its bytes.
        note: called with one shown line for each part of a file that could not be read: the archive has zeros there.
    """

    def __init__(self, output: ByteSink, note: Callable[[str], None]) -> None:
        self._output = output
        self._note = note
        self.written = 0
        """Bytes written so far."""

    def add(
        self, name: bytes, info: os.stat_result, *, target: bytes = b"", xattrs: Mapping[bytes, bytes] | None = None
    ) -> None:
        """Add an entry without data: a directory, a symlink to ``target``, a device, a FIFO."""
        self._write(_header(_describe(name, info, target=target), _xattr_records(xattrs or {})))

    def add_link(self, name: bytes, info: os.stat_result, target: bytes) -> None:
        """Add a hard link to the entry ``target``."""
        member = _describe(name, info, target=target)
        member.type = tarfile.LNKTYPE
        self._write(_header(member))

    def add_file(
        self, name: bytes, info: os.stat_result, data: FileData, what: str, xattrs: Mapping[bytes, bytes] | None = None
    ) -> None:
        """Add a file with its attributes and the bytes of the open file ``data``; a note calls it ``what``."""
        size = data.size
        records = _xattr_records(xattrs or {})
        if data.allocated >= size or next(data.segments(), None) == (0, size):
            self._write(_header(_describe(name, info, size=size), records))
            self._copy(data, 0, size, what)
        else:
            self._add_sparse(name, info, data, what, records)
        self._pad()

    def add_bytes(self, name: bytes, data: bytes) -> None:
        """Add a plain file of root's with the time 0."""
        self.begin_file(name, len(data))
        self.write(data)
        self.end_file()

    def begin_file(self, name: bytes, size: int) -> None:
        """Begin a plain file of root's with the time 0: exactly ``size`` bytes must follow by :meth:`write`."""
        member = tarfile.TarInfo(_decoded(name))
        member.mode, member.size = 0o444, size
        self._write(_header(member))

    def write(self, data: bytes) -> None:
        """Write bytes of the file that was begun."""
        self._write(data)

    def end_file(self) -> None:
        """End the file that was begun."""
        self._pad()

    def finish(self) -> None:
        """End the archive."""
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._write(bytes(-self.written % tarfile.RECORDSIZE))

    def _add_sparse(
        self, name: bytes, info: os.stat_result, data: FileData, what: str, records: dict[str, str]
    ) -> None:
        size = data.size
        # Three passes over the holes, so that memory does not grow with their number.
        count, held, digits = 0, 0, 0
        for start, length in data.segments():
            count, held = count + 1, held + length
            digits += len(b"%d\n%d\n" % (start, length))
        head = b"%d\n" % count
        mapped = len(head) + digits
        mapped += -mapped % tarfile.BLOCKSIZE
        member = _describe(name, info, size=mapped + held)
        member.name = "./GNUSparseFile.0/data"
        sparse = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": _decoded(name),
            "GNU.sparse.realsize": str(size),
        }
        self._write(_header(member, sparse | records))
        start_of_map = self.written
        self._write(head)
        for start, length in data.segments():
            self._write(b"%d\n%d\n" % (start, length))
        self._pad()
        if self.written - start_of_map != mapped:
            raise OSError(errno.EBUSY, f"{what}: changed while it was read: something uses the store")
        for start, length in data.segments():
            self._copy(data, start, length, what)
        if self.written - start_of_map != mapped + held:
            raise OSError(errno.EBUSY, f"{what}: changed while it was read: something uses the store")

    def _copy(self, data: FileData, start: int, length: int, what: str) -> None:
        lost = False
        end = start + length
        while start < end:
            wanted = min(_CHUNK, end - start)
            try:
                chunk = data.read(wanted, start)
            except OSError as error:
                if not lost:
                    self._note(f"{what}: {error.strerror} at byte {start}; the archive has zeros there")
                lost, chunk = True, bytes(min(wanted, 4096 - start % 4096))
            if not chunk:
                self._note(f"{what}: ends {end - start} bytes early; the archive has zeros instead")
                while start < end:
                    chunk = bytes(min(_CHUNK, end - start))
                    self._write(chunk)
                    start += len(chunk)
                return
            self._write(chunk)
            start += len(chunk)

    def _pad(self) -> None:
        self._write(bytes(-self.written % tarfile.BLOCKSIZE))

    def _write(self, data: bytes) -> None:
        self._output.write(data)
        self.written += len(data)


def segments(data: int, size: int) -> Iterator[tuple[int, int]]:
    """As :meth:`FileData.segments`, for an open descriptor."""
    at = 0
    while at < size:
        try:
            start = os.lseek(data, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            # This file system does not tell.
            yield at, size - at
            return
        if start >= size:
            break
        at = min(os.lseek(data, start, os.SEEK_HOLE), size)
        yield start, at - start
        if at == size:
            return
    yield size, 0


class _Bytes(str):
    """Bytes of an attribute in a pax record.

    TarInfo encodes a keyword strictly, and for a value that is not UTF-8 it declares the whole header binary, which
    GNU tar warns about. Of an attribute all readers take the bytes as they are.
    """

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002 - as str has it
        return super().encode(encoding, "surrogateescape")


def _xattr_records(xattrs: Mapping[bytes, bytes]) -> dict[str, str]:
    # A keyword ends at the first "=".
    return {
        _Bytes("SCHILY.xattr." + _decoded(key.replace(b"%", b"%25").replace(b"=", b"%3D"))): _Bytes(_decoded(value))
        for key, value in sorted(xattrs.items())
    }


def _describe(name: bytes, info: os.stat_result, *, size: int = 0, target: bytes = b"") -> tarfile.TarInfo:
    member = tarfile.TarInfo(_decoded(name))
    member.type, member.linkname, member.size = _TYPES[stat.S_IFMT(info.st_mode)], _decoded(target), size
    member.mode, member.uid, member.gid = stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid
    if member.isdev() and not member.isfifo():
        member.devmajor, member.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
    member.mtime, rest = divmod(info.st_mtime_ns, _SECOND)
    if rest or not 0 <= member.mtime <= _LATEST:
        member.pax_headers = {"mtime": _format_time(info.st_mtime_ns)}
    return member


def _header(member: tarfile.TarInfo, records: Mapping[str, str] | None = None) -> bytes:
    """The blocks before an entry's data: a pax header where the entry needs one, and a ustar header."""
    member.pax_headers = {**member.pax_headers, **(records or {})}
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _decoded(raw: bytes) -> str:
    # Not os.fsdecode: what the header is encoded with does not depend on this process's locale.
    return raw.decode("utf-8", "surrogateescape")


def _format_time(nanoseconds: int) -> str:
    seconds, rest = divmod(abs(nanoseconds), _SECOND)
    return f"{'-' if nanoseconds < 0 else ''}{seconds}.{rest:09}"
