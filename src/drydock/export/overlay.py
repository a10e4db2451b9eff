"""Merging layers as overlay does: whiteouts, opaque directories, redirects, files whose data lies in a lower layer.

Source: Linux fs/overlayfs/namei.c (ovl_lookup, ovl_lookup_layer, ovl_lookup_single, ovl_check_redirect), v6.12;
fuse-overlayfs main.c (load_dir), v1.10. :mod:`drydock.evidence.containerd.overlay_xattrs` reads the marks of layers.
Where the kernel returns an error (a redirect or a metacopy that its mount options forbid, missing data), the export
has what can be read, and a note tells of the rest.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from drydock.evidence.containerd.overlay_xattrs import WHITEOUT, OverlayFormat
from drydock.evidence.files.xattrs import read_xattrs
from drydock.export.layer_dirs import LayerDir, LayerDirs
from drydock.export.pax_tar import FileData
from drydock.model.text import shown

_LONGEST_REDIRECT = 4096
_NOT_THERE = (errno.ENOENT, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class Found:
    """A name in one layer."""

    layer_dir: LayerDir
    """Its directory; a layer's root is its own."""
    name: bytes
    """``.`` for a layer's own root."""
    info: os.stat_result
    xattrs: Mapping[bytes, bytes]
    """All of them, including overlay's own."""

    @property
    def inode(self) -> tuple[int, int]:
        """Device and inode."""
        return self.info.st_dev, self.info.st_ino


@dataclass(frozen=True, slots=True)
class Merged:
    """A name in the merged file system."""

    top: Found
    """The layer's entry that its attributes come from."""
    data: Found
    """The entry that a file's bytes come from; ``top`` for everything else."""
    folders: tuple[LayerDir, ...] = ()
    """The directories that a directory is merged from, the uppermost first; empty for everything else."""


@dataclass(slots=True)
class _Lookup:
    """A name that is looked up in one layer after the other, downwards."""

    wanted: bytes
    """Its name in the next layer, or its path from that layer's root."""
    stop: bool = False
    is_folder: bool = False
    metacopy: bool = False
    by: Found | None = None
    """The entry that redirected it last."""
    folders: list[LayerDir] = field(default_factory=list)
    hits: list[Found] = field(default_factory=list)


class Overlay:
    """The merged view of a stack of layers.

    Args:
        dirs: the layers.
        overlay_format: how they mark what they hide. Where any container can write the marks, neither redirects nor
            metacopies are followed, as the kernel does not follow them.
        note: called with one shown line for each thing that is left out.
    """

    def __init__(self, dirs: LayerDirs, overlay_format: OverlayFormat, note: Callable[[str], None]) -> None:
        self._dirs = dirs
        self._format = overlay_format
        self._note = note
        self._targets: dict[tuple[int, tuple[int, int]], tuple[int, int]] = {}

    def root(self) -> Merged:
        """The root of the merged tree.

        Raises:
            OSError: its attributes cannot be read.
        """
        layer_dir = self._dirs.roots[0]
        top = Found(layer_dir, b".", *self._dirs.look(layer_dir, b"."))
        return Merged(top, top, self._roots())

    def list(self, directory: Merged) -> Iterator[tuple[bytes, Merged]]:
        """List a merged directory, sorted by the bytes of the names.

        Raises:
            OSError: one layer's part of it cannot be listed, so what it hides in the layers below is not known.
        """
        having: dict[bytes, list[int]] = {}
        removed: dict[bytes, int] = {}
        for number, layer_dir in enumerate(directory.folders):
            for name in self._dirs.names(layer_dir):
                if self._format.by_files and name.startswith(WHITEOUT):
                    removed.setdefault(name[len(WHITEOUT) :], number)
                else:
                    having.setdefault(name, []).append(number)
        for name in sorted(having):
            last = removed.get(name, len(directory.folders))
            merged = self._look(directory.folders, name, [number for number in having[name] if number < last])
            if merged is not None:
                yield name, merged

    def leave(self, directory: Merged) -> None:
        """Note that the walk goes back to the parent of a directory."""
        for layer_dir in directory.folders:
            # If this fails, the next use opens it from the top and reports what is wrong.
            with suppress(OSError):
                self._dirs.rise(layer_dir)

    def visible(self, found: Found) -> dict[bytes, bytes]:
        """The extended attributes of an entry, as a mount shows them."""
        return self._format.visible(found.xattrs)

    def open(self, found: Found) -> FileData:
        """Open a file, which must be read before the next call of any method; the caller closes it.

        Raises:
            OSError: it cannot be opened, or another file has its name by now.
        """
        return self._dirs.open(found.layer_dir, found.name, found.inode)

    def readlink(self, found: Found) -> bytes:
        """Read the target of a symbolic link.

        Raises:
            OSError: it cannot be read.
        """
        return self._dirs.readlink(found.layer_dir, found.name)

    def _roots(self) -> tuple[LayerDir, ...]:
        """The roots of the layers down to the first opaque one; the kernel's overlay ignores that a root is opaque."""
        roots = self._dirs.roots
        if self._format.by_files:
            for number, layer_dir in enumerate(roots):
                descriptor = self._dirs.fd(layer_dir)
                if self._format.is_opaque(b".", descriptor, read_xattrs(b".", descriptor)):
                    return roots[: number + 1]
        return roots

    def _look(self, folders: tuple[LayerDir, ...], name: bytes, having: Iterable[int]) -> Merged | None:
        lookup = _Lookup(name)
        for number in having:
            layer_dir = folders[number]
            self._look_in_layer(layer_dir, lookup)
            if lookup.stop:
                break
            if lookup.by is not None:
                # Lower layers are asked for its former name, so it does not matter who has this one.
                self._look_below(folders, number + 1, lookup)
                break
        if not lookup.hits:
            return None
        top, data = lookup.hits[0], lookup.hits[-1]
        if stat.S_ISREG(top.info.st_mode) and lookup.metacopy:
            self._note(f"{shown(name)}: a layer has only its attributes, and no lower layer has its data")
            data = top
        return Merged(top, data if stat.S_ISREG(top.info.st_mode) else top, tuple(lookup.folders))

    def _look_below(self, folders: tuple[LayerDir, ...], number: int, lookup: _Lookup) -> None:
        """Look in the remaining layers for a redirected name."""
        stack = folders
        while not lookup.stop:
            if lookup.wanted.startswith(b"/") and stack is not self._dirs.roots:
                number = stack[number - 1].layer + 1
                stack = self._dirs.roots
            if number >= len(stack):
                return
            self._look_in_layer(stack[number], lookup)
            number += 1

    def _look_in_layer(self, layer_dir: LayerDir, lookup: _Lookup) -> None:
        by = lookup.by
        found, base = self._walk(layer_dir, lookup)
        if found is None or base is None:
            return
        if not stat.S_ISDIR(found.info.st_mode):
            lookup.hits.append(found)
            return
        below = LayerDir(layer_dir.layer, found.inode, base, found.name)
        if by is not None and not self._is_first(by, below):
            lookup.stop = True
            return
        lookup.hits.append(found)
        lookup.folders.append(below)

    def _is_first(self, by: Found, target: LayerDir) -> bool:
        """Whether no other directory was redirected here: else the merged tree could grow without end."""
        known = self._targets.setdefault((target.layer, target.inode), by.inode)
        if known != by.inode:
            self._note(
                f"{shown(by.name)}: its redirect leads to the same directory as another one, and is not followed"
            )
        return known == by.inode

    def _walk(self, layer_dir: LayerDir, lookup: _Lookup) -> tuple[Found | None, LayerDir | None]:
        """Find ``lookup.wanted`` in one layer: the entry and its directory."""
        if not lookup.wanted.startswith(b"/"):
            return self._step(layer_dir, lookup, lookup.wanted, 0, b""), layer_dir
        # Counted from the end: a redirect on the way replaces the part before.
        rest = len(lookup.wanted) - 1
        while True:
            begin = len(lookup.wanted) - rest
            end = lookup.wanted.find(b"/", begin)
            end = len(lookup.wanted) if end < 0 else end
            name, after = lookup.wanted[begin:end], lookup.wanted[end:]
            found = self._step(layer_dir, lookup, name, begin, after)
            if found is None or not after:
                return found, layer_dir
            rest -= len(name) + 1
            layer_dir = LayerDir(layer_dir.layer, found.inode, layer_dir, name)

    def _step(self, layer_dir: LayerDir, lookup: _Lookup, name: bytes, before: int, after: bytes) -> Found | None:
        """Look up one name in one directory of a layer, and note what it means for the layers below."""
        try:
            found = self._stat(layer_dir, name)
        except OSError as error:
            # It may hide the entry of a lower layer, which must not be shown in its place.
            self._note(f"{shown(name)}: {error.strerror}; left out")
            lookup.stop = True
            return None
        if found is None:
            return None
        mode, is_last = found.info.st_mode, not after
        if self._format.is_whiteout(found.info, found.xattrs):
            lookup.stop = True
            return None
        if is_last and lookup.metacopy and not stat.S_ISREG(mode):
            lookup.stop = True
            return None
        if not stat.S_ISDIR(mode):
            if lookup.is_folder or not is_last:
                lookup.stop = True
                return None
            lookup.metacopy = stat.S_ISREG(mode) and self._format.is_metacopy(found.xattrs)
            if lookup.metacopy and not self._format.trusted:
                self._note(
                    f"{shown(name)}: its data lies in another layer by an attribute that any container can write here"
                )
                lookup.metacopy = False
            lookup.stop = not lookup.metacopy
            if lookup.stop:
                return found
        else:
            lookup.is_folder = lookup.is_folder or is_last
            # The directory itself is read only where files can be marks.
            parent = self._dirs.fd(layer_dir) if self._format.by_files else -1
            if self._format.is_opaque(name, parent, found.xattrs):
                lookup.stop = True
                return found
        self._redirect(lookup, found, before, after)
        return found

    def _redirect(self, lookup: _Lookup, found: Found, before: int, after: bytes) -> None:
        target = self._format.redirect(found.xattrs)
        if target is None:
            return
        if not self._format.trusted or not _is_usable(target):
            self._note(f"{shown(found.name)}: its redirect is not followed; the files from its former path are missing")
            lookup.stop = True
            return
        if target.startswith(b"/"):
            lookup.stop = False
        else:
            target = lookup.wanted[:before] + target
        lookup.wanted, lookup.by = target + after, found

    def _stat(self, layer_dir: LayerDir, name: bytes) -> Found | None:
        try:
            return Found(layer_dir, name, *self._dirs.look(layer_dir, name))
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise


def _is_usable(target: bytes) -> bool:
    """Whether a redirect stays within its layer."""
    if len(target) > _LONGEST_REDIRECT or b"\0" in target:
        return False
    parts = target[1:].split(b"/") if target.startswith(b"/") else [target]
    return not any(part in (b"", b".", b"..") or b"/" in part for part in parts)
