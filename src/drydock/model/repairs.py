"""What a repair would do to one root, and what would be lost by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from drydock.model.findings import Finding
from drydock.model.names import Ref
from drydock.model.plans import Adoption, LeaseRecord, Plan, SnapshotRecord


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that is no more, or cannot be had again, once a record that it needs is dropped."""

    ref: Ref
    """Of an image, a container, or a snapshot that somebody writes to."""
    name: str
    """Shown; what ``--accept-loss`` takes."""
    kind: str
    """``image``, ``container`` or ``snapshot``."""
    why: str
    """One shown line."""
    accepted: bool
    at_start: bool = False
    """Whether not the repair but the next start of the engine loses it."""
    exportable: bool = False
    """Whether it can be exported before."""


class Unadopted(NamedTuple):
    """A blob without a record that a manifest names, and that gets none."""

    namespace: bytes
    id: str
    """Its digest, shown."""
    reason: str
    """One shown line."""


@dataclass(slots=True)
class Adopted:
    """What lost its record and gets it back."""

    adoptions: tuple[Adoption, ...] = ()
    left: tuple[Unadopted, ...] = ()
    whole: tuple[Ref, ...] = ()
    """The images that have all of a platform by that, and had not before."""


class LostContainer(NamedTuple):
    """A container of dockerd whose snapshot or lease has no record: at its start the engine deletes its files."""

    ref: Ref
    """Of its lease, whether or not that has a record."""
    name: str
    """Shown."""
    missing: str
    """What has no record; one shown line."""
    reason: str | None = None
    """Why its records cannot be put in again; None if they can."""
    has_row: bool = True
    """Whether a row says which directory is its own, so that it can be exported."""


class LostContainers(NamedTuple):
    """Containers whose records are gone, and those records that can be put in again."""

    containers: tuple[LostContainer, ...] = ()
    snapshots: tuple[SnapshotRecord, ...] = ()
    leases: tuple[LeaseRecord, ...] = ()


@dataclass(slots=True)
class Repair:
    """One root, with the plan that mends it."""

    plan: Plan
    losses: tuple[Loss, ...]
    """What is lost if all that is broken is mended; what is not accepted is not in the plan."""
    again: tuple[str, ...]
    """Shown names of the images to be pulled again afterwards."""
    unpack: tuple[str, ...]
    """Shown names of the images that the engine unpacks again by itself, from what it has."""
    left: tuple[Finding, ...]
    """Damage that the plan does not mend."""
    mends: bool = True
    """Whether what the plan does mends damage, and is not for tidiness alone."""
    unread: str | None = None
    """Why not all records could be read, on one shown line; None if they were."""
    blind: str | None = None
    """What else could not be read or understood, on one shown line: what depends on it stays."""
    whole: tuple[str, ...] = ()
    """Shown names of the images that are whole once their blobs have their records back."""
    unadopted: tuple[Unadopted, ...] = ()
    short: tuple[str, ...] = ()
    """Shown names of the images that a pull leaves without a layer, as what it was unpacked to is whole and stays."""
    unproved: tuple[str, ...] = ()
    """Shown names of the images with a damaged layer that stays, as nothing proves what it was unpacked to."""
    given_back: tuple[str, ...] = ()
    """Shown names of the containers whose records are put in again."""

    def exit_code(self) -> int:
        """The additive exit status (README.md): 2 damage, planned or not, 8 evidence that could not be read."""
        return (2 if self.left or self.mends else 0) | (8 if self.unread or self.blind else 0)
