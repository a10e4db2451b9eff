"""The bytes of one file: opened without a change to it, and read by position, up to the size that it had then."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Iterator
from typing import Final, TypeAlias

from bbolt_reader.errors import Corrupt, Truncated, Unreadable

READ_LIMIT: Final = 64 << 20
"""The most bytes that are read at once, and so the most that one page may take. bbolt allows values of 2 GiB, but
containerd's requests, and so its records, have at most 16 MiB."""

Window: TypeAlias = "tuple[bytes | mmap.mmap, int]"
"""A buffer, and the position in it of the first byte that was asked for."""

CHUNK: Final = 1 << 20
RESIDENT: Final = 32
"""The most chunks of a mapping that count as memory of this process, for a file that is read from its beginning to its
end: then all are given back, and stay in the page cache. A file that is read in no order would be populated again and
again."""
_MADV_POPULATE_READ: Final = 22  # Linux 5.14; Python has the constant since 3.13


class Source:
    """Bounded reads from a file descriptor. They move its position.

    A mapping is faster than reads, but a file that gets shorter, or a disk that fails, would end the process with
    SIGBUS. So the kernel populates each part of the mapping before it is used, and reports both as errors. Bytes are
    read instead if the kernel cannot do that, if the file has holes, or if the caller expects others to write to it.
    One case is left: the file is cut off after a part was populated. bbolt never shortens a file, and a lock keeps
    bbolt out.

    A source that is ``bounded`` never has much more than RESIDENT chunks mapped. The other chunks of a file that is
    read in no order are read without the mapping, which takes about a third longer.

    Attributes:
        name: of the file in errors.
        size: of the file when it was opened, in bytes.
        mapping: the mapped file; None if its bytes are read.
        populated: the chunks of the mapping that may be used.
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
        """Open a file read-only. The access time stays if the caller is the owner or root.

        Raises:
            Unreadable: the file cannot be opened, or is no regular file.
        """
        # O_NONBLOCK: a FIFO must not make the open wait; it means nothing for a regular file.
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
        """Give back the memory of the mapping; chunks that are read later are populated again."""
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
        # A tmpfs allocates blocks for a hole when its mapping is used: reading must not fill the memory.
        try:
            hole = os.lseek(self._fd, chunk * CHUNK, os.SEEK_HOLE)
        except OSError:
            return False
        return hole < min((chunk + 1) * CHUNK, self.size)

    def stretches(self) -> Iterator[tuple[int, int]]:
        """The stretches of the file that are no holes: the first byte of each and the one behind it, in order.

        A hole reads as zeros, and takes no disk space however large it is.
        """
        at = 0
        while at < self.size:
            try:
                start = os.lseek(self._fd, at, os.SEEK_DATA)
                end = os.lseek(self._fd, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole up to the end
                    return
                start, end = at, self.size  # if the system cannot tell, it is data
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
    """A mapping of the file; None if the system cannot map it, or cannot populate a mapping."""
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
