"""A small containerd root with one image that is unpacked into overlayfs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.engines.images import Blob, Image
from tests.support.adoptable import MADE, NAME, lay_out, record, target
from tests.support.boltwriter import write
from tests.support.gowriting import go_time, uvarint, varint

OVERLAYFS = "io.containerd.snapshotter.v1.overlayfs"
PULLED = {b"containerd.io/distribution.source.example.org": b"shop"}


def extract(layer: Blob, folder: Path) -> None:
    """What a layer of plain files and folders unpacks to, by GNU tar."""
    subprocess.run(["tar", "-xpf", "-", "-C", folder], input=layer.data, check=True)


def usage(folder: Path) -> tuple[int, int]:
    """Bytes of blocks and inodes, as du counts them: what containerd records when it commits a snapshot."""
    size, inodes = (
        int(subprocess.run(["du", "-s", option, folder], capture_output=True, check=True).stdout.split()[0])
        for option in ("--block-size=1", "--inodes")
    )
    return size, inodes


def lay_out_unpacked(
    root: Path,
    image: Image,
    *,
    unpack: Callable[[Blob, Path], None] = extract,
    named: Blob | None = None,
    more: Iterable[Image] = (),
    pulled: Iterable[Blob] = (),
    unrecorded: Iterable[Blob] = (),
    names: Mapping[bytes, Blob] | None = None,
    snapshotter: str = "overlayfs",
) -> Path:
    """Write the root; every blob is on disk.

    Args:
        root: where.
        image: the unpacked one.
        unpack: puts a layer into a folder.
        named: what the image's name leads to; the manifest if it is none.
        more: others that are not unpacked.
        pulled: the blobs whose records say which registry they came from.
        unrecorded: those without a record.
        names: further image names, and what each leads to.
        snapshotter: whose folder and records it is unpacked to; laid out as overlayfs has it.
    """
    images = (image, *more)
    top = named or image.manifest
    files = {blob.digest: blob for each in images for blob in each.blobs} | {top.digest: top}
    labels: dict[str, dict[bytes, bytes]] = {digest: {} for digest in files}
    for each in images:
        labels[each.manifest.digest] |= _children(*each.blobs[1:])
    if named is not None:
        labels[named.digest] |= _children(*(each.manifest for each in images))
    labels[image.config.digest][f"containerd.io/gc.ref.snapshot.{snapshotter}".encode()] = image.chain_id().encode()
    for blob in pulled:
        labels[blob.digest] |= PULLED
    left_out = {blob.digest for blob in unrecorded}
    blobs = {
        digest.encode(): record(blob, labels=labels[digest]) for digest, blob in files.items() if digest not in left_out
    }
    space: dict[bytes, Any] = {b"content": {b"blob": blobs}, b"images": {NAME: target(top)}}
    space[b"images"] |= {name: target(blob) for name, blob in (names or {}).items()}
    folder = root / f"io.containerd.snapshotter.v1.{snapshotter}"
    space[b"snapshots"] = {snapshotter.encode(): _snapshots(folder, image, unpack)}
    return lay_out(root, {b"default": space}, tuple(files.values()))


def _children(*blobs: Blob) -> dict[bytes, bytes]:
    return {b"containerd.io/gc.ref.content.%d" % number: blob.digest.encode() for number, blob in enumerate(blobs)}


def _snapshots(folder: Path, image: Image, unpack: Callable[[Blob, Path], None]) -> dict[bytes, Any]:
    records: dict[bytes, Any] = {}
    rows: dict[bytes, Any] = {}
    parents: dict[bytes, bytes] = {}
    times = {b"createdat": go_time(MADE), b"updatedat": go_time(MADE)}
    below, name_below = b"", b""
    for number, layer in enumerate(image.layers, 1):
        key = image.chain_id(number).encode()
        name = b"default/%d/%s" % (number, key)
        records[key] = {b"name": name, **times, **({b"parent": below} if below else {})}
        if name_below:
            parents[uvarint(number - 1) + b"\0" + uvarint(number)] = name
        files = folder / f"snapshots/{number}/fs"
        files.mkdir(parents=True)
        files.chmod(0o755)
        (files.parent / "work").mkdir()
        unpack(layer, files)
        made = files.parent / "layer.erofs"
        size, inodes = usage(made if made.exists() else files)
        rows[name] = {
            b"id": uvarint(number), b"kind": b"\x03", b"size": varint(size), b"inodes": varint(inodes), **times,
            **({b"parent": name_below} if name_below else {}),
        }  # fmt: skip
        below, name_below = key, name
    write(
        folder / "metadata.db",
        {b"v1": {b"snapshots": rows, b"parents": parents}},
        sequences={(b"v1", b"snapshots"): len(rows)},
    )
    os.sync()
    return records
