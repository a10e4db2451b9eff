"""Marking: which records are reached, from where and by which path, and what only one lease holds."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from drydock.model.names import Ref
from drydock.verdict.graph import Ends, Flat, Graph, Node, visited


def mark(graph: Graph, starts: Iterable[Ref], within: Container[Node] | None = None) -> dict[Node, Ref]:
    """Everything that is reached from ``starts``, each with the start that reached it first.

    Args:
        graph: the records.
        starts: where to begin.
        within: nodes that are marked already, and are not entered again.
    """
    # The hot path: one turn for each record and each reference.
    reached: dict[Node, Ref] = {}
    targets_of = graph.targets
    queue: list[Node] = []
    for start in starts:
        if start not in reached and (within is None or start not in within):
            reached[start] = start
            queue.append(start)
    while queue:
        node = queue.pop()
        start, targets = reached[node], targets_of(node)
        lead_on = type(targets) is not Ends
        for target in targets:
            if target not in reached and (within is None or target not in within):
                reached[target] = start
                if lead_on:
                    queue.append(target)
    return reached


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
