"""Fewer rows for very many objects or holders of a root.

Only the largest and the damaged have a row and a place in the map of their own. The others are put together: one row
and one place stands for many, and all sums stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from drydock.model.inventories import Holder
from drydock.model.names import UnixNano
from drydock.model.objects import DAMAGED, ObjectKind, State, StoreObject

OBJECTS: Final = 20_000
"""How many objects of a root get a row and a place of their own: with more, a browser is slow and the file large."""
HOLDERS: Final = 5_000
"""How many images, containers and leases of a root."""
_STEPS: Final = 500
_DAY: Final = 86_400


class AggregateKey(NamedTuple):
    """What the objects of one aggregate have in common."""

    kind: ObjectKind
    state: State
    namespaces: tuple[bytes, ...]


@dataclass(slots=True)
class Aggregate:
    """Some objects together."""

    count: int = 0
    bytes: int = 0
    largest: int = 0
    """Bytes of the largest of them."""

    def add(self, size: int) -> None:
        """Count one more object of ``size`` bytes."""
        self.count += 1
        self.bytes += size
        self.largest = max(self.largest, size)


@dataclass(slots=True)
class Aggregates:
    """The objects of a root that have no row of their own."""

    sums: dict[AggregateKey, Aggregate] = field(default_factory=dict)
    times: dict[tuple[int, State], Aggregate] = field(default_factory=dict)
    """By the second since 1970 at which a step begins, and state; without objects of 0 bytes or of unknown time."""


def choose_objects(objects: Sequence[StoreObject], most: int = OBJECTS) -> Sequence[int]:
    """Places of the objects that get rows of their own, in their order: the damaged, then the largest."""
    if len(objects) <= most:
        return range(len(objects))
    places = sorted(range(len(objects)), key=lambda at: (objects[at].state not in DAMAGED, -objects[at].allocated))
    return sorted(places[:most])


def choose_holders(holders: Sequence[Holder], objects: Sequence[StoreObject], most: int = HOLDERS) -> Sequence[Holder]:
    """Holders that get rows of their own: those that reach damage, then those that reach most bytes."""
    if len(holders) <= most:
        return holders
    damaged = {place for place, found in enumerate(objects) if found.state in DAMAGED}

    def rank(holder: Holder) -> tuple[bool, int]:
        return damaged.isdisjoint(holder.objects), -sum(objects[place].allocated for place in holder.objects)

    return sorted(holders, key=rank)[:most]


def aggregate(objects: Sequence[StoreObject], places: Iterable[int], came: Sequence[UnixNano | None]) -> Aggregates:
    """The sums of the objects that have no row, by kind, state and namespaces, and over time.

    Args:
        objects: all of a root.
        places: of those that have no row.
        came: when each object of the root came.
    """
    found = Aggregates()
    seconds: dict[int, int] = {}
    for place in places:
        each, time = objects[place], came[place]
        found.sums.setdefault(AggregateKey(each.kind, each.state, each.namespaces), Aggregate()).add(each.allocated)
        if time is not None and each.allocated > 0:
            seconds[place] = time // 10**9
    if seconds:
        step = max(_DAY, (max(seconds.values()) - min(seconds.values())) // _STEPS)
        for place, second in seconds.items():
            each = objects[place]
            found.times.setdefault((second // step * step, each.state), Aggregate()).add(each.allocated)
    return found


def sum_by_state(objects: Sequence[StoreObject], places: Iterable[int]) -> dict[State, Aggregate]:
    """The sums of objects by state, the most bytes first."""
    sums: dict[State, Aggregate] = {}
    for place in places:
        sums.setdefault(objects[place].state, Aggregate()).add(objects[place].allocated)
    return dict(sorted(sums.items(), key=lambda each: -each[1].bytes))
