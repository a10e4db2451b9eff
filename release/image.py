"""The container image: the one file and nothing else, as an OCI archive, made without a daemon.

Format: the OCI image format specification 1.1 (opencontainers/image-spec): image-layout.md, manifest.md, config.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from datetime import datetime, timezone

from drydock.version import __version__

NAME = f"docker.io/library/drydock:{__version__}"
"""What containerd and Docker call it once they have loaded it: the ``drydock:VERSION`` of a manifest."""
_PLATFORMS = {
    "x86_64": {"architecture": "amd64", "os": "linux"},
    "aarch64": {"architecture": "arm64", "os": "linux", "variant": "v8"},
}
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def image_archive(programs: Mapping[str, bytes], time: int) -> bytes:
    """The archive: a tar with an image layout, of one image for all the architectures.

    Args:
        programs: the one file, by what it was built for.
        time: of all in it, seconds since 1970.
    """
    blobs: list[bytes] = []
    entries = [_manifest(arch, program, time, blobs) for arch, program in sorted(programs.items())]
    if len(entries) > 1:
        index = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries})
        blobs.append(index)
        entries = [_descriptor(_INDEX, index)]
    names = {"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": __version__}
    top = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [{**entries[0], "annotations": names}]}
    members = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json(top),
        **{f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}": blob for blob in blobs},
    }
    return _tar(members, 0o644, time)


def _manifest(arch: str, program: bytes, time: int, blobs: list[bytes]) -> dict[str, object]:
    """The descriptor of one architecture's manifest; all that it names is added to ``blobs``."""
    created = datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    layer = _tar({"drydock": program}, 0o755, time)
    config = _json(
        {
            **_PLATFORMS[arch],
            "created": created,
            "config": {
                "Entrypoint": ["/drydock"],
                "Labels": {
                    "org.opencontainers.image.licenses": "Apache-2.0",
                    "org.opencontainers.image.title": "drydock",
                    "org.opencontainers.image.version": __version__,
                },
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            "history": [{"created": created, "created_by": f"COPY drydock {__version__}"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(_LAYER, layer)],
        }
    )
    blobs += [manifest, config, layer]
    return {**_descriptor(_MANIFEST, manifest), "platform": _PLATFORMS[arch]}


def _tar(members: Mapping[str, bytes], mode: int, time: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), mode, time
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}
