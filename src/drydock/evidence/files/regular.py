"""Regular files of a host that is not trusted: opened without following a symbolic link, read up to a limit."""

from __future__ import annotations

import errno
import os
import stat

from drydock.evidence.files.directory import folder, open_unseen
from drydock.model.names import RawPath


class NotRegular(OSError):
    """The name exists and is no regular file: a link, a FIFO, a device or a folder."""


class TooLarge(OSError):
    """The file is larger than the caller accepts."""


def open_regular(path: bytes, parent: int | None = None) -> int:
    """A read-only descriptor of ``path``, which the caller closes; the access time is left alone where allowed.

    Args:
        path: links among its folders are followed; its last name must not be one.
        parent: an open folder that ``path`` is relative to.

    Raises:
        NotRegular: it is no regular file. It is not opened then, because opening a device may act on it.
        OSError: it cannot be opened.
    """
    if not stat.S_ISREG(os.stat(path, dir_fd=parent, follow_symlinks=False).st_mode):
        raise NotRegular(errno.EINVAL, "not a regular file")
    # Something else may have been put there since: opening it must not wait.
    fd = open_unseen(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, parent)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotRegular(errno.EINVAL, "not a regular file")
    return fd


def open_below(root: RawPath, path: RawPath) -> int:
    """As :func:`open_regular`, for a path below a root; no link among its folders is followed either."""
    *folders, name = path.split(b"/")
    with folder(root, *folders) as parent:
        return open_regular(name, parent)


def identity(path: bytes) -> tuple[int, int] | None:
    """Device and inode of what a path leads to; None if it cannot be looked at."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def read_regular(path: bytes, limit: int, parent: int | None = None) -> bytes:
    """All bytes of the regular file ``path``, at most ``limit`` of them; ``parent`` as for :func:`open_regular`.

    Raises:
        NotRegular: it is no regular file.
        TooLarge: it has more than ``limit`` bytes.
        OSError: it cannot be read.
    """
    fd = open_regular(path, parent)
    try:
        if os.fstat(fd).st_size > limit:
            raise TooLarge(errno.EFBIG, f"larger than {limit} bytes")
        parts: list[bytes] = []
        left = limit + 1  # a file of /proc says it has no size, and one may grow
        while left > 0 and (part := os.read(fd, min(left, 1 << 20))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(fd)
    if left <= 0:
        raise TooLarge(errno.EFBIG, f"larger than {limit} bytes")
    return b"".join(parts)
