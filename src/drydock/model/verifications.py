"""What a verification found, as values: what is damaged, whom it hits, and how whole each image is."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from drydock.model.data import BlobFile
from drydock.model.findings import Finding, Severity
from drydock.model.names import Digest, Kind, RawPath, Ref


class Completeness(enum.Enum):
    """How much of an image for one platform the engine has; the value is what reports show."""

    COMPLETE = "complete"
    """Manifest, config and every layer."""
    INCOMPLETE = "incomplete"
    """Some of it was never fetched, or was dropped once it was unpacked: no damage."""
    ABSENT = "absent"
    """Not even its manifest was fetched: no damage."""
    DAMAGED = "damaged"
    """Some of it is recorded, and its data is missing or corrupt."""
    UNREADABLE = "unreadable"
    """Its manifest is there and could not be read as one."""


@dataclass(frozen=True, slots=True)
class Platform:
    """An image for one platform."""

    manifest: Digest
    platform: bytes
    """``os/architecture``, where it is known; else empty."""
    state: Completeness
    unpacked: tuple[bytes, ...]
    """The snapshotters that hold every layer unpacked."""
    absent: tuple[Digest, ...] = ()
    """Its blobs that no record of its namespace names."""
    damaged: tuple[Digest, ...] = ()
    """Its blobs that are recorded, and missing or corrupt."""
    chains: tuple[bytes, ...] = ()
    """The chain ids of its layers, from the base up; none where no config tells them."""
    needed: tuple[Digest, ...] = ()
    """Its config and layers, as far as its manifest tells them."""


@dataclass(frozen=True, slots=True)
class ImageState:
    """An image as its engine sees it."""

    namespace: bytes
    name: bytes
    target: Digest
    platforms: tuple[Platform, ...]
    adoptable: tuple[Digest, ...] = ()
    """Its blobs that no record of its namespace names and that are on disk, not known to be wrong: ``repair --adopt``
    gives them one, and then what they name."""

    @property
    def ref(self) -> Ref:
        """Of its record."""
        return Ref(Kind.IMAGE, self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A committed snapshot, and the layer it was unpacked from."""

    snapshotter: bytes
    row: bytes
    """Its row's name."""
    key: bytes
    """The chain id."""
    refs: tuple[Ref, ...]
    path: RawPath
    """Of its directory, relative to the root."""
    inode: int
    changed: int
    """The directory's ctime, in nanoseconds."""
    layer: BlobFile
    is_base: bool
    """Nothing lies below it."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A finding with whom it hits."""

    finding: Finding
    images: tuple[str, ...] = ()
    """Shown names of the images that need it."""
    containers: tuple[str, ...] = ()
    """Shown names of the containers that need it."""


@dataclass(slots=True)
class Coverage:
    """How far a tier came."""

    done: int = 0
    bytes: int = 0
    resumed: int = 0
    """Of those done, how many an earlier run had done."""
    left: int = 0
    """Not looked at: time was up."""
    skipped: int = 0
    """Not comparable: no layer of theirs is there or known, or nothing here decodes it."""


@dataclass(slots=True)
class SecondReading:
    """How much was read with both readers of bbolt files."""

    databases: int = 0
    keys: int = 0


@dataclass(slots=True)
class Verification:
    """One root, verified."""

    root: RawPath
    hits: list[Hit]
    images: list[ImageState]
    data: Coverage | None = None
    """None where bytes were not asked for."""
    unpacked: Coverage | None = None
    """None where snapshots were not asked for."""
    unread: str | None = None
    """Why not all records could be read, on one shown line; None if they were."""
    warnings: list[str] = field(default_factory=list)
    forgotten: str | None = None
    """The options that repeat the reading, if its results could not be kept anywhere; else None."""
    uneditable: str | None = None
    """Why no database is edited, on one shown line; None if it may be."""
    second_reading: SecondReading | None = None
    """None where it was left out."""

    def exit_code(self) -> int:
        """The additive exit status (README.md): 2 damage, 4 not all was looked at or remembered, 8 not all was read."""
        severities = {hit.finding.severity for hit in self.hits}
        code = 2 if Severity.DAMAGE in severities else 0
        code |= 4 if self.forgotten or any(tier is not None and tier.left for tier in (self.data, self.unpacked)) else 0
        return code | (8 if self.unread or Severity.BLIND in severities else 0)
