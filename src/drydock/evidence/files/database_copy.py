"""A copy in memory of a database that an engine may be writing to, taken without its lock.

bbolt writes the pages of a transaction to places that the newest meta does not reach, and writes the meta last (v1.4
tx.go, ``Commit``). Pages that a transaction frees are used again by a later one at the earliest (freelist
``Release``). So if neither meta changed while the file was copied, all that the newest meta reaches is whole in the
copy, whatever else was written.
"""

from __future__ import annotations

import errno
import os
import re
import time
from typing import Final, NamedTuple

from bbolt_reader import BoltError, Database
from drydock.evidence.files.regular import open_regular
from drydock.model.errors import EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.text import shown

_TRIES: Final = 20
_LONGEST_PAUSE: Final = 0.25
_PART: Final = 1 << 20
_BLOCK: Final = 512
_SHARE: Final = 2
"""One copy may take one part in so many of the available memory."""
_UNKNOWN: Final = 1 << 30
_AVAILABLE: Final = re.compile(rb"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)

_Metas = tuple[bytes, ...]


class Copied(NamedTuple):
    """A copy; the caller closes it."""

    fd: int
    """A descriptor of memory, of no file system."""
    allocated: int
    """Bytes of the blocks that the copied file takes."""


class _Moved(Exception):
    """The file was written to, or replaced, while it was copied."""


def copy_database(path: RawPath) -> Copied:
    """A consistent copy of the database ``path``. Takes no lock, and leaves the access time alone where allowed.

    Raises:
        EvidenceUnreadable: the file cannot be opened or read, is too large for the available memory, or was written to
            during every try.
    """
    for number in range(_TRIES):
        if number:
            time.sleep(min(_LONGEST_PAUSE, 0.01 * 2**number))
        try:
            fd = open_regular(path)
            try:
                return _copy(fd, path)
            finally:
                os.close(fd)
        except _Moved:
            continue
        except OSError as error:
            raise EvidenceUnreadable(f"{shown(path)}: {error.strerror or error}") from error
    raise EvidenceUnreadable(
        f"{shown(path)} was written to during each of {_TRIES} tries to copy it: try again when the engine does less"
    )


def read_state(path: RawPath) -> _Metas | None:
    """Both metas as they are now, or None if they cannot be read. They equal those of a copy until the next commit."""
    try:
        fd = open_regular(path)
    except OSError:
        return None
    try:
        return metas(fd, path)
    finally:
        os.close(fd)


def metas(fd: int, path: RawPath) -> _Metas:
    """The bytes of both metas of an open database; empty if neither is valid."""
    try:
        with Database.from_fd(fd, path, mapped=False) as database:
            return tuple(meta.raw for meta in database.metas)
    except BoltError:
        return ()


def _copy(fd: int, path: RawPath) -> Copied:
    before = metas(fd, path)
    found = os.fstat(fd)
    copy = os.memfd_create("drydock", os.MFD_CLOEXEC)
    try:
        os.ftruncate(copy, found.st_size)
        _fill(copy, fd, found.st_size)
        _refuse_moved(fd, path, before)
    except BaseException:
        os.close(copy)
        raise
    return Copied(copy, found.st_blocks * _BLOCK)


def _refuse_moved(fd: int, path: RawPath, before: _Metas) -> None:
    if metas(fd, path) != before or not os.path.samestat(os.fstat(fd), os.lstat(path)):
        raise _Moved


def _fill(copy: int, fd: int, size: int) -> None:
    """Copy all but the holes, so that a large size alone takes no memory."""
    left = _available() // _SHARE
    position = 0
    while position < size:
        try:
            position = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # holes up to the end
                return
            raise
        end = min(size, os.lseek(fd, position, os.SEEK_HOLE))
        while position < end:
            part = os.pread(fd, min(_PART, end - position), position)
            if not part:
                raise _Moved
            left -= len(part)
            if left < 0:
                raise OSError(errno.EFBIG, "too large to be copied to memory: scan it with the engine stopped")
            os.pwrite(copy, part, position)
            position += len(part)


def _available() -> int:
    try:
        with open("/proc/meminfo", "rb") as file:
            match = _AVAILABLE.search(file.read(1 << 16))
    except OSError:
        match = None
    return int(match[1]) * 1024 if match else _UNKNOWN
