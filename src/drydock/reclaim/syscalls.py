"""Linux calls that Python does not offer: renameat2, statx, inode flags; and what happens if the system lacks one."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import sys
from typing import Final

_AT_SYMLINK_NOFOLLOW: Final = 0x100
_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2
_STATX_ATTR_IMMUTABLE: Final = 0x10
_STATX_ATTR_APPEND: Final = 0x20
_GETFLAGS: Final = 0x80086601 if ctypes.sizeof(ctypes.c_long) == 8 else 0x80046601
_SETFLAGS: Final = 0x40086602 if ctypes.sizeof(ctypes.c_long) == 8 else 0x40046602
"""FS_IOC_GETFLAGS and FS_IOC_SETFLAGS (include/uapi/linux/fs.h), on all architectures but alpha, mips and powerpc."""
_IMMUTABLE: Final = 0x10
"""FS_IMMUTABLE_FL."""


class _Statx(ctypes.Structure):
    # struct statx (include/uapi/linux/stat.h) as far as it is read here, padded to its 256 bytes.
    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("blksize", ctypes.c_uint32),
        ("attributes", ctypes.c_uint64),
        ("rest", ctypes.c_uint8 * 240),
    )


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def renameat2_noreplace(source: int, name: bytes, target: int, new_name: bytes) -> None:
    """Rename without ever replacing what is there.

    Raises:
        OSError: ``EEXIST`` if the new name is taken; ``ENOSYS`` or ``EINVAL`` if the call is not supported.
    """
    _renameat2(source, name, target, new_name, _RENAME_NOREPLACE)


def renameat2_exchange(directory: int, name: bytes, other: bytes, other_directory: int | None = None) -> None:
    """Let two entries of a directory, or of two, change places, in one step.

    Raises:
        OSError: ``ENOENT`` if one is missing; ``ENOSYS`` or ``EINVAL`` if the call is not supported.
    """
    _renameat2(directory, name, directory if other_directory is None else other_directory, other, _RENAME_EXCHANGE)


def syncfs(descriptor: int) -> None:
    """Write all of the file system of an open directory to the disk.

    Raises:
        OSError: that failed; Linux before 5.8 does not tell.
    """
    call = getattr(_libc(), "syncfs", None)
    if call is None:
        os.sync()
    elif call(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _renameat2(source: int, name: bytes, target: int, new_name: bytes, flags: int) -> None:
    call = getattr(_libc(), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(source, ctypes.c_char_p(name), target, ctypes.c_char_p(new_name), ctypes.c_uint(flags)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def protection(directory: int, name: bytes) -> str | None:
    """``immutable`` or ``append-only`` if an entry of ``directory`` (empty name: itself) has that flag.

    Nothing is opened, so FIFOs and devices can be checked too (statx, Linux 4.11). None without a flag or statx.
    """
    call = getattr(_libc(), "statx", None)
    if call is None:
        return None
    found = _Statx()
    at_empty_path = 0x1000
    flags = _AT_SYMLINK_NOFOLLOW | (0 if name else at_empty_path)
    if call(directory, ctypes.c_char_p(name), flags, ctypes.c_uint(0), ctypes.byref(found)) != 0:
        return None
    if found.attributes & _STATX_ATTR_IMMUTABLE:
        return "immutable"
    if found.attributes & _STATX_ATTR_APPEND:
        return "append-only"
    return None


def clear_immutable(descriptor: int) -> None:
    """Clear the immutable flag of an open file, if it has the flag. Nothing happens on a file system without flags.

    Raises:
        OSError: the flag cannot be cleared: that needs CAP_LINUX_IMMUTABLE.
    """
    try:
        flags = int.from_bytes(fcntl.ioctl(descriptor, _GETFLAGS, bytes(4)), sys.byteorder)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS):
            return
        raise
    if flags & _IMMUTABLE:
        fcntl.ioctl(descriptor, _SETFLAGS, (flags & ~_IMMUTABLE).to_bytes(4, sys.byteorder))
