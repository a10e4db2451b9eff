"""Opening and listing folders of a store by descriptor: no symlink followed, no access time changed."""

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
    """A descriptor of the folder ``name`` of the folder ``parent``; mounts are crossed.

    Raises:
        OSError: it is not there, is no folder, or is a symlink.
    """
    return open_unseen(name, _FOLDER | os.O_NOFOLLOW, parent)


@contextmanager
def folder(path: RawPath, *parts: bytes) -> Iterator[int]:
    """A descriptor of the folder ``parts`` below ``path``, each part opened without following a symlink.

    Raises:
        OSError: a part is not there, is no folder, or is a symlink.
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
    """``os.open`` that leaves the access time alone where that is allowed."""
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
    """Whether a name is a folder's or a symlink's; a file, a socket or a device hides nothing that a folder would hold.

    Raises:
        OSError: it cannot be told.
    """
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    return stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def fingerprint(found: os.stat_result) -> Fingerprint:
    """What a cut compares again."""
    return Fingerprint(found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def open_private_dir(place: RawPath, *, create: bool) -> int:
    """A descriptor of a directory that is this user's alone: what drydock wrote there is believed later.

    Args:
        place: its path.
        create: whether it is made if it is not there.

    Raises:
        OSError: it cannot be opened, or is not this user's alone.
    """
    if create:
        with suppress(FileExistsError):
            os.mkdir(place, 0o700)
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    info = os.fstat(fd)
    # /dev/shm is everybody's: what someone else made or may write there is neither written to nor believed.
    if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o022:
        os.close(fd)
        raise OSError(errno.EPERM, "it belongs to, or can be written by, someone else")
    return fd
