"""The bytes of one file: opened without leaving a trace, read by position, within the size it had when opened."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from bbolt_reader.errors import Corrupt, Truncated, Unreadable

READ_LIMIT: Final = 64 << 20
"""The most bytes read at once, so the most one page may take. bbolt allows values of 2 GiB; containerd's requests,
and so its records, end at 16 MiB."""


class Source:
    """Bounded reads from a file descriptor.

    Reads are ``pread``, not a mapping: a file that gets shorter while it is read gives an error, and no SIGBUS.

    Attributes:
        name: what errors call the file.
        size: bytes in the file when it was opened.
    """

    __slots__ = ("_fd", "_owned", "name", "size")

    def __init__(self, fd: int, name: bytes, *, owned: bool) -> None:
        self._fd = fd
        self._owned = owned
        self.name = name
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not a regular file", file=name)
        self.size = status.st_size

    @classmethod
    def open(cls, path: bytes) -> Source:
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
            return cls(fd, path, owned=True)
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Close what :meth:`open` opened; a second call does nothing."""
        if self._owned and self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def read(self, offset: int, length: int, page: int | None = None) -> bytes:
        """Exactly ``length`` bytes from byte ``offset`` on.

        Raises:
            Truncated: the file ends before that.
            Corrupt: more than READ_LIMIT was asked for.
            Unreadable: the system reports an error, or the source is closed.
        """
        if offset + length > self.size:
            raise Truncated(f"behind the end of the file, {self.size} bytes", file=self.name, page=page, offset=offset)
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


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return "closed" if error.errno == errno.EBADF else os.strerror(error.errno)
    return "the name or position is not one a file can have"
