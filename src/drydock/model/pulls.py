"""Interrupted pulls, as values: what came down, what of it a lease still holds."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.findings import Finding
from drydock.model.leases import Holding, LeaseClass
from drydock.model.names import Digest, RawPath, UnixNano


class LayerState(enum.Enum):
    """How much of a layer's blob is there; the value is what reports show."""

    WHOLE = "whole"
    """All of it, and only leases keep it."""
    PARTIAL = "partial"
    """A download began; the same pull goes on from there."""
    ABSENT = "absent"
    """Nothing of it came. A layer that is unpacked already is not downloaded at all."""
    EXISTING = "existing"
    """All of it, and it does not hang on this pull: an image, a container or another lease has it as well."""
    CLASSIC = "classic"
    """Not in containerd: dockerd was pulling into its classic image store, which has no layers there."""
    DAMAGED = "damaged"
    """Recorded, and its file is gone or of the wrong size or digest: containerd does not download it again."""


class PulledLayer(NamedTuple):
    """One layer of an image that was being pulled."""

    digest: Digest
    size: int | None
    """Bytes of the whole layer, from the manifest or from the download's ``total``; None where neither is known."""
    got: int
    """Bytes that are there; nothing is counted of a ``CLASSIC`` one."""
    state: LayerState
    unpacked: bool
    """Whether a committed snapshot holds what it unpacks to, at each place it has in the image."""


class Downloads(NamedTuple):
    """What dockerd's pulls into the classic image store left; nothing tells which pull a file is of."""

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
    """The index or manifest that was asked for; empty where not even that is known, more where a client pulled several
    images under one lease."""
    sources: tuple[bytes, ...]
    """``registry/repository``, without a port: containerd's labels have none."""
    images: tuple[bytes, ...]
    """Image names, where the downloads' names or an image record tell one."""
    platforms: tuple[bytes, ...]
    """``os/architecture`` of the manifests that came."""
    layers: tuple[PulledLayer, ...]
    """Each once, from the base up, one manifest after the other."""
    others: tuple[tuple[str, int], ...]
    """What else the leases hold, counted: ``index``, ``manifest``, ``attestation``, ``config``, ``unknown``; of these
    ``damaged``; documents ``unfinished``; ``extracting`` for layers whose unpacking was cut off."""
    bytes: int
    """What nothing but these leases holds: what ending all of them frees."""
    held: int
    """All that these leases hold, images' and other leases' things included."""
    updated: UnixNano | None
    """When the last bytes of a partial download came; None without one."""
    findings: tuple[Finding, ...] = ()
    """What could not be read of its documents."""
    downloads: Downloads | None = None
    """Of a pull into Docker's classic image store: what lies where its layers came down."""

    @property
    def created(self) -> UnixNano | None:
        """When the first try began."""
        return min((lease.created for lease in self.leases if lease.created is not None), default=None)

    @property
    def expires(self) -> UnixNano | None:
        """When the last lease ends by itself; None where one never does."""
        ends = [lease.expires for lease in self.leases]
        return None if None in ends else max(end for end in ends if end is not None)

    @property
    def has_ended(self) -> bool:
        """Whether every lease is past its expiry."""
        return all(lease.kind is LeaseClass.EXPIRED for lease in self.leases)

    @property
    def is_damaged(self) -> bool:
        """Whether pulling again cannot mend it."""
        return any(layer.state is LayerState.DAMAGED for layer in self.layers) or "damaged" in dict(self.others)


@dataclass(slots=True)
class Pulls:
    """The interrupted pulls of one root."""

    root: RawPath
    """Absolute path of the containerd root."""
    pulls: list[Pull] = field(default_factory=list)
    """The one that holds most for itself first."""
    unread: str | None = None
    """Why not everything could be read, on one shown line: then there may be pulls that are not listed."""

    def exit_code(self) -> int:
        """The additive exit status (README.md): 2 a pull is damaged, 8 evidence that could not be read."""
        return (2 if any(pull.is_damaged for pull in self.pulls) else 0) | (8 if self.unread else 0)
