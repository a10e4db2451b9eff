"""Linux calls that Python has no name for: openat2, renameat2, statx; each says what happens where it is missing."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from contextlib import suppress
from typing import Final

_AT_FDCWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_RENAME_NOREPLACE: Final = 1
_SYS_OPENAT2: Final = 437
"""The same on every architecture but alpha (include/uapi/asm-generic/unistd.h, Linux 5.6)."""
_RESOLVE_NO_XDEV: Final = 0x01
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_STATX_ATTR_IMMUTABLE: Final = 0x10
_STATX_ATTR_APPEND: Final = 0x20
_DIRECTORY: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


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
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


@functools.cache
def _how(flags: int, resolve: int) -> tuple[_OpenHow, object]:
    how = _OpenHow(flags, 0, resolve)
    return how, ctypes.byref(how)


@functools.cache
def has_openat2() -> bool:
    """Whether the kernel has openat2 (Linux 5.6) and no filter forbids it."""
    try:
        os.close(_openat2(_AT_FDCWD, b"/", os.O_PATH | _DIRECTORY, 0))
    except OSError:
        return False
    return True


def open_directory(parent: int, path: bytes, *, readable: bool = False, cross_mounts: bool = False) -> int:
    """A new descriptor of the directory ``path`` below the open directory ``parent``.

    No component may be a symbolic link or ``..``, and unless ``cross_mounts``, none may be a mount point, of the same
    device or another. Without ``readable`` the descriptor is an O_PATH one, which needs no permission on the directory.

    Raises:
        OSError: ``EXDEV`` at a mount point, ``ELOOP`` or ``ENOTDIR`` at a symbolic link, else the kernel's reason.
    """
    flags = _DIRECTORY | (os.O_RDONLY if readable else os.O_PATH)
    if has_openat2():
        resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | (0 if cross_mounts else _RESOLVE_NO_XDEV)
        return _openat2(parent, path, flags, resolve)
    return _walk(parent, path.split(b"/"), flags, cross_mounts=cross_mounts)


def _openat2(parent: int, path: bytes, flags: int, resolve: int) -> int:
    libc = _libc()
    how, reference = _how(flags, resolve)
    while True:
        fd: int = libc.syscall(
            _SYS_OPENAT2, parent, ctypes.c_char_p(path), reference, ctypes.c_size_t(ctypes.sizeof(how))
        )
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), path)


def _walk(parent: int, components: list[bytes], flags: int, *, cross_mounts: bool) -> int:
    if not {b"", b".", b".."}.isdisjoint(components):
        raise OSError(errno.EXDEV, "not a path below the directory")
    current = parent
    try:
        for index, component in enumerate(components):
            last = index == len(components) - 1
            fd = os.open(component, flags if last else _DIRECTORY | os.O_PATH, dir_fd=current)
            previous, current = current, fd
            try:
                if not cross_mounts:
                    _check_mount(previous, fd)
            finally:
                if previous != parent:
                    os.close(previous)
    except BaseException:
        if current != parent:
            os.close(current)
        raise
    return current


def _check_mount(above: int, below: int) -> None:
    if mount_id(above) != mount_id(below):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def mount_id(fd: int) -> int:
    """The id of the mount that ``fd`` was opened through (/proc/self/fdinfo, Linux 3.15).

    Raises:
        OSError: without a /proc that says so.
    """
    # A missing /proc must not look like a missing file to those who asked about one.
    with suppress(FileNotFoundError), open(f"/proc/self/fdinfo/{fd}", "rb") as lines:
        for line in lines:
            if line.startswith(b"mnt_id:"):
                return int(line[7:])
    raise OSError(errno.ENOTSUP, "the kernel does not say which mount a file belongs to")


def renameat2_noreplace(source: int, name: bytes, target: int, new_name: bytes) -> None:
    """Rename without ever replacing what is there.

    Raises:
        OSError: ``EEXIST`` when the new name is taken; ``ENOSYS`` or ``EINVAL`` where this cannot be asked for.
    """
    call = getattr(_libc(), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(source, ctypes.c_char_p(name), target, ctypes.c_char_p(new_name), ctypes.c_uint(_RENAME_NOREPLACE)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def protection(directory: int, name: bytes) -> str | None:
    """``immutable`` or ``append-only`` where an entry of ``directory`` (empty name: it itself) is flagged so.

    Opens nothing, so that FIFOs and devices can be asked about too (statx, Linux 4.11); None where that is missing.
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
