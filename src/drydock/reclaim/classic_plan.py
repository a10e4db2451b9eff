"""The part of a plan that is about Docker's classic store: images by choice, then what nothing uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from drydock.model.drops import DropKind
from drydock.model.layer_store import LayerStore
from drydock.model.leases import LeaseClass
from drydock.model.names import Kind, RawPath, Ref
from drydock.model.objects import LayerObject, State, StoreObject, Verdict
from drydock.model.plans import Keep, NameDrop, Removal, Remove, Withheld, Withhold, assert_never
from drydock.model.policies import Policy
from drydock.model.text import shown
from drydock.reclaim.kept import Kept
from drydock.reclaim.layer_plan import plan_layers
from drydock.reclaim.lease_ends import decide_on_lease
from drydock.verdict.layer_store import judge_layer_store

if TYPE_CHECKING:
    from drydock.reclaim.image_plan import ImagePlan
    from drydock.verdict.stopped_containers import GoingContainer

_BUILDS = (DropKind.BUILD_CACHE, DropKind.ALL_BUILD_CACHE)


@dataclass(slots=True)
class ClassicPlan:
    """What goes of one classic store, and what looks unused and stays."""

    names: list[NameDrop] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    """In order: files of images, records, links, directories."""
    withheld: list[Withheld] = field(default_factory=list)


def plan_classic(
    store: LayerStore,
    verdict: Verdict,
    policy: Policy,
    by_name: Kept,
    images: ImagePlan | None,
    *,
    containers: Sequence[GoingContainer] = (),
) -> ClassicPlan:
    """Decide what goes of a classic store.

    Args:
        store: as it was read.
        verdict: of its root.
        policy: which leases end.
        by_name: what stays by ``--keep``.
        images: the images of the store that go by choice; None if none do.
        containers: the containers of the data root that go by choice.
    """
    made, read = ClassicPlan(), store
    objects, doubts = on_disk(verdict.objects, store), verdict.kept.get(store.data, {})
    released: frozenset[RawPath] = frozenset()
    if images is not None:
        made.names, made.removals, made.withheld = images.names, images.removals, images.withheld
        if images.names or images.removals:
            released = frozenset(each.path for each in objects if each.reach is State.LIVE and each.path is not None)
            store = images.left
    going = {each.drop.id for each in containers}
    given_up = {
        Ref(Kind.LAYER_MOUNT, b"", name): f"container {shown(each.drop.called)} goes: {each.drop.why}"
        for each in containers
        for name in each.mounts
    }
    if going:
        store = replace(store, containers={key: each for key, each in store.containers.items() if key not in going})
    if store is not read:
        left = judge_layer_store(store, verdict.now)
        objects = [each for each in left.objects if each.path is not None]
        doubts = left.kept
    made.withheld += _builds(store, verdict, policy)
    refs = dict(by_name.refs)
    for found in objects:
        if found.path in by_name.paths:
            refs.update(dict.fromkeys(found.held_by, by_name.paths[found.path]))
    ended: set[Ref] = set()
    for holding in verdict.leases:
        if holding.data_root != store.data:
            continue
        match decide_on_lease(holding, verdict, refs, policy):
            case Remove():
                ended.add(holding.ref)
            case Withhold(reason):
                made.withheld.append(Withheld(Kind.LEASE, shown(holding.ref.key), holding.only, reason))
            case Keep():
                pass
            case never:
                assert_never(never)
    kept_paths = {**doubts, **by_name.paths}
    ended.update(given_up)
    layers = plan_layers(
        store, objects, ended=ended, kept=kept_paths, records=policy.edit, released=released, chosen=given_up
    )
    made.withheld += layers.withheld
    made.removals += layers.removals
    return made


def _builds(store: LayerStore, verdict: Verdict, policy: Policy) -> Iterator[Withheld]:
    """The build cache of a classic store, which no drop takes."""
    kind = next((drop.kind for drop in policy.drops if drop.kind in _BUILDS), None)
    for holding in verdict.leases if kind is not None else ():
        if holding.data_root == store.data and holding.kind is LeaseClass.BUILD_CACHE:
            reason = "--drop of the build cache does not work in Docker's classic store: use docker builder prune"
            yield Withheld(Kind.LEASE, shown(holding.ref.key), holding.only, reason)


def on_disk(objects: Iterable[StoreObject], store: LayerStore) -> list[LayerObject]:
    """What a classic layer store has on disk."""
    return [
        found
        for found in objects
        if isinstance(found, LayerObject) and found.data_root == store.data and found.path is not None
    ]
