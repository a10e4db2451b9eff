"""A small containerd root with one image, of which records can be left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.engines.images import Blob, Image, layer
from tests.support.boltwriter import write
from tests.support.gowriting import go_time, varint
from tests.support.records import CONTENT, METADATA

MADE = 1_700_000_000
"""When its records were made, in seconds."""
NOW = "2024-01-01T00:00:00Z"
IMAGE = Image((layer({"one": b"1" * 3000}), layer({"two": b"2" * 900})))
NAME = b"example.org/shop:1"


def labels(image: Image = IMAGE) -> dict[bytes, bytes]:
    """What a pull writes on a manifest of two layers (containerd images/handlers.go, v1.6.20)."""
    named = {b"config": image.config, b"l.0": image.layers[0], b"l.1": image.layers[1]}
    return {b"containerd.io/gc.ref.content." + name: blob.digest.encode() for name, blob in named.items()}


def record(blob: Blob, **more: dict[bytes, bytes]) -> dict[bytes, Any]:
    """A blob's record."""
    time = go_time(MADE)
    return {
        b"createdat": time, b"updatedat": time, b"size": varint(len(blob.data)),
        **{name.encode(): value for name, value in more.items() if value},
    }  # fmt: skip


def target(blob: Blob, *, size: int | None = None) -> dict[bytes, Any]:
    """An image's record."""
    names = {b"digest": blob.digest.encode(), b"mediatype": blob.media_type.encode(),
             b"size": varint(len(blob.data) if size is None else size)}  # fmt: skip
    return {b"createdat": go_time(MADE), b"updatedat": go_time(MADE), b"target": names}


def namespace(image: Image = IMAGE) -> dict[bytes, Any]:
    """A namespace as a pull leaves it."""
    blobs = {blob.digest.encode(): record(blob) for blob in image.blobs}
    blobs[image.manifest.digest.encode()] = record(image.manifest, labels=labels(image))
    return {b"content": {b"blob": blobs}, b"images": {NAME: target(image.manifest)}}


def lay_out(root: Path, namespaces: dict[bytes, dict[bytes, Any]], blobs: tuple[Blob, ...] = IMAGE.blobs) -> Path:
    """Write a root; every blob is on disk."""
    for blob in blobs:
        path = blob_path(root, blob)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blob.data)
    (root / CONTENT / "ingest").mkdir(parents=True, exist_ok=True)
    (root / METADATA).parent.mkdir(parents=True, exist_ok=True)
    sequences = {(b"v1", name, b"content", b"blob"): 7 for name in namespaces}
    write(root / METADATA, {b"v1": {b"version": varint(3), **namespaces}}, sequences=sequences)
    os.sync()
    return root


def without(space: dict[bytes, Any], *blobs: Blob) -> dict[bytes, Any]:
    """A namespace without some records of blobs."""
    for blob in blobs:
        del space[b"content"][b"blob"][blob.digest.encode()]
    return space


def blob_path(root: Path, blob: Blob) -> Path:
    """Where a blob lies."""
    return root / CONTENT / "blobs" / blob.digest.replace(":", "/")
