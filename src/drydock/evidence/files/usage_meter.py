"""Measures folders, and collects their disk usage as entries; each block counts in exactly one entry."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from drydock.evidence.files.directory import names
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.sizes import BLOCK, DiskUsage, Measure, Share
from drydock.evidence.files.walk_pool import FEW, AheadPart, WalkAhead, WalkPool, finish_parts
from drydock.model.disk_usage import UsageCategory, UsageEntry
from drydock.model.names import RawPath
from drydock.model.progress import Progress, counter

_MOUNT = "a mount, which is not entered"
_HELD = 64
"""Open folders that wait for their rest to be walked."""
_WAITING = 10_000
"""Folders that wait to be walked."""


class _Counted(NamedTuple):
    """Bytes for an entry."""

    category: UsageCategory
    path: RawPath
    name: bytes
    usage: DiskUsage | AheadPart | int | None
    """What was walked, or is walked ahead, or the bytes; None if they were not measured."""
    note: str
    rest: list[int]
    """The shares that belong to it."""


class UsageMeter:
    """Collects the entries of one place.

    Folders with few folders are walked at once. The rest is walked by all cores together, at the latest when the
    entries are asked for.

    Args:
        measure: counts an inode with several links once; None if nothing is to be measured.
        live: an engine may be at work: one process measures, which is kinder to the host.
        progress: told how many folders are measured.
        ahead: has folders that are measured already.
    """

    def __init__(
        self,
        measure: Measure | None,
        *,
        live: bool = False,
        progress: Progress | None = None,
        ahead: WalkAhead | None = None,
    ) -> None:
        self._measure = measure
        self._ahead = WalkAhead() if ahead is None else ahead
        self._live = live
        self._progress = progress
        self._found: dict[tuple[UsageCategory, bytes, RawPath], UsageEntry] = {}
        # In the order in which they came, so that an inode with several links counts in the first entry that has it.
        self._counted: list[_Counted] = []
        self._shares: list[Share] = []
        self._held: list[int] = []

    def close(self) -> None:
        """Close the folders that wait to be walked."""
        while self._held:
            os.close(self._held.pop())

    def __enter__(self) -> UsageMeter:  # noqa: PYI034 - Self is in typing since 3.11 only
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def measures(self) -> bool:
        """Whether anything is to be measured."""
        return self._measure is not None

    def entries(self) -> tuple[UsageEntry, ...]:
        """The entries, in the order of the categories, the largest of each first."""
        self._walk_rest()
        order = {category: place for place, category in enumerate(UsageCategory)}
        return tuple(
            sorted(self._found.values(), key=lambda each: (order[each.category], -(each.bytes or 0), each.path))
        )

    def add(
        self, category: UsageCategory, path: RawPath, name: bytes = b"", size: int | None = None, note: str = ""
    ) -> None:
        """Add bytes to an entry; one that was not measured stays so unless bytes are added to it.

        Args:
            category: of the entry.
            path: of the entry, absolute.
            name: of the entry.
            size: bytes of allocated blocks; None for a part that was not measured.
            note: why not all of it was measured; the first one stays.
        """
        self._counted.append(_Counted(category, path, name, size, note, []))

    @contextmanager
    def folder(
        self, category: UsageCategory, path: RawPath, name: bytes, parent: int, *, into: tuple[RawPath, bytes]
    ) -> Iterator[int | None]:
        """A descriptor of a folder whose contents are entries of their own; the folder itself belongs to one entry.

        Args:
            category: of the entry that the folder itself belongs to.
            path: of the folder.
            name: of the folder in ``parent``.
            parent: descriptor of the folder above.
            into: path and name of that entry.

        Returns:
            None if it is no folder, or cannot be entered: then an entry for the whole of it is added.
        """
        descriptor = None
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                descriptor = open_directory(parent, name, readable=True)
                if self._measure is not None:
                    self.add(category, *into, found.st_blocks * BLOCK)
            else:
                self.add(category, path, name, found.st_blocks * BLOCK, _link_note(found))
        except FileNotFoundError:
            pass
        except OSError as error:
            self.add(category, path, name, None, _problem(error))
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def add_folder(self, category: UsageCategory, path: RawPath, descriptor: int) -> None:
        """Add an open folder itself, without its contents, to the entry of that category and path."""
        if self._measure is not None:
            self.add(category, path, b"", os.fstat(descriptor).st_blocks * BLOCK)

    def listed(self, category: UsageCategory, path: RawPath, descriptor: int) -> list[bytes]:
        """The names in an open folder, sorted; none, with an entry that says so, if it cannot be listed."""
        try:
            return names(descriptor)
        except OSError as error:
            self.add(category, path, b"", None, _problem(error))
            return []

    def measure(self, parts: Iterable[tuple[bytes, UsageCategory, RawPath, bytes]], parent: int) -> None:
        """Measure what lies in an open folder.

        Args:
            parts: the name of each, then category, path and name of the entry that it belongs to.
            parent: descriptor of the folder.
        """
        held = -1
        parts = list(parts)
        ahead = self._ahead.take((part for part, *_ in parts), parent)
        step = counter(self._progress, "entries measured") if self._live else None
        for part, category, path, name in parts:
            if self._measure is None:
                self.add(category, path, name)
                continue
            if part in ahead:
                self._counted.append(_Counted(category, path, name, ahead[part], _link_note_of(part, parent), []))
                continue
            try:
                usage, left = self._measure.begin(part, parent, None if self._live else FEW)
            except FileNotFoundError:  # it went meanwhile
                continue
            except OSError as error:
                self.add(category, path, name, None, _problem(error))
                continue
            if left and held < 0:
                held = os.dup(parent)
                self._held.append(held)
            rest = list(range(len(self._shares), len(self._shares) + len(left)))
            self._shares += (each._replace(parent=held) for each in left)
            note = _link_note_of(part, parent) if usage.entries == 1 else ""
            self._counted.append(_Counted(category, path, name, usage, note, rest))
            if step is not None:
                step(1)
        if len(self._held) >= _HELD or len(self._shares) >= _WAITING:
            self._walk_rest()

    def _walk_rest(self) -> None:
        """Walk what was left, and add everything to its entries."""
        known: dict[int, DiskUsage] = {}
        shares, measure = self._shares, self._measure
        ahead = [each.usage for each in self._counted if isinstance(each.usage, AheadPart)]
        usages: Iterator[DiskUsage | OSError] = iter(())
        if (shares or ahead) and measure is not None:
            total = len(shares) + sum(len(part.numbers) for part in ahead)
            step = counter(self._progress, "folders measured", total)
            with WalkPool(shares) as pool:
                usages = iter(finish_parts(ahead, measure, step))
                known = pool.finish(measure, progress=step)
            for number, share in enumerate(shares):
                if number not in known:
                    known[number] = measure.go_on(share)
                    if step is not None:
                        step(1)
        for category, path, name, counted, note, rest in self._counted:
            usage = next(usages) if isinstance(counted, AheadPart) else counted
            if isinstance(usage, DiskUsage) and measure is not None:
                for number in rest:
                    usage.include(known[number])
                self._enter(category, path, name, *_result(measure.add(usage), note))
            elif isinstance(usage, OSError):
                if not isinstance(usage, FileNotFoundError):  # else it went meanwhile
                    self._enter(category, path, name, None, _problem(usage))
            elif not isinstance(usage, DiskUsage):
                self._enter(category, path, name, usage, note)
        self._counted.clear()
        self._shares.clear()
        self.close()

    def _enter(self, category: UsageCategory, path: RawPath, name: bytes, size: int | None, note: str) -> None:
        key = category, name, path
        before = self._found.get(key)
        if before is not None:
            size = before.bytes if size is None else size + (before.bytes or 0)
            note = before.note or note
        self._found[key] = UsageEntry(category, name, path, size, note)


def _result(usage: DiskUsage, note: str) -> tuple[int | None, str]:
    """The bytes of what was measured, and why these are not all; no bytes for a mount that was not entered."""
    if usage.skips:
        more = f" (and {usage.skips - 1} more)" if usage.skips > 1 else ""
        return (usage.allocated, usage.skipped[0] + more) if usage.entries else (None, _MOUNT)
    return usage.allocated, note


def _link_note_of(name: bytes, parent: int) -> str:
    with suppress(OSError):
        return _link_note(os.stat(name, dir_fd=parent, follow_symlinks=False))
    return ""


def _link_note(found: os.stat_result) -> str:
    return "a symbolic link, which is not followed" if stat.S_ISLNK(found.st_mode) else ""


def _problem(error: OSError) -> str:
    return _MOUNT if error.errno == errno.EXDEV else error.strerror or str(error)
