"""What a repair does to one root, and what is lost by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from drydock.model.findings import Finding
from drydock.model.names import Kind, Ref
from drydock.model.plans import Adoption, LeaseRecord, Plan, SnapshotRecord


@dataclass(frozen=True, slots=True)
class Loss:
    """An image, container or snapshot that is lost once a record that it needs is dropped."""

    ref: Ref
    """Record of an image, a container, or an active snapshot."""
    name: str
    """Shown; ``--accept-loss`` takes it."""
    kind: Kind
    """An image, a container or a snapshot."""
    why: str
    """One shown line."""
    accepted: bool
    at_start: bool = False
    """Whether the next start of the engine loses it, not the repair."""
    exportable: bool = False
    """Whether it can be exported first."""


class Unadopted(NamedTuple):
    """A blob without a record that a manifest or image names, and that gets no record."""

    namespace: bytes
    id: str
    """Its digest, shown."""
    reason: str
    """One shown line."""


@dataclass(slots=True)
class Adopted:
    """Blobs that lost their records and get them back."""

    adoptions: tuple[Adoption, ...] = ()
    left: tuple[Unadopted, ...] = ()
    whole: tuple[Ref, ...] = ()
    """Images that have a complete platform only with these blobs."""


class LostContainer(NamedTuple):
    """A container of dockerd whose snapshot or lease has no record: the engine deletes its files when it starts."""

    ref: Ref
    """Of its lease, with or without a record."""
    name: str
    """Shown."""
    missing: str
    """Which of its parts have no record; one shown line."""
    reason: str | None = None
    """Why its records cannot be put in again; None if they can."""
    is_adoptable: bool = False
    """Whether ``repair --adopt`` puts its records in again."""
    has_row: bool = True
    """Whether a row names its directory, so that it can be exported."""


class LostContainers(NamedTuple):
    """Containers that lost records, and the records that can be put in again."""

    containers: tuple[LostContainer, ...] = ()
    snapshots: tuple[SnapshotRecord, ...] = ()
    leases: tuple[LeaseRecord, ...] = ()


@dataclass(slots=True)
class Repair:
    """One root, with the plan that repairs it."""

    plan: Plan
    losses: tuple[Loss, ...]
    """What is lost if everything is repaired; the plan leaves out what would cause a loss that is not accepted."""
    refetch: tuple[str, ...]
    """Shown names of the images to pull afterwards."""
    unpack: tuple[str, ...]
    """Shown names of the images that the engine itself unpacks again, from the blobs that it has."""
    left: tuple[Finding, ...]
    """Damage that the plan does not repair."""
    mends: bool = True
    """Whether the plan repairs damage, and does not only tidy up."""
    unread: str | None = None
    """Why not all records could be read, on one shown line; None if they were."""
    blind: str | None = None
    """What else could not be read or understood, on one shown line: what depends on it stays."""
    whole: tuple[str, ...] = ()
    """Shown names of the images that are complete once their blobs have their records back."""
    unadopted: tuple[Unadopted, ...] = ()
    short: tuple[str, ...] = ()
    """Shown names of the images that a pull leaves without a layer, as its unpacked snapshot is intact and stays."""
    unproved: tuple[str, ...] = ()
    """Shown names of the images with a damaged layer that stays, as nothing proves its unpacked snapshot."""
    given_back: tuple[str, ...] = ()
    """Shown names of the containers whose records are put in again."""
    unrestored: tuple[str, ...] = ()
    """Damaged layers that are not unpacked again although that was asked for, each with the reason; shown."""
    restorable: int = 0
    """Damaged layers that could be unpacked again, which was not asked for."""

    def exit_code(self) -> int:
        """The additive exit status (README.md): 2 damage, planned or not; 8 evidence that could not be read."""
        return (2 if self.left or self.mends else 0) | (8 if self.unread or self.blind else 0)
