"""Who holds what, by the names that people use: each image, container and lease with everything that it reaches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from drydock.model.inventories import Holder, Inventory, Link
from drydock.model.leases import LeaseClass
from drydock.model.names import Kind, Ref
from drydock.model.objects import Verdict
from drydock.model.pulls import Pull
from drydock.model.records import Container, Image, Sandbox
from drydock.verdict.graph import Flat, Graph, Node, visited
from drydock.verdict.judge import Reach
from drydock.verdict.layer_holders import list_layer_holders
from drydock.verdict.leases import mounting_container
from drydock.verdict.reach import trace

_MOST_VISITS = 5_000_000


def take_inventory(verdict: Verdict, reached: Reach, pulls: Iterable[Pull] = ()) -> Inventory:
    """List the holders of a root, and the path to every record.

    Args:
        verdict: the verdict on the root.
        reached: what was marked for the verdict.
        pulls: its interrupted pulls, which become part of the inventory.
    """
    places: dict[Ref, list[int]] = {}
    for place, found in enumerate(verdict.objects):
        for ref in found.refs:
            places.setdefault(ref, []).append(place)
    walk = _HolderWalk(reached.graph, places)
    holders = tuple(
        Holder(refs[0], tuple(dict.fromkeys(ref.key for ref in refs)), *_lease(reached, refs[0]), walk.objects(refs))
        for refs in _holders(verdict, reached)
    )
    for layers in verdict.store.layer_stores:
        holders += tuple(list_layer_holders(layers, verdict))
    return Inventory(holders, _links(reached), tuple(pulls), whole=walk.left > 0)


class _HolderWalk:
    """Follows the references of one holder after the other, up to a total of ``_MOST_VISITS`` visits."""

    def __init__(self, graph: Graph, places: Mapping[Ref, list[int]]) -> None:
        self._graph = graph
        self._places = places
        self.left = _MOST_VISITS

    def objects(self, refs: Iterable[Ref]) -> tuple[int, ...]:
        reached: set[Node] = set(refs)
        queue = list(reached)
        while queue and self.left > 0:
            node = queue.pop()
            targets = self._graph.targets(node)
            self.left -= 1 + len(targets)
            for target in targets:
                if target not in reached:
                    reached.add(target)
                    queue.append(target)
        if self.left <= 0:
            return ()
        return tuple(sorted({place for node in reached for place in self._places.get(visited(node), ())}))


def _holders(verdict: Verdict, reached: Reach) -> Iterator[list[Ref]]:
    """The records of each holder: all names of one image, or the leases of a container and then its own record.

    A container's own lease comes before the leases of its image mounts.
    """
    images: dict[tuple[bytes, bytes], list[Ref]] = {}
    rest: list[list[Ref]] = []
    # A container of dockerd has a record only while it runs; one of CRI always has one.
    containers: dict[tuple[bytes, bytes], list[Ref]] = {}
    leases = [holding for holding in verdict.leases if not holding.data_root]
    for holding in leases:
        if holding.kind is LeaseClass.CONTAINER:
            of = _container_of(verdict, holding.ref)
            containers.setdefault(of, []).insert(0 if of[1] == holding.ref.key else 1, holding.ref)
    for ref in reached.why:
        record = reached.graph.records.get(ref)
        if isinstance(record, Image):
            images.setdefault((record.namespace, record.target), []).append(ref)
        elif isinstance(record, Container | Sandbox) and (ref.namespace, ref.key) in containers:
            containers[ref.namespace, ref.key].append(ref)
        else:
            rest.append([ref])
    for image in verdict.store.metadata.images:
        # An expired image that another image keeps is one more name of that image.
        if image.ref in reached.live and image.ref not in reached.why:
            images.setdefault((image.namespace, image.target), []).append(image.ref)
    for refs in images.values():
        # A name with a tag tells more than one that repeats the digest.
        yield sorted(refs, key=lambda ref: (b"sha256:" in ref.key, ref.key))
    yield from rest
    for holding in leases:
        if holding.kind is LeaseClass.CONTAINER:
            found = containers.pop(_container_of(verdict, holding.ref), None)
            if found is not None:
                yield found
        elif not holding.kind.holds_nothing:
            yield [holding.ref]


def _container_of(verdict: Verdict, lease: Ref) -> tuple[bytes, bytes]:
    """Namespace and id of the container that a lease belongs to."""
    mounting = verdict.store.owners.image_mounts.get(lease.key)
    return lease.namespace, mounting.id if mounting else mounting_container(lease.key) or lease.key


def _lease(reached: Reach, ref: Ref) -> tuple[LeaseClass | None, str | None]:
    """Class and owner of a lease; twice None for another record."""
    if ref.kind is not Kind.LEASE:
        return None, None
    judgement = reached.classes[ref]
    return judgement.kind, judgement.owner


def _links(reached: Reach) -> dict[Ref, Link]:
    starts = [ref for ref, lease in reached.classes.items() if not lease.kind.holds_nothing]
    leased = trace(reached.graph, starts, within=reached.live)
    links: dict[Ref, Link] = {}
    for ways in (reached.ways(), leased):
        before_of: dict[Node, list[Node]] = {}
        for node, before in ways.items():
            if before is None:
                ref = visited(node)
                links.setdefault(ref, Link(None, reached.why.get(ref) or reached.classes[ref].reason))
            else:
                before_of.setdefault(before, []).append(node)
        hows = {before: {edge.target: edge.how for edge in reached.graph.edges(before)} for before in before_of}
        # If a record is reached both in full and flat, it is linked in full: then no chain leads back to itself.
        for flat in (False, True):
            for before, nodes in before_of.items():
                for node in nodes:
                    if isinstance(node, Flat) is flat:
                        links.setdefault(visited(node), Link(visited(before), hows[before][node]))
    return links
