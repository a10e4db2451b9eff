"""Folders, opened and listed by descriptor: no symbolic link is followed, and no access time changes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from drydock.model.data import Fingerprint
from drydock.model.names import RawPath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_folder(name: bytes, parent: int | None = None) -> int:
    """A descriptor of the folder ``name`` in the folder ``parent``; mounts are crossed.

    Raises:
        OSError: there is no such folder, or a symbolic link has its name.
    """
    return open_unseen(name, _FOLDER | os.O_NOFOLLOW, parent)


@contextmanager
def folder(path: RawPath, *parts: bytes) -> Iterator[int]:
    """A descriptor of the folder ``parts`` below ``path``; no part may be a symbolic link.

    Raises:
        OSError: a part is missing, is no folder, or is a symbolic link.
    """
    descriptor = open_unseen(path, _FOLDER, None)
    try:
        for part in parts:
            below = open_folder(part, descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def open_unseen(name: bytes, flags: int, parent: int | None) -> int:
    """As ``os.open``, but leaves the access time alone where the kernel allows it."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=parent)
    except PermissionError:
        # O_NOATIME is for owners and root (open(2)); a user may still read.
        return os.open(name, flags, dir_fd=parent)


def names(descriptor: int) -> list[bytes]:
    """The names in an open folder, sorted."""
    with os.scandir(descriptor) as entries:
        return sorted(os.fsencode(entry.name) for entry in entries)


def may_be_folder(name: bytes, parent: int) -> bool:
    """Whether a name belongs to a folder or a symbolic link, which may lead to one.

    Raises:
        OSError: the name cannot be looked at.
    """
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    return stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def sync_folder(parent: int) -> None:
    """Sync a folder that is open by its path alone (``O_PATH``).

    Raises:
        OSError: it cannot be read or synced.
    """
    opened = open_folder(b".", parent)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def look(parent: int, name: bytes) -> os.stat_result | None:
    """The status of an entry of an open directory, of a link its own; None if there is no such entry.

    Raises:
        OSError: it cannot be read for another reason.
    """
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def fingerprint(found: os.stat_result) -> Fingerprint:
    """The facts of a file or folder that are compared again before it is removed."""
    return Fingerprint(found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def open_private_dir(place: RawPath, *, create: bool) -> int:
    """A descriptor of a directory that only this user can write to, so that drydock can trust its own files there.

    Args:
        place: its path.
        create: make the directory if it is missing.

    Raises:
        OSError: it cannot be opened, or another user owns it or may write to it.
    """
    if create:
        with suppress(FileExistsError):
            os.mkdir(place, 0o700)
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    info = os.fstat(fd)
    # Anybody may make a directory in /dev/shm.
    if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o022:
        os.close(fd)
        raise OSError(errno.EPERM, "it belongs to, or can be written by, someone else")
    return fd
