"""The commit: pages go to disk, and then the meta that makes them the tree; or nothing does."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from bbolt_reader.meta import MAGIC, NO_FREELIST, PAGE_META, VERSION, Meta, checksum
from bbolt_reader.page import formats
from bbolt_surgery.changes import RootHeader
from bbolt_surgery.errors import NotCommitted, Uncertain

META_SIZE: Final = 80
"""Bytes of page header and meta. They are in one sector, because every page starts at one."""

_NO_FALLOCATE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV})


def next_txid(current: Meta) -> int:
    """The id of the transaction to commit after the one of a meta.

    bbolt writes the meta of transaction t to page t % 2. The id has to lead to the page of the other meta, whatever the
    parity of the one in use: bbolt's own copies (v1.3.6, tx.go, WriteTo) always have theirs on page 0.
    """
    after = current.txid + 1
    return after if after % 2 != current.index else after + 1


def encode_meta(current: Meta, root: RootHeader, high_water: int, txid: int, flags: int | None = None) -> bytes:
    """The page that takes the place of the other meta; ``flags`` stay as they are unless given."""
    return build_meta(
        1 - current.index,
        page_size=current.page_size,
        flags=int.from_bytes(current.raw[28:32], "little") if flags is None else flags,
        root=root,
        high_water=high_water,
        txid=txid,
    )


def build_meta(index: int, *, page_size: int, flags: int, root: RootHeader, high_water: int, txid: int) -> bytes:
    """A page header and a meta without a freelist, so that bbolt finds the free pages by a walk."""
    from bbolt_reader import layout  # noqa: PLC0415  construct is slow to import; see there

    fields = {
        "magic": MAGIC,
        "version": VERSION,
        "page_size": page_size,
        "flags": flags,
        "root": root.pgid,
        "sequence": root.sequence,
        "freelist": NO_FREELIST,
        "high_water": high_water,
        "txid": txid,
    }
    body: bytes = layout.META.build({**fields, "checksum": 0})[:-8]
    return formats().header.pack(index, PAGE_META, 0, 0) + body + checksum(body).to_bytes(8, "little")


def commit(
    fd: int,
    name: bytes,
    metas: tuple[Meta, Meta],
    *,
    current: Meta,
    meta: bytes,
    pages: Sequence[tuple[int, bytes]],
    ready: Callable[[], None],
) -> None:
    """Write pages, sync, write the meta over the one that is not in use, sync.

    Args:
        fd: the file, open for writing.
        name: of the file in errors.
        metas: as they are in the file.
        current: the one of them in use.
        meta: from :func:`encode_meta`.
        pages: position and bytes of each page; none of them is in use.
        ready: called once the pages are on disk; if it raises, nothing is committed.

    Raises:
        NotCommitted: the database has its old contents.
        Uncertain: the database has its old contents or the new ones.
    """
    size = os.fstat(fd).st_size
    other = metas[1 - current.index]
    offset = other.index * current.page_size
    former = other.raw
    try:
        _prepare(fd, name, pages, current.page_size, offset)
        ready()
        _unchanged(fd, name, metas, current.page_size)
    except BaseException:
        _shorten(fd, size)
        raise
    try:
        write_all(fd, meta, offset)
        os.fdatasync(fd)
    except BaseException as error:
        number = (error.errno or 0) if isinstance(error, OSError) else 0
        try:
            if os.pread(fd, len(former), offset) != former:
                write_all(fd, former, offset)
                os.fdatasync(fd)
        except OSError as second:
            raise Uncertain(
                f"the commit: {_reason(error)}; taking it back: {_reason(second)}; the database holds the old contents "
                "or the new ones",
                file=name,
                errno=number,
            ) from error
        _shorten(fd, size)
        if isinstance(error, OSError):
            raise NotCommitted(f"{_reason(error)}; the commit was taken back", file=name, errno=number) from error
        raise


def _prepare(fd: int, name: bytes, pages: Sequence[tuple[int, bytes]], page_size: int, meta: int) -> None:
    try:
        _reserve(fd, pages, page_size, meta)
        for pgid, data in sorted(pages):
            write_all(fd, data, pgid * page_size)
        os.fdatasync(fd)
    except OSError as error:
        raise NotCommitted(f"{_reason(error)}; not committed", file=name, errno=error.errno or 0) from error


def _unchanged(fd: int, name: bytes, metas: tuple[Meta, Meta], page_size: int) -> None:
    try:
        same = all(os.pread(fd, len(each.raw), each.index * page_size) == each.raw for each in metas)
    except OSError as error:
        raise NotCommitted(f"{_reason(error)}; not committed", file=name, errno=error.errno or 0) from error
    if not same:
        raise NotCommitted("the database changed during the edit: whoever did that ignores its lock", file=name)


def _reserve(fd: int, pages: Iterable[tuple[int, bytes]], page_size: int, meta: int) -> None:
    """Have the file system allocate all blocks now, so that a full one refuses before anything is written."""
    try:
        os.posix_fallocate(fd, meta, META_SIZE)
        for pgid, data in pages:
            os.posix_fallocate(fd, pgid * page_size, len(data))
    except OSError as error:
        if error.errno not in _NO_FALLOCATE:
            raise


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write bytes at an offset, all of them."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        if not written:
            raise OSError(errno.EIO, "nothing was written")
        view = view[written:]
        offset += written


def _shorten(fd: int, size: int) -> None:
    """Cut the file back to its old size. If that fails, the file stays longer, which does no harm."""
    with contextlib.suppress(OSError):
        if os.fstat(fd).st_size > size:
            os.ftruncate(fd, size)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return type(error).__name__
