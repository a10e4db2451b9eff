"""A whole new bbolt file, which appears at once or not at all."""

from __future__ import annotations

import errno
import os
from typing import Final

from bbolt_reader.database import Database
from bbolt_reader.errors import BoltError
from bbolt_reader.meta import REBUILT
from bbolt_reader.verify import verify
from bbolt_surgery.builder import Builder
from bbolt_surgery.changes import NewBucket, RootHeader
from bbolt_surgery.commit import build_meta, write_all
from bbolt_surgery.errors import NotWritten

_LEAST: Final = 0x1000
"""bbolt reads so many bytes before it knows the page size, and refuses a shorter file (v1.3.6, db.go, Open)."""


def write_new(path: bytes, root: NewBucket, *, page_size: int, txid: int, like: os.stat_result) -> None:
    """Write a database under a new name.

    The file has no name until it is on disk and was read again; an existing file of the name stays as it is. Both metas
    have the mark of a rebuilt file (:attr:`bbolt_reader.Meta.is_rebuilt`).

    Args:
        path: of the new file.
        root: the contents of its root bucket.
        page_size: of the file that it replaces: containerd's bbolt takes any.
        txid: the highest transaction id that was ever seen; the metas get the next two.
        like: the status of a file whose mode and owner the new one gets.

    Raises:
        NotWritten: the name is taken, or writing failed. No file was made.
        Unfit: no bbolt file can have ``root`` as its contents. No file was made.
    """
    folder, name = os.path.split(path)
    try:
        parent = os.open(folder or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotWritten(os.strerror(error.errno or 0), file=path, errno=error.errno or 0) from error
    fd = -1
    try:
        # A file without a name cannot be left behind, and link() never replaces a file.
        fd = os.open(b".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=parent)
        _fill(fd, root, page_size, txid)
        os.fchown(fd, like.st_uid, like.st_gid)
        os.fchmod(fd, like.st_mode & 0o777)
        os.fsync(fd)
        _sound(fd, path)
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=parent, follow_symlinks=True)
        os.fsync(parent)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        if error.errno in {errno.EOPNOTSUPP, errno.EISDIR}:
            reason = "this file system has no files without a name; write to another and copy"
        raise NotWritten(reason, file=path, errno=error.errno or 0) from error
    finally:
        if fd >= 0:
            os.close(fd)
        os.close(parent)


def _fill(fd: int, root: NewBucket, page_size: int, txid: int) -> None:
    high_water = 2

    def take(places: int) -> int:
        nonlocal high_water
        high_water += places
        return high_water - places

    builder = Builder(page_size, take, lambda pgid, data: write_all(fd, data, pgid * page_size))
    header = RootHeader(builder.bucket(root, 0), root.sequence)
    os.ftruncate(fd, max(high_water * page_size, _LEAST))
    for number in (txid + 1, txid + 2):
        index = number % 2
        meta = build_meta(index, page_size=page_size, flags=REBUILT, root=header, high_water=high_water, txid=number)
        write_all(fd, meta, index * page_size)


def _sound(fd: int, path: bytes) -> None:
    """Read the new file and check it.

    Raises:
        NotWritten: the file is not sound.
    """
    try:
        with Database.from_fd(fd, path, mapped=False) as database:
            damage = next(verify(database), None)
    except BoltError as error:
        raise NotWritten(f"what was written cannot be read: {error}", file=path) from error
    if damage is not None:
        raise NotWritten(f"what was written is not sound: {damage.message}", file=path)
