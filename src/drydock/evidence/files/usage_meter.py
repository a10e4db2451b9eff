"""Measures folders, and collects their disk usage as entries; each block counts in exactly one entry."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from drydock.evidence.files.directory import names
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.sizes import BLOCK, DiskUsage, Measure
from drydock.evidence.files.walk_pool import WalkPool
from drydock.model.disk_usage import UsageCategory, UsageEntry
from drydock.model.names import RawPath
from drydock.model.progress import Progress, counter

_MOUNT = "a mount, which is not entered"


class UsageMeter:
    """Collects the entries of one place.

    Args:
        measure: counts an inode with several links once; None if nothing is to be measured.
        live: an engine may be at work: one process measures, which is kinder to the host.
        progress: told how many folders are measured.
    """

    def __init__(self, measure: Measure | None, *, live: bool = False, progress: Progress | None = None) -> None:
        self._measure = measure
        self._live = live
        self._progress = progress
        self._found: dict[tuple[UsageCategory, bytes, RawPath], UsageEntry] = {}

    @property
    def measures(self) -> bool:
        """Whether anything is to be measured."""
        return self._measure is not None

    def entries(self) -> tuple[UsageEntry, ...]:
        """The entries, in the order of the categories, the largest of each first."""
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
        key = category, name, path
        before = self._found.get(key)
        if before is not None:
            size = before.bytes if size is None else size + (before.bytes or 0)
            note = before.note or note
        self._found[key] = UsageEntry(category, name, path, size, note)

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

    def measure(
        self, parts: Iterable[tuple[bytes, UsageCategory, RawPath, bytes]], parent: int, many: str = ""
    ) -> None:
        """Measure what lies in an open folder.

        Args:
            parts: the name of each, then category, path and name of the entry that it belongs to.
            parent: descriptor of the folder.
            many: the task, for progress, where there may be so many that several processes measure them.
        """
        entries = list(parts)
        if self._measure is None:
            for _, category, path, name in entries:
                self.add(category, path, name)
            return
        step = counter(self._progress if many else None, many, len(entries))
        known: dict[bytes, DiskUsage] = {}
        pooled: frozenset[bytes] = frozenset()
        if many and not self._live:
            with WalkPool([part[0] for part in entries], parent) as pool:
                known = pool.finish(self._measure, step)
            pooled = frozenset(known)
        for part, category, path, name in entries:
            usage = known.pop(part, None)
            try:
                usage = self._measure.folder(part, parent) if usage is None else self._measure.add(usage)
            except FileNotFoundError:  # it went meanwhile
                continue
            except OSError as error:
                self.add(category, path, name, None, _problem(error))
                continue
            self.add(category, path, name, *self._result(usage, part, parent))
            if step is not None and part not in pooled:
                step(1)

    def _result(self, usage: DiskUsage, name: bytes, parent: int) -> tuple[int | None, str]:
        """The bytes of what was measured, and why these are not all; no bytes for a mount that was not entered."""
        if usage.skips:
            more = f" (and {usage.skips - 1} more)" if usage.skips > 1 else ""
            return (usage.allocated, usage.skipped[0] + more) if usage.entries else (None, _MOUNT)
        if usage.entries == 1:
            with suppress(OSError):
                return usage.allocated, _link_note(os.stat(name, dir_fd=parent, follow_symlinks=False))
        return usage.allocated, ""


def _link_note(found: os.stat_result) -> str:
    return "a symbolic link, which is not followed" if stat.S_ISLNK(found.st_mode) else ""


def _problem(error: OSError) -> str:
    return _MOUNT if error.errno == errno.EXDEV else error.strerror or str(error)
