"""The layers that make up the file system of a snapshot, or of a container of the classic store, the uppermost first.

Sources: containerd plugins/snapshots/overlay/overlay.go (``mounts``, ``createSnapshot``),
plugins/snapshots/native/native.go (``mounts``, ``createSnapshot``), v2.1; plugins/snapshots/erofs/erofs.go
(``mounts``), v2.3.4; fuse-overlayfs-snapshotter fuseoverlayfs.go (``mounts``), v2.1; moby
daemon/graphdriver/overlay2/overlay.go (``Get``), v28.5.
"""

from __future__ import annotations

from dataclasses import dataclass

from drydock.evidence.containerd.overlay_xattrs import FUSE, KERNEL, USER, OverlayFormat
from drydock.evidence.containerd.snapshots import LAYER
from drydock.model.data import Backend, LayoutKind, Row, RowKind
from drydock.model.errors import EvidenceUnreadable
from drydock.model.layer_store import OVERLAY2, LayerStore
from drydock.model.names import SNAPSHOTS, RawPath
from drydock.model.roots import Engine
from drydock.model.store import Store
from drydock.model.text import shown

MAPPING = b"containerd.io/snapshot/uidmapping"
"""Label of a row whose owners are mapped (containerd core/snapshots/snapshotter.go, v2.1)."""
_FUSE = b"fuse-overlayfs"


@dataclass(frozen=True, slots=True)
class Stack:
    """The layers of one file system."""

    root: RawPath
    """Absolute path of the containerd root, or of the Docker data root."""
    layers: tuple[tuple[bytes, ...], ...]
    """Path of each layer, a directory or an image, as parts below the root; the uppermost first. May be empty."""
    names: tuple[str, ...]
    """Name of each layer in messages, shown."""
    overlay_format: OverlayFormat = KERNEL
    """How they mark what they hide."""
    is_mapped: bool = False
    """Whether the owners on disk differ from those that the container sees."""
    is_erofs: bool = False
    """Whether layers may be images."""
    by_kernel: bool = False
    """Whether the kernel mounts these images."""


def snapshot_stack(store: Store, snapshotter: bytes, row: bytes) -> Stack:
    """Find the layers of the snapshot that a row names.

    Raises:
        EvidenceUnreadable: the layout of the snapshotter is not known, or rows are missing.
    """
    return _stack(store, _backend(store, snapshotter), row)


def parent_stack(store: Store, snapshotter: bytes, row: bytes) -> Stack:
    """Find the layers that the snapshot of a row was made on: for a container, those of its image.

    Raises:
        EvidenceUnreadable: as for :func:`snapshot_stack`.
    """
    backend = _backend(store, snapshotter)
    parent = _row(backend, row).parent
    return _stack(store, backend, parent) if parent else Stack(store.root.path, (), ())


def directory_stack(layers: LayerStore, name: bytes, *, is_rootless: bool) -> Stack:
    """Find the layers that the driver overlay2 mounts for a directory.

    It goes by the directory's file ``lower`` and the links that this names, whatever layerdb says.

    Args:
        layers: the classic layer store.
        name: of the directory, such as the mount id of a container.
        is_rootless: whether a user's dockerd mounts it.

    Raises:
        EvidenceUnreadable: the directory, one below it, or the link to one is missing.
    """
    top = layers.directories.get(name)
    if top is None:
        raise EvidenceUnreadable(f"overlay2/{shown(name)} is missing")
    names = [name]
    by_link = {each.link: each.name for each in layers.directories.values() if each.link is not None}
    for word in top.lower:
        link = layers.links.get(word)
        below = by_link.get(word) if link is None else link.directory
        if below is None or below not in layers.directories:
            raise EvidenceUnreadable(f"overlay2/{shown(name)}: overlay2/l/{shown(word)} leads to no directory")
        names.append(below)
    parts = tuple((OVERLAY2, each, b"diff") for each in names)
    return Stack(layers.data, parts, tuple(map(shown, names)), USER if is_rootless else KERNEL, is_rootless)


def _backend(store: Store, snapshotter: bytes) -> Backend:
    backend = store.backends.get(snapshotter)
    name = shown(snapshotter)
    instead = f"start its engine, and copy from the mount that ctr snapshots --snapshotter {name} mounts DIR KEY prints"
    if backend is None:
        raise EvidenceUnreadable(
            f"snapshotter {name} keeps its data outside of this root, which drydock does not read: {instead}"
        )
    if backend.layout is LayoutKind.FOREIGN:
        raise EvidenceUnreadable(f"drydock does not know the layout of snapshotter {name}: {instead}")
    return backend


def _stack(store: Store, backend: Backend, name: bytes) -> Stack:
    rows = _chain(backend, name)
    if backend.layout is LayoutKind.NATIVE:
        # Each directory is a full copy; a view with a parent has none of its own.
        rows = [row for row in rows if row.kind is not RowKind.VIEW or not row.parent][:1]
        parts: list[tuple[bytes, ...]] = [(backend.path, SNAPSHOTS, b"%d" % row.id) for row in rows]
    else:
        # A view shows its parents' directories; its own stays empty.
        rows = rows[1:] if rows[0].kind is RowKind.VIEW and rows[0].parent else rows
        parts = [(backend.path, SNAPSHOTS, b"%d" % row.id, _part(backend, row)) for row in rows]
    is_mapped = store.root.engine is Engine.ROOTLESS or MAPPING in backend.rows[name].labels
    names = tuple(shown(row.name) for row in rows)
    overlay_format = _overlay_format(store, backend)
    return Stack(store.root.path, tuple(parts), names, overlay_format, is_mapped, backend.layout is LayoutKind.EROFS)


def _part(backend: Backend, row: Row) -> bytes:
    """Name of the layer in the directory of its snapshot."""
    return LAYER if backend.layout is LayoutKind.EROFS and row.kind is RowKind.COMMITTED else b"fs"


def _chain(backend: Backend, name: bytes) -> list[Row]:
    """A row and its parents, up to the base."""
    rows: list[Row] = []
    seen: set[bytes] = set()
    while name:
        if name in seen:
            raise EvidenceUnreadable(f"snapshot {shown(name)} is its own parent")
        seen.add(name)
        row = _row(backend, name)
        rows.append(row)
        name = row.parent
    return rows


def _row(backend: Backend, name: bytes) -> Row:
    row = backend.rows.get(name)
    if row is None:
        raise EvidenceUnreadable(f"snapshot {shown(name)} has no row in {shown(backend.path)}/metadata.db")
    return row


def _overlay_format(store: Store, backend: Backend) -> OverlayFormat:
    if backend.name == _FUSE:
        return FUSE
    # Overlay in a user namespace is mounted with userxattr (containerd snapshots/overlay/overlayutils/check.go, v2.1).
    return USER if store.root.engine is Engine.ROOTLESS else KERNEL
