"""Disk usage of a folder that a container wrote: any depth, any name, no symbolic link followed, no mount entered."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.evidence.files.directory import open_folder
from drydock.evidence.files.openat2 import open_directory
from drydock.model.data import Occupancy

UPPER = b"fs"
"""The folder with the files of an overlay snapshot, in the snapshot's own folder (overlay.go upperPath, v2.1)."""
BLOCK = 512
PAGE = 4096
_TYPE = 0o170000  # S_IFMT: S_ISDIR would be a call for each file
_SMALL = 2048
"""Blocks of a folder whose names are listed at once, which is faster: some 30,000 names. btrfs and tmpfs give none."""
_OPEN_LEVELS = 128
_LISTED = 20
_SHARED_LEVELS = 12
"""A path of so many names is shorter than PATH_MAX."""
_SHARES = 1000
"""The most folders that a walk leaves: a container may make any number of them, and each left one takes memory."""


@dataclass(slots=True)
class DiskUsage:
    """What one walk counted."""

    allocated: int = 0
    """Bytes of allocated blocks; each inode counts once."""
    entries: int = 0
    skipped: list[str] = field(default_factory=list)
    """Why parts were not counted: the first reasons, one line each, without names."""
    skips: int = 0
    """How many parts were not counted."""
    linked: dict[tuple[int, int], int] = field(default_factory=dict)
    """Bytes of inodes with several links, by device and number; they are not in ``allocated`` yet."""
    links: int = 0
    """How many of the entries are one of several links."""
    filled: int = 0
    """Inodes that are not empty."""
    length: int = 0
    """Bytes of their contents, whatever blocks they take."""
    all: Occupancy | None = None
    """What the whole folder takes; None if parts were not counted."""
    upper: Occupancy | None = None
    """What its folder :data:`UPPER` takes; None if there is no such folder, or parts were not counted."""

    def numbers(self) -> tuple[int, int, int, int, int]:
        """Counts so far: inodes, bytes of their blocks, inodes that are not empty, their bytes, parts not counted."""
        inodes = self.entries - self.links + len(self.linked)
        return inodes, self.allocated + sum(self.linked.values()), self.filled, self.length, self.skips

    def since(self, before: tuple[int, int, int, int, int]) -> Occupancy | None:
        """What was counted since :meth:`numbers` returned ``before``; None if parts of it were not counted."""
        inodes, allocated, filled, length, skips = (
            now - then for now, then in zip(self.numbers(), before, strict=True)
        )
        return None if skips else Occupancy(inodes, allocated, max(allocated, length + filled * PAGE))

    def skip(self, reason: str) -> None:
        """Note a part that is not counted."""
        self.skips += 1
        if len(self.skipped) < _LISTED:
            self.skipped.append(reason)

    def include(self, other: DiskUsage) -> None:
        """Add the blocks, entries and skipped parts of another walk, of folders below this one's."""
        self.allocated += other.allocated
        self.entries += other.entries
        self.skipped += other.skipped[: _LISTED - len(self.skipped)]
        self.skips += other.skips
        self.linked |= other.linked


class Share(NamedTuple):
    """A folder that a walk left to another walk."""

    path: bytes
    """Its name in an open folder, or its path below that."""
    parent: int
    """Descriptor of that folder."""
    blocks: int | None = None
    """The folder's own blocks; None if it was not looked at yet, and may be no folder."""


class TooMany(Exception):
    """A walk would leave more folders than it may."""


@dataclass(slots=True)
class _WalkLevel:
    name: bytes
    descriptor: int | None
    """None while the walk is far below: the folder is opened again from below then, and its identity compared."""
    pending: list[tuple[bytes, int]]
    """Folders still to enter: names and blocks."""
    identity: tuple[int, int] = 0, 0
    """Device and inode."""


class Measure:
    """Measures folders; an inode with several links counts once over all of them, in the first folder that has it.

    Args:
        others: what these have counted is not counted again.
    """

    def __init__(self, others: Iterable[Measure] = ()) -> None:
        self._linked: set[tuple[int, int]] = set()
        for other in others:
            self._linked |= other._linked

    def folder(self, name: bytes, parent: int) -> DiskUsage:
        """The usage of ``name`` in the open folder ``parent``, itself included.

        Raises:
            OSError: ``name`` is not there.
        """
        return self.add(self.walk(name, parent))

    def add(self, usage: DiskUsage) -> DiskUsage:
        """Add the inodes with several links that were in no folder before."""
        for key, size in usage.linked.items():
            if key not in self._linked:
                self._linked.add(key)
                usage.allocated += size
        usage.linked = {}
        return usage

    def walk(self, name: bytes, parent: int) -> DiskUsage:
        """As :meth:`folder`, without the step of :meth:`add`, so that it does not depend on other folders."""
        usage, _ = self.begin(name, parent)
        usage.all = usage.since((0, 0, 0, 0, 0))
        return usage

    def begin(
        self, name: bytes, parent: int, folders: int | None = None, *, strictly: bool = False
    ) -> tuple[DiskUsage, list[Share]]:
        """As :meth:`walk`, but leave the rest to others after so many folders; None for all.

        Args:
            name: as for :meth:`walk`.
            parent: as for :meth:`walk`.
            folders: how many to enter; more as long as too many would be left.
            strictly: enter no more than these.

        Returns:
            What was counted, and the folders that are left to :meth:`go_on`.

        Raises:
            OSError: ``name`` is not there.
            TooMany: ``strictly``, and too many would be left.
        """
        usage, left = DiskUsage(), list[Share]()
        top = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(top.st_mode):
            left += self._walk(Share(name, parent, top.st_blocks), usage, folders, strictly=strictly)
        else:
            _count(top, usage)
        return usage, left

    def go_on(self, share: Share) -> DiskUsage:
        """As :meth:`walk`, of a folder that :meth:`begin` left, or of any other."""
        if share.blocks is None:
            return self.walk(share.path, share.parent)
        usage = DiskUsage()
        self._walk(share, usage)
        return usage

    def _walk(
        self, top: Share, usage: DiskUsage, folders: int | None = None, *, strictly: bool = False
    ) -> Iterable[Share]:
        levels: list[_WalkLevel] = []
        entered = 1
        try:
            self._enter(top.path, top.blocks or 0, top.parent, levels, usage)
            before = None
            while levels:
                level = levels[-1]
                if before is not None and len(levels) == 1:
                    usage.upper, before = usage.since(before), None
                if folders is not None and entered >= folders:
                    if _can_be_left(levels):
                        return list(_left(levels, top.parent))
                    if strictly:
                        raise TooMany
                if level.pending:
                    if len(levels) == 1 and level.pending[-1][0] == UPPER:
                        before = usage.numbers()
                    assert level.descriptor is not None
                    self._enter(*level.pending.pop(), level.descriptor, levels, usage)
                    entered += 1
                elif not self._leave(levels, usage):
                    break
        finally:
            for level in levels:
                if level.descriptor is not None:
                    os.close(level.descriptor)
        return ()

    def _enter(self, name: bytes, blocks: int, parent: int, levels: list[_WalkLevel], usage: DiskUsage) -> None:
        try:
            descriptor = open_directory(parent, name, readable=True)
        except OSError as error:
            if error.errno == errno.EXDEV:
                usage.skip("a mount was not entered")
                return
            descriptor = None
            usage.skip(f"a folder could not be opened: {error.strerror}")
        usage.entries += 1
        usage.filled += 1
        usage.allocated += blocks * BLOCK
        if descriptor is None:
            return
        pending: list[tuple[bytes, int]] = []
        levels.append(_WalkLevel(name, descriptor, pending))
        try:
            self._list(descriptor, blocks, pending, usage)
        except OSError as error:
            usage.skip(f"a folder could not be listed: {error.strerror}")
        if not pending:
            # Most of all folders.
            levels.pop()
            os.close(descriptor)
        elif len(levels) > _OPEN_LEVELS:
            above = levels[-1 - _OPEN_LEVELS]
            if above.descriptor is not None:
                here = os.fstat(above.descriptor)
                above.identity = here.st_dev, here.st_ino
                os.close(above.descriptor)
                above.descriptor = None

    def _list(self, descriptor: int, own: int, pending: list[tuple[bytes, int]], usage: DiskUsage) -> None:
        # The hot path: a turn for every file of every layer.
        seen = blocks = links = filled = length = 0
        linked, type_, folder, look = usage.linked, _TYPE, stat.S_IFDIR, os.stat
        try:
            for name in os.listdir(descriptor) if 0 < own <= _SMALL else _names(descriptor):
                try:
                    found = look(name, dir_fd=descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    # A running container removed it: the entries listed after it still count.
                    continue
                if found.st_mode & type_ == folder:
                    pending.append((os.fsencode(name), found.st_blocks))
                    continue
                seen += 1
                if found.st_nlink > 1:
                    links += 1
                    key = found.st_dev, found.st_ino
                    if key in linked:
                        continue
                    linked[key] = found.st_blocks * BLOCK
                else:
                    blocks += found.st_blocks
                if size := found.st_size:
                    filled += 1
                    length += size
        finally:
            usage.entries += seen
            usage.links += links
            usage.filled += filled
            usage.length += length
            usage.allocated += blocks * BLOCK

    def _leave(self, levels: list[_WalkLevel], usage: DiskUsage) -> bool:
        done = levels.pop()
        assert done.descriptor is not None
        try:
            if levels and levels[-1].descriptor is None:
                above = open_folder(b"..", done.descriptor)
                here = os.fstat(above)
                levels[-1].descriptor = above
                if (here.st_dev, here.st_ino) != levels[-1].identity:
                    usage.skip("a folder was moved while it was measured")
                    return False
        except OSError as error:
            usage.skip(f"a folder could not be opened again: {error.strerror}")
            return False
        finally:
            os.close(done.descriptor)
        return True


def _names(descriptor: int) -> Iterator[str]:
    """The names in a folder that may be very large, one at a time."""
    with os.scandir(descriptor) as entries:
        for entry in entries:
            yield entry.name


def _can_be_left(levels: list[_WalkLevel]) -> bool:
    return len(levels) < _SHARED_LEVELS and sum(len(level.pending) for level in levels) <= _SHARES


def _left(levels: list[_WalkLevel], parent: int) -> Iterator[Share]:
    """The folders still to enter, in the order in which the walk would enter them."""
    for depth in range(len(levels), 0, -1):
        above = b"/".join(level.name for level in levels[:depth])
        for name, blocks in reversed(levels[depth - 1].pending):
            yield Share(above + b"/" + name, parent, blocks)


def _count(found: os.stat_result, usage: DiskUsage) -> None:
    usage.entries += 1
    if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
        usage.links += 1
        usage.linked[found.st_dev, found.st_ino] = found.st_blocks * BLOCK
    else:
        usage.allocated += found.st_blocks * BLOCK
