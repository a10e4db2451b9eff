"""A container's file system as a tar archive: the one that a mount of its layers would show."""

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
    """Every entry of a merged file system with its path, the root first with an empty one.

    Args:
        overlay: what to walk. It must not be asked for anything between two entries but the entry's own bytes.
        note: told of folders that could not be listed, in one shown line.

    Raises:
        OSError: the root cannot be read.
    """
    opened = _OpenDir(overlay.root())
    levels = [opened]
    # No opened has its path: ten thousand of them would hold gigabytes.
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
    """What is in one folder, folders excepted: those are left pending."""
    before = path + b"/" if path else b""
    try:
        for name, merged in overlay.list(opened.directory):
            if merged.folders:
                opened.pending.append((name, merged))
            else:
                yield before + name, merged
    except OSError as error:
        note(f"/{shown(path)}: could not be listed: {error.strerror}; what is in it is missing")
    opened.pending.reverse()


_TOP = b"./"


def write_tree(stack: Stack, output: ByteSink, exported: Exported) -> int:
    """Write a file system as a tar archive.

    Args:
        stack: its layers.
        output: where the archive goes.
        exported: gets the remarks and the damage.

    Returns:
        How many entries were written.

    Raises:
        EvidenceUnreadable: a layer is not there.
        ActionFailed: from ``output``.
    """
    if not stack.layers:
        raise EvidenceUnreadable("it has no layer: there is nothing in it")
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
        exported.remarks.append("its ids are mapped: owners are those on disk, not those that it saw")
    if writer.sockets:
        exported.remarks.append(f"{writer.sockets} sockets are left out: tar has no word for them")
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
        """Write one entry; False where that cannot be."""
        before = self.archive.written
        try:
            return self._add(path, merged)
        except BrokenPipeError:
            raise
        except OSError as error:
            if self.archive.written != before:
                # Half an entry cannot be taken back.
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
