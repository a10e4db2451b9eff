"""What is measured before its readers ask for it: a walk takes longer than all else, which goes on meanwhile.

Nothing here is evidence. A reader finds its folders itself, and takes the size of one if that was measured.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Final

from drydock.evidence.files.directory import folder, names
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.walk_pool import WalkAhead
from drydock.evidence.host.filesystem import is_folder
from drydock.evidence.host.layout import is_root
from drydock.model.data import LayoutKind
from drydock.model.layer_store import OVERLAY2
from drydock.model.names import SNAPSHOTS, RawPath
from drydock.model.roots import CONTAINERD_LAYOUT, Engine, Root
from drydock.model.volumes import BUILDER_VOLUME

_IMAGES: Final = b"image/" + OVERLAY2
_DEFAULTS: Final = (b"/var/lib/docker", b"/var/lib/containerd")
_MANAGED: Final = (b"", b"/containerd/daemon", b"/containerd")
_DOCKERS: Final = (b"buildkit", b"containers", b"volumes")
"""Folders that a dockerd makes in its data root when it starts (those of all captures, 26.1 to 29)."""


def guess_walk(ahead: WalkAhead, where: RawPath | None) -> None:
    """Begin to measure a Docker data root or a containerd root before it is known what it belongs to.

    Args:
        ahead: measures them.
        where: what the user named, nothing else is looked at; None for this host: its default folders.
    """
    for named in _DEFAULTS if where is None else (where,):
        top = RawPath(os.path.realpath(named))
        is_data_root = all(is_folder(top + b"/" + each) for each in _DOCKERS)
        for path in (RawPath(top + each) for each in _MANAGED):
            if is_root(path):
                with suppress(OSError), folder(path) as descriptor:
                    snapshotters = [CONTAINERD_LAYOUT.named(name) for name in names(descriptor)]
                    found = [each for each in snapshotters if each is not None]
                    _add_root(ahead, Root(path, Engine.CONTAINERD), found, (path,))
        if is_data_root:
            _add_root(ahead, Root(top, Engine.DOCKER, docker=(top,), layer_stores=(top,)), (), (top,))
    ahead.start()


def start_walk(ahead: WalkAhead, root: Root, snapshotters: Iterable[bytes], places: Collection[RawPath]) -> None:
    """Begin to measure the directories of snapshots and of classic layers of a root, if that has not begun.

    A folder that cannot be opened is left to its reader, which reports it.

    Args:
        ahead: measures them.
        root: the root, whose databases are held.
        snapshotters: those that have a folder in it.
        places: the data roots, and containerd roots, of which everything else is measured too, later
            (:func:`drydock.evidence.containerd.root_usage.measure_places`).
    """
    _add_root(ahead, root, snapshotters, places)
    ahead.start()


def _add_root(ahead: WalkAhead, root: Root, snapshotters: Iterable[bytes], places: Collection[RawPath]) -> None:
    for snapshotter in snapshotters:
        if LayoutKind.of(snapshotter) is not LayoutKind.FOREIGN:
            _add(ahead, root.path, root.layout.snapshotter(snapshotter), SNAPSHOTS)
    for data in root.layer_stores:
        _add(ahead, data, OVERLAY2)
    if root.path in places and root.has_containerd:
        with suppress(OSError), folder(root.path) as top:
            _add_inside(ahead, top, root.layout.content)
    for data in root.docker:
        if data in places:
            with suppress(OSError), folder(data) as top:
                _add_inside(ahead, top, b"volumes", split=True)
                _add_inside(ahead, top, _IMAGES)


def _add(ahead: WalkAhead, path: RawPath, *parts: bytes) -> None:
    with suppress(OSError), folder(path, *parts) as descriptor:
        ahead.add(names(descriptor), descriptor)


def _add_inside(ahead: WalkAhead, top: int, path: bytes, *, split: bool = False) -> None:
    """Add what lies in a folder that is entered only if it is no mount."""
    with suppress(OSError):
        descriptor = open_directory(top, path, readable=True)
        try:
            # The folder of a builder's volume has entries of its own.
            whole = (each for each in names(descriptor) if not BUILDER_VOLUME.fullmatch(each))
            ahead.add(whole, descriptor, split=split)
        finally:
            os.close(descriptor)
