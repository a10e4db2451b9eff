"""Images, containers and leases of a root, what each of them reaches, and the path to each record.

An inventory is made only if a report asks for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.leases import LeaseClass
from drydock.model.names import Ref
from drydock.model.pulls import Pull


class Link(NamedTuple):
    """One step of the path by which a record is reached."""

    before: Ref | None
    """What refers to the record; None if the record is a GC root or a lease itself."""
    how: str
    """The relation of the record to ``before``, or why the record is kept; shown."""


class Holder(NamedTuple):
    """Something that keeps objects: an image with all of its names, a container, or a lease that has not ended."""

    ref: Ref
    """Its record. An image has that of its first name; a container that has a lease has the lease's."""
    names: tuple[bytes, ...]
    """The sorted names of an image; of anything else its one key."""
    lease: LeaseClass | None
    """The class of a lease; None for other holders."""
    owner: str | None
    """Shown name of a lease's owner; None if none is known."""
    objects: tuple[int, ...]
    """Everything that it reaches, as ascending indices into ``Verdict.objects``."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The holders of one root, and the path to every record."""

    holders: tuple[Holder, ...]
    links: Mapping[Ref, Link] = field(default_factory=dict)
    """For each record that something reaches; the chain of ``before`` ends at a GC root or a lease."""
    pulls: tuple[Pull, ...] = ()
    """The interrupted pulls."""
    steps: Mapping[bytes, bytes] = field(default_factory=dict)
    """What made a layer, by the digest of its blob and by the chain id of its snapshot; empty if nobody asked."""
    whole: bool = True
    """False where there was too much to follow: the last holders then have no objects."""
