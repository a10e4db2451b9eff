"""Mounting an image by the kernel: read-only, without a path, for as long as a descriptor is open.

Only for ``--mount``: anybody may have written the image, and the kernel reads it with every privilege.
The calls are those of Linux 5.2 (include/uapi/linux/mount.h), with the same numbers on every architecture but alpha.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import subprocess
from collections.abc import Sequence
from typing import Final

_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CLOEXEC: Final = 1
"""FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC."""
_FLAG, _STRING, _CREATE = 0, 1, 6
_ATTRIBUTES: Final = 0x01 | 0x02 | 0x04 | 0x08
"""MOUNT_ATTR_RDONLY, NOSUID, NODEV, NOEXEC."""


def mount_image(image: int, kind: bytes, flags: Sequence[bytes] = ()) -> int:
    """Mount an image, and give a readable descriptor of its root directory.

    Args:
        image: an open file; it may be closed afterwards.
        kind: the type of its file system.
        flags: options without a value, besides ``ro``.

    Raises:
        OSError: the kernel cannot mount it.
    """
    source = b"/proc/self/fd/%d" % image
    try:
        return _mount(source, kind, flags)
    except OSError as error:
        # Only EROFS, since Linux 6.12, is mounted from a file; anything else from a block device.
        if error.errno != errno.ENOTBLK:
            raise
    device = _losetup("--find", "--show", "--read-only", os.fsdecode(source), keep=image).strip()
    try:
        return _mount(device.encode(), kind, flags)
    finally:
        # A mounted loop device is detached when its mount ends.
        _losetup("--detach", device, keep=image)


def _mount(source: bytes, kind: bytes, flags: Sequence[bytes]) -> int:
    context = _call(_FSOPEN, ctypes.c_char_p(kind), ctypes.c_uint(_CLOEXEC))
    try:
        for flag in (b"ro", *flags):
            _configure(context, _FLAG, flag, None)
        _configure(context, _STRING, b"source", source)
        _configure(context, _CREATE, None, None)
        mounted = _call(_FSMOUNT, ctypes.c_int(context), ctypes.c_uint(_CLOEXEC), ctypes.c_uint(_ATTRIBUTES))
    finally:
        os.close(context)
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mounted)
    finally:
        os.close(mounted)


def _configure(context: int, command: int, key: bytes | None, value: bytes | None) -> None:
    _call(
        _FSCONFIG, ctypes.c_int(context), ctypes.c_uint(command), ctypes.c_char_p(key), ctypes.c_char_p(value),
        ctypes.c_int(0),
    )  # fmt: skip


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    call = _libc().syscall
    call.restype = ctypes.c_long
    done: int = call(ctypes.c_long(number), *arguments)
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done


def _losetup(*words: str, keep: int) -> str:
    try:
        done = subprocess.run(
            ["losetup", *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, pass_fds=[keep]
        )
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, "losetup is not installed") from error
    if done.returncode != 0:
        raise OSError(errno.EIO, " ".join(done.stderr.split()) or "losetup failed")
    return done.stdout
