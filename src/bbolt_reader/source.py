"""The bytes of one file: opened without leaving a trace, read by position, within the size it had when opened."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Iterator
from typing import Final, TypeAlias

from bbolt_reader.errors import Corrupt, Truncated, Unreadable

READ_LIMIT: Final = 64 << 20
"""The most bytes read at once, so the most one page may take. bbolt allows values of 2 GiB; containerd's requests,
and so its records, end at 16 MiB."""

Window: TypeAlias = "tuple[bytes | mmap.mmap, int]"
"""A buffer, and where in it the bytes asked for start."""

CHUNK: Final = 1 << 20
RESIDENT: Final = 32
"""The most chunks that count as this process's memory, where a file is read from its beginning to its end: then all are
given back, and stay in the page cache. A tree that lies in its file in any order would be populated again and again."""
_MADV_POPULATE_READ: Final = 22  # Linux 5.14; Python has no name for it before 3.13


class Source:
    """Bounded reads from a file descriptor, whose position is moved.

    A mapping is faster than reads, but a file that gets shorter, or a disk that fails, ends the process by
    SIGBUS. So each part of the mapping is populated by the kernel before it is touched, which reports both as errors;
    where the kernel cannot, where the file has holes, and where the caller expects others to write, bytes are read
    instead. What is left: a file
    cut off after a part was populated. bbolt never shortens a file, and who holds its lock keeps bbolt out as well.

    A source that is ``bounded`` never has much more than RESIDENT chunks mapped: what lies elsewhere in a file that is
    read in no order is read, which takes about a third longer.

    Attributes:
        name: what errors call the file.
        size: bytes in the file when it was opened.
        mapping: the file, mapped; None where it is read.
        populated: the chunks of the mapping that can be touched.
    """

    __slots__ = ("_bounded", "_fd", "_last", "_owned", "_rises", "mapping", "name", "populated", "size")

    def __init__(self, fd: int, name: bytes, *, owned: bool, mapped: bool, bounded: bool = False) -> None:
        self._bounded = bounded
        self._fd = fd
        self._owned = owned
        self.name = name
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not a regular file", file=name)
        self.size = status.st_size
        self.mapping: mmap.mmap | None = None
        self.populated: set[int] = set()
        self._last = self._rises = 0
        if mapped and self.size:
            self.mapping = _mapping(fd, self.size)

    @classmethod
    def open(cls, path: bytes, *, mapped: bool) -> Source:
        """Open for reading only; without changing the time of access where the owner or root asks.

        Raises:
            Unreadable: it cannot be opened or is no regular file.
        """
        # O_NONBLOCK: a fifo in the file's place must not stop us; it means nothing to regular files.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        try:
            try:
                fd = os.open(path, flags | os.O_NOATIME)
            except PermissionError:
                fd = os.open(path, flags)
        except (OSError, ValueError) as error:
            raise Unreadable(_reason(error), file=path) from error
        try:
            return cls(fd, path, owned=True, mapped=mapped)
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Close what :meth:`open` opened; a second call does nothing."""
        if self.mapping is not None:
            self.mapping.close()
            self.mapping = None
            self.populated.clear()
        if self._owned and self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def release(self) -> None:
        """Give back the memory that the mapping takes; what is read later is populated again."""
        self.populated.clear()
        self._rises = 0
        if self.mapping is not None:
            self.mapping.madvise(mmap.MADV_DONTNEED)

    def window(self, offset: int, length: int, page: int) -> Window:
        """A buffer with ``length`` bytes of the file from byte ``offset`` on, and where they start in it.

        Raises: as :meth:`read`.
        """
        mapping, populated, end = self.mapping, self.populated, offset + length
        if mapping is None:
            return self.read(offset, length, page), 0
        if length <= CHUNK and end <= self.size and offset // CHUNK in populated and (end - 1) // CHUNK in populated:
            return mapping, offset
        if end > self.size or length > READ_LIMIT:
            return self.read(offset, length, page), 0
        if len(populated) >= RESIDENT:
            if 8 * self._rises > 5 * len(populated):
                self.release()
            elif self._bounded:
                return self.read(offset, length, page), 0
        for chunk in range(offset // CHUNK, (end - 1) // CHUNK + 1):
            if chunk not in populated:
                if self._has_hole(chunk):
                    return self.read(offset, length, page), 0
                try:
                    mapping.madvise(_MADV_POPULATE_READ, chunk * CHUNK, min(CHUNK, self.size - chunk * CHUNK))
                except OSError:
                    return self.read(offset, length, page), 0
                populated.add(chunk)
                self._rises += chunk > self._last
                self._last = chunk
        return mapping, offset

    def _has_hole(self, chunk: int) -> bool:
        # A tmpfs gives a hole blocks when a mapping of it is touched: reading must not fill a disk.
        try:
            hole = os.lseek(self._fd, chunk * CHUNK, os.SEEK_HOLE)
        except OSError:
            return False
        return hole < min((chunk + 1) * CHUNK, self.size)

    def stretches(self) -> Iterator[tuple[int, int]]:
        """Where the file is no hole: the first byte of each stretch and the one behind it, in order.

        A hole reads as zeros, and takes none of the disk however large it is.
        """
        at = 0
        while at < self.size:
            try:
                start = os.lseek(self._fd, at, os.SEEK_DATA)
                end = os.lseek(self._fd, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                    return
                start, end = at, self.size  # what cannot be told is data
            at = min(end, self.size)
            if start < at:
                yield start, at

    def read(self, offset: int, length: int, page: int | None = None) -> bytes:
        """Exactly ``length`` bytes from byte ``offset`` on.

        Raises:
            Truncated: the file ends before that.
            Corrupt: more than READ_LIMIT was asked for.
            Unreadable: the system reports an error, or the source is closed.
        """
        if offset + length > self.size:
            raise Truncated(
                f"the page lies behind the end of the file, which has {self.size} bytes",
                file=self.name,
                page=page,
                offset=offset,
            )
        if length > READ_LIMIT:
            raise Corrupt(f"{length} bytes in one page", file=self.name, page=page, offset=offset)
        try:
            data = os.pread(self._fd, length, offset)
            while len(data) < length:
                more = os.pread(self._fd, length - len(data), offset + len(data))
                if not more:
                    raise Truncated("the file got shorter while it was read", file=self.name, page=page, offset=offset)
                data += more
        except (OSError, OverflowError) as error:
            raise Unreadable(_reason(error), file=self.name, page=page, offset=offset) from error
        return data


def _mapping(fd: int, size: int) -> mmap.mmap | None:
    """The file as a mapping; None where the system cannot map it, or cannot populate a mapping."""
    try:
        mapping = mmap.mmap(fd, size, prot=mmap.PROT_READ)
    except (OSError, ValueError, OverflowError):
        return None
    try:
        mapping.madvise(_MADV_POPULATE_READ, 0, min(size, mmap.PAGESIZE))
    except OSError:
        mapping.close()
        return None
    return mapping


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return "closed" if error.errno == errno.EBADF else os.strerror(error.errno)
    return "the name or position is not one a file can have"
