"""A containerd root with one image whose layer is large, and takes no room on disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.support.boltwriter import write
from tests.support.gowriting import go_time, varint

NAME = "docker.io/library/large:1"
_BLOBS = "io.containerd.content.v1.content/blobs/sha256"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CHUNK = bytes(1 << 24)


def build(top: Path, size: int, now: int) -> None:
    """Make the root.

    Args:
        top: a new folder.
        size: bytes of the layer, which are all zero.
        now: seconds since 1970: when the records were made.
    """
    blobs = top / _BLOBS
    blobs.mkdir(parents=True)
    (top / "io.containerd.content.v1.content/ingest").mkdir()
    layer = hashlib.sha256()
    for at in range(0, size, len(_CHUNK)):
        layer.update(_CHUNK[: size - at])
    with open(blobs / layer.hexdigest(), "wb") as file:
        file.truncate(size)
    diff = f"sha256:{layer.hexdigest()}"
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff]}})
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", _put(blobs, config), len(config)),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", diff, size)],
        }
    )
    target = _put(blobs, manifest)
    times = {b"createdat": go_time(now), b"updatedat": go_time(now)}
    labels = {
        b"containerd.io/gc.ref.content.config": f"sha256:{hashlib.sha256(config.encode()).hexdigest()}".encode(),
        b"containerd.io/gc.ref.content.l.0": diff.encode(),
    }
    records = {
        diff.encode(): {**times, b"size": varint(size)},
        labels[b"containerd.io/gc.ref.content.config"]: {**times, b"size": varint(len(config))},
        target.encode(): {**times, b"size": varint(len(manifest)), b"labels": labels},
    }
    image = {
        **times,
        b"target": {b"digest": target.encode(), b"mediatype": _MANIFEST.encode(), b"size": varint(len(manifest))},
    }
    metadata = top / "io.containerd.metadata.v1.bolt"
    metadata.mkdir()
    namespace = {b"content": {b"blob": records}, b"images": {NAME.encode(): image}}
    write(metadata / "meta.db", {b"v1": {b"version": b"\x08", b"default": namespace}})


def _put(blobs: Path, text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    (blobs / digest).write_text(text)
    return f"sha256:{digest}"


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}
