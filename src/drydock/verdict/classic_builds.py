"""What is left of the builder of Docker's classic store once cache records and leases have gone.

A record that goes takes the snapshot of its lease with it: the buckets of ``snapshots.db`` that stand for it (moby
builder/builder-next/adapters/snapshot/{snapshot.go remove,leasemanager.go Delete}, v26.1 and v28.5). dockerd removes
them although another lease holds them too; here they stay then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from drydock.model.build_cache import BuildCache
from drydock.model.layer_store import Builds, BuildSnapshot, LayerStore
from drydock.model.names import Digest
from drydock.verdict.build_cache import RECORD_DROPPED, find_dropped_builds
from drydock.verdict.leases import build_record

_INTERRUPTED = "a removal or a build was interrupted: no lease and no cache record names its snapshot"


class LetGo(NamedTuple):
    """What BuildKit drops by itself, and what a kill left of that; ``clean`` removes it, also without ``--drop``."""

    left: Builds
    """What the builder has and uses without it."""
    leases: Mapping[bytes, str]
    """The ids of the leases that end, each with the reason."""
    snapshots: Mapping[bytes, str]
    """The keys of the buckets that go, each with the reason."""


def find_let_go(layers: LayerStore, kept: Collection[bytes] = ()) -> LetGo:
    """What goes of the builder unasked; nothing if that is not known for sure.

    Args:
        layers: the classic store.
        kept: the ids of leases that stay, with their cache records and snapshots.
    """
    builds = layers.builds
    dropped = find_dropped_builds(layers)
    if dropped is None:
        return LetGo(builds, {}, {})
    spared = {build_record(lease) for lease in builds.leases if lease.id in kept}
    gone = {name: f"{RECORD_DROPPED}{why}" for name, why in dropped.items() if name not in spared}
    ended = {lease.id: gone[name] for lease in builds.leases if (name := build_record(lease)) in gone}
    left = without(layers, gone, ended)
    going = builds.snapshots.keys() - left.snapshots.keys()
    if not (ended or going):
        return LetGo(builds, {}, {})
    whose = dict(_whose(builds, gone))
    return LetGo(left, ended, {key: whose.get(key, _INTERRUPTED) for key in sorted(going)})


def _whose(builds: Builds, gone: Mapping[bytes, str]) -> Iterator[tuple[bytes, str]]:
    """The buckets that stand for the snapshots of cache records, with the reason why these go."""
    assert builds.cache is not None, "records are dropped only of those that were read"
    for name, why in gone.items():
        for key in (name, builds.cache.records[name].snapshot):
            yield key, why
            if key in builds.snapshots:
                yield from ((each, why) for each in builds.snapshots[key].directories)


def find_shared(layers: LayerStore, cache: BuildCache) -> frozenset[bytes]:
    """The cache records whose layers an image begins with: only a prune of everything removes them.

    Source: moby builder/builder-next/imagerefchecker/checker.go (v26.1 and v28.5).
    """
    used = {chain for image in layers.images.values() for chain in image.chain}
    snapshots = layers.builds.snapshots
    return frozenset(name for name in cache.records if name in snapshots and snapshots[name].chain_id in used)


def find_gone(cache: BuildCache, marked: Iterable[bytes], dropped: Iterable[bytes]) -> frozenset[bytes]:
    """All cache records that go, or that are gone once BuildKit has started.

    Args:
        cache: the records.
        marked: those that are to be marked as deleted.
        dropped: those that BuildKit drops by itself.
    """
    gone = {*marked, *dropped, *(each.id for each in cache.records.values() if each.deleted)}
    return frozenset(gone | {each.id for each in cache.records.values() if each.equal_mutable in gone})


def find_holding(layers: LayerStore, names: Collection[bytes]) -> frozenset[bytes]:
    """The ids of the leases that hold one of these layers or directories, or what is built on one.

    Args:
        layers: the classic store, as it was read.
        names: chain ids of layers, and names of directories.
    """
    return frozenset(
        lease.id
        for lease in (layers.builds.leases if names else ())
        if not _reach(layers, (key for _, key in lease.snapshots)).isdisjoint(names)
    )


def _reach(layers: LayerStore, keys: Iterable[bytes]) -> set[bytes]:
    """The layers and the directories that buckets stand for, with those below them."""
    found, waiting = set[bytes](), list(keys)
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        found.add(key)
        snapshot, layer = layers.builds.snapshots.get(key), layers.layers.get(Digest(key))
        below: list[bytes | None] = []
        below += (snapshot.parent, snapshot.committed, snapshot.chain_id) if snapshot is not None else ()
        below += (layer.parent, layer.cache_id) if layer is not None else ()
        waiting += filter(None, below)
    return found


def without(layers: LayerStore, gone: Collection[bytes], ended: Collection[bytes]) -> Builds:
    """What the builder has and uses after cache records and leases have gone.

    Args:
        layers: the classic store, as it was read.
        gone: the ids of the cache records.
        ended: the ids of the leases.
    """
    builds = layers.builds
    assert builds.cache is not None, "records go only of those that were read"
    records = {name: each for name, each in builds.cache.records.items() if name not in gone}
    left = replace(
        builds,
        leases=[lease for lease in builds.leases if lease.id not in ended],
        records=builds.records - frozenset(gone),
        cache=replace(builds.cache, records=records),
    )
    held = _held(left)
    going = {builds.cache.records[name].snapshot for name in gone if name in builds.cache.records}
    going.update(key for lease in builds.leases if lease.id in ended for _, key in lease.snapshots)
    going.update(key for key, each in builds.snapshots.items() if _has_directory(each, layers))
    going.update(each.committed for key, each in builds.snapshots.items() if key in going and each.committed)
    left.snapshots = {key: each for key, each in builds.snapshots.items() if key in held or key not in going}
    return left


def _held(builds: Builds) -> set[bytes]:
    """The buckets that a lease or a record uses, with those that these stand on."""
    used = builds.used_keys()
    waiting, held = list(builds.snapshots if used is None else used), set[bytes]()
    while waiting:
        key = waiting.pop()
        snapshot = builds.snapshots.get(key)
        if key in held or snapshot is None:
            continue
        held.add(key)
        waiting += [each for each in (snapshot.parent, snapshot.committed, snapshot.chain_id) if each]
    return held


def _has_directory(snapshot: BuildSnapshot, layers: LayerStore) -> bool:
    """Whether a bucket stands for a directory of its own, and does not only name a layer."""
    return any(each in layers.directories for each in snapshot.directories)
