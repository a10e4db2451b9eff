"""What is in a root by the names people use, and how each record is reached: taken only where a report asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.leases import LeaseClass
from drydock.model.names import Ref
from drydock.model.pulls import Pull


class Link(NamedTuple):
    """One step of the way by which a record is reached."""

    before: Ref | None
    """What refers to it; None where it is a root or a lease itself."""
    how: str
    """What it is to that, or why it is kept; shown."""


class Holder(NamedTuple):
    """Something that keeps objects: an image under all of its names, a container, a lease that has not ended."""

    ref: Ref
    """Its record; of an image the one of its first name, of a container that has a lease the lease's."""
    names: tuple[bytes, ...]
    """An image's names, sorted; otherwise the one key."""
    lease: LeaseClass | None
    """A lease's class; None for what is no lease."""
    owner: str | None
    """Shown name of a lease's owner; None if none is known."""
    objects: tuple[int, ...]
    """Everything that it reaches, as places in ``Verdict.objects``, in their order."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The holders of one root, and the way to every record."""

    holders: tuple[Holder, ...]
    links: Mapping[Ref, Link] = field(default_factory=dict)
    """For each record that something reaches: following ``before`` ends at a root or a lease."""
    pulls: tuple[Pull, ...] = ()
    """The interrupted pulls."""
    whole: bool = True
    """False where there was too much to follow: then the last holders have no objects."""
