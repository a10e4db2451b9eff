"""What a container changed against its image, by the rules of ``docker diff``.

Source: moby daemon/containerd/image_changes.go (v28.5), pkg/archive changes.go, changes_unix.go (``addChanges``,
``statDifferent``): both trees are compared, so a file that was changed and changed back is not listed.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from drydock.evidence.containerd.snapshot_layers import Stack
from drydock.export.layer_dirs import LayerDirs
from drydock.export.overlay import Merged, Overlay
from drydock.model.errors import EvidenceUnreadable
from drydock.model.exports import Change, ChangeKind
from drydock.model.text import shown

_CAPABILITY = b"security.capability"
_SECOND = 1_000_000_000


def find_changes(
    new: Stack, old: Stack, note: Callable[[str], None], progress: Callable[[int], None] | None = None
) -> Iterator[Change]:
    """List the differences between two file systems: a directory before its entries, names sorted by their bytes.

    A directory with a changed entry is changed too. The entries of a deleted directory are not listed.

    Args:
        new: the container's layers.
        old: the layers that it was made from; if there are none, everything is added.
        note: called with one shown line for each thing that could not be compared.
        progress: called with the number of entries compared since its last call.

    Raises:
        EvidenceUnreadable: a layer is missing.
    """
    if not new.layers:
        return
    with LayerDirs(new) as new_dirs, LayerDirs(old) as old_dirs:
        sides = (Overlay(new_dirs, new.overlay_format, note), Overlay(old_dirs, old.overlay_format, note))
        try:
            roots = (sides[0].root(), sides[1].root() if old.layers else None)
            yield from _TreeComparison(*sides, note, progress).compare(*roots)
        except OSError as error:
            raise EvidenceUnreadable(f"{new.names[0]}: {error.strerror}") from error


@dataclass(slots=True)
class _ComparedDir:
    name: bytes
    new: Merged
    old: Merged | None
    is_listed: bool
    pending: list[tuple[bytes, Merged | None, Merged | None]]


class _TreeComparison:
    """Compares two merged trees, directory by directory."""

    def __init__(
        self, new: Overlay, old: Overlay, note: Callable[[str], None], progress: Callable[[int], None] | None
    ) -> None:
        self._new = new
        self._old = old
        self._note = note
        self._progress = progress
        self._levels: list[_ComparedDir] = []

    def compare(self, new: Merged, old: Merged | None) -> Iterator[Change]:
        """List every change below two roots."""
        self._enter(b"", new, old, is_listed=True)
        while self._levels:
            level = self._levels[-1]
            if not level.pending:
                self._levels.pop()
                self._new.leave(level.new)
                if level.old is not None:
                    self._old.leave(level.old)
                continue
            name, here, before = level.pending.pop()
            kind = _kind(here, before)
            if kind is not None:
                yield from self._parents()
                yield Change(kind, self._path(name))
            if here is not None and here.folders and not _is_same(here, before):
                self._enter(
                    name, here, before if before is not None and before.folders else None, is_listed=kind is not None
                )

    def _enter(self, name: bytes, new: Merged, old: Merged | None, *, is_listed: bool) -> None:
        self._levels.append(_ComparedDir(name, new, old, is_listed, []))
        here = self._list(self._new, new)
        before = self._list(self._old, old) if old is not None else {}
        if self._progress is not None:
            self._progress(len(here or ()) + len(before or ()))
        if here is None or before is None:
            return
        self._levels[-1].pending = [
            (each, here.get(each), before.get(each)) for each in sorted({*here, *before}, reverse=True)
        ]

    def _list(self, overlay: Overlay, directory: Merged) -> dict[bytes, Merged] | None:
        try:
            return dict(overlay.list(directory))
        except OSError as error:
            self._note(f"{shown(self._path())}: could not be listed: {error.strerror}; its entries are not compared")
            return None

    def _parents(self) -> Iterator[Change]:
        for depth, level in enumerate(self._levels):
            if not level.is_listed:
                level.is_listed = True
                yield Change(ChangeKind.CHANGED, b"/" + b"/".join(each.name for each in self._levels[1 : depth + 1]))

    def _path(self, *more: bytes) -> bytes:
        return b"/" + b"/".join((*(level.name for level in self._levels[1:]), *more))


def _kind(new: Merged | None, old: Merged | None) -> ChangeKind | None:
    if new is None:
        return ChangeKind.DELETED
    if old is None:
        return ChangeKind.ADDED
    return None if _is_same(new, old) or not _differs(new, old) else ChangeKind.CHANGED


def _is_same(new: Merged, old: Merged | None) -> bool:
    """Whether both come from the same files of the same layers."""
    if old is None or new.top.inode != old.top.inode or new.data.inode != old.data.inode:
        return False
    return [layer_dir.inode for layer_dir in new.folders] == [layer_dir.inode for layer_dir in old.folders]


def _differs(new: Merged, old: Merged) -> bool:
    here, before = new.top.info, old.top.info
    if (here.st_mode, here.st_uid, here.st_gid, here.st_rdev) != (
        before.st_mode,
        before.st_uid,
        before.st_gid,
        before.st_rdev,
    ):
        return True
    # Docker tests one bit, which block devices and sockets have too.
    if not before.st_mode & stat.S_IFDIR and (
        here.st_size != before.st_size or not _is_same_time(here.st_mtime_ns, before.st_mtime_ns)
    ):
        return True
    return new.top.xattrs.get(_CAPABILITY) != old.top.xattrs.get(_CAPABILITY)


def _is_same_time(new: int, old: int) -> bool:
    """Whether two times are equal; one without a fraction equals its whole second, as an archive may have lost it."""
    if new // _SECOND != old // _SECOND:
        return False
    return new == old or not new % _SECOND or not old % _SECOND
