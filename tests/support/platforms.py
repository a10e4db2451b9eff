"""An image for two platforms, with an attestation of the first, as BuildKit writes it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.engines.images import Blob, Image, busybox_layer, layer

INDEX = "application/vnd.oci.image.index.v1+json"
NAME = "docker.io/library/multi:1"
_CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True, slots=True)
class Foreign(Image):
    """An image for another platform than the one the tests run on."""

    system: str = "linux"
    architecture: str = "arm64"

    @property
    def config(self) -> Blob:
        """The config, of that platform."""
        made = json.loads(Image.config.__get__(self).data)
        return Blob(_CONFIG, json.dumps({**made, "os": self.system, "architecture": self.architecture}).encode())


HERE = Image((busybox_layer(), layer({"srv/": b"", "srv/word": b"here"})))
OTHER = Foreign((layer({"bin/": b"", "bin/tool": b"arm"}), layer({"srv/": b"", "srv/word": b"elsewhere"})))
ATTESTATION = Foreign(
    (Blob("application/vnd.in-toto+json", b'{"_type": "https://in-toto.io/Statement/v0.1", "subject": []}'),),
    system="unknown",
    architecture="unknown",
)


def index() -> Blob:
    """The index of all three."""
    attested = {
        "vnd.docker.reference.digest": HERE.manifest.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    manifests = [
        HERE.manifest.descriptor(platform={"os": "linux", "architecture": "amd64"}),
        OTHER.manifest.descriptor(platform={"os": "linux", "architecture": "arm64", "variant": "v8"}),
        ATTESTATION.manifest.descriptor(platform={"os": "unknown", "architecture": "unknown"}, annotations=attested),
    ]
    return Blob(INDEX, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode())


def write_multi(path: Path, images: Iterable[Image]) -> None:
    """An OCI archive of the index, with the blobs of some of its images only."""
    top = index()
    named = top.descriptor(
        annotations={"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": NAME.rpartition(":")[2]}
    )
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}
    blobs = {blob.digest: blob.data for blob in (top, *(blob for image in images for blob in image.blobs))}
    members = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(document).encode(),
        **{f"blobs/{digest.replace(':', '/')}": data for digest, data in blobs.items()},
    }
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
