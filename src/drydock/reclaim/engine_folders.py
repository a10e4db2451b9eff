"""Folders that an engine owns. drydock keeps none of its files there, because the engine may remove unknown ones.

One GC of a real containerd 1.6 removed a journal and its backups in ``snapshots/``: the overlay snapshotter
removes every folder without a row (plugins/snapshots/overlay/overlay.go getCleanupDirectories, v2.1). dockerd removes
all of ``tmp`` and ``runtimes`` at its start (moby daemon/daemon.go prepareTempDir, daemon/runtime_unix.go, v28.5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

from drydock.evidence.files.mountinfo import own_mounts, place
from drydock.evidence.files.regular import identity
from drydock.evidence.host.filesystem import is_folder
from drydock.evidence.host.layout import find_layout
from drydock.model.errors import Refused
from drydock.model.names import RawPath, is_within
from drydock.model.roots import Root
from drydock.model.text import shown

_OWNED: Final = (
    b"aufs", b"btrfs", b"builder", b"buildkit", b"containerd", b"containers", b"devicemapper", b"fuse-overlayfs",
    b"image", b"lost+found", b"network", b"overlay", b"overlay2", b"plugins", b"policy", b"rootfs", b"runtimes",
    b"swarm", b"tmp", b"tmp-old", b"trust", b"userxattr-check", b"vfs", b"volumes", b"zfs",
)  # fmt: skip
"""Folders that dockerd makes, or made, directly in its data root (moby v20.10 to v29)."""
_PATTERNS: Final = re.compile(
    rb"(?:[0-9]+\.[0-9]+|\.tmp-.*|check-overlayfs-support.*|metacopy-check.*|opaque-bug-check.*)\Z", re.DOTALL
)
"""The same for names that vary: the data root of a user namespace, half-written files, probes of a driver."""
_SIGNS: Final = (b"buildkit", b"containers", b"image", b"network", b"plugins", b"swarm", b"volumes")
_ENOUGH: Final = 3
"""This many of ``_SIGNS`` identify a data root that no setting names."""


def refuse_engine_folders(root: Root, *, state: RawPath | None = None, quarantine: RawPath | None = None) -> None:
    """Refuse a state directory or a quarantine in a folder that an engine owns.

    Raises:
        Refused: one of them is in such a folder, also through a symbolic link or a mount, or is a data root itself.
    """
    for what, chosen in (("state directory", state), ("quarantine", quarantine)):
        if chosen is None:
            continue
        reason = find_owner(chosen, root)
        if reason is not None:
            raise Refused(f"{what} {shown(chosen)} {reason}")


def find_owner(chosen: RawPath, root: Root) -> str | None:
    """Which engine's folder a directory is in, and what to choose instead; None if the directory may be used.

    Args:
        chosen: the directory, which need not exist yet.
        root: the containerd root of the run. Other roots are recognised by their contents.
    """
    way = _way(chosen)
    owned = {key: path for path in _owned(root) if (key := identity(path)) is not None}
    data = {key: path for path in root.docker if (key := identity(path)) is not None}
    below = b""
    for path in way:
        key = identity(path)
        if key is not None and key in owned:
            return _in(owned[key], root)
        known = data.get(key) if key is not None else None
        if known is not None or _looks_like_data_root(path):
            top = known or path
            if not below:
                return f"is {shown(top)} itself, which Docker owns: choose a new folder in it"
            if _is_owned(below):
                return _in(RawPath(os.path.join(top, below)), root)
        if find_layout(path) is not None or os.path.lexists(os.path.join(path, b"containerdmeta.db")):
            return _in(path, root)
        below = os.path.basename(path)
    return _by_mount(way, root)


def _by_mount(way: list[RawPath], root: Root) -> str | None:
    """The same for a bind mount of part of such a folder, which the parents of the mount point do not show."""
    mounts = own_mounts()
    there = next(path for path in way if os.path.lexists(path))
    here = place(there, mounts)
    if here is None:
        return None
    device, inside = here[0], os.path.normpath(here[1] + b"/" + way[0][len(there) :])
    for path in _owned(root):
        if (part := place(path, mounts)) is not None and part[0] == device and is_within(inside, part[1]):
            return _in(path, root)
    for path in root.docker:
        part = place(path, mounts)
        if part is not None and part[0] == device and is_within(inside, part[1]):
            name = os.path.relpath(inside, part[1]).partition(b"/")[0]
            if name == b"." or _is_owned(name):
                return _in(RawPath(os.path.normpath(os.path.join(path, name))), root)
    return None


def _way(chosen: RawPath) -> list[RawPath]:
    """The directory and its parents, with symbolic links resolved."""
    path = os.path.realpath(chosen)
    way = [RawPath(path)]
    while path != b"/":
        path = os.path.dirname(path)
        way.append(RawPath(path))
    return way


def _owned(root: Root) -> Iterator[RawPath]:
    """The existing folders of the root's own engine, without Docker's data roots."""
    if root.path not in root.docker:
        yield root.path
    for _, path in root.snapshotters:
        yield path
    yield from root.states
    if root.layout.worker:
        yield from root.buildkit
    for data in root.docker:
        for name in _OWNED:
            # A symbolic link counts: an engine follows it.
            if os.path.isdir(path := RawPath(os.path.join(data, name))):
                yield path


def _is_owned(name: bytes) -> bool:
    return name in _OWNED or _PATTERNS.match(name) is not None


def _looks_like_data_root(path: bytes) -> bool:
    return sum(is_folder(os.path.join(path, name)) for name in _SIGNS) >= _ENOUGH


def _in(path: RawPath, root: Root) -> str:
    where = f", or a new one directly in {shown(root.docker[0])}" if root.docker else ""
    return f"lies in {shown(path)}, which an engine owns and may clear: choose a folder elsewhere{where}"
