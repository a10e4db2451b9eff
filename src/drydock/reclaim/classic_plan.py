"""The part of a plan that is about Docker's classic store: images by choice, then what nothing uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from drydock.model.drops import BUILD_KINDS
from drydock.model.layer_store import LayerLink, LayerStore
from drydock.model.names import Kind, RawPath, Ref
from drydock.model.objects import LayerObject, State, StoreObject, Verdict
from drydock.model.plans import CacheMark, FieldDrop, Keep, NameDrop, Removal, Remove, Withheld, Withhold, assert_never
from drydock.model.policies import Policy
from drydock.model.text import shown
from drydock.reclaim.kept import Kept
from drydock.reclaim.layer_plan import plan_layers
from drydock.reclaim.lease_ends import decide_on_lease
from drydock.verdict.layer_store import judge_layer_store

if TYPE_CHECKING:
    from drydock.reclaim.image_plan import ImagePlan
    from drydock.verdict.stopped_containers import GoingContainer


_NAMED = "the databases of dockerd's builder name it, and stay as they are"


@dataclass(slots=True)
class ClassicPlan:
    """What goes of one classic store, and what looks unused and stays."""

    names: list[NameDrop] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    """In order: files of images, records, links, directories; what builds of the plan use after the others, and last
    blobs of the builder."""
    withheld: list[Withheld] = field(default_factory=list)
    marks: list[CacheMark] = field(default_factory=list)
    fields: list[FieldDrop] = field(default_factory=list)
    """Keys of the builder's databases."""
    kept: tuple[bytes, ...] = ()
    """The words of ``--keep`` that name something of the builder alone."""


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
    let_go = verdict.let_go.get(store.data, {})
    released: dict[RawPath, str] = {}
    if images is not None:
        made.names, made.removals, made.withheld = images.names, images.removals, images.withheld
        if images.names or images.removals:
            released = dict.fromkeys(_used(objects, State.LIVE), "only images that go held it")
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
        doubts, let_go = left.kept, left.let_go
    refs = dict(by_name.refs)
    for found in objects:
        if found.path in by_name.paths:
            refs.update(dict.fromkeys(found.held_by, by_name.paths[found.path]))
    builds, built = None, frozenset[RawPath]()
    if read.builds.snapshots or read.builds.leases or any(drop.kind in BUILD_KINDS for drop in policy.drops):
        from drydock.reclaim.classic_builds import plan_builds  # noqa: PLC0415 - few plans are about builds

        kept = {
            (each.data.directory or b"") if isinstance(each.data, LayerLink) else each.id
            for each in on_disk(verdict.objects, read)
            if each.path in by_name.paths
        }
        leases = {ref.key for ref in refs if ref.kind is Kind.LEASE}
        builds = plan_builds(
            replace(read, images=store.images), verdict.store, verdict.now, policy, kept - {b""}, leases=leases
        )
        made.withheld += builds.withheld
        made.marks, made.fields, made.kept = builds.marks, builds.fields, builds.kept
        if builds.left is not read.builds:
            built = frozenset((*_used(objects, State.LIVE, State.LEASED), *let_go))
            released.update(dict.fromkeys(_used(objects, State.LIVE), "only build cache that goes held it"))
            released.update(let_go)
            left = judge_layer_store(replace(store, builds=builds.left), verdict.now)
            objects = [each for each in left.objects if each.path is not None]
            doubts, store = left.kept, replace(store, builds=builds.left)
            let_go = left.let_go
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
    # What the databases of the builder name still stays as long as they do.
    kept_paths = {**dict.fromkeys(let_go, _NAMED), **doubts, **by_name.paths}
    ended.update(given_up)
    layers = plan_layers(
        store, objects, ended=ended, kept=kept_paths, records=policy.edit, released=released, chosen=given_up
    )
    made.withheld += layers.withheld
    # What a build uses goes once no database of the builder names it any more.
    made.removals += (each._replace(after_edit=each.path in built) for each in layers.removals)
    if builds is not None:
        made.removals += builds.removals
    return made


def _used(objects: Iterable[LayerObject], *states: State) -> Iterator[RawPath]:
    """The paths of the objects that something reaches in one of these states."""
    return (each.path for each in objects if each.reach in states and each.path is not None)


def on_disk(objects: Iterable[StoreObject], store: LayerStore) -> list[LayerObject]:
    """What a classic layer store has on disk."""
    return [
        found
        for found in objects
        if isinstance(found, LayerObject) and found.data_root == store.data and found.path is not None
    ]
