"""Values of verifications: damage, whom it affects, and how complete each image is."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from drydock.model.data import BlobFile
from drydock.model.findings import Finding, Severity
from drydock.model.names import Digest, Kind, RawPath, Ref


class Completeness(enum.Enum):
    """How complete an image is for one platform; the value is the word in reports."""

    COMPLETE = "complete"
    """Manifest, config and every layer."""
    INCOMPLETE = "incomplete"
    """A part was never fetched, or was dropped after unpacking: no damage."""
    ABSENT = "absent"
    """Its manifest was never fetched: no damage."""
    DAMAGED = "damaged"
    """A part is recorded, and its data is missing or corrupt."""
    UNREADABLE = "unreadable"
    """Its manifest is on disk, and cannot be read as one."""


@dataclass(frozen=True, slots=True)
class Platform:
    """An image for one platform."""

    manifest: Digest
    platform: bytes
    """``os/architecture``; empty if not known."""
    state: Completeness
    unpacked: tuple[bytes, ...]
    """The snapshotters that have every layer unpacked."""
    absent: tuple[Digest, ...] = ()
    """Its blobs that no record of its namespace names."""
    damaged: tuple[Digest, ...] = ()
    """Its blobs that are recorded, and missing or corrupt."""
    chains: tuple[bytes, ...] = ()
    """The chain ids of its layers, from the base up; empty without a config."""
    needed: tuple[Digest, ...] = ()
    """Its config and layers, by its manifest."""


@dataclass(frozen=True, slots=True)
class ImageState:
    """An image as its engine sees it."""

    namespace: bytes
    name: bytes
    target: Digest
    platforms: tuple[Platform, ...]
    adoptable: tuple[Digest, ...] = ()
    """Its blobs on disk without a record in its namespace, and not known to be wrong: ``repair --adopt`` adds their
    records, and then those of what they name."""

    @property
    def ref(self) -> Ref:
        """Of its record."""
        return Ref(Kind.IMAGE, self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A committed snapshot, and the layer that it was unpacked from."""

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
    """Whether it has no parent."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A finding with whom it affects."""

    finding: Finding
    images: tuple[str, ...] = ()
    """Shown names of the images that need it."""
    containers: tuple[str, ...] = ()
    """Shown names of the containers that need it."""


@dataclass(slots=True)
class Coverage:
    """How much of a tier was done."""

    done: int = 0
    bytes: int = 0
    resumed: int = 0
    """Number of those done that an earlier run had done."""
    left: int = 0
    """Not done within the time limit."""
    skipped: int = 0
    """Not comparable: their layer is missing or not known, or no decoder here reads it."""


@dataclass(slots=True)
class SecondReading:
    """How much both readers of bbolt files read."""

    databases: int = 0
    keys: int = 0


@dataclass(slots=True)
class Verification:
    """One root, verified."""

    root: RawPath
    hits: list[Hit]
    images: list[ImageState]
    data: Coverage | None = None
    """None if ``--data`` was not given."""
    unpacked: Coverage | None = None
    """None if ``--unpacked`` was not given."""
    unread: str | None = None
    """Why not all records could be read, on one shown line; None if they were."""
    warnings: list[str] = field(default_factory=list)
    forgotten: str | None = None
    """The options that repeat the reading, if its results could not be kept anywhere; else None."""
    uneditable: str | None = None
    """Why no database is edited, on one shown line; None if it may be."""
    second_reading: SecondReading | None = None
    """None if it was left out."""

    def exit_code(self) -> int:
        """The additive exit status (README.md): 2 damage, 4 not all verified or kept, 8 not all read."""
        severities = {hit.finding.severity for hit in self.hits}
        code = 2 if Severity.DAMAGE in severities else 0
        code |= 4 if self.forgotten or any(tier is not None and tier.left for tier in (self.data, self.unpacked)) else 0
        return code | (8 if self.unread or Severity.BLIND in severities else 0)
