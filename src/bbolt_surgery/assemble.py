"""The contents of a new file, chosen from the statements of a salvage."""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from bbolt_reader.statements import Hole, Names, Salvage, Statement, StatementStanding
from bbolt_surgery.changes import NewBucket


class Choice(enum.Enum):
    """Which statements are used; each choice includes the ones above it. The value is the word that a user types."""

    CURRENT = "current"
    """Statements of the tree in use, and of its pages that lost the page above them."""
    PREVIOUS = "previous"
    """Also statements of the older meta's tree, where the tree in use cannot be read."""
    ALL = "all"
    """Also statements of pages that nothing links to, where neither tree can be read."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """The contents of a whole file."""

    root: NewBucket
    used: dict[StatementStanding, int]
    """How many statements of each standing are in it."""
    left_out: tuple[Names, ...]
    """Buckets of which only the name can be read: as empty buckets they would be a false statement."""


def assemble(salvage: Salvage, choice: Choice) -> Assembly:
    """Choose what goes into a new file.

    Statements of the tree in use are taken as they are. The others fill holes only: if the tree in use can be read and
    does not have a key, the key was deleted and stays so. A bucket whose header cannot be read gets the highest
    sequence that any page has for it, so that no number is given out twice.
    """
    assembler = _Assembler(salvage)
    statements = salvage.statements
    assembler.take(each for each in statements if each.standing is StatementStanding.CURRENT and each.linked)
    assembler.fill(each for each in statements if each.standing is StatementStanding.CURRENT and not each.linked)
    if choice is not Choice.CURRENT:
        assembler.fill(each for each in statements if each.standing is StatementStanding.PREVIOUS)
    if choice is Choice.ALL:
        assembler.fill(each for each in statements if each.standing is StatementStanding.DELETED)
    assembler.sequences()
    left_out = assembler.drop_hollow()
    return Assembly(assembler.root, assembler.used, tuple(left_out))


class _Assembler:
    def __init__(self, salvage: Salvage) -> None:
        self.salvage = salvage
        self.root = NewBucket(salvage.sequence)
        self.buckets: dict[Names, NewBucket] = {(): self.root}
        self.used = dict.fromkeys(StatementStanding, 0)
        self.certain: set[Names] = set()
        self.holes = _joined(salvage.holes)

    def take(self, statements: Iterable[Statement]) -> None:
        """Add statements whose key is not there yet."""
        for each in statements:
            if each.fragment is not None:
                continue
            bucket = self._bucket(each.path)
            if bucket is None or each.key in bucket.entries:
                continue
            self.used[each.standing] += 1
            if each.value is not None:
                bucket.entries[each.key] = each.value
                continue
            path = (*each.path, each.key)
            bucket.entries[each.key] = self.buckets[path] = NewBucket(each.sequence)
            if each.linked and each.standing is StatementStanding.CURRENT:
                self.certain.add(path)

    def fill(self, statements: Iterable[Statement]) -> None:
        """As :meth:`take`, for statements in a hole of the tree in use."""
        self.take(each for each in statements if self._in_hole(each))

    def sequences(self) -> None:
        """Raise the sequences of buckets whose header was not read."""
        for each in self.salvage.statements:
            path = (*each.path, each.key)
            if each.value is None and each.fragment is None and path in self.buckets and path not in self.certain:
                self.buckets[path].sequence = max(self.buckets[path].sequence, each.sequence)

    def drop_hollow(self) -> list[Names]:
        """Remove buckets that are empty only because their pages are lost, unless they have a sequence."""
        dropped: list[Names] = []
        for path in sorted(self.holes, key=len, reverse=True):
            bucket = self.buckets.get(path)
            if not path or bucket is None or bucket.entries or bucket.sequence:
                continue
            del self.buckets[path[:-1]].entries[path[-1]]
            dropped.append(path)
        return dropped

    def _bucket(self, path: Names) -> NewBucket | None:
        """The bucket at a path, made if it is missing; None if a value has a name of the path."""
        found = self.buckets.get(path)
        if found is not None:
            return found
        bucket = self.root
        for depth, name in enumerate(path, 1):
            inner = bucket.entries.get(name)
            if inner is None:
                inner = bucket.entries[name] = self.buckets[path[:depth]] = NewBucket()
            elif isinstance(inner, bytes):
                return None
            bucket = inner
        return bucket

    def _in_hole(self, statement: Statement) -> bool:
        names = (*statement.path, statement.key)
        for depth, name in enumerate(names):
            holes = self.holes.get(names[:depth])
            if holes is not None:
                place = bisect_right(holes, name, key=lambda hole: hole[0]) - 1
                high = holes[place][1] if place >= 0 else b""
                if high is None or name < high:
                    return True
        return False


def _joined(holes: Iterable[Hole]) -> dict[Names, list[tuple[bytes, bytes | None]]]:
    """The holes of each bucket in order, with overlapping ones joined."""
    found: dict[Names, list[tuple[bytes, bytes | None]]] = {}
    for hole in sorted(holes, key=lambda each: each.low):
        ranges = found.setdefault(hole.path, [])
        if ranges and (ranges[-1][1] is None or hole.low <= ranges[-1][1]):
            low, high = ranges[-1]
            high = None if high is None or hole.high is None else max(high, hole.high)
            ranges[-1] = (low, high)
        else:
            ranges.append((hole.low, hole.high))
    return found
