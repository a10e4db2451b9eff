"""Why an object is there: the path from a root to it, or why nothing holds it; and what the object itself refers to."""

from __future__ import annotations

from itertools import pairwise

from drydock.model.explanations import Explanation
from drydock.model.leases import Holding
from drydock.model.names import Kind, Ref
from drydock.model.objects import LayerObject, PluginObject, State, StoreObject, Verdict
from drydock.model.text import shown
from drydock.model.times import age, show_span, show_time
from drydock.verdict.explain_layers import explain_image, explain_layer
from drydock.verdict.find import LayerImage, Subject, describe
from drydock.verdict.graph import Edge, Flat, Node, visited
from drydock.verdict.judge import Reach
from drydock.verdict.plugins import explain_plugin_object
from drydock.verdict.reach import path_to, trace

_LISTED = 20


def explain(verdict: Verdict, reached: Reach, subject: Subject) -> Explanation:
    """Explain one result of :func:`drydock.verdict.find.find`."""
    holdings = {holding.ref: holding for holding in verdict.leases}
    if isinstance(subject, PluginObject):
        return explain_plugin_object(verdict.store.root.path, subject)
    if isinstance(subject, LayerObject):
        return explain_layer(verdict, subject)
    if isinstance(subject, LayerImage):
        return explain_image(verdict, subject.store, subject.image)
    if isinstance(subject, StoreObject):
        return _object(verdict, reached, holdings, subject)
    targets = _targets(reached, [subject])
    holding = holdings.get(subject)
    return Explanation(
        verdict.store.root.path,
        name(subject),
        "root" if holding is None else f"{holding.kind.value} lease",
        (("why", f"{reached.why.get(subject, '')}: kept until it is removed"),)
        if holding is None
        else _lease_facts(holding, verdict),
        (),
        None,
        tuple(targets[:_LISTED]),
        max(0, len(targets) - _LISTED),
        None if holding is None else holding.only,
    )


def name(ref: Ref) -> str:
    """A record in words: kind, name, namespace."""
    kind, key = describe(ref)
    return f"{kind} {shown(key)} (namespace {shown(ref.namespace)})"


def _object(verdict: Verdict, reached: Reach, holdings: dict[Ref, Holding], found: StoreObject) -> Explanation:
    facts: list[tuple[str, str]] = []
    if found.path is not None:
        facts.append(("path", shown(found.path)))
    if found.row is not None:
        facts.append(("row", shown(found.row)))
    if found.namespaces:
        facts.append(("namespaces", ", ".join(shown(namespace) for namespace in found.namespaces)))
    if found.note:
        facts.append(("note", found.note))
    chains = _chains(reached, holdings, found)
    targets = _targets(reached, found.refs)
    return Explanation(
        verdict.store.root.path,
        f"{found.kind.value} {shown(found.id)}",
        found.state.value,
        tuple(facts),
        tuple(chains),
        None if chains else _nothing(verdict, reached, found),
        tuple(targets[:_LISTED]),
        max(0, len(targets) - _LISTED),
        found.allocated,
    )


def _chains(reached: Reach, holdings: dict[Ref, Holding], found: StoreObject) -> list[tuple[str, ...]]:
    chains: list[tuple[str, ...]] = []
    for ref in found.refs:
        live = reached.path(ref)
        if live:
            chains.append(_steps(reached, holdings, live))
            continue
        for lease in reached.leased.get(ref, ())[:_LISTED]:
            ways = trace(reached.graph, [lease], within=reached.live)
            node = ref if ref in ways else Flat(ref)
            chains.append(_steps(reached, holdings, path_to(ways, node)))
    return chains


def _steps(reached: Reach, holdings: dict[Ref, Holding], path: list[Node]) -> tuple[str, ...]:
    first = visited(path[0])
    if first in holdings:
        holding = holdings[first]
        owner = f" of {holding.owner}" if holding.owner is not None else ""
        lines = [f"{name(first)}: {holding.kind.value} lease{owner}; {holding.reason}"]
    else:
        lines = [f"{name(first)}: {reached.why.get(first, '')}"]
    for before, node in pairwise(path):
        how = next(edge.how for edge in reached.graph.edges(before) if edge.target == node)
        lines.append(f"holds {name(visited(node))}, {how}")
    return tuple(lines)


def _nothing(verdict: Verdict, reached: Reach, found: StoreObject) -> str:
    if found.state is State.FOREIGN:
        return found.note or "drydock does not fully understand its layout"
    if not found.refs:
        if not verdict.store.metadata.complete:
            return "none of the records that could be read names it, and not all could be read"
        return "no record names it" + (f"; {found.note}" if found.note else "")
    wanted = set(found.refs)
    by = [
        (ref, edge) for ref in reached.graph.records for edge in _edges(reached, ref) if visited(edge.target) in wanted
    ]
    if not by:
        return "recorded, and no other record refers to it"
    # An expired lease explains it best; a record that nothing holds only leads to the next question.
    ref, edge = next(((ref, edge) for ref, edge in by if ref.kind is Kind.LEASE), by[0])
    if ref.kind is Kind.LEASE:
        return f"{name(ref)} held it, and {reached.classes[ref].reason}"
    return f"{name(ref)} refers to it ({edge.how}), and nothing holds that record either"


def _edges(reached: Reach, ref: Ref) -> list[Edge]:
    return [*reached.graph.edges(ref), *reached.graph.edges(Flat(ref))]


def _targets(reached: Reach, refs: tuple[Ref, ...] | list[Ref]) -> list[str]:
    lines: dict[str, None] = {}
    for ref in refs:
        for edge in reached.graph.edges(ref):
            there = "" if visited(edge.target) in reached.graph.records else "; it has no record here"
            lines[f"{name(visited(edge.target))}, {edge.how}{there}"] = None
    return list(lines)


def _lease_facts(holding: Holding, verdict: Verdict) -> tuple[tuple[str, str], ...]:
    facts = [("why", holding.reason)]
    if holding.owner is not None:
        facts.append(("owner", holding.owner))
    if holding.created is not None:
        known = age(holding.created, verdict.now)
        ago = "after the clock" if known is None else f"{show_span(known)} ago"
        facts.append(("created", f"{show_time(holding.created)}, {ago}"))
    if holding.expires is None:
        facts.append(("ends", "never by itself"))
    else:
        until = holding.expires - verdict.now
        facts.append(
            ("ends", f"{show_time(holding.expires)}, {'in ' + show_span(until) if until >= 0 else 'in the past'}")
        )
    return tuple(facts)
