"""The part of a plan that is about dockerd's builder in the classic mode: what goes by itself, or by choice.

What BuildKit drops by itself goes with any plan: leases and snapshots. It clears the cache records when it starts.

Its databases are edited in the order that BuildKit itself removes in: the cache records are marked as deleted, then
their leases end, then the snapshots go, and the layers last. Killed before the leases end, dockerd does the rest when
it starts (buildkit cache/manager.go getRecord, v0.13 to v0.34). Killed later, it leaves snapshots and layers that no
build can use, and the next run finds them. Of a build in the history the lease ends first, too: without it BuildKit
drops the build, since v0.20 (solver/llbsolver/history.go clearOrphans).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from drydock.model.drops import BUILD_KINDS, DropKind
from drydock.model.layer_store import BUILD_HISTORY, BUILD_LEASES, BUILD_SNAPSHOTS, BUILDKIT, BUILDS, Builds, LayerStore
from drydock.model.names import Kind, RawPath, UnixNano
from drydock.model.plans import CacheMark, FieldDrop, Plan, Removal, Withheld
from drydock.model.policies import Policy
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.reclaim.edit import record_place
from drydock.reclaim.plan import make_plan
from drydock.verdict.build_cache import find_dropped
from drydock.verdict.classic_builds import find_gone, find_holding, find_let_go, find_shared, without
from drydock.verdict.judge import judge

_SNAPSHOT = "no cache record that stays needs them"
_CONTENT = "no cache record and no build that stays needs them"
_BUILD = f"--drop {DropKind.BUILD_HISTORY.value}"
_UNREAD = "not all of what dockerd's builder keeps could be read"
_HISTORIES = b"_history"
_REF = b"ref_"


@dataclass(slots=True)
class BuildPlan:
    """What goes of one builder."""

    left: Builds
    """What it has and uses afterwards."""
    marks: list[CacheMark] = field(default_factory=list)
    fields: list[FieldDrop] = field(default_factory=list)
    """Keys of its other databases."""
    removals: list[Removal] = field(default_factory=list)
    """Of its content store."""
    withheld: list[Withheld] = field(default_factory=list)
    kept: tuple[bytes, ...] = ()
    """The words of ``--keep`` that name something of it."""


def plan_builds(
    layers: LayerStore,
    of: Store,
    now: UnixNano,
    policy: Policy,
    kept: Collection[bytes],
    *,
    leases: Collection[bytes],
) -> BuildPlan:
    """Decide what goes of the builder of a classic store.

    Args:
        layers: the classic store, as it was read, with the images that stay: cache that only another shares goes.
        of: the root that it was read with.
        now: the time that ages are counted back from.
        policy: its drops, and what stays.
        kept: the layers and directories that stay by ``--keep``.
        leases: the ids of the leases that stay by it.
    """
    kinds = tuple(drop for drop in policy.drops if drop.kind in BUILD_KINDS)
    store = of.build_stores.get(layers.data)
    if store is None or not kinds or not policy.edit:
        made, builds = BuildPlan(layers.builds), layers.builds
        if policy.edit:
            made = _plan_let_go(layers, {*leases, *find_holding(layers, kept)})
        is_known = builds.snapshots_known and builds.leases_known
        if kinds and policy.edit and (builds.snapshots or builds.leases or not is_known):
            made.withheld.append(Withheld(Kind.LEASE, shown(layers.data), 0, _UNREAD))
        return made
    (cache,) = store.owners.caches
    cache.shared = find_shared(layers, cache)
    verdict, reached = judge(store, now)
    words = dict.fromkeys((*policy.keep, *find_holding(layers, kept)))
    own = Policy(unused_for=policy.unused_for, drops=kinds, keep=words, edit=policy.edit)
    plan = make_plan(verdict, reached, own, ())
    gone = find_gone(cache, (mark.record for mark in plan.marks), find_dropped(store, cache))
    ended = {end.ref.key for end in plan.leases if not end.ref.namespace.endswith(_HISTORIES)}
    made = BuildPlan(without(layers, gone, ended), list(plan.marks))
    made.kept = tuple(word for word in plan.kept if word in policy.keep)
    database = _path(layers, BUILD_LEASES)
    made.fields += (FieldDrop(None, (b"v1", end.ref.namespace, b"leases"), end.ref.key, end.why, database)
                    for end in plan.leases)  # fmt: skip
    for drop in plan.records:
        if drop.ref.kind in (Kind.BLOB, Kind.INGEST):
            made.fields.append(FieldDrop(None, *record_place(drop.ref), _CONTENT, database))
    snapshots = layers.builds.snapshots.keys() - made.left.snapshots.keys()
    database = _path(layers, BUILD_SNAPSHOTS)
    made.fields += (FieldDrop(None, (), key, _SNAPSHOT, database) for key in sorted(snapshots))
    made.fields += _history(layers, of, store, plan)
    made.removals += (
        removal._replace(root=layers.data, path=RawPath(os.path.join(BUILDKIT, removal.path)))
        for removal in plan.removals
    )
    made.withheld += (each for each in plan.withheld if each.kind is not Kind.SNAPSHOT)
    return made


def _plan_let_go(layers: LayerStore, kept: Collection[bytes]) -> BuildPlan:
    """What goes although no kind of it does; ``kept`` has the ids of leases that stay."""
    found = find_let_go(layers, kept)
    made, leases, snapshots = BuildPlan(found.left), _path(layers, BUILD_LEASES), _path(layers, BUILD_SNAPSHOTS)
    made.fields += (FieldDrop(None, (b"v1", BUILDS, b"leases"), name, why, leases)
                    for name, why in found.leases.items())  # fmt: skip
    made.fields += (FieldDrop(None, (), key, why, snapshots) for key, why in found.snapshots.items())
    return made


def _history(layers: LayerStore, of: Store, store: Store, plan: Plan) -> Iterator[FieldDrop]:
    """The builds that go, with their leases; also those whose lease a run that was killed ended."""
    if all(drop.kind is not DropKind.BUILD_HISTORY for drop in plan.policy.drops):
        return
    leased = {lease.id for of_root in (of, store) for lease in of_root.metadata.leases}
    lost = {ref for ref in store.owners.buildkitd.history if _REF + ref not in leased}
    going = {(each.bucket[1], each.bucket[3]) for each in plan.fields}
    for namespace, lease in sorted(going):
        yield FieldDrop(None, (b"v1", namespace, b"leases"), lease, _BUILD, _path(layers, BUILD_LEASES))
    for ref in sorted({*lost, *(lease.removeprefix(_REF) for _, lease in going)}):
        yield FieldDrop(None, (b"_records",), ref, _BUILD, _path(layers, BUILD_HISTORY))


def _path(layers: LayerStore, name: RawPath) -> RawPath:
    return RawPath(os.path.join(layers.data, name))
