"""Directories inside layers, opened on demand: at any depth, with few descriptors, through no symlink and no mount.

A layer is a directory, or an EROFS image in a file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from drydock.evidence.containerd.snapshot_layers import Stack
from drydock.evidence.containerd.snapshots import LAYER
from drydock.evidence.files.directory import folder, names, open_folder
from drydock.evidence.files.erofs import ErofsImage, Inode, Unusable
from drydock.evidence.files.kernel_mount import mount_image
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.regular import open_regular
from drydock.evidence.files.xattrs import read_xattrs
from drydock.export.pax_tar import FileData, segments
from drydock.model.errors import EvidenceUnreadable
from drydock.model.text import shown

if TYPE_CHECKING:
    from typing_extensions import Self

_OPEN = 256
# overlay itself takes 500 (fs/overlayfs/params.h OVL_MAX_STACK); containerd's mounts hold fewer than 200.
_MOST_LAYERS = 500
_WRITABLE = b"rwlayer.img"
"""What a container of erofs writes to with ``default_size`` (containerd plugins/snapshots/erofs/erofs.go, v2.3.4)."""


class LayerDir:
    """One directory of one layer; ``above`` is its parent in that layer."""

    __slots__ = ("above", "inode", "layer", "name")

    def __init__(self, layer: int, inode: tuple[int, int], above: LayerDir | None = None, name: bytes = b"") -> None:
        self.layer = layer
        self.inode = inode
        self.above = above
        self.name = name


class LayerDirs:
    """The directories of a stack's layers; a context manager that closes them.

    A descriptor from :meth:`fd` is valid until the next call of a method.

    Raises:
        EvidenceUnreadable: a layer is not there.
    """

    def __init__(self, stack: Stack) -> None:
        self._tops: list[int] = []
        self._images: dict[int, ErofsImage] = {}
        self._listed: dict[int, tuple[int, dict[bytes, int]]] = {}
        """Per image, the directory that was listed last: its inode, and the inode of each name."""
        self._open: OrderedDict[LayerDir, int] = OrderedDict()
        roots: list[LayerDir] = []
        if len(stack.layers) > _MOST_LAYERS:
            raise EvidenceUnreadable(f"{len(stack.layers)} layers are more than overlay itself takes")
        try:
            for number, (parts, name) in enumerate(zip(stack.layers, stack.names, strict=True)):
                self._tops.append(_open_layer(stack, parts, name))
                if parts[-1] == LAYER and not stack.by_kernel:
                    image = self._images[number] = _open_image(self._tops[-1], stack, parts, name)
                    roots.append(LayerDir(number, (image.device, image.root)))
                    continue
                found = os.fstat(self._tops[-1])
                roots.append(LayerDir(number, (found.st_dev, found.st_ino)))
        except BaseException:
            self.close()
            raise
        self.roots = tuple(roots)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every descriptor."""
        for descriptor in (*self._tops, *self._open.values()):
            os.close(descriptor)
        self._tops.clear()
        self._open.clear()

    def names(self, layer_dir: LayerDir) -> list[bytes]:
        """List the names in a directory, sorted by their bytes.

        Raises:
            OSError: it cannot be listed.
        """
        image = self._images.get(layer_dir.layer)
        if image is None:
            return names(self.fd(layer_dir))
        found = dict(image.names(image.inode(layer_dir.inode[1])))
        self._listed[layer_dir.layer] = layer_dir.inode[1], found
        return list(found)

    def look(self, layer_dir: LayerDir, name: bytes) -> tuple[os.stat_result, dict[bytes, bytes]]:
        """Stat a name in a directory, and read its extended attributes; ``.`` is the directory itself.

        Raises:
            FileNotFoundError: there is no such name.
            OSError: it cannot be read.
        """
        image = self._images.get(layer_dir.layer)
        if image is None:
            descriptor = self.fd(layer_dir)
            return os.stat(name, dir_fd=descriptor, follow_symlinks=False), read_xattrs(name, descriptor)
        inode = self._inode(image, layer_dir, name)
        return image.stat(inode), image.xattrs(inode)

    def readlink(self, layer_dir: LayerDir, name: bytes) -> bytes:
        """Read the target of a symbolic link in a directory.

        Raises:
            OSError: it cannot be read.
        """
        image = self._images.get(layer_dir.layer)
        if image is None:
            return os.readlink(name, dir_fd=self.fd(layer_dir))
        return image.target(self._inode(image, layer_dir, name))

    def open(self, layer_dir: LayerDir, name: bytes, inode: tuple[int, int]) -> FileData:
        """Open a file in a directory; the caller closes it.

        Raises:
            OSError: it cannot be opened, or another file has its name by now.
        """
        image = self._images.get(layer_dir.layer)
        if image is not None:
            return _InImage(image, self._inode(image, layer_dir, name))
        descriptor = open_regular(name, self.fd(layer_dir))
        info = os.fstat(descriptor)
        if (info.st_dev, info.st_ino) != inode:
            os.close(descriptor)
            raise OSError(errno.ESTALE, "was replaced while it was read")
        return _OnDisk(descriptor)

    def _inode(self, image: ErofsImage, layer_dir: LayerDir, name: bytes) -> Inode:
        parent = layer_dir.inode[1]
        if name == b".":
            return image.inode(parent)
        listed, known = self._listed.get(layer_dir.layer, (-1, {}))
        return image.find(image.inode(parent), name, known.get(name) if listed == parent else None)

    def fd(self, layer_dir: LayerDir) -> int:
        """Open a directory of a layer that is itself a directory, for reading.

        Raises:
            OSError: it cannot be opened, another directory has its name by now, or something is mounted on it.
        """
        if layer_dir.above is None:
            return self._tops[layer_dir.layer]
        if layer_dir in self._open:
            self._open.move_to_end(layer_dir)
            return self._open[layer_dir]
        way, above = [layer_dir], layer_dir.above
        while above.above is not None and above not in self._open:
            way.append(above)
            above = above.above
        base = self._tops[layer_dir.layer] if above.above is None else self._open[above]
        descriptor = base
        for step in reversed(way):
            try:
                below = open_directory(descriptor, step.name, readable=True)
            finally:
                if descriptor != base:
                    os.close(descriptor)
            descriptor = below
            _check(descriptor, step)
        self._keep(layer_dir, descriptor)
        return descriptor

    def rise(self, layer_dir: LayerDir) -> None:
        """Open the parent of an open directory through ``..``: deep down, that is cheaper than from the top."""
        above = layer_dir.above
        if above is None or above.above is None or above in self._open or layer_dir not in self._open:
            return
        descriptor = open_folder(b"..", self._open[layer_dir])
        _check(descriptor, above)
        self._keep(above, descriptor)

    def _keep(self, layer_dir: LayerDir, descriptor: int) -> None:
        self._open[layer_dir] = descriptor
        if len(self._open) > _OPEN:
            os.close(self._open.popitem(last=False)[1])


def _check(descriptor: int, layer_dir: LayerDir) -> None:
    found = os.fstat(descriptor)
    if (found.st_dev, found.st_ino) != layer_dir.inode:
        os.close(descriptor)
        raise EvidenceUnreadable(
            f"directory {shown(layer_dir.name)} was moved while it was read: something uses the store"
        )


def _open_layer(stack: Stack, parts: tuple[bytes, ...], name: str) -> int:
    path = shown(b"/".join((stack.root, *parts)))
    try:
        if parts[-1] == LAYER:
            with folder(stack.root, *parts[:-1]) as above:
                _refuse_link(above, path, name)
                image = open_regular(LAYER, above)
            return _mounted(image, b"erofs") if stack.by_kernel else image
        writable = _open_writable(stack, parts) if stack.is_erofs else None
        if writable is not None:
            return _open_upper(writable, stack, parts, name)
        with folder(stack.root, *parts) as descriptor:
            return os.dup(descriptor)
    except OSError as error:
        raise EvidenceUnreadable(f"snapshot {name}: {path}: {error.strerror}") from error


def _open_image(descriptor: int, stack: Stack, parts: tuple[bytes, ...], name: str) -> ErofsImage:
    try:
        return ErofsImage(descriptor)
    except Unusable as error:
        raise EvidenceUnreadable(
            f"snapshot {name}: {shown(b'/'.join((stack.root, *parts)))}: {error}; with --mount the kernel reads it"
        ) from error


def _refuse_link(above: int, path: str, name: str) -> None:
    """Refuse a layer of ``layer_content_caches``, a link out of the store (erofs.go prepareDirectory, after v2.3)."""
    if stat.S_ISLNK(os.stat(LAYER, dir_fd=above, follow_symlinks=False).st_mode):
        target = shown(os.readlink(LAYER, dir_fd=above))
        raise EvidenceUnreadable(
            f"snapshot {name}: {path} is a link to {target}, outside of the store, and is not followed"
        )


def _open_writable(stack: Stack, parts: tuple[bytes, ...]) -> int | None:
    """Open the ext4 image that a container writes to; None if it writes to a directory."""
    with folder(stack.root, *parts[:-1]) as above:
        try:
            return open_regular(_WRITABLE, above)
        except FileNotFoundError:
            return None


def _open_upper(image: int, stack: Stack, parts: tuple[bytes, ...], name: str) -> int:
    """Open the layer in such an image."""
    if not stack.by_kernel:
        os.close(image)
        path = shown(b"/".join((stack.root, *parts[:-1], _WRITABLE)))
        raise EvidenceUnreadable(
            f"snapshot {name}: what the container wrote is in {path}, an ext4 image, which only the kernel reads: "
            "with --mount the kernel mounts it, read-only and without a replay of its journal"
        )
    top = _mounted(image, b"ext4", b"noload")
    try:
        return open_folder(b"upper", top)
    finally:
        os.close(top)


def _mounted(image: int, kind: bytes, *flags: bytes) -> int:
    try:
        return mount_image(image, kind, flags)
    except OSError as error:
        raise OSError(error.errno, f"the kernel cannot mount it: {error.strerror}") from error
    finally:
        os.close(image)


class _OnDisk:
    """A file of a layer that is a directory."""

    def __init__(self, descriptor: int) -> None:
        self._fd = descriptor
        info = os.fstat(descriptor)
        self.size, self.allocated = info.st_size, info.st_blocks * 512

    def segments(self) -> Iterator[tuple[int, int]]:
        return segments(self._fd, self.size)

    def read(self, length: int, at: int) -> bytes:
        return os.pread(self._fd, length, at)

    def close(self) -> None:
        os.close(self._fd)


class _InImage:
    """A file of a layer that is an image; it opens only if all its data lies in the image."""

    def __init__(self, image: ErofsImage, inode: Inode) -> None:
        self._image = image
        self._inode = inode
        self.size = inode.size
        self.allocated = sum(length for _, length in image.segments(inode))

    def segments(self) -> Iterator[tuple[int, int]]:
        end = 0
        for start, length in self._image.segments(self._inode):
            yield start, length
            end = start + length
        if end != self.size:
            yield self.size, 0

    def read(self, length: int, at: int) -> bytes:
        return self._image.read(self._inode, length, at)

    def close(self) -> None:
        """Do nothing: the image stays open."""
