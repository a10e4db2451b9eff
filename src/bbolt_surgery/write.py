"""A whole new bbolt file, that appears at once or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final

from bbolt_reader.database import Database
from bbolt_reader.errors import BoltError
from bbolt_reader.meta import REBUILT
from bbolt_reader.page import HEADER, LEAF_BUCKET, MAX_KEY, formats
from bbolt_reader.source import READ_LIMIT
from bbolt_reader.tree import MAX_DEPTH
from bbolt_reader.verify import verify
from bbolt_surgery.assemble import NewBucket
from bbolt_surgery.commit import build_meta, write_all
from bbolt_surgery.deletion import Root
from bbolt_surgery.errors import NotWritten
from bbolt_surgery.node import MAX_COUNT, Branch, Leaf, Node, encode, first_key, size

_INLINE: Final = 4
"""A bucket goes into its parent's page up to this part of a page (bbolt v1.3.6, bucket.go, maxInlineBucketSize)."""

_LEAST: Final = 0x1000
"""bbolt reads so much before it knows the page size, and takes a shorter file for none (v1.3.6, db.go, Open)."""


def write_new(path: bytes, root: NewBucket, *, page_size: int, txid: int, like: os.stat_result) -> None:
    """Write a database under a name that is free.

    The file has no name until all of it is on disk and was read again; a name that is taken stays as it is. Both of its
    metas say that it was rebuilt (:attr:`bbolt_reader.Meta.is_rebuilt`).

    Args:
        path: its name.
        root: what it is to hold.
        page_size: of the file it replaces: containerd's bbolt takes any, but the same is the least surprise.
        txid: the highest that was ever seen; the metas get the two after it.
        like: whose mode and owner the file gets.

    Raises:
        NotWritten: the name is taken, or writing failed. There is no file of that name unless there was before.
    """
    folder, name = os.path.split(path)
    try:
        parent = os.open(folder or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotWritten(os.strerror(error.errno or 0), file=path, errno=error.errno or 0) from error
    fd = -1
    try:
        # A file without a name can be left behind by nobody, and link() never replaces anything.
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
    writer = _Writer(fd, page_size)
    header = Root(writer.bucket(root, 0), root.sequence)
    high_water = writer.next
    os.ftruncate(fd, max(high_water * page_size, _LEAST))
    for number in (txid + 1, txid + 2):
        index = number % 2
        meta = build_meta(index, page_size=page_size, flags=REBUILT, root=header, high_water=high_water, txid=number)
        write_all(fd, meta, index * page_size)


def _sound(fd: int, path: bytes) -> None:
    """Read it again.

    Raises:
        NotWritten: it is not as it should be.
    """
    try:
        with Database.from_fd(fd, path, mapped=False) as database:
            damage = next(verify(database), None)
    except BoltError as error:
        raise NotWritten(f"what was written cannot be read: {error}", file=path) from error
    if damage is not None:
        raise NotWritten(f"what was written is not sound: {damage.message}", file=path)


class _Writer:
    def __init__(self, fd: int, page_size: int) -> None:
        self._fd = fd
        self._page_size = page_size
        self.next = 2

    def bucket(self, bucket: NewBucket, depth: int) -> int:
        """Write the pages of a bucket, those of the buckets in it first; give its root page."""
        if depth > MAX_DEPTH:
            raise NotWritten(f"more than {MAX_DEPTH} buckets in each other")
        level: list[tuple[bytes, int]] = []
        entries = [self._entry(key, bucket.entries[key], depth) for key in sorted(bucket.entries)]
        for first, last in _cuts([HEADER + len(key) + len(value) for _, key, value in entries], self._page_size, 1):
            leaf = Leaf(entries[first:last])
            level.append((first_key(leaf) if leaf.entries else b"", self._place(leaf)))
        while len(level) > 1:
            cuts = _cuts([HEADER + len(key) for key, _ in level], self._page_size, 2)
            level = [
                (level[first][0], self._place(Branch([(key, pgid) for key, pgid in level[first:last]])))
                for first, last in cuts
            ]
        return level[0][1]

    def _entry(self, key: bytes, value: bytes | NewBucket, depth: int) -> tuple[int, bytes, bytes]:
        if not 0 < len(key) <= MAX_KEY:
            raise NotWritten(f"a key of {len(key)} bytes")
        if isinstance(value, bytes):
            if HEADER * 2 + len(key) + len(value) > READ_LIMIT - self._page_size:
                raise NotWritten(f"a value of {len(value)} bytes")
            return 0, key, value
        flat = [(0, name, inner) for name, inner in sorted(value.entries.items()) if isinstance(inner, bytes)]
        leaf = Leaf(flat)
        if len(flat) == len(value.entries) and size(leaf) <= self._page_size // _INLINE:
            return LEAF_BUCKET, key, formats().bucket.pack(0, value.sequence) + encode(0, 0, leaf)
        return LEAF_BUCKET, key, formats().bucket.pack(self.bucket(value, depth + 1), value.sequence)

    def _place(self, node: Node) -> int:
        places = -(-size(node) // self._page_size)
        pgid = self.next
        self.next += places
        write_all(self._fd, encode(pgid, places - 1, node), pgid * self._page_size)
        return pgid


def _cuts(sizes: Sequence[int], page_size: int, least: int) -> list[tuple[int, int]]:
    """Share elements out to pages, at least so many to each; a page with one that is too large overflows."""
    cuts: list[tuple[int, int]] = []
    first, used = 0, HEADER
    for index, length in enumerate(sizes):
        if index - first >= least and (used + length > page_size or index - first == MAX_COUNT):
            cuts.append((first, index))
            first, used = index, HEADER
        used += length
    cuts.append((first, len(sizes)))
    if len(cuts) > 1 and cuts[-1][1] - cuts[-1][0] < least:
        # bbolt panics when it rebalances below a branch of one child.
        (start, middle), (_, end) = cuts[-2:]
        cuts[-2:] = [(start, middle - 1), (middle - 1, end)] if middle - start > least else [(start, end)]
    return cuts
