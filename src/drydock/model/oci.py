"""The documents of an image, with the fields that drydock uses, and what engines derive from them.

Source: opencontainers image-spec v1.1 (image-index.md, manifest.md, config.md, descriptor.md); Docker's manifest lists,
manifests (schema 2) and configs have the same fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.findings import Finding
from drydock.model.label_names import CONTENT_LABEL
from drydock.model.names import Digest, hash_hex

_INDEXES = frozenset(
    (b"application/vnd.oci.image.index.v1+json", b"application/vnd.docker.distribution.manifest.list.v2+json")
)
_MANIFESTS = frozenset(
    (b"application/vnd.oci.image.manifest.v1+json", b"application/vnd.docker.distribution.manifest.v2+json")
)
_CONFIGS = frozenset((
    b"application/vnd.oci.image.config.v1+json", b"application/vnd.docker.container.image.v1+json",
    b"application/vnd.containerd.container.criu.checkpoint.criu.tar",
    b"application/vnd.containerd.container.checkpoint.config.v1+proto",
))  # fmt: skip
_LAYER = b"application/vnd.oci.image.layer."
_LAYERS = frozenset((
    b"application/vnd.docker.image.rootfs.diff.tar", b"application/vnd.docker.image.rootfs.diff.tar.gzip",
    b"application/vnd.docker.image.rootfs.diff.tar.zstd", b"application/vnd.docker.image.rootfs.foreign.diff.tar",
    b"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
))  # fmt: skip


class Descriptor(NamedTuple):
    """A document's description of another blob."""

    digest: Digest
    """Well formed."""
    media_type: bytes = b""
    size: int | None = None
    """Bytes; None if the document has no valid size."""
    platform: bytes = b""
    """``os/architecture`` or ``os/architecture/variant``; empty if the document has none."""
    is_attestation: bool = False
    """Whether it is a BuildKit attestation of another manifest, which no engine unpacks."""


class Index(NamedTuple):
    """One image for several platforms."""

    manifests: tuple[Descriptor, ...]


class Manifest(NamedTuple):
    """One image for one platform."""

    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    """From the base up."""


class Config(NamedTuple):
    """The configuration of an image, with the digests of its unpacked layers."""

    diff_ids: tuple[Digest, ...]
    """Digest of each layer without its compression, from the base up."""
    platform: bytes
    """As :attr:`Descriptor.platform`."""
    steps: tuple[bytes, ...] = ()
    """What made each layer, from the base up: the instruction of a Dockerfile, for instance. Empty if the history does
    not have one entry for each layer."""
    labels: tuple[tuple[bytes, bytes], ...] = ()
    """Names and values of the labels that the image was built with."""


Document = Index | Manifest | Config


def built_labels(config: object) -> tuple[tuple[bytes, bytes], ...]:
    """Names and values of the labels that an image was built with (image-spec v1.1, config.md, "config.Labels").

    Args:
        config: the config of an image, as its JSON was decoded; whatever it is, no exception is raised.
    """
    settings = config.get("config") if isinstance(config, dict) else None
    labels = settings.get("Labels") if isinstance(settings, dict) else None
    if not isinstance(labels, dict):
        return ()
    # JSON can spell half of a surrogate pair.
    encoded = {
        name.encode("utf-8", "surrogatepass"): value.encode("utf-8", "surrogatepass")
        for name, value in labels.items()
        if isinstance(value, str)
    }
    return tuple(encoded.items())


def list_children(document: Document | None) -> tuple[Descriptor, ...]:
    """List the blobs that a document names, in the engine's order: manifests, or config and layers; none for None."""
    if isinstance(document, Index):
        return document.manifests
    if isinstance(document, Manifest):
        return (*((document.config,) if document.config else ()), *document.layers)
    return ()


def is_parent(media_type: bytes) -> bool:
    """Whether the engine reads a blob of this media type as one that names other blobs."""
    return media_type in _MANIFESTS or media_type in _INDEXES


def child_labels(media_type: bytes, document: Document | None) -> dict[bytes, bytes]:
    """The labels that a pull gives to a blob for the blobs that it names, fetched or not.

    Source: containerd images/handlers.go SetChildrenMappedLabels, images/mediatypes.go ChildGCLabels, images/image.go
    Children (v1.6.20; the same in core/images, v2.1).

    Args:
        media_type: media type in the blob's descriptor, by which the engine decides whether the blob names others.
        document: the blob's content; None if it is no index, manifest or config.
    """
    fits = (isinstance(document, Manifest) and media_type in _MANIFESTS) or (
        isinstance(document, Index) and media_type in _INDEXES
    )
    labels: dict[bytes, bytes] = {}
    counts: dict[bytes, int] = {}
    for child in list_children(document) if fits else ():
        kind = _child_kind(child.media_type)
        number = counts[kind] = counts.get(kind, -1) + 1
        labels[CONTENT_LABEL + kind + (b"%d" % number if number or kind != b"config" else b"")] = child.digest
    return labels


def _child_kind(media_type: bytes) -> bytes:
    if media_type in _CONFIGS:
        return b"config"
    if media_type in _MANIFESTS:
        return b"m."
    return b"l." if media_type.startswith(_LAYER) or media_type.partition(b"+")[0] in _LAYERS else b""


def chain_ids(diffs: Iterable[bytes | None]) -> Iterator[bytes]:
    """The chain id of each layer, from the base up, as far as the digests of their uncompressed bytes are known.

    Source: opencontainers image-spec v1.1, config.md, "Layer ChainID".
    """
    chain = b""
    for diff in diffs:
        if diff is None:
            return
        chain = b"sha256:" + hash_hex(chain + b" " + diff) if chain else diff
        yield chain


@dataclass(slots=True)
class Documents:
    """The documents among some blobs."""

    found: dict[Digest, Document] = field(default_factory=dict)
    findings: dict[Digest, Finding] = field(default_factory=dict)
    """Problems of blobs that look like documents; such a blob is also in ``found`` if the rest of it can be used."""
    bytes: int = 0
    """Number of bytes that were read."""


def list_steps(documents: Documents) -> dict[bytes, bytes]:
    """What made each layer, by the digest of its blob and by its chain id; of several images, what the first says."""
    steps: dict[bytes, bytes] = {}
    for manifest in documents.found.values():
        if not isinstance(manifest, Manifest) or manifest.config is None:
            continue
        config = documents.found.get(manifest.config.digest)
        if isinstance(config, Config) and len(config.steps) == len(manifest.layers):
            for layer, chain, step in zip(manifest.layers, chain_ids(config.diff_ids), config.steps, strict=True):
                steps.setdefault(layer.digest, step)
                steps.setdefault(chain, step)
    return steps
