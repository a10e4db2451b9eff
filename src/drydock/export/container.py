"""A container's file system as a tar archive, as a mount of its layers would show it."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from drydock.evidence.containerd.snapshot_layers import Stack
from drydock.export.layer_dirs import LayerDirs
from drydock.export.overlay import Merged, Overlay
from drydock.export.pax_tar import Archive, ByteSink
from drydock.model.errors import EvidenceUnreadable
from drydock.model.exports import Exported
from drydock.model.text import shown


@dataclass(slots=True)
class _OpenDir:
    directory: Merged
    pending: list[tuple[bytes, Merged]] = field(default_factory=list)


def walk(overlay: Overlay, note: Callable[[str], None]) -> Iterator[tuple[bytes, Merged]]:
    """Walk a merged file system: every entry with its path, first the root with an empty path.

    Args:
        overlay: the file system. Between two entries it may be asked only for the bytes of the entry.
        note: called with one shown line for each directory that could not be listed.

    Raises:
        OSError: the root cannot be read.
    """
    opened = _OpenDir(overlay.root())
    levels = [opened]
    # No level keeps its path: the paths of ten thousand levels would take gigabytes.
    names: list[bytes] = []
    yield b"", opened.directory
    yield from _list(overlay, opened, b"", note)
    while True:
        opened = levels[-1]
        if opened.pending:
            name, directory = opened.pending.pop()
            names.append(name)
            path = b"/".join(names)
            levels.append(_OpenDir(directory))
            yield path, directory
            yield from _list(overlay, levels[-1], path, note)
            continue
        levels.pop()
        if not levels:
            return
        names.pop()
        overlay.leave(opened.directory)


def _list(
    overlay: Overlay, opened: _OpenDir, path: bytes, note: Callable[[str], None]
) -> Iterator[tuple[bytes, Merged]]:
    """List the entries of a directory, except directories: these are left pending."""
    before = path + b"/" if path else b""
    try:
        for name, merged in overlay.list(opened.directory):
            if merged.folders:
                opened.pending.append((name, merged))
            else:
                yield before + name, merged
    except OSError as error:
        note(f"/{shown(path)}: could not be listed: {error.strerror}; its entries are missing")
    opened.pending.reverse()


_TOP = b"./"


def write_tree(stack: Stack, output: ByteSink, exported: Exported) -> int:
    """Write a file system as a tar archive.

    Args:
        stack: its layers.
        output: receives the archive.
        exported: receives the remarks and the damage.

    Returns:
        The number of entries.

    Raises:
        EvidenceUnreadable: a layer is missing.
        ActionFailed: from ``output``.
    """
    if not stack.layers:
        raise EvidenceUnreadable("it has no layers, so it has no files")
    note = exported.note
    with LayerDirs(stack) as dirs:
        overlay = Overlay(dirs, stack.overlay_format, note)
        writer = _Writer(overlay, Archive(output, note), note)
        count = 0
        try:
            for path, merged in walk(overlay, note):
                count += writer.add(path, merged)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise EvidenceUnreadable(f"{stack.names[0]}: {error.strerror}") from error
        writer.archive.finish()
    if stack.is_mapped:
        exported.remarks.append("its ids are mapped: the owners are those on disk, not those that the container saw")
    if writer.sockets:
        exported.remarks.append(f"{writer.sockets} sockets are left out: tar has no type for them")
    return count


class _Writer:
    """Writes the entries of one file system."""

    def __init__(self, overlay: Overlay, archive: Archive, note: Callable[[str], None]) -> None:
        self._overlay = overlay
        self.archive = archive
        self.sockets = 0
        self._note = note
        self._linked: dict[tuple[int, int], bytes] = {}

    def add(self, path: bytes, merged: Merged) -> bool:
        """Write one entry; False if it is left out."""
        before = self.archive.written
        try:
            return self._add(path, merged)
        except BrokenPipeError:
            raise
        except OSError as error:
            if self.archive.written != before:
                # Part of an entry is written and cannot be taken back.
                raise EvidenceUnreadable(f"/{shown(path)}: {error.strerror}") from error
            self._note(f"/{shown(path)}: {error.strerror}; left out")
            return False

    def _add(self, path: bytes, merged: Merged) -> bool:
        info = merged.top.info
        name = _TOP + path
        if stat.S_ISDIR(info.st_mode):
            self.archive.add(name.rstrip(b"/") + b"/", info, xattrs=self._overlay.visible(merged.top))
            return True
        if stat.S_ISSOCK(info.st_mode):
            self.sockets += 1
            return False
        if info.st_nlink > 1:
            first = self._linked.get(merged.top.inode)
            if first is not None:
                self.archive.add_link(name, info, first)
                return True
        self._add_new(path, merged)
        if info.st_nlink > 1:
            self._linked[merged.top.inode] = name
        return True

    def _add_new(self, path: bytes, merged: Merged) -> None:
        top, name = merged.top, _TOP + path
        xattrs = self._overlay.visible(top)
        if stat.S_ISREG(top.info.st_mode):
            data = self._overlay.open(merged.data)
            try:
                self.archive.add_file(name, top.info, data, "/" + shown(path), xattrs)
            finally:
                data.close()
            return
        target = b""
        if stat.S_ISLNK(top.info.st_mode):
            target = self._overlay.readlink(top)
        self.archive.add(name, top.info, target=target, xattrs=xattrs)
