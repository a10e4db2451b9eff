"""Opening and listing folders of a store by descriptor: no symlink followed, no access time changed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from drydock.model.data import Fingerprint
from drydock.model.names import RawPath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO or a device in place of a file must not make the open wait.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def open_folder(name: bytes, parent: int | None = None) -> int:
    """A descriptor of the folder ``name`` of the folder ``parent``.

    Raises:
        OSError: it is not there, is no folder, or is a symlink.
    """
    return _open_unseen(name, _FOLDER, parent)


def open_file(name: bytes, parent: int | None = None) -> int:
    """A descriptor of the regular file ``name`` of the folder ``parent``, for reading.

    Raises:
        OSError: it is not there, or is no regular file.
    """
    descriptor = _open_unseen(name, _FILE, parent)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", name)
    return descriptor


@contextmanager
def folder(path: RawPath, *parts: bytes) -> Iterator[int]:
    """A descriptor of the folder ``parts`` below ``path``, each part opened without following a symlink.

    Raises:
        OSError: a part is not there, is no folder, or is a symlink.
    """
    descriptor = _open_unseen(path, _FOLDER & ~os.O_NOFOLLOW, None)
    try:
        for part in parts:
            below = open_folder(part, descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def read_small(name: bytes, parent: int, limit: int) -> bytes | None:
    """The contents of a small regular file; None where it is not there, is something else, or is longer than ``limit``.

    Raises:
        OSError: reading failed with an input/output error.
    """
    try:
        descriptor = open_file(name, parent)
    except OSError as error:
        if error.errno == errno.EIO:
            raise
        return None
    try:
        raw = os.read(descriptor, limit + 1)
    finally:
        os.close(descriptor)
    return raw if len(raw) <= limit else None


def names(descriptor: int) -> list[bytes]:
    """The names in an open folder, sorted."""
    with os.scandir(descriptor) as entries:
        return sorted(os.fsencode(entry.name) for entry in entries)


def fingerprint(found: os.stat_result) -> Fingerprint:
    """What a cut compares again."""
    return Fingerprint(found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _open_unseen(name: bytes, flags: int, parent: int | None) -> int:
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=parent)
    except PermissionError:
        # O_NOATIME is for owners and root (open(2)); a user may still read.
        return os.open(name, flags, dir_fd=parent)
