"""Marking: which records are reached, from where and by which path, and what only one lease holds."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from drydock.model.names import Ref
from drydock.verdict.graph import Flat, Graph, Key, Node, visited

_T = TypeVar("_T", bound=Hashable)


class Marks(Mapping[Node, Ref]):
    """Everything that was reached, in that order, each with the start that reached it first.

    Nearly all of it is blobs: these are kept by their places, and their references are made when they are asked for.
    """

    __slots__ = ("_by_place", "_graph", "_keys", "_others", "_starts", "seen")

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._keys: list[Key] = []
        self._starts: list[Ref] = []
        self._by_place: list[Ref | None] | None = None
        self._others: dict[Node, Ref] = {}
        self.seen = bytearray(len(graph.records.blobs))
        """For each place of a blob's record, whether that was reached."""

    def spread(self, starts: Iterable[Ref], within: Marks | None = None) -> None:
        """Add everything that is reached from ``starts``, but not what is in ``within``."""
        # The hot path: one turn for each record and each reference.
        graph, seen, others, keys, by = self._graph, self.seen, self._others, self._keys, self._starts
        before = self if within is None else within
        seen_before, others_before = before.seen, before._others
        leading, followed = graph.leading, graph.followed
        queue: list[tuple[Key, Ref]] = []
        for start in starts:
            if start in self or (within is not None and start in within):
                continue
            queue.append((graph.key(start), start))
            self._add(*queue[-1])
        while queue:
            key, start = queue.pop()
            for target in followed(key):
                if not isinstance(target, int):
                    if target in others or target in others_before:
                        continue
                    others[target] = start
                    queue.append((target, start))
                elif seen[target] or seen_before[target]:
                    continue
                else:
                    seen[target] = True
                    if leading[target]:
                        queue.append((target, start))
                keys.append(target)
                by.append(start)

    def _add(self, key: Key, start: Ref) -> None:
        if isinstance(key, int):
            self.seen[key] = True
        else:
            self._others[key] = start
        self._keys.append(key)
        self._starts.append(start)

    def __getitem__(self, node: Node) -> Ref:
        start = self.get(node)
        if start is None:
            raise KeyError(node)
        return start

    def get(self, node: Node, default: Ref | None = None) -> Ref | None:  # type: ignore[override] # no other default
        """The start that reached a node; ``default`` if none did."""
        if node not in self:
            return default
        key = self._graph.key(node)
        return self.starts()[key] if isinstance(key, int) else self._others[key]

    def __contains__(self, node: object) -> bool:
        if type(node) is Ref:  # one call for each of very many records
            place = self._graph.records.place(node)
            return node in self._others if place is None else bool(self.seen[place])
        return node in self._others

    def __iter__(self) -> Iterator[Node]:
        return map(self._graph.node, self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def starts(self) -> list[Ref | None]:
        """For each place of a blob's record the start that reached it, None for none; computed lazily.

        A second record of one reference, which only a damaged database has, has None.
        """
        if self._by_place is None:
            by_place: list[Ref | None] = [None] * len(self.seen)
            for key, start in zip(self._keys, self._starts, strict=True):
                if isinstance(key, int):
                    by_place[key] = start
            self._by_place = by_place  # whole, because browse asks in several threads
        return self._by_place

    def without_places(self) -> Iterator[Node]:
        """All that is no blob with a record, visited with all its references."""
        return iter(self._others)


def mark(graph: Graph, starts: Iterable[Ref], within: Marks | None = None) -> Marks:
    """Everything that is reached from ``starts``, each with the start that reached it first.

    Args:
        graph: the records.
        starts: where to begin.
        within: nodes that are marked already, and are not entered again.
    """
    marks = Marks(graph)
    marks.spread(starts, within)
    return marks


def trace(graph: Graph, starts: Iterable[Ref], within: Container[Node] | None = None) -> dict[Node, Node | None]:
    """As :func:`mark`, but with the predecessor of each node on its path from a start (None for a start)."""
    reached: dict[Node, Node | None] = {}
    queue: list[Node] = []
    for start in starts:
        if start not in reached and (within is None or start not in within):
            reached[start] = None
            queue.append(start)
    while queue:
        node = queue.pop()
        for target in graph.targets(node):
            if target not in reached and (within is None or target not in within):
                reached[target] = node
                queue.append(target)
    return reached


def closure(starts: Iterable[_T], leads_to: Mapping[_T, Iterable[_T]]) -> set[_T]:
    """``starts``, and everything that they lead to, directly or not.

    Args:
        starts: where to begin.
        leads_to: for each thing those that it leads to; it need not have all.
    """
    seen = set(starts)
    pending = list(seen)
    while pending:
        for each in leads_to.get(pending.pop(), ()):
            if each not in seen:
                seen.add(each)
                pending.append(each)
    return seen


def path_to(reached: Mapping[Node, Node | None], node: Node) -> list[Node]:
    """The path from a start to ``node``."""
    path = [node]
    while (before := reached[path[-1]]) is not None:
        path.append(before)
    path.reverse()
    return path


def sole_holders(graph: Graph, rooted: Container[Node], leases: Iterable[Ref]) -> dict[Ref, Ref | None]:
    """For everything that leases reach: the lease, or None if a root or another lease reaches it as well.

    Each node changes at most twice (nothing, one lease, several), so this takes two passes over the edges, however many
    leases there are.

    Args:
        graph: the records.
        rooted: nodes that roots other than leases reach; they are not entered.
        leases: where to begin.
    """
    holder: dict[Node, Ref | None] = {}
    queue: list[Node] = []
    for lease in leases:
        holder[lease] = lease
        queue.append(lease)
    while queue:
        node = queue.pop()
        current = holder[node]
        for target in graph.targets(node):
            if target in rooted:
                continue
            if target not in holder:
                holder[target] = current
            elif holder[target] is not None and holder[target] != current:
                holder[target] = None
            else:
                continue
            queue.append(target)
    merged: dict[Ref, Ref | None] = {}
    for node, lease_ref in holder.items():
        ref = visited(node)
        otherwise = ref if isinstance(node, Flat) else Flat(ref)
        alone = ref not in merged or merged[ref] == lease_ref
        merged[ref] = lease_ref if alone and otherwise not in rooted else None
    return merged
