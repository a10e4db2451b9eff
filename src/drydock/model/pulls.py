"""Interrupted pulls, as values: what was downloaded, and what of it a lease still holds."""

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.findings import Finding
from drydock.model.leases import Holding, LeaseClass
from drydock.model.names import Digest, RawPath, UnixNano


class LayerState(enum.Enum):
    """How much of a layer's blob exists; reports show the value."""

    WHOLE = "whole"
    """The whole blob exists, and only leases keep it."""
    PARTIAL = "partial"
    """Part of the blob was downloaded; a new try of the same pull continues there."""
    ABSENT = "absent"
    """Nothing was downloaded. A layer that is unpacked already is not downloaded at all."""
    EXISTING = "existing"
    """The whole blob exists and does not depend on this pull: an image, a container or another lease holds it too."""
    CLASSIC = "classic"
    """Not in containerd: dockerd pulled into its classic image store, whose layers lie elsewhere."""
    DAMAGED = "damaged"
    """The blob is recorded, but its file is missing or damaged: containerd does not download it again."""


class PulledPart(enum.Enum):
    """What the leases of a pull hold besides layers; documents show the value."""

    INDEX = "index"
    MANIFEST = "manifest"
    ATTESTATION = "attestation"
    CONFIG = "config"
    UNKNOWN = "unknown"
    """A blob of another kind."""
    DAMAGED = "damaged"
    """Those of the blobs above whose data is missing or wrong."""
    UNFINISHED = "unfinished"
    """A document whose download is not finished."""
    EXTRACTING = "extracting"
    """A layer whose unpacking was interrupted."""


class PulledLayer(NamedTuple):
    """One layer of an image that was being pulled."""

    digest: Digest
    size: int | None
    """Bytes of the whole layer, from the manifest or from the ``total`` of the download; None if neither is known."""
    got: int
    """Bytes that exist; 0 for a ``CLASSIC`` layer."""
    state: LayerState
    unpacked: bool
    """Whether a committed snapshot has the unpacked layer, at each place of the layer in the image."""


class Downloads(NamedTuple):
    """Files that dockerd's pulls into the classic image store left; which pull left a file is not known."""

    folders: tuple[RawPath, ...] = ()
    """``tmp`` of each data root."""
    files: int = 0
    bytes: int = 0
    """On disk."""


class Pull(NamedTuple):
    """One pull that left leases behind: one try, or several of the same image."""

    root: RawPath
    """Absolute path of the containerd root."""
    namespace: bytes
    leases: tuple[Holding, ...]
    """At least one, the oldest first."""
    targets: tuple[Digest, ...]
    """The index or manifest that was pulled: empty if it is not known, several if a client pulled several images under
    one lease."""
    sources: tuple[bytes, ...]
    """``registry/repository``; without a port, since containerd's labels have none."""
    images: tuple[bytes, ...]
    """Image names, as far as the names of the downloads or an image record have one."""
    platforms: tuple[bytes, ...]
    """``os/architecture`` of the manifests that were downloaded."""
    layers: tuple[PulledLayer, ...]
    """Each layer once, from the base up, one manifest after the other."""
    others: tuple[tuple[PulledPart, int], ...]
    """How many of each other part the leases hold; only parts that they hold."""
    bytes: int
    """Bytes that only these leases hold, and that are freed when all of them end."""
    held: int
    """All bytes that these leases hold, including those that images or other leases hold too."""
    updated: UnixNano | None
    """When a partial download last received bytes; None without a partial download."""
    findings: tuple[Finding, ...] = ()
    """Those of its documents that could not be read."""
    downloads: Downloads | None = None
    """For a pull into Docker's classic image store: the files where such pulls download layers to."""

    @property
    def created(self) -> UnixNano | None:
        """When the first try began."""
        return min((lease.created for lease in self.leases if lease.created is not None), default=None)

    @property
    def expires(self) -> UnixNano | None:
        """When the last lease ends by itself; None if one never does."""
        ends = [lease.expires for lease in self.leases]
        return None if None in ends else max(end for end in ends if end is not None)

    @property
    def has_ended(self) -> bool:
        """Whether every lease is past its expiry."""
        return all(lease.kind is LeaseClass.EXPIRED for lease in self.leases)

    @property
    def is_damaged(self) -> bool:
        """Whether another pull does not repair it."""
        return any(layer.state is LayerState.DAMAGED for layer in self.layers) or PulledPart.DAMAGED in dict(
            self.others
        )


def pulled_name(pull: Pull) -> bytes:
    """What was being pulled, as far as it is known: an image, a repository, a digest, or else the first lease."""
    return next(iter((*pull.images, *pull.sources, *pull.targets)), pull.leases[0].ref.key)


@dataclass(slots=True)
class Pulls:
    """The interrupted pulls of one root."""

    root: RawPath
    """Absolute path of the containerd root."""
    pulls: list[Pull] = field(default_factory=list)
    """The pull whose leases alone hold the most bytes comes first."""
    unread: str | None = None
    """Why not everything could be read, on one shown line: then there may be pulls that are not listed."""

    def exit_code(self) -> int:
        """The additive exit status (README.md): 2 a pull is damaged, 8 evidence that could not be read."""
        return (2 if any(pull.is_damaged for pull in self.pulls) else 0) | (8 if self.unread else 0)
