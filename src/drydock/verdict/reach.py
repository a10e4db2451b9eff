"""Marking: what is reached from where, by which path, and what only one lease holds."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from drydock.model.names import Ref
from drydock.verdict.graph import Flat, Graph, Node, visited


def mark(graph: Graph, starts: Iterable[Ref], within: Container[Node] | None = None) -> dict[Node, Ref]:
    """Everything reached from ``starts``, each with the start it was first reached from.

    Args:
        graph: the records.
        starts: where to begin.
        within: nodes already marked elsewhere, not to be entered again.
    """
    # The hot path: a turn for every record and every reference.
    reached: dict[Node, Ref] = {}
    targets_of = graph.targets
    queue: list[Node] = []
    for start in starts:
        if start not in reached and (within is None or start not in within):
            reached[start] = start
            queue.append(start)
    while queue:
        node = queue.pop()
        for target in targets_of(node):
            if target not in reached and (within is None or target not in within):
                reached[target] = reached[node]
                queue.append(target)
    return reached


def trace(graph: Graph, starts: Iterable[Ref], within: Container[Node] | None = None) -> dict[Node, Node | None]:
    """As :func:`mark`, but each with the node before it on the way from its start (None for a start)."""
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
    """The path by which ``node`` was reached, from its start to ``node`` itself."""
    path = [node]
    while (before := reached[path[-1]]) is not None:
        path.append(before)
    path.reverse()
    return path


def sole_holders(graph: Graph, rooted: Container[Node], leases: Iterable[Ref]) -> dict[Ref, Ref | None]:
    """For everything that leases reach: the one lease that does, or None where a root or another lease does as well.

    Each node changes at most twice (nothing, one lease, more), so this takes two passes over the edges and not one a
    lease.

    Args:
        graph: the records.
        rooted: what the roots that are no leases reach; it is not entered.
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
