"""Mounts, in any mount namespace, that use a containerd root, or the classic layer store of its Docker.

Four kinds count: a mount strictly below the root; a bind mount, anywhere, of a part of the root; an overlay with an
upper, work or lower folder in the root; a file system in a file of the root, through a loop device or, since Linux
6.12, without one (containerd plugins/mount/erofs/plugin_linux.go, v2.3.4). The mount that contains the root does not
count, nor does a bind mount of the whole root.

containerd shortens long lists of lower folders to names relative to ``snapshots`` (core/mount/mount_linux.go,
``compactLowerdirOption``, v2.1); newer kernels show one ``lowerdir+`` for each folder. dockerd names the links in
``overlay2/l``, and shortens long lists to names relative to ``overlay2``, the upper folder's too (moby
daemon/graphdriver/overlay2/overlay.go Get, v28.5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from drydock.evidence.files.directory import open_folder
from drydock.evidence.files.mountinfo import MountEntry, NamespaceView, mount_id, own_mounts, place
from drydock.evidence.files.regular import identity
from drydock.evidence.host.layout import layer_folders
from drydock.evidence.host.mount_namespaces import open_namespaces
from drydock.model.names import RawPath
from drydock.model.roots import Root
from drydock.model.text import shown
from drydock.model.usage import Loop, Mount

_SNAPSHOT = re.compile(rb"/snapshots/([0-9]+)(?=/|\Z)")
_RELATIVE = re.compile(rb"([0-9]+)(/[^/]+)?\Z")
_CLASSIC = re.compile(rb"(l/[A-Z0-9]{26}|[0-9a-z]+(-init)?/(diff|work))\Z")
_UPPER = re.compile(rb"(/.*/snapshots)/([0-9]+/fs)\Z", re.DOTALL)
_COLON = re.compile(rb"((?:\\.|[^\\:])*)(?::|\Z)", re.DOTALL)
_LOOP = re.compile(rb"/dev/(?:block/)?(loop[0-9]+)\Z")
_LOOPS = b"/sys/block"
_PLAIN = re.compile(rb"/(io\.containerd\.snapshotter\.v1\.overlayfs|runc-overlayfs/snapshots)/snapshots/[0-9]+/fs\Z")
"""A layer that is a directory of the root's own file system; a layer of erofs, for example, is a mount."""
_COMPARED = 256
"""The most entries of a mounted folder that are compared."""
_FOLDERS = (b"upperdir", b"workdir", b"lowerdir", b"lowerdir+", b"datadir+")


def users(root: Root) -> list[Mount]:
    """The mounts that use ``root``, each once, however many namespaces have a copy of it.

    Raises:
        Refused: a mount namespace cannot be entered.
    """
    found: dict[tuple[bytes, str], Mount] = {}
    with open_namespaces() as views:
        look = _MountSearch(root, views)
        for view, table in views.items():
            for entry in table:
                judged = look.judge(view, entry)
                if judged is not None:
                    why, snapshot = judged
                    kept = RawPath(view.kept) if view.kept else None
                    mount = Mount(entry.id, view.namespace, view.pid, RawPath(entry.point), why, snapshot, kept)
                    found.setdefault((entry.point, why), mount)
    return list(found.values())


def loops(root: Root) -> list[Loop]:
    """The loop devices that have a file of ``root`` open, mounted or not.

    Raises:
        Refused: a mount namespace cannot be entered.
    """
    backing = _backing_files()
    if not backing:
        return []
    with open_namespaces() as views:
        look = _MountSearch(root, views)
        return [Loop(f"/dev/{shown(device)}", RawPath(path)) for device, path in backing.items() if look.has(path)]


def _backing_files() -> dict[bytes, bytes]:
    """The file that each loop device has open, as a path of this process (Linux drivers/block/loop.c)."""
    found: dict[bytes, bytes] = {}
    try:
        devices = [name for name in os.listdir(_LOOPS) if name.startswith(b"loop")]
    except OSError:
        return found
    for device in devices:
        with suppress(OSError), open(b"/".join((_LOOPS, device, b"loop/backing_file")), "rb") as file:
            found[device] = file.read().removesuffix(b"\n").removesuffix(b" (deleted)")
    return found


class _MountSearch:
    """Searches every mount table for mounts that use one root."""

    def __init__(self, root: Root, views: Iterable[NamespaceView]) -> None:
        self._views = views
        self._layout = root.layout
        self._paths = [root.path, *(folder for _, folder in root.snapshotters)]
        self._layers_at = layer_folders(root)
        used = [*self._paths, *self._layers_at]
        self._wanted = {key for key in map(identity, used) if key is not None}
        own = own_mounts()
        self._parts = [part for path in used if (part := place(path, own)) is not None]
        self._seen: dict[tuple[int, bytes], bool] = {}
        self._backing = _backing_files()

    def has(self, path: bytes) -> bool:
        """Whether a file lies in the root, in any view."""
        return path.startswith(b"/") and any(self._within(view, os.path.dirname(path)) for view in self._views)

    def judge(self, view: NamespaceView, entry: MountEntry) -> tuple[str, bytes | None] | None:
        """How a mount uses the root, and of which snapshot; None if it does not use it."""
        if self._within(view, os.path.dirname(entry.point)) and entry.point != b"/":
            return "is mounted inside it", _snapshot(entry.point)
        for device, part in self._parts:
            if entry.device == device and entry.root.startswith(part.rstrip(b"/") + b"/") and entry.root != b"/":
                inside = entry.root[len(part.rstrip(b"/")) :]
                return f"is a mount of its {shown(inside[1:])}", _snapshot(inside)
        return self._overlay(view, entry) if entry.kind == b"overlay" else self._image(view, entry)

    def _image(self, view: NamespaceView, entry: MountEntry) -> tuple[str, bytes | None] | None:
        """As :meth:`judge`, for a file system whose device is a file of the root, or a loop device of one."""
        for source in (entry.source, *(value for key, value in entry.options if key == b"device")):
            loop = _LOOP.match(source)
            path = self._backing.get(loop[1], b"") if loop else source
            inside = self.has(path) if loop else path.startswith(b"/") and self._within(view, os.path.dirname(path))
            if inside and not path.startswith(b"/dev/"):
                return f"is a mount of {shown(path)}", _snapshot(path)
        return None

    def _overlay(self, view: NamespaceView, entry: MountEntry) -> tuple[str, bytes | None] | None:
        folders = list(_folders(entry))
        named = [(option, path) for option, path in folders if path.startswith(b"/") and self._is_named(path)]
        # A path may be the root's, or that of another store in another mount namespace.
        mounted = self._is_mounted(view, entry, folders) if named else None
        for option, path in named:
            if self._reaches(view, path, mounted):
                return f"is an overlay with {shown(option)} {shown(path)}", _snapshot(path)
        relative = [path for _, path in folders if not path.startswith(b"/")]
        uppers = [path for option, path in folders if option == b"upperdir"]
        if mounted is False:
            return None
        if relative and all(map(self._could_be, relative)) and not any(self._has(upper, relative) for upper in uppers):
            match = _RELATIVE.match(relative[0])
            return f"is an overlay with lowerdir {shown(relative[0])}", match[1] if match else None
        return None

    def _is_named(self, path: bytes) -> bool:
        """Whether an option's path leads into the root in any view.

        It is a path of the process that mounted the overlay, which may have had another view than those that see it.
        """
        return any(self._within(each, _asked(path)) for each in self._views)

    def _reaches(self, view: NamespaceView, path: bytes, mounted: bool | None) -> bool:
        """Whether a path that leads into the root in some view means the root: by the own view, or by inodes."""
        if os.path.lexists(view.prefix + path):
            return self._within(view, _asked(path)) or mounted is True
        return mounted is not False

    def _is_mounted(self, view: NamespaceView, entry: MountEntry, folders: list[tuple[bytes, bytes]]) -> bool | None:
        """Whether an overlay consists of the folders of the root that its options name; None if that is not known.

        If all its folders are on one file system, its top folder has the inode number of the upper folder, or without
        one, of the first lower folder; and its entries have the inode numbers of the files that they show
        (fs/overlayfs/inode.c ovl_getattr, super.c ovl_get_root, Linux 5.10 to 6.18).
        """
        layers = self._layers(folders)
        keys = None if layers is None else [key for key in map(identity, layers) if key is not None]
        if layers is None or keys is None or len({device for device, _ in keys}) > 1 or entry.root != b"/":
            return None
        try:
            top = open_folder(view.prefix + entry.point)
        except OSError:
            return None
        try:
            # Another file system may be mounted over it.
            if mount_id(top) != entry.id:
                return None
            return os.fstat(top).st_ino in {inode for _, inode in keys} or _shares(top, layers)
        except OSError:
            return None
        finally:
            os.close(top)

    def _layers(self, folders: list[tuple[bytes, bytes]]) -> list[bytes] | None:
        """The folders of the root in an overlay's options, as this process reaches them; None if one is unclear."""
        uppers = [path for option, path in folders if option == b"upperdir"]
        match = _UPPER.match(uppers[0]) if uppers else None
        layers: list[bytes] = []
        for option, path in folders:
            if option == b"workdir":
                continue
            if not path.startswith(b"/") and match is None:
                return None
            absolute = path if match is None else os.path.join(match[1], path)
            found = [each.prefix + absolute for each in self._views if self._within(each, _asked(absolute))]
            if not found or not _PLAIN.search(absolute):
                return None  # with a folder on another file system, inode numbers differ
            layers += found
        return [layer for layer in layers if os.path.isdir(layer)]

    def _within(self, view: NamespaceView, path: bytes) -> bool:
        """Whether ``path`` in a view is the root, or below it."""
        asked: list[tuple[int, bytes]] = []
        answer = False
        while True:
            key = (view.pid, path)
            known = self._seen.get(key)
            if known is not None:
                answer = known
                break
            asked.append(key)
            if identity(view.prefix + path) in self._wanted:
                answer = True
                break
            above = os.path.dirname(path)
            if above == path:
                break
            path = above
        # The answer for a folder holds for the path below it: nothing in between was the root.
        self._seen.update((each, answer) for each in asked)
        return answer

    def _could_be(self, path: bytes) -> bool:
        if _CLASSIC.match(path):
            return any(os.path.lexists(os.path.join(each, path)) for each in self._layers_at)
        match = _RELATIVE.match(path)
        return match is not None and any(os.path.lexists(os.path.join(each, match[1])) for each in self._snapshots())

    def _snapshots(self) -> list[bytes]:
        """The folders that may have snapshots of the root."""
        inside = self._paths[0]
        try:
            names = [os.fsencode(name) for name in os.listdir(inside)]
        except OSError:
            names = []
        found = [os.path.join(inside, name) for name in names if self._layout.named(name) is not None]
        folders = [*self._paths[1:], *found]
        return [os.path.join(each, b"snapshots") for each in folders]

    def _has(self, upper: bytes, relative: list[bytes]) -> bool:
        """Whether an upper folder outside of the root has all these lower folders beside it.

        Then they are not the root's: all folders of an overlay of containerd belong to one snapshotter
        (plugins/snapshots/overlay/overlay.go mounts, v2.1). The process that mounted the overlay may have had any view,
        so all views with the upper folder must agree.
        """
        match = _UPPER.match(upper)
        if match is None or any(self._within(view, match[1]) for view in self._views):
            return False
        places = {identity(view.prefix + upper): view.prefix + match[1] for view in self._views}
        places.pop(None, None)
        own = self._snapshots()
        for folder in places.values():
            for name in (match[2], *relative):
                found = identity(os.path.join(folder, name))
                if found is None or found in {identity(os.path.join(each, name)) for each in own}:
                    return False  # a link or a mount may show the root's folder under another path
        return bool(places)


def _folders(entry: MountEntry) -> Iterator[tuple[bytes, bytes]]:
    for key, value in entry.options:
        if key in _FOLDERS:
            # Only lowerdir is a list. In it, a backslash stands before a colon or backslash of a name.
            parts = (match[1] for match in _COLON.finditer(value)) if key == b"lowerdir" else (value,)
            yield from ((key, re.sub(rb"\\(.)", rb"\1", part)) for part in parts if part)


def _asked(path: bytes) -> bytes:
    """The part of a path to look at: of ``…/snapshots/12/fs`` the folder ``snapshots``, once for all of them."""
    return os.path.dirname(os.path.dirname(path)) if _SNAPSHOT.search(path) else path


def _shares(top: int, layers: list[bytes]) -> bool:
    """Whether an entry of an overlay's open top folder has the inode number of a file in one of these folders.

    Raises:
        OSError: the top folder cannot be read.
    """
    device = os.fstat(top).st_dev
    for name in sorted(map(os.fsencode, os.listdir(top)))[:_COMPARED]:
        info = os.stat(name, dir_fd=top, follow_symlinks=False)
        if info.st_dev != device:
            continue  # another file system is mounted there
        for layer in layers:
            with suppress(OSError):
                if os.lstat(os.path.join(layer, name)).st_ino == info.st_ino:
                    return True
    return False


def _snapshot(path: bytes) -> bytes | None:
    match = _SNAPSHOT.search(path)
    return match[1] if match else None
