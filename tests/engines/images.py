"""OCI images made from bytes: the same arguments give the same digests, with no network and no build tool.

Layers are plain tar, not compressed: then a layer's blob and what is unpacked from it are the same bytes, and a capture
that holds both compresses to little more than one of them.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_BUSYBOX = Path("/bin/busybox")


@dataclass(frozen=True, slots=True)
class Blob:
    """Content and what it is."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        """``sha256:`` and 64 hex digits."""
        return "sha256:" + hashlib.sha256(self.data).hexdigest()

    def descriptor(self, **more: object) -> dict[str, object]:
        """The OCI descriptor that names it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}


@dataclass(frozen=True, slots=True)
class Image:
    """An image for linux/amd64."""

    layers: tuple[Blob, ...]
    command: tuple[str, ...] = ("/bin/busybox", "true")
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Blob:
        """The config blob; layers are plain tar, so their digests are the diff ids too."""
        config = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {"Cmd": list(self.command), "Env": ["PATH=/bin"], "Labels": dict(self.labels)},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in self.layers]},
        }
        return Blob(_CONFIG, json.dumps(config).encode())

    @property
    def manifest(self) -> Blob:
        """The manifest blob: what an image name points to."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self.config.descriptor(),
            "layers": [layer.descriptor() for layer in self.layers],
        }
        return Blob(_MANIFEST, json.dumps(manifest).encode())

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Manifest, config and layers."""
        return (self.manifest, self.config, *self.layers)

    def chain_id(self, length: int | None = None) -> str:
        """The chain id of the first ``length`` layers, by default of all (OCI image-spec, config.md)."""
        chain, *others = [layer.digest for layer in self.layers[:length]]
        for digest in others:
            chain = "sha256:" + hashlib.sha256(f"{chain} {digest}".encode()).hexdigest()
        return chain


def layer(files: Mapping[str, bytes]) -> Blob:
    """A layer with these files; a name that ends in ``/`` is a directory, ``.wh.x`` removes x of the layers below."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.mtime = 1704067200
            if name.endswith("/"):
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            else:
                entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    return Blob(_LAYER, buffer.getvalue())


def noise(seed: int, kib: int) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(kib * 1024)


def busybox_layer() -> Blob:
    """A layer with a static busybox (Debian's busybox-static), the only program that images here need."""
    return layer({"bin/": b"", "bin/busybox": _BUSYBOX.read_bytes(), "tmp/": b"", "etc/": b""})


def base_of(content: Path, manifest: str) -> Blob:
    """The first layer of an image in a containerd content store, so that it can be served again; from a capture, say.

    Args:
        content: the folder that holds ``blobs``.
        manifest: the digest of the image's manifest.
    """

    def read(digest: str) -> bytes:
        algorithm, _, value = digest.partition(":")
        return (content / "blobs" / algorithm / value).read_bytes()

    return Blob(_LAYER, read(json.loads(read(manifest))["layers"][0]["digest"]))


def write_archive(path: Path, images: Mapping[str, Image]) -> None:
    """Write an OCI archive (image-layout in a tar) that ``ctr images import`` reads; the keys are image names."""
    index = {
        "schemaVersion": 2,
        "mediaType": _INDEX,
        "manifests": [
            image.manifest.descriptor(
                annotations={"io.containerd.image.name": name},
                platform={"architecture": "amd64", "os": "linux"},
            )
            for name, image in images.items()
        ],
    }
    blobs = {blob.digest: blob.data for image in images.values() for blob in image.blobs}
    members: Sequence[tuple[str, bytes]] = [
        ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        ("index.json", json.dumps(index).encode()),
        *((f"blobs/sha256/{digest.removeprefix('sha256:')}", data) for digest, data in blobs.items()),
    ]
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
