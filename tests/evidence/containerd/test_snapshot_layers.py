"""The layers of a snapshot, by its rows."""

import pytest
from tests.support.values import store

from drydock.evidence.containerd.overlay_xattrs import FUSE, KERNEL, USER
from drydock.evidence.containerd.snapshot_layers import MAPPING, parent_stack, snapshot_stack
from drydock.model.data import Backend, LayoutKind, Row, RowKind
from drydock.model.errors import EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.roots import Engine


def _store(name, layout, *, labels=None, engine=None):
    """A base, a layer on it, and a container with a view beside it."""
    backend = Backend(name, RawPath(b"dir"), layout)
    rows = [
        ("base", RowKind.COMMITTED, ""), ("layer", RowKind.COMMITTED, "base"),
        ("box", RowKind.ACTIVE, "layer"), ("view", RowKind.VIEW, "layer"), ("loop", RowKind.ACTIVE, "loop"),
    ]  # fmt: skip
    for number, (row, kind, parent) in enumerate(rows, start=1):
        backend.rows[row.encode()] = Row(row.encode(), number, kind, parent.encode(), None, None, labels or {})
    made = store(backends={name: backend})
    if engine is not None:
        made.root = made.root._replace(engine=engine)
    return made


def _numbers(stack):
    return [b"/".join(parts) for parts in stack.layers]


def test_overlay():
    """A container has its own directory and its parents'; a view only the parents', and the image too."""
    made = _store(b"overlayfs", LayoutKind.OVERLAY)
    assert _numbers(snapshot_stack(made, b"overlayfs", b"box")) == [
        b"dir/snapshots/3/fs", b"dir/snapshots/2/fs", b"dir/snapshots/1/fs",
    ]  # fmt: skip
    assert _numbers(snapshot_stack(made, b"overlayfs", b"view")) == [b"dir/snapshots/2/fs", b"dir/snapshots/1/fs"]
    assert _numbers(parent_stack(made, b"overlayfs", b"box")) == [b"dir/snapshots/2/fs", b"dir/snapshots/1/fs"]
    assert _numbers(parent_stack(made, b"overlayfs", b"base")) == []


def test_native():
    """With native, one directory is everything; a view has none of its own."""
    made = _store(b"native", LayoutKind.NATIVE)
    assert _numbers(snapshot_stack(made, b"native", b"box")) == [b"dir/snapshots/3"]
    assert _numbers(snapshot_stack(made, b"native", b"view")) == [b"dir/snapshots/2"]


def test_how_they_are_marked():
    """The format depends on the snapshotter, and on mounts in a user namespace."""
    stack = snapshot_stack(_store(b"overlayfs", LayoutKind.OVERLAY), b"overlayfs", b"box")
    assert (stack.overlay_format, stack.is_mapped) == (KERNEL, False)
    rootless = _store(b"overlayfs", LayoutKind.OVERLAY, engine=Engine.ROOTLESS)
    stack = snapshot_stack(rootless, b"overlayfs", b"box")
    assert (stack.overlay_format, stack.is_mapped) == (USER, True)
    rootless = _store(b"fuse-overlayfs", LayoutKind.OVERLAY, engine=Engine.ROOTLESS)
    assert snapshot_stack(rootless, b"fuse-overlayfs", b"box").overlay_format == FUSE
    mapped = _store(b"overlayfs", LayoutKind.OVERLAY, labels={MAPPING: b"0:100000:65536"})
    assert snapshot_stack(mapped, b"overlayfs", b"box").is_mapped


def test_what_is_not_understood():
    """A loop of parents, a missing row, an unknown snapshotter: each error names it."""
    made = _store(b"overlayfs", LayoutKind.OVERLAY)
    with pytest.raises(EvidenceUnreadable, match="its own parent"):
        snapshot_stack(made, b"overlayfs", b"loop")
    del made.backends[b"overlayfs"].rows[b"base"]
    with pytest.raises(EvidenceUnreadable, match="base has no row"):
        snapshot_stack(made, b"overlayfs", b"box")
    with pytest.raises(EvidenceUnreadable, match="layout of snapshotter devmapper"):
        snapshot_stack(_store(b"devmapper", LayoutKind.FOREIGN), b"devmapper", b"box")
    with pytest.raises(EvidenceUnreadable, match="stargz keeps its data outside of this root"):
        snapshot_stack(made, b"stargz", b"box")
