"""What a policy drops of BuildKit's cache and history, as BuildKit's own commands do.

A cache record is marked as deleted, as BuildKit itself begins a removal (buildkit cache/manager.go pruneOnce, v0.34):
when it starts it removes a record with the mark, and all that needs it. Until then drydock judges it as dropped. So a
run that is killed between the databases leaves nothing that a build could use, and the next run ends the same.

Of a build in the history the lease is emptied: BuildKit removes a build with an empty lease, and the lease, when it
starts. A build without any lease would stay for good (solver/llbsolver/history clearOrphans and delete, v0.20 to
v0.34).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drydock.model.build_cache import BuildCache
from drydock.model.drops import DropKind
from drydock.model.leases import LeaseClass
from drydock.model.names import Ref, UnixNano
from drydock.model.objects import Verdict
from drydock.model.plans import CacheMark, FieldDrop
from drydock.model.policies import Policy
from drydock.model.records import Lease
from drydock.verdict.build_prune import find_pruned
from drydock.verdict.graph import visited
from drydock.verdict.judge import Reach
from drydock.verdict.leases import build_record, is_dockers, is_standalone
from drydock.verdict.reach import mark

_HISTORY = "the leases of builds that go by --drop build-history; BuildKit removes such builds when it starts"


@dataclass(slots=True)
class Pruning:
    """What goes of records that have an owner."""

    leases: dict[Ref, str] = field(default_factory=dict)
    """The leases that end, with the reason."""
    marks: list[CacheMark] = field(default_factory=list)
    """The cache records to mark."""
    emptied: dict[Ref, list[FieldDrop]] = field(default_factory=dict)
    """The leases that hold nothing any more, with their lists."""


def prune(verdict: Verdict, reached: Reach, kept: Mapping[Ref, str], policy: Policy) -> Pruning:
    """What these kinds drop of a root.

    Args:
        verdict: of the root.
        reached: of the root.
        kept: what is kept by name: a cache record that holds it stays, with all that the record needs.
        policy: its kinds, and how long ago what goes by them must have been used last.
    """
    made = Pruning()
    kinds = {drop.kind for drop in policy.drops}
    before = None if policy.unused_for is None else UnixNano(verdict.now - policy.unused_for)
    if DropKind.BUILD_HISTORY in kinds:
        for lease in verdict.store.metadata.leases:
            is_history = reached.classes[lease.ref].kind is LeaseClass.BUILD_HISTORY
            # The lease is as old as the build's end.
            is_old = before is None or (lease.created is not None and lease.created <= before)
            if is_history and is_old and not _holds(reached, lease.ref, kept) and (lists := _lists(lease)):
                bucket = (b"v1", lease.namespace, b"leases", lease.id)
                made.emptied[lease.ref] = [FieldDrop(None, bucket, name, _HISTORY) for name in lists]
    everything = DropKind.ALL_BUILD_CACHE in kinds
    if everything or DropKind.BUILD_CACHE in kinds:
        _prune_cache(verdict, reached, kept, made, before, everything=everything)
    return made


def _prune_cache(
    verdict: Verdict,
    reached: Reach,
    kept: Mapping[Ref, str],
    made: Pruning,
    before: UnixNano | None,
    *,
    everything: bool,
) -> None:
    store = verdict.store
    kind = DropKind.ALL_BUILD_CACHE if everything else DropKind.BUILD_CACHE
    leases = {
        lease.ref: name
        for lease in store.metadata.leases
        if (name := build_record(lease)) is not None
        and (is_dockers(lease.namespace) or is_standalone(lease.namespace))
        and reached.classes[lease.ref].kind in (LeaseClass.BUILD_CACHE, LeaseClass.TEMPORARY)
    }
    held = {name for ref, name in leases.items() if _holds(reached, ref, kept)}
    gone: dict[bool, set[bytes]] = {True: set(), False: set()}
    stays: dict[bool, set[bytes]] = {True: set(), False: set()}
    for cache in store.owners.caches:
        if not cache.is_clear:
            stays[cache.is_dockers].update(cache.records)
            continue
        # A mark is put in, and does not replace a value.
        odd = {name for name, record in cache.records.items() if record.is_marked and not record.deleted}
        names = set(find_pruned(store, reached.graph, cache, everything=everything, kept=held | odd, before=before))
        gone[cache.is_dockers] |= names
        stays[cache.is_dockers] |= cache.records.keys() - names
        firsts = (name for name in sorted(names) if _is_first(cache, name, names))
        made.marks += (CacheMark(cache.path, name, f"--drop {kind.value}") for name in firsts)
    for ref, name in leases.items():
        docker = is_dockers(ref.namespace)
        if name in gone[docker] and name not in stays[docker]:
            made.leases[ref] = f"build-cache: its cache record goes by --drop {kind.value}"


def _lists(lease: Lease) -> list[bytes]:
    """The lists of a lease that name something (containerd core/metadata/buckets.go, v2.1)."""
    lists = {b"content": lease.blobs, b"ingests": lease.ingests, b"images": lease.images, b"snapshots": lease.snapshots}
    return [name for name, named in lists.items() if named]


def _holds(reached: Reach, lease: Ref, kept: Mapping[Ref, str]) -> bool:
    return bool(kept) and any(visited(node) in kept for node in mark(reached.graph, [lease]))


def _is_first(cache: BuildCache, name: bytes, names: set[bytes]) -> bool:
    """Whether a record is to be marked: of a pair only the mutable one, whose mark BuildKit looks at."""
    return cache.records[name].equal_mutable not in names
