"""The platforms of an image: which blobs each needs, and which of them are missing.

Source: containerd core/images/image.go Manifest, Children (v2.1); opencontainers image-spec v1.1, image-index.md.
"""

from __future__ import annotations

from collections.abc import Container

from drydock.model.exports import Variant, Variants
from drydock.model.names import Digest
from drydock.model.oci import Config, Descriptor, Documents, Index, Manifest

# Such a layer is not distributed: engines fetch it from its own URL (image-spec v1.0, layer.md).
_ELSEWHERE = (b"nondistributable", b".foreign.")


def find_variants(target: Digest, documents: Documents, there: Container[Digest]) -> Variants:
    """List what an image has for each platform.

    Args:
        target: its index or manifest.
        documents: from :func:`drydock.evidence.containerd.manifests.read_image_documents`.
        there: digests of the blobs that are on disk.

    Returns:
        No variants if the target is neither an index nor a readable manifest.
    """
    found: dict[Digest, Variant] = {}
    indexes: dict[Digest, None] = {}
    sizes: dict[Digest, int] = {}
    level = [Descriptor(target)]
    while level:
        below: list[Descriptor] = []
        for entry in level:
            document = documents.found.get(entry.digest)
            if isinstance(document, Index) and entry.digest not in indexes:
                indexes[entry.digest] = None
                if entry.size is not None:
                    sizes[entry.digest] = entry.size
                below += document.manifests
            elif not isinstance(document, Index) and (entry.digest != target or isinstance(document, Manifest)):
                found.setdefault(entry.digest, _variant(entry, document, documents, there))
        level = below
    return Variants(target, tuple(indexes), tuple(found.values()), tuple(sizes.items()))


def matches(platform: bytes, wanted: bytes) -> bool:
    """Whether two platforms are the same; a missing variant stands for the usual one of the architecture."""
    return _normal(platform) == _normal(wanted)


def _variant(entry: Descriptor, document: object, documents: Documents, there: Container[Digest]) -> Variant:
    manifest = document if isinstance(document, Manifest) else Manifest(None, ())
    config = manifest.config
    settings = None if config is None else documents.found.get(config.digest)
    platform = entry.platform or (settings.platform if isinstance(settings, Config) else b"")
    parts = [entry, *((config,) if config is not None else ()), *manifest.layers]
    absent = [
        part.digest
        for part in parts
        if part.digest not in there and not any(word in part.media_type for word in _ELSEWHERE)
    ]
    if not absent and not isinstance(document, Manifest):
        absent = [entry.digest]  # the blob exists, but is not a readable manifest
    return Variant(
        entry.digest,
        platform,
        entry.media_type,
        None if config is None else config.digest,
        tuple(layer.digest for layer in manifest.layers if layer.digest in there or layer.digest in absent),
        tuple((part.digest, part.size) for part in parts if part.size is not None),
        tuple(dict.fromkeys(absent)),
        entry.is_attestation,
    )


def _normal(platform: bytes) -> tuple[bytes, bytes, bytes]:
    """System, architecture and variant (containerd/platforms normalizeArch, v1.0)."""
    system, _, rest = platform.lower().partition(b"/")
    architecture, _, variant = rest.partition(b"/")
    architecture = {b"x86_64": b"amd64", b"aarch64": b"arm64", b"i386": b"386", b"armhf": b"arm"}.get(
        architecture, architecture
    )
    if (architecture, variant) in ((b"arm64", b"v8"), (b"arm64", b"8"), (b"amd64", b"v1")):
        variant = b""
    elif architecture == b"arm":
        variant = {b"": b"v7", b"5": b"v5", b"6": b"v6", b"7": b"v7", b"8": b"v8"}.get(variant, variant)
    return system, architecture, variant
