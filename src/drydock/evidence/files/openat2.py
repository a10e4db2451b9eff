"""Opening a directory below an open one: no symbolic link, no ``..`` and, unless asked for, no mount on the way.

Python has no function for openat2 (Linux 5.6), so it is called by number. If the kernel lacks it or a filter refuses
it, each component is opened by itself.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from typing import Final

from drydock.evidence.files.mountinfo import mount_id

_AT_FDCWD: Final = -100
_SYS_OPENAT2: Final = 437
"""The same on every architecture but alpha (include/uapi/asm-generic/unistd.h, Linux 5.6)."""
_RESOLVE_NO_XDEV: Final = 0x01
_BENEATH: Final = 0x04 | 0x08
"""RESOLVE_NO_SYMLINKS and RESOLVE_BENEATH."""
_DIRECTORY: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNSEEN: Final = _DIRECTORY | os.O_NOATIME


@functools.cache
def _system() -> Callable[[int, bytes, int, int], int]:
    """openat2 as a function that returns a descriptor, or the negated number of the error."""
    import ctypes  # noqa: PLC0415 - a scan that walks nothing must start fast

    class How(ctypes.Structure):
        _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))

    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
    size = ctypes.sizeof(How)
    hows: dict[tuple[int, int], tuple[How, int]] = {}

    def system(parent: int, path: bytes, flags: int, resolve: int) -> int:
        known = hows.get((flags, resolve))
        if known is None:
            how = How(flags, 0, resolve)
            known = hows[flags, resolve] = how, ctypes.addressof(how)
        fd: int = call(_SYS_OPENAT2, parent, path, known[1], size)
        return fd if fd >= 0 else -ctypes.get_errno()

    return system


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
    device or another. Without ``readable`` the descriptor is an O_PATH one, which needs no permission on the directory;
    with it, the access time is left alone where the kernel allows it.

    Raises:
        OSError: ``EXDEV`` at a mount point, ``ELOOP`` or ``ENOTDIR`` at a symbolic link, else the kernel's error.
    """
    if readable and has_openat2():
        # The hot path: every folder of every layer. An error is raised, or another way is tried, below.
        fd = _system()(parent, path, _UNSEEN, _BENEATH if cross_mounts else _BENEATH | _RESOLVE_NO_XDEV)
        if fd >= 0:
            return fd
    if not readable:
        return _open(parent, path, _DIRECTORY | os.O_PATH, cross_mounts=cross_mounts)
    try:
        return _open(parent, path, _UNSEEN, cross_mounts=cross_mounts)
    except PermissionError:
        # O_NOATIME is for owners and root (open(2)); a user may still read.
        return _open(parent, path, _DIRECTORY, cross_mounts=cross_mounts)


def _open(parent: int, path: bytes, flags: int, *, cross_mounts: bool) -> int:
    if has_openat2():
        return _openat2(parent, path, flags, _BENEATH if cross_mounts else _BENEATH | _RESOLVE_NO_XDEV)
    return _walk(parent, path.split(b"/"), flags, cross_mounts=cross_mounts)


def _openat2(parent: int, path: bytes, flags: int, resolve: int) -> int:
    system = _system()
    while True:
        fd = system(parent, path, flags, resolve)
        if fd >= 0:
            return fd
        if fd != -errno.EINTR:
            raise OSError(-fd, os.strerror(-fd), path)


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
