"""Which folders of a root are measured before their readers ask for them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import suppress

from drydock.evidence.containerd.snapshots import SNAPSHOTS, layout
from drydock.evidence.files.directory import folder, names
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.walk_pool import WalkAhead
from drydock.model.data import LayoutKind
from drydock.model.layer_store import OVERLAY2
from drydock.model.names import RawPath
from drydock.model.roots import Root
from drydock.model.volumes import BUILDER_VOLUME

_IMAGES = b"image/" + OVERLAY2


def start_walk(ahead: WalkAhead, root: Root, snapshotters: Iterable[bytes], places: Collection[RawPath]) -> None:
    """Begin to measure the directories of snapshots and of classic layers; other things can be read meanwhile.

    A folder that cannot be opened is left to its reader, which reports it.

    Args:
        ahead: measures them.
        root: the root, whose databases are held.
        snapshotters: those that have a folder in it.
        places: the data roots, and containerd roots, of which everything else is measured too, later
            (:func:`drydock.evidence.containerd.root_usage.measure_places`).
    """
    for snapshotter in snapshotters:
        if layout(snapshotter) is not LayoutKind.FOREIGN:
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
    ahead.start()


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
