"""The documents of an image, with the fields that drydock uses.

Source: opencontainers image-spec v1.1 (image-index.md, manifest.md, config.md, descriptor.md); Docker's manifest lists,
manifests (schema 2) and configs have the same fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.findings import Finding
from drydock.model.names import Digest


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


Document = Index | Manifest | Config


def list_children(document: Document | None) -> tuple[Descriptor, ...]:
    """List the blobs that a document names, in the engine's order: manifests, or config and layers; none for None."""
    if isinstance(document, Index):
        return document.manifests
    if isinstance(document, Manifest):
        return (*((document.config,) if document.config else ()), *document.layers)
    return ()


@dataclass(slots=True)
class Documents:
    """The documents among some blobs."""

    found: dict[Digest, Document] = field(default_factory=dict)
    findings: dict[Digest, Finding] = field(default_factory=dict)
    """Problems of blobs that look like documents; such a blob is also in ``found`` if the rest of it can be used."""
    bytes: int = 0
    """Number of bytes that were read."""
