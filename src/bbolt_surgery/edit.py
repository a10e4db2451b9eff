"""The operations: change a file, undo the last change, and remove the mark of a rebuilt file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from bbolt_reader.database import Database
from bbolt_reader.errors import BoltError, Corrupt, Truncated
from bbolt_reader.meta import PAGE_META, Meta
from bbolt_reader.page import PAGE_FREELIST
from bbolt_reader.verify import verify
from bbolt_surgery.changes import Deletion, Insertion, Receipt, RootHeader
from bbolt_surgery.commit import commit, encode_meta, next_txid
from bbolt_surgery.errors import Damaged, Moved, SurgeryError
from bbolt_surgery.node import NodeFile
from bbolt_surgery.rewrite import Rewrite
from bbolt_surgery.space import Space
from bbolt_surgery.survey import free, survey

_LAST_TXID = 1 << 62


def change(
    fd: int,
    name: bytes,
    deletions: Iterable[Deletion],
    insertions: Iterable[Insertion] = (),
    *,
    on_ready: Callable[[Receipt], None] | None = None,
) -> Receipt:
    """Delete keys and buckets from a bbolt file, then put others in, in place and in one commit.

    The whole file is read and checked first. The pages of the former tree are not written to. A crash at any moment
    leaves the old contents or the new ones. If there is nothing to do, nothing is written.

    Args:
        fd: the file, opened O_RDWR and without O_APPEND by a caller that holds its flock LOCK_EX, so that no bbolt has
            it open; its position is moved.
        name: of the file in errors.
        deletions: the keys and buckets to delete; the receipt lists those that are absent.
        insertions: the keys to put in after the deletions; the receipt lists those that are present, which stay.
        on_ready: called with the receipt once all but the meta is on disk, which is the moment to note the receipt
            down. If it raises, nothing is committed, and the exception goes on. Not called if there is nothing to do.

    Returns:
        The receipt, for :func:`restore`.

    Raises:
        SurgeryError: the descriptor cannot be used.
        Damaged: the database is not sound. Nothing was written.
        Unfit: a bbolt file cannot have a key, a value or a bucket to put in. Nothing was written.
        NotCommitted: writing failed; the database has its old contents.
        Uncertain: the sync of the commit failed; the database has its old contents or the new ones.
    """
    with open_database(fd, name) as opened:
        used = opened.survey()
        # The older tree may reach further, if the newer commit was taken back.
        high_water = max(opened.meta.high_water, *(pgid + places for pgid, places in used.items()))
        space = Space(fd, opened.file.page_size, free(used, high_water), high_water)
        rewrite = Rewrite(opened.file, opened.root, space.take)
        root = rewrite.change(deletions, insertions)
        changed = bool(rewrite.deleted or rewrite.inserted)
        done = opened.receipt(root, space.high_water if changed else opened.meta.high_water, rewrite)
        if changed:
            opened.commit(done, rewrite.pages, on_ready)
        return done


def restore(
    fd: int,
    name: bytes,
    receipt: Receipt,
    *,
    on_ready: Callable[[Receipt], None] | None = None,
) -> Receipt:
    """Undo the commit of a receipt, by one more commit of the former root.

    Args:
        fd: as for :func:`change`.
        name: of the file in errors.
        receipt: of the last commit to the file; if it wrote nothing, nothing is undone.
        on_ready: as for :func:`change`.

    Returns:
        The receipt of the new commit; undoing that brings the change back.

    Raises:
        SurgeryError: the descriptor cannot be used.
        Moved: the file is not as the commit of the receipt left it. Nothing was written.
        Damaged: the former tree is not sound. Nothing was written.
        NotCommitted, Uncertain: as for :func:`change`.
    """
    with open_database(fd, name) as opened:
        meta = opened.meta
        if (meta.txid, opened.root, meta.high_water) != (receipt.txid_after, receipt.root_after, receipt.hwm_after):
            raise Moved(
                f"transaction {meta.txid} counts, not {receipt.txid_after} as the edit left it"
                if meta.txid != receipt.txid_after
                else f"transaction {meta.txid} is not the one the edit made",
                file=name,
            )
        if receipt.txid_after == receipt.txid_before:
            return opened.receipt(opened.root, meta.high_water, None)
        former = NodeFile(opened.file.source, meta.page_size, min(receipt.hwm_before, meta.high_water))
        survey(former, receipt.root_before.pgid, None)
        done = opened.receipt(receipt.root_before, meta.high_water, None)
        opened.commit(done, [], on_ready)
        return done


def trust(fd: int, name: bytes) -> bool:
    """Remove the mark of a rebuilt file, by a commit that changes nothing else.

    Args:
        fd: as for :func:`change`.
        name: of the file in errors.

    Returns:
        Whether the file had the mark.

    Raises:
        SurgeryError, Damaged, NotCommitted, Uncertain: as :func:`change`.
    """
    with open_database(fd, name) as opened:
        if not opened.meta.is_rebuilt:
            return False
        opened.survey()
        opened.unmark()
        return True


def settle(fd: int, name: bytes) -> bool:
    """Commit the root again, so that both metas have it alone: the pages of the older tree and freelists are free then.

    This needs no block. :func:`restore` cannot go back beyond it.

    Args:
        fd: as for :func:`change`.
        name: of the file in errors.

    Returns:
        Whether a page came free by it.

    Raises:
        SurgeryError, Damaged, NotCommitted, Uncertain: as :func:`change`.
    """
    gained = False
    for _ in range(2):  # the second time a freelist that the meta in use had before
        with open_database(fd, name) as opened:
            if len(opened.survey()) == len(survey(opened.file, opened.root.pgid, None)):
                break
            opened.commit_root(opened.root, opened.meta.high_water, [])
            gained = True
    return gained


@contextmanager
def open_database(fd: int, name: bytes) -> Iterator[OpenDatabase]:
    """A database to edit; errors of bbolt_reader become :class:`Damaged`."""
    try:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    except OSError as error:
        raise SurgeryError(os.strerror(error.errno or 0), file=name) from error
    if flags & os.O_ACCMODE != os.O_RDWR or flags & os.O_APPEND:
        raise SurgeryError("not opened for reading and writing, or opened for appending", file=name)
    try:
        with Database.from_fd(fd, name) as database:
            yield OpenDatabase(fd, database)
    except BoltError as error:
        raise Damaged(str(error), file=name) from error


class OpenDatabase:
    """A sound database that can be changed."""

    def __init__(self, fd: int, database: Database) -> None:
        self._fd = fd
        self._name = database.name
        self._database = database
        self.meta = database.meta
        self.root = RootHeader(self.meta.root, self.meta.sequence)
        self.file = NodeFile(database.source, self.meta.page_size, self.meta.high_water)
        self._sound()

    def _sound(self) -> None:
        meta, database = self.meta, self._database
        problem = ""
        if meta.high_water > database.pages:
            raise Truncated(f"{database.pages} pages, of {meta.high_water}", file=self._name)
        if meta.id != meta.index or meta.flags != PAGE_META:
            problem = f"the page of meta {meta.index} has id {meta.id} and flags {meta.flags:#x}"
        elif not 2 <= meta.root < meta.high_water:
            problem = f"the root is page {meta.root}, of {meta.high_water}"
        elif meta.txid >= _LAST_TXID:
            problem = f"transaction {meta.txid}"
        if problem:
            raise Corrupt(problem, file=self._name, page=meta.index, offset=meta.offset)

    def check(self) -> None:
        """Check every page and every entry that the meta in use reaches.

        Raises:
            Corrupt: the database is not sound.
        """
        for damage in verify(self._database):
            if damage.severe:
                raise Corrupt(damage.message, file=self._name, page=damage.page, offset=damage.offset)

    def survey(self) -> dict[int, int]:
        """The pages that either meta reaches.

        After a crash, the tree of the meta that is not in use may be broken, because bbolt writes over its pages before
        it writes over the meta. Then nobody can go back to it, and its pages are not protected.
        """
        self.check()
        meta = self.meta
        used = survey(self.file, meta.root, meta.freelist if meta.has_freelist else None)
        other: Meta = self._database.metas[1 - meta.index]
        if other.valid and other.page_size == meta.page_size:
            older = NodeFile(self.file.source, meta.page_size, min(other.high_water, self._database.pages))
            try:
                more = survey(older, other.root, None, used)
            except BoltError:
                more = {}
            if other.has_freelist:
                with suppress(BoltError):
                    more[other.freelist] = older.header(other.freelist, (PAGE_FREELIST,))[2]
            for pgid, places in more.items():
                used[pgid] = max(used.get(pgid, 0), places)
        return used

    def receipt(self, root: RootHeader, high_water: int, rewrite: Rewrite | None) -> Receipt:
        """What a commit of ``root`` would do; ``rewrite`` made the pages, if there are new ones."""
        meta, size = self.meta, self.meta.page_size
        pages = rewrite.pages if rewrite else []
        return Receipt(
            txid_before=meta.txid,
            txid_after=meta.txid if root == self.root else next_txid(meta),
            root_before=self.root,
            root_after=root,
            hwm_before=meta.high_water,
            hwm_after=high_water,
            pages_written=sum(len(data) for _, data in pages) // size,
            grew_by=max(0, high_water * size - self._database.size) if pages else 0,
            deleted=tuple(rewrite.deleted) if rewrite else (),
            absent=tuple(rewrite.absent) if rewrite else (),
            inserted=tuple(rewrite.inserted) if rewrite else (),
            present=tuple(rewrite.present) if rewrite else (),
        )

    def commit(self, done: Receipt, pages: list[tuple[int, bytes]], on_ready: Callable[[Receipt], None] | None) -> None:
        """Commit what a receipt says.

        Raises:
            NotCommitted, Uncertain: as for :func:`change`.
        """
        meta = encode_meta(self.meta, done.root_after, done.hwm_after, done.txid_after)
        commit(
            self._fd,
            self._name,
            self._database.metas,
            current=self.meta,
            meta=meta,
            pages=pages,
            ready=(lambda: on_ready(done)) if on_ready else lambda: None,
        )

    def unmark(self) -> None:
        """Commit the same root once more, without flags."""
        self.commit_root(self.root, self.meta.high_water, [], flags=0)

    def commit_root(
        self, root: RootHeader, high_water: int, pages: list[tuple[int, bytes]], flags: int | None = None
    ) -> None:
        """Commit a root whose pages are in ``pages`` or in the file already; ``flags`` as for :func:`encode_meta`.

        Raises:
            NotCommitted, Uncertain: as for :func:`change`.
        """
        meta = self.meta
        data = encode_meta(meta, root, high_water, next_txid(meta), flags=flags)
        commit(self._fd, self._name, self._database.metas, current=meta, meta=data, pages=pages, ready=lambda: None)
