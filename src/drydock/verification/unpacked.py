"""Compares the directory of a committed snapshot with the layer that it was unpacked from.

Overlay's ``fs/`` has exactly the entries of the layer. Native's directory is a full copy of all layers: only the
entries of the layer itself are compared in it. Sources: as :mod:`drydock.verification.layer_reader`; containerd
plugins/snapshots/overlay/overlay.go, plugins/snapshots/native/native.go (v2.1).
"""

from __future__ import annotations

import enum
import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from drydock.evidence.containerd.overlay_xattrs import SENTINEL
from drydock.evidence.containerd.snapshot_layers import MAPPING
from drydock.evidence.containerd.snapshots import LAYER
from drydock.evidence.files.directory import folder
from drydock.evidence.files.erofs import ErofsImage, NoImage, Unusable
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.regular import NotRegular, open_below, open_regular
from drydock.evidence.files.xattrs import read_supported_xattrs
from drydock.model import messages
from drydock.model.data import LayoutKind
from drydock.model.findings import Finding, Place
from drydock.model.names import Digest, RawPath, split_row_name
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.model.verifications import Unpacked
from drydock.verification.decompression import LayerStream, NotCompared, ReadStopped, UnreadableLayer
from drydock.verification.layer_reader import read_layer
from drydock.verification.layer_tree import TOP, EntryType, LayerEntry, LayerTree
from drydock.verification.layer_xattrs import kept_value

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LISTED: Final = 3
_CHUNK: Final = 1 << 20
_SORTED: Final = 50_000
"""Names of a directory that are sorted at a time."""
_NOT_THERE: Final = (errno.ENOENT, errno.ENAMETOOLONG)
_REPORTED: Final = (*_NOT_THERE, errno.ENOTDIR, errno.ELOOP)
"""Errors for a path that is no directory, which the comparison of its parent has reported."""
_OPAQUE: Final = (b"trusted.overlay.opaque", b"user.overlay.opaque", b"user.fuseoverlayfs.opaque")
_TESTS: Final[dict[EntryType, Callable[[int], bool]]] = {
    EntryType.DIRECTORY: stat.S_ISDIR,
    EntryType.FILE: stat.S_ISREG,
    EntryType.SYMLINK: stat.S_ISLNK,
    EntryType.CHARACTER: stat.S_ISCHR,
    EntryType.BLOCK: stat.S_ISBLK,
    EntryType.FIFO: stat.S_ISFIFO,
}


class Comparison(enum.Enum):
    """How a comparison without a finding ended."""

    SAME = "the snapshot has what its layer has"
    NOT_COMPARABLE = "nothing is wrong with the snapshot, as far as can be seen without its layer"
    STOPPED = "the caller ended it"


def compare_snapshot(
    store: Store,
    unpacked: Unpacked,
    *,
    content: bool,
    stop: Callable[[], bool],
    places: Sequence[RawPath] = (),
    step: Callable[[int], None] | None = None,
) -> Finding | Comparison:
    """Compare the directory of a snapshot with its layer.

    Args:
        store: the root.
        unpacked: the snapshot, and the layer's blob.
        content: whether to compare the bytes of files as well.
        stop: called repeatedly; the comparison ends once it returns true.
        places: directories for the list of a large layer's entries.
        step: called with the bytes of the blob that were done since its last call: half of them while it is read, half
            while the entries are compared.

    Returns:
        What differs, or why it cannot be compared; else how the comparison ended.
    """
    place = Place(RawPath(os.path.join(store.root.path, unpacked.path)))
    key, layer = unpacked.key, unpacked.layer.digest
    progress = _LayerProgress(step, unpacked.layer.size)
    try:
        if store.backends[unpacked.snapshotter].layout is LayoutKind.EROFS:
            return _check_image(store, unpacked, place, stop)
        descriptor = open_below(store.root.path, unpacked.layer.path)
        with closing(LayerTree(places)) as tree:
            with HashedBlob(descriptor, unpacked.layer.digest, progress.read) as raw:
                if not read_layer(raw, tree, content=content, stop=stop):
                    return Comparison.STOPPED
                raw.check()
            found = _SnapshotComparison(store, unpacked, tree, progress, content=content, stop=stop)
            if not found.run():
                return Comparison.STOPPED
        if found.count:
            _refuse_wrong_layer(store, unpacked, stop)
    except ReadStopped:
        return Comparison.STOPPED
    except NotCompared as error:
        text = messages.NOT_COMPARED(snapshot=key, layer=layer, reason=str(error))
        return text.at(place, key, remedy=error.remedy)
    except UnreadableLayer as error:
        return messages.UNREADABLE_LAYER(snapshot=key, problem=str(error)).at(place, key)
    except OSError as error:
        return messages.UNREADABLE_SNAPSHOT(snapshot=key, problem=error.strerror or str(error)).at(place, key)
    finally:
        progress.end()
    if not found.count:
        return Comparison.SAME
    more = f"; and {found.count - len(found.listed)} more" if found.count > len(found.listed) else ""
    emptied = f" (empty files that have bytes in the layer: {found.emptied})" if found.emptied else ""
    entries = "; ".join(found.listed) + more
    return messages.SNAPSHOT_DIFFERS(snapshot=key, count=found.count, layer=layer, emptied=emptied, entries=entries).at(
        place, key
    )


def _refuse_wrong_layer(store: Store, unpacked: Unpacked, stop: Callable[[], bool]) -> None:
    """Refuse a layer that does not unpack to the chain id of the snapshot.

    A config can name any layer, and containerd does not read it if it has the snapshot (core/unpack/unpacker.go unpack,
    v2.1).

    Raises:
        NotCompared: it is another layer.
        UnreadableLayer: it cannot be decompressed.
        ReadStopped: ``stop`` returned true.
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open(open_below(store.root.path, unpacked.layer.path), "rb", buffering=0) as raw:
        plain = LayerStream(io.BufferedReader(raw), stop)
        while part := plain.read(_CHUNK):
            digest.update(part)
    chain = f"sha256:{digest.hexdigest()}".encode()
    below = split_row_name(store.backends[unpacked.snapshotter].rows[unpacked.row].parent)[2]
    if not unpacked.is_base:
        chain = f"sha256:{hashlib.sha256(below + b' ' + chain).hexdigest()}".encode()
    if chain != unpacked.key:
        raise NotCompared("the layer does not unpack to what its image says")


def _check_image(store: Store, unpacked: Unpacked, place: Place, stop: Callable[[], bool]) -> Finding | Comparison:
    """Check whether the image of an erofs snapshot can be read; it is not compared with its layer."""
    key = unpacked.key
    listed: list[str] = []
    count = 0
    try:
        descriptor = open_below(store.root.path, RawPath(os.path.join(unpacked.path, LAYER)))
    except NotRegular:
        # A link into a cache of the operator.
        return Comparison.NOT_COMPARABLE
    except OSError as error:
        return messages.UNREADABLE_SNAPSHOT(snapshot=key, problem=error.strerror or str(error)).at(place, key)
    try:
        for found in ErofsImage(descriptor).damage(stop):
            if found is None:
                continue
            count += 1
            if len(listed) < _LISTED:
                listed.append(f"{shown(found[0]) or 'its root'}: {found[1]}")
    except NoImage as error:
        count, listed = 1, [str(error)]
    except Unusable:
        return Comparison.NOT_COMPARABLE
    finally:
        os.close(descriptor)
    if not count:
        return Comparison.STOPPED if stop() else Comparison.NOT_COMPARABLE
    more = f"; and {count - len(listed)} more" if count > len(listed) else ""
    return messages.DAMAGED_EROFS_LAYER(snapshot=key, entries="; ".join(listed) + more).at(place, key)


class _LayerProgress:
    """Progress within one layer, in bytes of its blob."""

    def __init__(self, step: Callable[[int], None] | None, size: int) -> None:
        self._step = step
        self._size = size
        self._told = 0

    def read(self, at: int) -> None:
        """Note that the blob is read up to a byte."""
        self._tell(min(at, self._size) // 2)

    def compared(self, count: int, total: int) -> None:
        """Note how many of all entries are compared."""
        self._tell(self._size // 2 + self._size * min(count, total) // max(1, total) // 2)

    def end(self) -> None:
        """Note that the layer is done."""
        self._tell(self._size)

    def _tell(self, done: int) -> None:
        if self._step is not None and done > self._told:
            self._step(done - self._told)
            self._told = done


class HashedBlob(io.RawIOBase):
    """A blob that is hashed while it is read.

    Args:
        descriptor: the open file, which this closes.
        digest: of the blob.
        told: called with the position after each read.
    """

    def __init__(self, descriptor: int, digest: Digest, told: Callable[[int], None]) -> None:
        super().__init__()
        algorithm, _, self._wanted = digest.partition(b":")
        self._descriptor = descriptor
        self._told = told
        self._at = 0
        self._digest = hashlib.new(algorithm.decode())

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Read some."""
        view = memoryview(buffer)
        got = os.readv(self._descriptor, [view])
        self._digest.update(view[:got])
        self._at += got
        self._told(self._at)
        return got

    def check(self) -> None:
        """Read the rest, and refuse a blob that does not match its digest.

        Raises:
            UnreadableLayer: the blob is damaged, so a difference from it says nothing of the snapshot.
        """
        while self.read(_CHUNK):
            pass
        if self._digest.hexdigest().encode() != self._wanted:
            raise UnreadableLayer(
                "the blob of its layer does not match its digest, so the snapshot cannot be compared with it"
            )

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@dataclass(slots=True)
class _SnapshotComparison:
    store: Store
    unpacked: Unpacked
    tree: LayerTree
    progress: _LayerProgress
    content: bool
    stop: Callable[[], bool]
    count: int = 0
    emptied: int = 0
    listed: list[str] = field(default_factory=list)
    _compared: int = 0

    def run(self) -> bool:
        """Compare everything; False if the caller ended it."""
        backend = self.store.backends[self.unpacked.snapshotter]
        parts = [*self.unpacked.path.split(b"/"), *([b"fs"] if backend.layout is LayoutKind.OVERLAY else [])]
        with folder(self.store.root.path, *parts) as top:
            # Each level keeps its node and its last subdirectory: a list of those that are left could have any length.
            levels = [(b"", TOP, b"")] if self._directory(top, b"", TOP) else []
            while levels:
                if self.stop():
                    return False
                path, node, last = levels.pop()
                following = self.tree.next_directory(node, last)
                if following is None:
                    continue
                name, below = following
                levels.append((path, node, name))
                full = path + b"/" + name if path else name
                if self._directory(top, full, below):
                    levels.append((full, below, b""))
        return not self.stop()

    @property
    def _is_overlay(self) -> bool:
        return self.store.backends[self.unpacked.snapshotter].layout is LayoutKind.OVERLAY

    @property
    def _owners(self) -> bool:
        """Whether files have the owners of the layer: not if ids are mapped."""
        row = self.store.backends[self.unpacked.snapshotter].rows[self.unpacked.row]
        return os.geteuid() == 0 and MAPPING not in row.labels and not self._is_rootless

    @property
    def _is_rootless(self) -> bool:
        return self.store.root.engine.value == "rootless"

    def _directory(self, top: int, path: bytes, node: int) -> bool:
        """Compare the entries of one directory; False if there is no such directory."""
        try:
            descriptor = os.dup(top) if not path else open_directory(top, path, readable=True)
        except OSError as error:
            if error.errno not in _REPORTED:
                self._say(path, error.strerror or "cannot be opened")
            return False
        try:
            if self._is_overlay and not self.unpacked.is_base and self.tree.entry(node).is_opaque:
                marks = read_supported_xattrs(b".", descriptor) or {}
                if not any(marks.get(name) == b"y" for name in _OPAQUE) and _stat(SENTINEL, descriptor) is None:
                    self._say(path, "is not marked as opaque")
            there = 0
            for some in self.tree.children(node):
                if self.stop():
                    break
                for name, child in some:
                    there += self._child(descriptor, path + b"/" + name if path else name, name, child)
                self._compared += len(some)
                self.progress.compared(self._compared, self.tree.count)
            if self._is_overlay and not self.stop():
                self._more(descriptor, path, node, there)
        finally:
            os.close(descriptor)
        return True

    def _child(self, descriptor: int, full: bytes, name: bytes, child: LayerEntry) -> bool:
        """Compare one name; give whether it exists."""
        info = _stat(name, descriptor)
        if info is None:
            self._absent(full, child, descriptor, name)
            return False
        xattrs = read_supported_xattrs(name, descriptor)
        target = os.readlink(name, dir_fd=descriptor) if stat.S_ISLNK(info.st_mode) else b""
        if self._one(child, full, info, target, xattrs) and self.content and child.type is EntryType.FILE:
            self._bytes(child, full, name, descriptor)
        return True

    def _more(self, descriptor: int, path: bytes, node: int, there: int) -> None:
        """Find the entries of a directory that the layer does not have."""
        with os.scandir(descriptor) as entries:
            if sum(not entry.name.startswith(".wh.") for entry in entries) <= there:
                return
        for some in _sorted_names(descriptor):
            for name in some:
                if not name.startswith(b".wh.") and not self.tree.has(node, name):
                    self._say(path + b"/" + name if path else name, "is not in the layer")

    def _absent(self, path: bytes, entry: LayerEntry, descriptor: int, name: bytes) -> None:
        if entry.type is EntryType.WHITEOUT:
            # There is no device in a full copy, in the lowest layer, and where a file is the mark (fuse-overlayfs).
            if self._is_overlay and not self.unpacked.is_base and _stat(b".wh." + name, descriptor) is None:
                self._say(path, "its whiteout is missing")
            return
        if entry.type in (EntryType.CHARACTER, EntryType.BLOCK) and not self._owners:
            return
        self._say(path, "is missing")

    def _one(
        self, entry: LayerEntry, path: bytes, info: os.stat_result, target: bytes, xattrs: dict[bytes, bytes] | None
    ) -> bool:
        """Compare one path; False if it has another type."""
        if entry.type is EntryType.WHITEOUT:
            if not stat.S_ISCHR(info.st_mode) or info.st_rdev != 0:
                self._say(path, "exists, although the layer removes it")
            return False
        if not _TESTS[entry.type](info.st_mode):
            self._say(path, f"is no {entry.type.value}")
            return False
        wrong = [] if entry.mode is None else self._differences(entry, info, target, xattrs)
        if wrong:
            self._say(path, ", ".join(wrong))
        return True

    def _differences(
        self, entry: LayerEntry, info: os.stat_result, target: bytes, xattrs: dict[bytes, bytes] | None
    ) -> list[str]:
        wrong: list[str] = []
        if entry.type is EntryType.FILE and info.st_size != entry.size:
            self.emptied += info.st_size == 0
            wrong.append(f"{info.st_size} bytes, {entry.size} in the layer")
        if entry.type is EntryType.SYMLINK:
            if target != entry.target:
                wrong.append("target differs")
        elif stat.S_IMODE(info.st_mode) != entry.mode:
            wrong.append(f"mode {stat.S_IMODE(info.st_mode):04o}, {entry.mode:04o} in the layer")
        if self._owners and (info.st_uid, info.st_gid) != (entry.uid, entry.gid):
            wrong.append(f"owner {info.st_uid}:{info.st_gid}, {entry.uid}:{entry.gid} in the layer")
        if entry.type in (EntryType.CHARACTER, EntryType.BLOCK):
            if (os.major(info.st_rdev), os.minor(info.st_rdev)) != entry.device:
                wrong.append("device number differs")
        elif (
            entry.type is EntryType.FILE and entry.is_linked and self.tree.inode(entry.node, info.st_ino) != info.st_ino
        ):
            wrong.append("not a hard link, as it is in the layer")
        mode = entry.mode or 0
        lost = sorted(
            name
            for name, value in entry.xattrs.items()
            if xattrs is not None and xattrs.get(name) not in (value, kept_value(name, value, mode))
        )
        if lost and self._owners:
            wrong.append(f"extended attribute {shown(lost[0])} differs")
        return wrong

    def _bytes(self, entry: LayerEntry, path: bytes, name: bytes, parent: int) -> None:
        descriptor = open_regular(name, parent)
        try:
            if os.fstat(descriptor).st_size != entry.size:
                return
            digest = hashlib.sha256()
            while chunk := os.read(descriptor, _CHUNK):
                digest.update(chunk)
        finally:
            os.close(descriptor)
        if digest.digest() != entry.sha256:
            self._say(path, "content differs")

    def _say(self, path: bytes, what: str) -> None:
        self.count += 1
        if len(self.listed) < _LISTED:
            self.listed.append(f"{shown(path)}: {what}")


def _stat(name: bytes, parent: int) -> os.stat_result | None:
    """None if the directory has no such name, also if no name can be like that."""
    if b"\0" in name:
        return None
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise


def _sorted_names(descriptor: int) -> Iterator[list[bytes]]:
    """List the names in a directory in portions, each of them sorted."""
    with os.scandir(descriptor) as entries:
        names = (os.fsencode(entry.name) for entry in entries)
        while some := sorted(islice(names, _SORTED)):
            yield some
