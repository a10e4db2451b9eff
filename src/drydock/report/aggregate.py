"""Which of very many things a page shows one by one, and what the others come to: nothing is left out of a sum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from drydock.model.inventories import Holder
from drydock.model.names import Kind, UnixNano
from drydock.model.objects import DAMAGED, ObjectKind, State, StoreObject

OBJECTS: Final = 20_000
"""So many objects of a root have a line and a place of their own: a browser stays quick, and the file small."""
HOLDERS: Final = 5_000
"""So many images, containers and leases of a root."""
_STEPS: Final = 500
_DAY: Final = 86_400


class Alike(NamedTuple):
    """What smaller objects are put together by."""

    kind: ObjectKind
    state: State
    namespaces: tuple[bytes, ...]


@dataclass(slots=True)
class Sum:
    """What some objects come to."""

    count: int = 0
    bytes: int = 0
    largest: int = 0
    """Bytes of the largest of them."""

    def add(self, size: int) -> None:
        """Take in one of so many bytes."""
        self.count += 1
        self.bytes += size
        self.largest = max(self.largest, size)


@dataclass(slots=True)
class Smaller:
    """The objects of a root that have no line of their own."""

    sums: dict[Alike, Sum] = field(default_factory=dict)
    times: dict[tuple[int, State], Sum] = field(default_factory=dict)
    """By the second since 1970 at which a step begins, and state; without what takes no space or has no known time."""


def choose_objects(objects: Sequence[StoreObject], most: int = OBJECTS) -> Sequence[int]:
    """Places of the objects to be shown one by one, in their order: what is damaged, then the largest."""
    if len(objects) <= most:
        return range(len(objects))
    places = sorted(range(len(objects)), key=lambda at: (objects[at].state not in DAMAGED, -objects[at].allocated))
    return sorted(places[:most])


def choose_holders(holders: Sequence[Holder], objects: Sequence[StoreObject], most: int = HOLDERS) -> Sequence[Holder]:
    """Holders to be shown one by one: those that reach damage, then those that reach most bytes."""
    if len(holders) <= most:
        return holders
    damaged = {place for place, found in enumerate(objects) if found.state in DAMAGED}

    def rank(holder: Holder) -> tuple[bool, int]:
        return damaged.isdisjoint(holder.objects), -sum(objects[place].allocated for place in holder.objects)

    return sorted(holders, key=rank)[:most]


def put_together(objects: Sequence[StoreObject], places: Iterable[int], came: Sequence[UnixNano | None]) -> Smaller:
    """What objects come to.

    Args:
        objects: all of a root.
        places: of those that have no line.
        came: when each object of the root came.
    """
    found = Smaller()
    seconds: dict[int, int] = {}
    for place in places:
        each, time = objects[place], came[place]
        found.sums.setdefault(Alike(each.kind, each.state, each.namespaces), Sum()).add(each.allocated)
        if time is not None and each.allocated > 0:
            seconds[place] = time // 10**9
    if seconds:
        step = max(_DAY, (max(seconds.values()) - min(seconds.values())) // _STEPS)
        for place, second in seconds.items():
            each = objects[place]
            found.times.setdefault((second // step * step, each.state), Sum()).add(each.allocated)
    return found


def sum_by_state(objects: Sequence[StoreObject], places: Iterable[int]) -> dict[State, Sum]:
    """What objects come to, by state, the most bytes first."""
    sums: dict[State, Sum] = {}
    for place in places:
        sums.setdefault(objects[place].state, Sum()).add(objects[place].allocated)
    return dict(sorted(sums.items(), key=lambda each: -each[1].bytes))


def is_object(holder: Holder) -> bool:
    """Whether what holds is an object itself, kept for its own sake."""
    return holder.ref.kind in (Kind.BLOB, Kind.INGEST, Kind.SNAPSHOT)
