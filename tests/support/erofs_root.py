"""A small containerd root whose snapshots are erofs's; layers are any bytes unless they are given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.adoptable import MADE, lay_out
from tests.support.boltwriter import write
from tests.support.gowriting import go_time, uvarint, varint

EROFS = "io.containerd.snapshotter.v1.erofs"
NAMESPACE = b"default"
_TIMES = {b"createdat": go_time(MADE), b"updatedat": go_time(MADE)}
_KINDS = {"view": b"\x01", "active": b"\x02", "committed": b"\x03"}


def lay_out_erofs(
    root: Path,
    rows: Mapping[str, tuple[int, str, str]],
    *,
    layers: Mapping[int, bytes] | None = None,
    unrecorded: tuple[str, ...] = (),
    snapshotter: str = "erofs",
) -> Path:
    """Write the root.

    Args:
        root: where.
        rows: by key: number, kind and the parent's key. The last active one is a container's, ``box``.
        layers: what ``layer.erofs`` of a committed one holds, by number; some bytes where that is not said.
        unrecorded: keys of rows that no record names.
        snapshotter: the folder's; with another than erofs its folders are laid out the same.
    """
    numbers = {key: number for key, (number, _, _) in rows.items()}
    names = {key: b"default/%d/%s" % (number, key.encode()) for key, number in numbers.items()}
    database: dict[bytes, Any] = {}
    parents: dict[bytes, bytes] = {}
    records: dict[bytes, Any] = {}
    container = ""
    folder = root / f"io.containerd.snapshotter.v1.{snapshotter}"
    for key, (number, kind, parent) in rows.items():
        size = {b"size": varint(8192), b"inodes": varint(1)} if kind == "committed" else {}
        above = {b"parent": names[parent]} if parent else {}
        database[names[key]] = {b"id": uvarint(number), b"kind": _KINDS[kind], **size, **_TIMES, **above}
        if parent:
            parents[uvarint(numbers[parent]) + b"\0" + uvarint(number)] = names[key]
        if key not in unrecorded:
            records[key.encode()] = {
                b"name": names[key], **_TIMES, **({b"parent": parent.encode()} if parent else {})
            }  # fmt: skip
        container = key if kind == "active" else container
        lay_out_snapshot(folder / f"snapshots/{number}", kind, (layers or {}).get(number, bytes([number]) * 8192))
    space: dict[bytes, Any] = {b"snapshots": {snapshotter.encode(): records}}
    if container:
        space[b"containers"] = {
            b"box": {
                b"snapshotter": snapshotter.encode(), b"snapshotKey": container.encode(), **_TIMES,
                b"runtime": {b"name": b"io.containerd.runc.v2"},
            }
        }  # fmt: skip
    write(
        folder / "metadata.db",
        {b"v1": {b"snapshots": database, b"parents": parents}},
        sequences={(b"v1", b"snapshots"): 20},
    )
    return lay_out(root, {NAMESPACE: space}, ())


def lay_out_snapshot(folder: Path, kind: str, layer: bytes) -> None:
    """What containerd 2.4 makes for one snapshot."""
    (folder / "fs").mkdir(parents=True)
    if kind != "view":
        (folder / "work").mkdir()
        (folder / ".erofslayer").touch()
    if kind == "committed":
        (folder / "layer.erofs").write_bytes(layer)
