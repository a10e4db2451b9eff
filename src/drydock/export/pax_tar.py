"""Tar archives of any names: POSIX pax headers written from bytes, sparse files as GNU tar's format 1.0.

Sources: POSIX.1-2017 pax, "pax Interchange Format"; GNU tar manual, "Storing Sparse Files", "PAX 1"; GNU tar
src/xheader.c (xattr_encode_keyword, v1.30), which also took SCHILY.xattr from star.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

BLOCK = 512
_RECORD = 20 * BLOCK
_CHUNK = 1 << 20
_SECOND = 1_000_000_000
_TYPES = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}
_LINK = b"1"
_EXTENDED = b"x"
_BINARY = (b"hdrcharset", b"BINARY")


class ByteSink(Protocol):
    """Where an archive goes."""

    def write(self, data: bytes, /) -> object:
        """Write all of it."""


class FileData(Protocol):
    """An open file."""

    size: int
    allocated: int
    """Bytes that it has room for on disk."""

    def segments(self) -> Iterator[tuple[int, int]]:
        """Where it has data: start and length; an empty segment at its end where it ends in a hole."""

    def read(self, length: int, at: int, /) -> bytes:
        """At most so many bytes from a place on; zeros in holes, none behind the end."""

    def close(self) -> None:
        """Give it up."""


class Archive:
    """Writes one tar archive, entry by entry.

    Args:
        output: where it goes.
        note: told of what could not be read and is zeros in the archive, in one shown line.
    """

    def __init__(self, output: ByteSink, note: Callable[[str], None]) -> None:
        self._output = output
        self._note = note
        self.written = 0
        """Bytes so far."""

    def add(
        self, name: bytes, info: os.stat_result, *, target: bytes = b"", xattrs: Mapping[bytes, bytes] | None = None
    ) -> None:
        """An entry without data: a folder, a symlink to ``target``, a device, a FIFO."""
        self._head(name, info, _TYPES[stat.S_IFMT(info.st_mode)], 0, target=target, records=_records(xattrs or {}))

    def add_link(self, name: bytes, info: os.stat_result, target: bytes) -> None:
        """One more name of the entry ``target``."""
        self._head(name, info, _LINK, 0, target=target)

    def add_file(
        self, name: bytes, info: os.stat_result, data: FileData, what: str, xattrs: Mapping[bytes, bytes] | None = None
    ) -> None:
        """A file with attributes of its own and the bytes of the open file ``data``; ``what`` is its name in a note."""
        size = data.size
        records = _records(xattrs or {})
        if data.allocated >= size or next(data.segments(), None) == (0, size):
            self._head(name, info, b"0", size, records=records)
            self._copy(data, 0, size, what)
        else:
            self._add_sparse(name, info, data, what, records)
        self._pad()

    def add_bytes(self, name: bytes, data: bytes) -> None:
        """A plain file of root's, of no time."""
        self.begin_file(name, len(data))
        self.write(data)
        self.end_file()

    def begin_file(self, name: bytes, size: int) -> None:
        """The head of a plain file of root's, of no time: exactly ``size`` bytes must follow by :meth:`write`."""
        if size != _fit(size, 11):
            self._extend([(b"size", b"%d" % size)])
        self._write(_ustar(name, b"0", size))

    def write(self, data: bytes) -> None:
        """Bytes of the file that was begun."""
        self._write(data)

    def end_file(self) -> None:
        """The end of the file that was begun."""
        self._pad()

    def finish(self) -> None:
        """The end of the archive."""
        self._write(bytes(2 * BLOCK))
        self._write(bytes(-self.written % _RECORD))

    def _add_sparse(
        self, name: bytes, info: os.stat_result, data: FileData, what: str, records: list[tuple[bytes, bytes]]
    ) -> None:
        size = data.size
        # Three passes over the holes, so that no number of them takes memory.
        count, held, digits = 0, 0, 0
        for start, length in data.segments():
            count, held = count + 1, held + length
            digits += len(b"%d\n%d\n" % (start, length))
        head = b"%d\n" % count
        mapped = len(head) + digits
        mapped += -mapped % BLOCK
        records = [
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", name),
            (b"GNU.sparse.realsize", b"%d" % size),
            *records,
        ]
        if not _is_utf8(name):
            records.insert(0, _BINARY)
        self._head(b"./GNUSparseFile.0/data", info, b"0", mapped + held, records=records)
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
                    self._note(f"{what}: {error.strerror} at byte {start}; zeros in its place")
                lost, chunk = True, bytes(min(wanted, 4096 - start % 4096))
            if not chunk:
                self._note(f"{what}: ends {end - start} bytes early; zeros in their place")
                while start < end:
                    chunk = bytes(min(_CHUNK, end - start))
                    self._write(chunk)
                    start += len(chunk)
                return
            self._write(chunk)
            start += len(chunk)

    def _head(
        self,
        name: bytes,
        info: os.stat_result,
        kind: bytes,
        size: int,
        *,
        target: bytes = b"",
        records: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        seconds, rest = divmod(info.st_mtime_ns, _SECOND)
        extended: list[tuple[bytes, bytes]] = []
        if not (_is_utf8(name) and _is_utf8(target)):
            extended.append(_BINARY)
        if len(name) > 100 or not name.isascii():
            extended.append((b"path", name))
        if len(target) > 100 or not target.isascii():
            extended.append((b"linkpath", target))
        if rest or seconds != _fit(seconds, 11):
            extended.append((b"mtime", _time(info.st_mtime_ns)))
        for key, number, digits in ((b"uid", info.st_uid, 7), (b"gid", info.st_gid, 7), (b"size", size, 11)):
            if number != _fit(number, digits):
                extended.append((key, b"%d" % number))
        extended += records or []
        if extended:
            self._extend(extended)
        device = info.st_rdev if kind in (b"3", b"4") else 0
        self._write(
            _ustar(
                name,
                kind,
                size,
                mode=stat.S_IMODE(info.st_mode),
                owner=(info.st_uid, info.st_gid),
                seconds=seconds,
                target=target,
                device=device,
            )
        )

    def _extend(self, records: list[tuple[bytes, bytes]]) -> None:
        """What the next header has no room for."""
        body = b"".join(_record(key, value) for key, value in records)
        self._write(_ustar(b"./PaxHeaders/data", _EXTENDED, len(body)))
        self._write(body)
        self._pad()

    def _pad(self) -> None:
        self._write(bytes(-self.written % BLOCK))

    def _write(self, data: bytes) -> None:
        self._output.write(data)
        self.written += len(data)


def segments(data: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a descriptor's file has data: start and length; an empty segment at the end where it ends in a hole."""
    at = 0
    while at < size:
        try:
            start = os.lseek(data, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            # A file system that cannot tell.
            yield at, size - at
            return
        if start >= size:
            break
        at = min(os.lseek(data, start, os.SEEK_HOLE), size)
        yield start, at - start
        if at == size:
            return
    yield size, 0


def _records(xattrs: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [(b"SCHILY.xattr." + _keyword(key), value) for key, value in sorted(xattrs.items())]


def _keyword(key: bytes) -> bytes:
    # A keyword ends at the first "=".
    return key.replace(b"%", b"%25").replace(b"=", b"%3D")


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value``, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _ustar(
    name: bytes,
    kind: bytes,
    size: int,
    *,
    mode: int = 0o444,
    owner: tuple[int, int] = (0, 0),
    seconds: int = 0,
    target: bytes = b"",
    device: int = 0,
) -> bytes:
    """A ustar header; what does not fit is cut, for a pax header says it as well."""
    head = b"".join(
        (
            name[:100].ljust(100, b"\0"),
            b"%07o\0" % mode,
            b"%07o\0" % _fit(owner[0], 7),
            b"%07o\0" % _fit(owner[1], 7),
            b"%011o\0" % _fit(size, 11),
            b"%011o\0" % _fit(seconds, 11),
            b" " * 8,
            kind,
            target[:100].ljust(100, b"\0"),
            b"ustar\0" + b"00",
            bytes(64),
            b"%07o\0" % _fit(os.major(device), 7),
            b"%07o\0" % _fit(os.minor(device), 7),
        )
    ).ljust(BLOCK, b"\0")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def _fit(number: int, digits: int) -> int:
    return min(max(number, 0), (1 << 3 * digits) - 1)


def _time(nanoseconds: int) -> bytes:
    seconds, rest = divmod(abs(nanoseconds), _SECOND)
    return b"%s%d.%09d" % (b"-" if nanoseconds < 0 else b"", seconds, rest)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
