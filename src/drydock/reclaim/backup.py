"""Copies of the databases in the state directory, made before the first edit."""

from __future__ import annotations

import errno
import os

from drydock.model.errors import ActionFailed
from drydock.model.names import RawPath
from drydock.model.text import shown

_CHUNK = 1 << 24


def back_up(source: int, name: bytes, directory: int, path: RawPath) -> RawPath:
    """Copy a database, holes kept, and sync it.

    Args:
        source: its open descriptor; its lock is held.
        name: what the copy is called.
        directory: the open state directory of the run.
        path: that directory's own path.

    Returns:
        The copy's path.

    Raises:
        ActionFailed: there is no room, or it cannot be read.
    """
    copy = RawPath(os.path.join(path, name))
    try:
        target = os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
        )
        try:
            size = os.fstat(source).st_size
            os.ftruncate(target, size)
            for start, end in _data(source, size):
                _copy(source, target, start, end)
            os.fsync(target)
        finally:
            os.close(target)
        os.fsync(directory)
    except OSError as error:
        raise ActionFailed(f"backup {shown(copy)}: {error.strerror}; nothing was edited") from error
    return copy


def _data(source: int, size: int) -> list[tuple[int, int]]:
    """The stretches of a file that are not holes."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            raise
        at = os.lseek(source, start, os.SEEK_HOLE)
        found.append((start, at))
    return found


def _copy(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        chunk = os.pread(source, min(_CHUNK, end - start), start)
        if not chunk:
            raise OSError(errno.EIO, "the database ended early")
        start += os.pwrite(target, chunk, start)
