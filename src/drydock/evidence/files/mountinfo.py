"""Mount tables: /proc/<pid>/mountinfo (proc(5), kernel fs/proc_namespace.c)."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

_ESCAPED = re.compile(rb"\\([0-7]{3})")
_LARGEST = 1 << 26
_DELETED = b"//deleted"
_AT_EMPTY_PATH = 0x1000


class NamespaceView(NamedTuple):
    """A mount namespace as the processes with one root folder see it."""

    pid: int
    """A process or thread that has this view."""
    namespace: int
    """Inode of the mount namespace."""
    root: tuple[int, int]
    """Device and inode of the root folder."""
    kept: bytes = b""
    """The file that keeps the namespace alive if no other process is in it; ``pid`` is a child of this one then."""

    @property
    def prefix(self) -> bytes:
        """The prefix that makes a path of this view reachable from this process."""
        return b"/proc/%d/root" % self.pid


class MountEntry(NamedTuple):
    """One line of a mount table; paths are unescaped."""

    id: int
    device: bytes
    """``major:minor`` of the mounted file system."""
    root: bytes
    """The folder of that file system that is mounted."""
    point: bytes
    """The mount point, in the view that the table was read from."""
    kind: bytes
    options: tuple[tuple[bytes, bytes], ...]
    """The file system's own options, in order; a key may occur more than once."""
    source: bytes = b""
    """The source as it was named when it was mounted: a device, a file, or any word."""


def entries(pid: int | str) -> Iterator[MountEntry]:
    """The mount table of a process; empty if the process has ended."""
    try:
        with open(f"/proc/{pid}/mountinfo", "rb") as file:
            lines = file.read(_LARGEST).split(b"\n")  # a name may have a \r as it is: the kernel escapes \n alone
    except OSError:
        return
    for line in lines:
        left, _, right = line.partition(b" - ")
        fields, last = left.split(b" "), right.split(b" ")
        if len(fields) >= 6 and len(last) >= 3:
            yield MountEntry(
                int(fields[0]),
                fields[2],
                unescaped(fields[3]).removesuffix(_DELETED),
                unescaped(fields[4]).removesuffix(_DELETED),
                last[0],
                tuple(
                    (key, unescaped(value)) for key, _, value in (each.partition(b"=") for each in last[2].split(b","))
                ),
                unescaped(last[1]),
            )


def unescaped(raw: bytes) -> bytes:
    """The text with octal escapes replaced by the bytes that they stand for."""
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), raw)


def mount_id(fd: int) -> int:
    """The id of the mount that ``fd`` was opened through (/proc/self/fdinfo, Linux 3.15).

    Raises:
        OSError: /proc does not have it, and the file system gives no handles of files.
    """
    # A missing /proc must not look like a missing file to the caller.
    with suppress(FileNotFoundError), open(f"/proc/self/fdinfo/{fd}", "rb") as lines:
        for line in lines:
            if line.startswith(b"mnt_id:"):
                return int(line[7:])
    if (found := _mount_id_of_handle(fd)) is not None:
        return found
    raise OSError(errno.ENOTSUP, "the kernel does not say which mount a file belongs to")


def _mount_id_of_handle(fd: int) -> int | None:
    """The same without /proc: a handle that does not fit comes with the mount (fs/fhandle.c, Linux 2.6.39 to 6.18)."""
    import ctypes  # noqa: PLC0415 - only where /proc is not mounted

    handle, mount = (ctypes.c_uint * 2)(0, 0), ctypes.c_int()
    call = ctypes.CDLL(None, use_errno=True).name_to_handle_at
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
    status = call(fd, b"", handle, ctypes.byref(mount), _AT_EMPTY_PATH)
    return mount.value if status == -1 and ctypes.get_errno() == errno.EOVERFLOW else None


def own_mounts() -> dict[int, MountEntry]:
    """The mounts that this process sees, by id."""
    return {entry.id: entry for entry in entries("self")}


def place(path: bytes, mounts: Mapping[int, MountEntry]) -> tuple[bytes, bytes] | None:
    """Where a folder lies, whatever mount leads to it: the device of its file system, and its path in that.

    Args:
        path: of the folder, as this process reaches it.
        mounts: from :func:`own_mounts`.

    Returns:
        Device and path as mountinfo writes them; None if they cannot be found out.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        entry = mounts.get(mount_id(fd))
    except OSError:
        return None
    finally:
        os.close(fd)
    if entry is None:
        return None
    inside = os.path.relpath(os.path.realpath(path), entry.point)
    return entry.device, os.path.normpath(os.path.join(entry.root, inside))
