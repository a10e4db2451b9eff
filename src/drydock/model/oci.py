"""The documents that describe an image, as far as reports need them.

Source: opencontainers image-spec v1.1 (image-index.md, manifest.md, config.md, descriptor.md); Docker's manifest lists,
manifests (schema 2) and configs have the same fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.findings import Finding
from drydock.model.names import Digest


class Descriptor(NamedTuple):
    """What a document says of another blob."""

    digest: Digest
    """Well formed."""
    media_type: bytes = b""
    size: int | None = None
    """Bytes; None where the document says none, or nonsense."""
    platform: bytes = b""
    """``os/architecture`` or ``os/architecture/variant``; empty where none is said."""
    is_attestation: bool = False
    """Whether it is BuildKit's attestation of another manifest, which no engine unpacks."""


class Index(NamedTuple):
    """One image for several platforms."""

    manifests: tuple[Descriptor, ...]


class Manifest(NamedTuple):
    """One image for one platform."""

    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    """From the base up."""


class Config(NamedTuple):
    """What an image runs, and what its layers unpack to."""

    diff_ids: tuple[Digest, ...]
    """Digest of each layer without its compression, from the base up."""
    platform: bytes
    """As :attr:`Descriptor.platform`."""


Document = Index | Manifest | Config


def list_children(document: Document | None) -> tuple[Descriptor, ...]:
    """What a document names, in the engine's order: manifests, or the config and the layers; nothing for None."""
    if isinstance(document, Index):
        return document.manifests
    if isinstance(document, Manifest):
        return (*((document.config,) if document.config else ()), *document.layers)
    return ()


@dataclass(slots=True)
class Documents:
    """The documents found among some blobs."""

    found: dict[Digest, Document] = field(default_factory=dict)
    findings: dict[Digest, Finding] = field(default_factory=dict)
    """What was wrong with a blob that looks like a document; it is in ``found`` too where the rest could be used."""
    bytes: int = 0
    """How many were read."""
