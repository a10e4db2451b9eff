"""Making a bbolt file shorter in place: pages move to free places before them, and the end is cut off.

bbolt never gives space back: pages of deleted keys stay in the file as free pages. Its own ``bbolt compact`` writes a
new file (v1.5.0, compact.go). A new file in place of the old one has another inode, and a process that waits for the
lock of the old one would go on with that. So the file is changed in place here.

One round has three steps. (1) Pages from the end of the file are copied to free places, with every page on the way from
the root to them, and one commit makes the copies the tree. (2) A second commit of the same root leaves no meta that
needs the old pages. (3) Only then are the old places used again, or cut off: if the meta of step 1 were lost, bbolt
would go on with the other one, and read beyond the end of the file. A crash at any moment leaves a sound file with the
same contents, which is at worst as long as before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from operator import add
from typing import Final, NamedTuple

from bbolt_reader.errors import Corrupt
from bbolt_reader.page import HEADER, ID, LEAF_BUCKET, PAGE_BRANCH, PAGE_LEAF, formats
from bbolt_surgery.changes import RootHeader
from bbolt_surgery.edit import open_database
from bbolt_surgery.errors import NotCommitted
from bbolt_surgery.survey import free

_ROUND: Final = 64 << 20
"""Bytes of pages that one round moves at most: they are in memory until its commit."""
_WORTH: Final = 128
"""A round that shortens the file by less than one part in so many is the last one."""
_LEAST: Final = 0x1000
"""bbolt reads so many bytes before it knows the page size (v1.3.6, db.go, Open)."""


class Compaction(NamedTuple):
    """What compacting a file did, or would do."""

    bytes_before: int
    bytes_after: int
    moved: int
    """Pages that were copied to another place, those above them included."""
    rounds: int
    """Commits that moved pages."""


class Use(NamedTuple):
    """How much of a file its tree needs."""

    size: int
    """Bytes of the file."""
    used: int
    """Bytes of the pages that the tree reaches, and of both metas: the least size that compacting can lead to."""


def compact(
    fd: int,
    name: bytes,
    agree: Callable[[Use], bool] = lambda _: True,
    progress: Callable[[int], None] | None = None,
) -> Compaction | None:
    """Make a bbolt file as short as its pages allow, in place. The former tree is lost: no receipt holds any more.

    Pages are moved as they are. Half-full ones stay half full, so that a later insertion does not split them.

    Args:
        fd: as for :func:`bbolt_surgery.change`.
        name: of the file in errors.
        agree: called once with what the sound file needs; nothing is written unless it returns true.
        progress: called with the number of pages moved since its last call.

    Returns:
        What was done; None without agreement.

    Raises:
        SurgeryError: the descriptor cannot be used.
        Damaged: the database is not sound. Nothing was written.
        NotCommitted: writing failed; the contents are the same, and the file may be shorter than before.
        Uncertain: a sync failed; the contents are the same in both states that the file may have.
    """
    size = os.fstat(fd).st_size
    with open_database(fd, name) as opened:
        opened.check()
        page_size, root = opened.meta.page_size, opened.root
        tree = _Tree(fd, name, page_size, root.pgid, opened.meta.high_water)
    if not agree(Use(size, (2 + tree.total) * page_size)):
        return None
    # The older meta may need other pages: without a tree or a freelist of its own, it needs the same.
    _commit_twice(fd, name, root, tree.high_water, [])
    moved = rounds = 0
    end = tree.high_water
    while pages := tree.move_round():
        root = root._replace(pgid=tree.root)
        _commit_twice(fd, name, root, tree.high_water, pages)
        moved, rounds = moved + len(pages), rounds + 1
        if progress is not None:
            progress(len(pages))
        before, end = end, tree.high_water
        if (before - end) * _WORTH < end:
            break
    try:
        os.ftruncate(fd, max(tree.high_water * page_size, _LEAST))
        os.fsync(fd)
    except OSError as error:
        problem = f"{os.strerror(error.errno or 0)}; the file keeps its length"
        raise NotCommitted(problem, file=name, errno=error.errno or 0) from error
    return Compaction(size, os.fstat(fd).st_size, moved, rounds)


def _commit_twice(fd: int, name: bytes, root: RootHeader, high_water: int, pages: list[tuple[int, bytes]]) -> None:
    """Make ``pages`` and ``root`` the tree of one meta, and then of the other one too."""
    for written in (pages, []):
        with open_database(fd, name) as opened:
            opened.commit_root(root, high_water, written)


class _Tree:
    """Which pages a tree has, and which page leads to each.

    Args:
        fd: the file.
        name: of the file in errors.
        page_size: of the file.
        root: the page where the tree starts.
        high_water: the first page that was never used.

    Raises:
        Corrupt: a page is not where the page above it says, or two pages overlap.
    """

    def __init__(self, fd: int, name: bytes, page_size: int, root: int, high_water: int) -> None:
        self._fd = fd
        self._name = name
        self._page_size = page_size
        self.root = root
        self._places: dict[int, int] = {}
        """How many places each page takes."""
        self._above: dict[int, int] = {}
        """The page that leads to each page but the root."""
        self._last: set[int] = set()
        """The pages that lead to no other."""
        pending = [root]
        while pending:
            pgid = pending.pop()
            page = self._first_read(pgid, high_water)
            links = self._links(page)
            if not links:
                self._last.add(pgid)
            for _, child in links:
                if child in self._above or child == root:
                    raise self._corrupt(child, "two pages lead to it")
                self._above[child] = pgid
                pending.append(child)
        after = 2
        for pgid in sorted(self._places):
            if pgid < after:
                raise self._corrupt(pgid, "it lies inside another page")
            after = pgid + self._places[pgid]

    def _first_read(self, pgid: int, high_water: int) -> bytes:
        self._places[pgid] = 1
        if not 2 <= pgid < high_water:
            raise self._corrupt(pgid, f"it is named, of {high_water}")
        page = self._read(pgid)
        own, flags, _, overflow = formats().header.unpack_from(page)
        if own != pgid or flags not in (PAGE_LEAF, PAGE_BRANCH) or pgid + overflow >= high_water:
            raise self._corrupt(pgid, "its header is not one of a page of the tree")
        if overflow:
            self._places[pgid] = overflow + 1
            page = self._read(pgid)
        return page

    def _corrupt(self, pgid: int, problem: str) -> Corrupt:
        return Corrupt(f"page {pgid}: {problem}", file=self._name, page=pgid, offset=pgid * self._page_size)

    @property
    def total(self) -> int:
        """The places of all pages."""
        return sum(self._places.values())

    @property
    def high_water(self) -> int:
        """The first page after the last one of the tree."""
        ends: Iterator[int] = map(add, self._places.keys(), self._places.values())
        return max(2, *ends)

    def move_round(self) -> list[tuple[int, bytes]]:
        """Move what one commit can move, as position and bytes of each copy; empty if nothing more can move."""
        order = sorted(self._places, reverse=True)
        chosen = self._choose(order)
        while chosen:
            found = self._allot(chosen)
            if found is not None:
                return self._apply(found)
            # Too little is free in one piece: fewer pages need fewer pieces.
            chosen = self._choose(order, len(chosen) // 2)
        return []

    def _choose(self, order: list[int], most: int | None = None) -> set[int]:
        """Pages from the end, and those above them, that fit in the free places before the first of the former.

        Args:
            order: all pages, the last one first.
            most: how many at most; None for as many as fit.
        """
        chosen: set[int] = set()
        needed, after, limit = 0, 0, _ROUND // self._page_size
        total = self.total
        for pgid in order:
            added = [each for each in self._path(pgid) if each not in chosen]
            after += self._places[pgid]
            needed_then = needed + sum(self._places[each] for each in added)
            free_below = pgid - 2 - (total - after)
            too_many = needed_then > limit or (most is not None and len(chosen) + len(added) > most)
            if needed_then > free_below or (too_many and chosen):
                break
            chosen.update(added)
            needed = needed_then
        return chosen

    def _path(self, pgid: int) -> Iterator[int]:
        """A page and the pages above it."""
        at: int | None = pgid
        while at is not None:
            yield at
            at = self._above.get(at)

    def _allot(self, chosen: set[int]) -> dict[int, int] | None:
        """The new place of each page: all of them before the first page that moves from the end, or None."""
        high_water = self.high_water
        runs = [list(run) for run in free(self._places, high_water)]
        found: dict[int, int] = {}
        first = size = 0
        for pgid in sorted(chosen, key=lambda each: (-self._places[each], each)):
            count = self._places[pgid]
            if count != size:
                first, size = 0, count
            # Pages come by size, the largest first: what is too short for one is so for the next of its size.
            while first < len(runs) and runs[first][1] < count:
                first += 1
            if first == len(runs):
                return None
            run = runs[first]
            found[pgid] = run[0]
            run[0], run[1] = run[0] + count, run[1] - count
        last = max(found[pgid] + self._places[pgid] for pgid in chosen)
        stays = max((pgid + count for pgid, count in self._places.items() if pgid not in chosen), default=2)
        return found if max(last, stays) < high_water else None

    def _apply(self, found: dict[int, int]) -> list[tuple[int, bytes]]:
        """Copy pages to their new places, with the new places of the pages that they lead to."""
        pages = []
        above = self._above
        for pgid, place in found.items():
            page = bytearray(self._read(pgid))
            page[:ID] = place.to_bytes(ID, "little")
            for offset, child in () if pgid in self._last else self._links(page):
                if child in found:
                    page[offset : offset + ID] = found[child].to_bytes(ID, "little")
                else:
                    above[child] = place
            pages.append((place, bytes(page)))
        parents = {place: found.get(above[pgid], above[pgid]) for pgid, place in found.items() if pgid in above}
        for pgid in found:
            above.pop(pgid, None)
        above.update(parents)
        for pgid, count in [(pgid, self._places.pop(pgid)) for pgid in found]:
            self._places[found[pgid]] = count
        moved = self._last.intersection(found)
        self._last -= moved
        self._last.update(found[pgid] for pgid in moved)
        self.root = found.get(self.root, self.root)
        return pages

    def _read(self, pgid: int) -> bytes:
        length = self._places[pgid] * self._page_size
        try:
            data = os.pread(self._fd, length, pgid * self._page_size)
        except OSError as error:
            raise NotCommitted(os.strerror(error.errno or 0), file=self._name, errno=error.errno or 0) from error
        if len(data) != length:
            raise NotCommitted(f"page {pgid} is not there any more", file=self._name)
        return data

    def _links(self, page: bytes | bytearray) -> list[tuple[int, int]]:
        """Where a page has the position of another page, and that position."""
        _, flags, count, _ = formats().header.unpack_from(page)
        elements = memoryview(page)[HEADER : HEADER * (count + 1)]
        if flags == PAGE_BRANCH:
            return [
                (HEADER * (place + 1) + ID, child)
                for place, (_, _, child) in enumerate(formats().branch.iter_unpack(elements))
            ]
        links = []
        for place, (kind, pos, ksize, _) in enumerate(formats().leaf.iter_unpack(elements)):
            if kind == LEAF_BUCKET:
                offset = HEADER * (place + 1) + pos + ksize
                child = int.from_bytes(page[offset : offset + ID], "little")
                if child:
                    links.append((offset, child))
        return links
