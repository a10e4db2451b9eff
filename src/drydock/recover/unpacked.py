"""A committed snapshot's directory against the layer it was unpacked from.

Overlay's ``fs/`` holds what the layer holds and nothing else. Native's directory is a full copy of all layers: of it
only what the layer itself has is compared. Sources: as :mod:`drydock.recover.layer_blob`; containerd
plugins/snapshots/overlay/overlay.go, plugins/snapshots/native/native.go (v2.1).
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from drydock.evidence.beneath import open_directory
from drydock.evidence.directory import folder, names
from drydock.evidence.file import open_below, open_regular
from drydock.model.data import LayoutKind
from drydock.model.findings import Finding, Place, Severity
from drydock.model.names import Digest, RawPath
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.model.verifications import Unpacked
from drydock.recover.attributes import kept
from drydock.recover.decoder import NoDecoder, Unreadable
from drydock.recover.layer_blob import Entry, Type, read_layer
from drydock.recover.layers import MAPPING
from drydock.recover.marks import SENTINEL

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LISTED: Final = 3
_CHUNK: Final = 1 << 20
_OPAQUE: Final = ("trusted.overlay.opaque", "user.overlay.opaque", "user.fuseoverlayfs.opaque")
_TESTS: Final[dict[Type, Callable[[int], bool]]] = {
    Type.DIRECTORY: stat.S_ISDIR,
    Type.FILE: stat.S_ISREG,
    Type.SYMLINK: stat.S_ISLNK,
    Type.CHARACTER: stat.S_ISCHR,
    Type.BLOCK: stat.S_ISBLK,
    Type.FIFO: stat.S_ISFIFO,
}


def compare(store: Store, unpacked: Unpacked, *, content: bool, stop: Callable[[], bool]) -> Finding | bool | None:
    """Compare one snapshot's directory with its layer.

    Args:
        store: the root.
        unpacked: the snapshot, and the layer's blob.
        content: whether to compare the bytes of files as well.
        stop: asked again and again.

    Returns:
        What differs, or why it cannot be compared (a note, or blind); True where all is as it should be; None where
        ``stop`` said so.
    """
    place = Place(RawPath(os.path.join(store.root.path, unpacked.path)))
    key = shown(unpacked.key)
    try:
        descriptor = open_below(store.root.path, unpacked.layer.path)
        with _Hashed(descriptor, unpacked.layer.digest) as raw:
            tree = read_layer(raw, content=content, stop=stop)
            if tree is None:
                return None
            raw.check()
        found = _Comparison(store, unpacked, content=content, stop=stop)
        if not found.run(tree):
            return None
    except NoDecoder as error:
        return Finding("not-compared", Severity.NOTE, f"snapshot {key}: {error}", place, key)
    except Unreadable as error:
        return Finding(
            "unreadable-layer", Severity.BLIND, f"snapshot {key}: {error}", place, key, "drydock verify --data"
        )
    except OSError as error:
        return Finding("unreadable", Severity.BLIND, f"snapshot {key}: {error.strerror}", place, key)
    if not found.count:
        return True
    more = f"; and {found.count - len(found.listed)} more" if found.count > len(found.listed) else ""
    empty = f", {found.emptied} of them empty files that have bytes in the layer" if found.emptied else ""
    return Finding(
        "snapshot-differs",
        Severity.DAMAGE,
        f"snapshot {key}: {found.count} entries are not as in layer {shown(unpacked.layer.digest)}{empty}: "
        f"{'; '.join(found.listed)}{more}",
        place,
        key,
        "a pull does not mend it while the snapshot stands: drydock repair drops it, and says what to pull",
    )


class _Hashed(io.RawIOBase):
    """A blob, hashed as it is read."""

    def __init__(self, descriptor: int, digest: Digest) -> None:
        super().__init__()
        algorithm, _, self._wanted = digest.partition(b":")
        self._descriptor = descriptor
        self._digest = hashlib.new(algorithm.decode())

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Read some."""
        view = memoryview(buffer)
        got = os.readv(self._descriptor, [view])
        self._digest.update(view[:got])
        return got

    def check(self) -> None:
        """Read the rest, and refuse a blob that does not hash to its name.

        Raises:
            Unreadable: what differs from a damaged layer is not damaged for that.
        """
        while self.read(_CHUNK):
            pass
        if self._digest.hexdigest().encode() != self._wanted:
            raise Unreadable("the bytes of its layer's blob are wrong, so it cannot be compared")

    def close(self) -> None:
        """Give the file up."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@dataclass(slots=True)
class _Comparison:
    store: Store
    unpacked: Unpacked
    content: bool
    stop: Callable[[], bool]
    count: int = 0
    emptied: int = 0
    listed: list[str] = field(default_factory=list)
    _inodes: dict[int, int] = field(default_factory=dict)

    def run(self, tree: Entry) -> bool:
        """Compare all; False where it was stopped."""
        backend = self.store.backends[self.unpacked.snapshotter]
        parts = [*self.unpacked.path.split(b"/"), *([b"fs"] if backend.layout is LayoutKind.OVERLAY else [])]
        with folder(self.store.root.path, *parts) as top:
            pending = [(b"", tree)]
            while pending:
                path, entry = pending.pop()
                if self.stop():
                    return False
                pending += self._directory(top, path, entry)
        return True

    @property
    def _is_overlay(self) -> bool:
        return self.store.backends[self.unpacked.snapshotter].layout is LayoutKind.OVERLAY

    @property
    def _owners(self) -> bool:
        """Whether owners are those of the layer: not where ids are mapped."""
        row = self.store.backends[self.unpacked.snapshotter].rows[self.unpacked.row]
        return os.geteuid() == 0 and MAPPING not in row.labels and not self._is_rootless

    @property
    def _is_rootless(self) -> bool:
        return self.store.root.engine.value == "rootless"

    def _directory(self, top: int, path: bytes, entry: Entry) -> list[tuple[bytes, Entry]]:
        """Compare what one directory holds; its directories are to be looked at next."""
        try:
            descriptor = os.dup(top) if not path else open_directory(top, path, readable=True)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR} and not self._is_overlay:
                # A lower layer's link, in a full copy: what the layer put behind it cannot be told from the rest.
                return []
            self._say(path, error.strerror or "cannot be opened")
            return []
        below: list[tuple[bytes, Entry]] = []
        try:
            there = set(names(descriptor))
            if entry.is_opaque and self._is_overlay and not self.unpacked.is_base:
                marks = _xattrs(f"/proc/self/fd/{descriptor}", follow=True) or {}
                if SENTINEL not in there and not any(marks.get(name) == b"y" for name in _OPAQUE):
                    self._say(path, "not marked opaque")
            for name, child in entry.children.items():
                full = path + b"/" + name if path else name
                if name not in there:
                    self._absent(full, child, there, name)
                    continue
                info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                xattrs = _xattrs(f"/proc/self/fd/{descriptor}/".encode() + name, follow=False)
                target = os.readlink(name, dir_fd=descriptor) if stat.S_ISLNK(info.st_mode) else b""
                right = self._one(child, full, info, target, xattrs)
                if right and child.type is Type.DIRECTORY:
                    below.append((full, child))
                elif right and self.content and child.type is Type.FILE:
                    self._bytes(child, full, name, descriptor)
            if self._is_overlay:
                for name in sorted(there - entry.children.keys()):
                    if not name.startswith(b".wh."):
                        self._say(path + b"/" + name if path else name, "is not in the layer")
        finally:
            os.close(descriptor)
        return below

    def _absent(self, path: bytes, entry: Entry, there: set[bytes], name: bytes) -> None:
        if entry.type is Type.WHITEOUT:
            # A full copy, the lowest layer, and one where the mark is a file (fuse-overlayfs) have no device.
            if self._is_overlay and not self.unpacked.is_base and b".wh." + name not in there:
                self._say(path, "its whiteout is not there")
            return
        if entry.type in (Type.CHARACTER, Type.BLOCK) and not self._owners:
            return
        self._say(path, "is not there")

    def _one(
        self, entry: Entry, path: bytes, info: os.stat_result, target: bytes, xattrs: dict[str, bytes] | None
    ) -> bool:
        """Compare one path; False where it is not even of the right type."""
        if entry.type is Type.WHITEOUT:
            if not stat.S_ISCHR(info.st_mode) or info.st_rdev != 0:
                self._say(path, "is there, and the layer removes it")
            return False
        if not _TESTS[entry.type](info.st_mode):
            self._say(path, f"is no {entry.type.value}")
            return False
        wrong = [] if entry.mode is None else self._differences(entry, info, target, xattrs)
        if wrong:
            self._say(path, ", ".join(wrong))
        return True

    def _differences(
        self, entry: Entry, info: os.stat_result, target: bytes, xattrs: dict[str, bytes] | None
    ) -> list[str]:
        wrong: list[str] = []
        if entry.type is Type.FILE and info.st_size != entry.size:
            self.emptied += info.st_size == 0
            wrong.append(f"{info.st_size} bytes, {entry.size} in the layer")
        if entry.type is Type.SYMLINK:
            if target != entry.target:
                wrong.append("leads elsewhere")
        elif stat.S_IMODE(info.st_mode) != entry.mode:
            wrong.append(f"mode {stat.S_IMODE(info.st_mode):04o}, {entry.mode:04o} in the layer")
        if self._owners and (info.st_uid, info.st_gid) != (entry.uid, entry.gid):
            wrong.append(f"owner {info.st_uid}:{info.st_gid}, {entry.uid}:{entry.gid} in the layer")
        if entry.type in (Type.CHARACTER, Type.BLOCK):
            if (os.major(info.st_rdev), os.minor(info.st_rdev)) != entry.device:
                wrong.append("another device")
        elif entry.type is Type.FILE and self._inodes.setdefault(id(entry), info.st_ino) != info.st_ino:
            wrong.append("no hard link, and one in the layer")
        mode = entry.mode or 0
        lost = sorted(
            name
            for name, value in entry.xattrs.items()
            if xattrs is not None and xattrs.get(name) not in (value, kept(name, value, mode))
        )
        if lost and self._owners:
            wrong.append(f"extended attribute {shown(os.fsencode(lost[0]))} differs")
        return wrong

    def _bytes(self, entry: Entry, path: bytes, name: bytes, parent: int) -> None:
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
            self._say(path, "other bytes than in the layer")

    def _say(self, path: bytes, what: str) -> None:
        self.count += 1
        if len(self.listed) < _LISTED:
            self.listed.append(f"{shown(path)}: {what}")


def _xattrs(path: str | bytes, *, follow: bool) -> dict[str, bytes] | None:
    """None on a file system without them: containerd ignores that one takes none."""
    try:
        found = os.listxattr(path, follow_symlinks=follow)
        return {name: os.getxattr(path, name, follow_symlinks=follow) for name in found}
    except OSError as error:
        return None if error.errno == errno.ENOTSUP else {}
