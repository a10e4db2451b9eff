"""Unpacks a layer into an empty directory, as containerd's applier does where its overlay snapshotter has the layer.

The directory is drydock's own until it takes the place of the damaged one. Nothing in the layer is trusted: a directory
is opened with openat2, below the top and without symbolic links, and every other call takes a single name in it.

Sources: containerd pkg/archive/tar.go (applyNaive, createTarFile, mkparent), pkg/archive/tar_unix.go (copyDirInfo,
copyUpXAttrs), pkg/archive/tar_opts_linux.go (OverlayConvertWhiteout), core/diff/apply/apply_linux.go, v1.6 to v2.3.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from drydock.evidence.files.directory import open_folder
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.regular import open_regular
from drydock.evidence.files.xattrs import read_xattrs
from drydock.reclaim import knife
from drydock.reclaim.remove_tree import remove_tree
from drydock.verification import forward_tar
from drydock.verification.decompression import UnreadableLayer
from drydock.verification.forward_tar import TarEntry, TarReader
from drydock.verification.layer_reader import (
    HOPS,
    MOST_SPARSE,
    OPAQUE,
    WHITEOUT,
    entry_parts,
    hidden_name,
    path_parts,
)
from drydock.verification.layer_xattrs import CAPABILITY, kept_value, list_attributes

_CHUNK: Final = 1 << 20
_PARENT: Final = 0o755
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE_MARK: Final = b"trusted.overlay.opaque"
_OWN: Final = (b"trusted.overlay.", b"user.overlay.")
"""Attributes of overlay itself, which only a layer's entries bring about."""
_LABEL: Final = b"security.selinux"
"""A new file has it from its directory."""
_DEVICES: Final = {
    forward_tar.CHARACTER: stat.S_IFCHR,
    forward_tar.BLOCK: stat.S_IFBLK,
    forward_tar.FIFO: stat.S_IFIFO,
}
_LATEST: Final = (1 << 63) - 1
"""Nanoseconds since 1970; a time that is later or before 1970 becomes 1970 (containerd pkg/archive/time.go, v2.1)."""


class SharedFile(Exception):
    """A later entry changes a file that was taken over from the former directory: no file can be taken over."""


class LayerWriter:
    """Writes the entries of one layer, in their order.

    A file of the former directory that has all that the entry says is linked and not written again: so a layer with one
    damaged file takes the room of that file.

    Args:
        top: the open, empty directory.
        lowers: the directories of the layers below, the uppermost first; none for a base layer.
        former: the open directory that is damaged; None to take over nothing.

    Raises:
        SharedFile: the layer has to be written again without ``former``, into an empty directory.
        UnreadableLayer: containerd does not unpack such a layer.
        OSError: something cannot be written.
    """

    def __init__(self, top: int, lowers: Sequence[int], former: int | None) -> None:
        self._top = top
        self._lowers = lowers
        self._former = former
        self._known: tuple[list[bytes], list[bytes], int] | None = None
        """The directory of the last entry: its path in the layer, its path in fact, and its descriptor."""
        self._times: list[tuple[bytes, TarEntry]] = []
        self._shared: set[int] = set()
        """Inodes that were taken over."""
        self._sparse = 0

    def write(self, archive: TarReader) -> None:
        """Write all entries, and the times of directories last."""
        try:
            while (entry := archive.next()) is not None:
                self._add(archive, entry)
            self._forget()
            for name, entry in self._times:
                with self._opened(self._resolved(self._top, path_parts(name))) as directory:
                    _set_times(b".", directory, entry)
        finally:
            self._forget()

    def take_over_top(self, former: int) -> None:
        """Give the top the owner, mode, times and attributes of the former one: no entry of a layer has them."""
        found = os.fstat(former)
        os.fchown(self._top, found.st_uid, found.st_gid)
        os.fchmod(self._top, stat.S_IMODE(found.st_mode))
        for key, value in read_xattrs(b".", former).items():
            if not key.startswith(_OWN) and key != _LABEL:
                _set_xattr(b".", self._top, key, value)
        os.utime(self._top, ns=(found.st_atime_ns, found.st_mtime_ns))

    def _add(self, archive: TarReader, entry: TarEntry) -> None:
        parts = entry_parts(entry.name)
        if not parts:
            return
        name = parts[-1]
        parent = self._parent(parts[:-1])
        if name == OPAQUE:
            self._hide(parent)
        elif name.startswith(WHITEOUT):
            self._hide_name(parent, hidden_name(name), entry)
        else:
            self._create(archive, parent, name, entry)

    def _hide(self, parent: int) -> None:
        """A base layer hides nothing: containerd removes what was in the directory before."""
        if self._lowers:
            _set_xattr(b".", parent, _OPAQUE_MARK, b"y")
        elif os.listdir(parent):
            raise UnreadableLayer("its base layer makes a directory opaque that has entries")

    def _hide_name(self, parent: int, name: bytes, entry: TarEntry) -> None:
        if not self._lowers:
            self._drop(parent, name)
            return
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)

    def _create(self, archive: TarReader, parent: int, name: bytes, entry: TarEntry) -> None:
        there = _stat(name, parent)
        is_directory = entry.kind == forward_tar.DIRECTORY
        if there is not None and not (is_directory and stat.S_ISDIR(there.st_mode)):
            self._drop(parent, name)
            there = None
        if is_directory:
            if there is None:
                os.mkdir(name, 0o700, dir_fd=parent)
            self._times.append((entry.name, entry))
        elif entry.kind in forward_tar.FILES:
            if self._file(archive, parent, name, entry):
                return
        elif entry.kind == forward_tar.LINK:
            self._link(parent, name, entry)
        elif entry.kind == forward_tar.SYMLINK:
            os.symlink(entry.target, name, dir_fd=parent)
            self._forget_path()
        elif entry.kind in _DEVICES:
            device = 0 if entry.kind == forward_tar.FIFO else os.makedev(*entry.device)
            os.mknod(name, _DEVICES[entry.kind] | 0o600, device, dir_fd=parent)
        elif entry.kind == forward_tar.GLOBAL:
            return
        else:
            raise UnreadableLayer("its layer has an entry of a type that containerd does not unpack")
        self._describe(parent, name, entry)

    def _describe(self, parent: int, name: bytes, entry: TarEntry) -> None:
        """Set owner, attributes, mode and times, in this order: each may change what follows it."""
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        kind = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        for key, value in _attributes(entry, kind).items():
            _set_xattr(name, parent, key, value)
        if not stat.S_ISLNK(kind):
            os.chmod(name, entry.mode & 0o7777, dir_fd=parent)
        _set_times(name, parent, entry)

    def _link(self, parent: int, name: bytes, entry: TarEntry) -> None:
        *above, target = path_parts(entry.target) or [b""]
        path = self._resolved(self._top, above)
        found = _stat(b"/".join([*path, target]), self._top) if target else None
        if found is None:
            raise UnreadableLayer("its layer has a hard link to a file that it does not have")
        if found.st_ino in self._shared:
            raise SharedFile
        with self._opened(path) as directory:
            os.link(target, name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)

    def _file(self, archive: TarReader, parent: int, name: bytes, entry: TarEntry) -> bool:
        """Write a file, or link that of the former directory and return True."""
        if entry.segments is not None:
            self._sparse += entry.size
            if self._sparse > MOST_SPARSE:
                raise UnreadableLayer(f"its layer has more than {MOST_SPARSE} bytes in files with holes")
        with ExitStack() as stack:
            former = self._intact(stack, name, entry)
            target: int | None = None
            at = 0
            for chunk in archive.data(entry):
                if target is None:
                    if former is not None and os.pread(former[1], len(chunk), at) == chunk:
                        at += len(chunk)
                        continue
                    target = _new_file(stack, name, parent)
                    if former is not None:
                        _copy(former[1], target, at)
                _write(target, chunk)
            if target is None and former is not None:
                with suppress(OSError):
                    os.link(name, name, src_dir_fd=former[0], dst_dir_fd=parent, follow_symlinks=False)
                    self._shared.add(os.fstat(former[1]).st_ino)
                    return True
            if target is None:
                target = _new_file(stack, name, parent)
                if former is not None:
                    _copy(former[1], target, at)
        return False

    def _intact(self, stack: ExitStack, name: bytes, entry: TarEntry) -> tuple[int, int] | None:
        """The file of the former directory, with its directory, if it is as the entry says but for its bytes."""
        if self._former is None or self._known is None:
            return None
        try:
            directory = _open(self._former, self._known[1])
            stack.callback(os.close, directory)
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            wanted = (1, entry.size, entry.uid, entry.gid, stat.S_IFREG | entry.mode & 0o7777, _bound(entry.modified))
            if wanted != (
                found.st_nlink, found.st_size, found.st_uid, found.st_gid, found.st_mode, found.st_mtime_ns,
            ):  # fmt: skip
                return None
            kept = {key: kept_value(key, value, entry.mode) for key, value in _attributes(entry, found.st_mode).items()}
            there = {key: value for key, value in read_xattrs(name, directory).items() if key != _LABEL}
            if there != {key: value for key, value in kept.items() if value is not None}:
                return None
            descriptor = open_regular(name, directory)
        except OSError:
            return None
        stack.callback(os.close, descriptor)
        return directory, descriptor

    def _drop(self, parent: int, name: bytes) -> None:
        found = _stat(name, parent)
        if found is None:
            return
        self._forget_path()
        if stat.S_ISDIR(found.st_mode):
            remove_tree(parent, name)
        else:
            knife.unlink(name, dir_fd=parent)

    def _parent(self, parts: list[bytes]) -> int:
        """The open directory of an entry; it is made where the layer has no entry for it."""
        if self._known is not None and parts == self._known[0]:
            return self._known[2]
        self._forget()
        resolved = self._resolved(self._top, parts)
        for count in range(1, len(resolved) + 1):
            with self._opened(resolved[: count - 1]) as above:
                found = _stat(resolved[count - 1], above)
                if found is None:
                    self._make_parent(above, resolved[:count])
                elif not stat.S_ISDIR(found.st_mode):
                    raise UnreadableLayer("its layer has an entry below a file")
        self._known = parts, resolved, _open(self._top, resolved)
        return self._known[2]

    def _make_parent(self, above: int, path: list[bytes]) -> None:
        """Make a directory with the owner, mode and attributes that it has in the first layer below that has it."""
        name = path[-1]
        os.mkdir(name, _PARENT, dir_fd=above)
        os.chmod(name, _PARENT, dir_fd=above)
        for lower in self._lowers:
            *folders, last = self._resolved(lower, path) or [b"."]
            try:
                with _opened(lower, folders) as directory:
                    found = _stat(last, directory)
                    if found is None:
                        continue
                    if not stat.S_ISDIR(found.st_mode):
                        return
                    attributes = read_xattrs(last, directory)
            except (FileNotFoundError, NotADirectoryError):
                continue
            os.chown(name, found.st_uid, found.st_gid, dir_fd=above, follow_symlinks=False)
            os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=above)
            for key, value in attributes.items():
                if not key.startswith(b"trusted."):
                    _set_xattr(name, above, key, value)
            return

    def _resolved(self, top: int, parts: Sequence[bytes]) -> list[bytes]:
        """The path below an open directory with its symbolic links resolved as if that were the root of all."""
        done: list[bytes] = []
        todo = list(parts[::-1])
        hops = 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                del done[-1:]
                continue
            path = b"/".join([*done, part])
            found = _stat(path, top)
            if found is not None and stat.S_ISLNK(found.st_mode):
                hops += 1
                if hops > HOPS:
                    raise UnreadableLayer("its layer has a loop of links")
                target = os.readlink(path, dir_fd=top)
                if target.startswith(b"/"):
                    done = []
                todo += target.split(b"/")[::-1]
                continue
            done.append(part)
        return done

    @contextmanager
    def _opened(self, path: Sequence[bytes]) -> Iterator[int]:
        with _opened(self._top, path) as descriptor:
            yield descriptor

    def _forget_path(self) -> None:
        """Resolve the path of the next entry again: a link may be on it now."""
        if self._known is not None:
            self._known = [b""], self._known[1], self._known[2]

    def _forget(self) -> None:
        if self._known is not None:
            os.close(self._known[2])
            self._known = None


def _open(top: int, path: Sequence[bytes]) -> int:
    return open_directory(top, b"/".join(path), readable=True) if path else open_folder(b".", top)


@contextmanager
def _opened(top: int, path: Sequence[bytes]) -> Iterator[int]:
    descriptor = _open(top, path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _stat(name: bytes, parent: int) -> os.stat_result | None:
    if b"\0" in name:
        raise UnreadableLayer("its layer has a name that no file can have")
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _attributes(entry: TarEntry, mode: int) -> dict[bytes, bytes]:
    """The attributes that containerd sets, those last that another one would drop."""
    takes_user = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    found = list_attributes(entry.records, takes_user=takes_user, takes_acl=not stat.S_ISLNK(mode))
    return dict(sorted(found.items(), key=lambda item: item[0] == CAPABILITY))


def _set_xattr(name: bytes, parent: int, key: bytes, value: bytes) -> None:
    """Set an attribute of a name in an open directory, or of itself where the name is ``.``.

    Where the file system has no such attributes nothing happens, as with containerd.
    """
    path = b"/proc/self/fd/%d/%s" % (parent, name)
    try:
        os.setxattr(path, key, value, follow_symlinks=False)  # noqa: TID251 - of drydock's own file
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise


def _set_times(name: bytes, parent: int, entry: TarEntry) -> None:
    modified = _bound(entry.modified)
    accessed = _bound(max(entry.accessed, entry.modified))
    os.utime(name, ns=(accessed, modified), dir_fd=parent, follow_symlinks=False)


def _bound(time: int) -> int:
    return time if 0 <= time <= _LATEST else 0


def _new_file(stack: ExitStack, name: bytes, parent: int) -> int:
    descriptor = os.open(name, _NEW, 0o600, dir_fd=parent)
    stack.callback(os.close, descriptor)
    return descriptor


def _copy(source: int, target: int, length: int) -> None:
    """Copy the first bytes of a file that were compared already."""
    at = 0
    while at < length:
        chunk = os.pread(source, min(_CHUNK, length - at), at)
        if not chunk:
            raise OSError(errno.EBUSY, "a file became shorter while it was read")
        _write(target, chunk)
        at += len(chunk)


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]
