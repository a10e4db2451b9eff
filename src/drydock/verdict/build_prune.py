"""What ``docker builder prune`` and ``buildctl prune`` remove of BuildKit's cache records.

Source: buildkit cache/manager.go pruneOnce, cache/refs.go remove and release, snapshot/imagerefchecker/checker.go
(v0.20 to v0.34). No build runs, so a record is in use only if a record that stays needs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from drydock.model.build_cache import BuildCache, CacheRecord
from drydock.model.names import Kind, Ref, UnixNano
from drydock.model.records import Blob
from drydock.model.store import Store
from drydock.verdict.build_cache import find_dropped
from drydock.verdict.graph import Graph, visited
from drydock.verdict.labels import layers_of
from drydock.verdict.leases import is_dockers

_SPARED = (b"internal", b"frontend")
"""The types of records that only a prune of everything removes."""


def find_pruned(
    store: Store,
    graph: Graph,
    cache: BuildCache,
    *,
    everything: bool,
    kept: Collection[bytes] = (),
    before: UnixNano | None = None,
) -> list[bytes]:
    """The ids of the records that a prune removes, sorted.

    Args:
        store: the root.
        graph: of its records.
        cache: the records of a worker.
        everything: as ``--all``: internal records, frontends, and what an image shares go too.
        kept: the ids of records that stay, with all that they need.
        before: records that were used later stay; one that was never used goes, however new it is, unless BuildKit
            itself uses it when it starts. None: all go.
    """
    if before is not None:
        kept = {*kept, *(name for name, each in cache.records.items() if (each.last_used or before) > before)}
        kept.update(_used_at_start(cache))
    dropped = find_dropped(store, cache)
    alive = {name: record for name, record in cache.records.items() if name not in dropped}
    shared = frozenset[bytes]() if everything else cache.shared
    if cache.is_dockers and not everything:
        shared = _shared(store, graph, alive)
    return sorted(_Prune(alive, shared, frozenset(kept), everything=everything).removed())


@dataclass(slots=True)
class _Prune:
    alive: dict[bytes, CacheRecord]
    shared: frozenset[bytes]
    kept: frozenset[bytes]
    _uses: Counter[bytes] = field(default_factory=Counter)
    _finals: dict[bytes, CacheRecord] = field(default_factory=dict)
    everything: bool = False

    def removed(self) -> Iterator[bytes]:
        """The ids that go, round by round: what nothing needs goes, and then what it needed."""
        for record in self.alive.values():
            self._uses.update(record.parents)
            if record.equal_mutable in self.alive:
                self._finals[record.equal_mutable] = record
        left = dict(self.alive)
        grows = True
        while grows:
            gone = [record for record in left.values() if self._goes(record)]
            grows = bool(gone)
            for record in gone:
                for each in (record, self._finals.get(record.id)):
                    if each is not None and left.pop(each.id, None) is not None:
                        self._uses.subtract(each.parents)
                        yield each.id

    def _goes(self, record: CacheRecord) -> bool:
        if record.equal_mutable in self.alive:
            return False  # it goes with its mutable twin
        final = self._finals.get(record.id)
        twins = [record] if final is None else [record, final]
        if any(self._uses[each.id] > 0 or each.id in self.kept for each in twins):
            return False
        return self.everything or not (record.kind in _SPARED or record.id in self.shared)


def _used_at_start(cache: BuildCache) -> Iterator[bytes]:
    """The records that the first disk-usage run uses, to learn their size (buildkit cache/refs.go commit, v0.34)."""
    twins = {each.equal_mutable for each in cache.records.values()}
    for name, each in cache.records.items():
        if each.is_mutable and each.retain and each.size is None and name not in twins:
            yield name


def _shared(store: Store, graph: Graph, alive: dict[bytes, CacheRecord]) -> frozenset[bytes]:
    """The records whose layers are, all together, those of an image of dockerd.

    The digests are compared as one text: a record without a blob adds nothing to it.
    """
    images = {
        b"".join(layers)
        for image in store.metadata.images
        if is_dockers(image.namespace)
        for layers in _layers(graph, Ref(Kind.BLOB, image.namespace, image.target), set())
    } - {b""}
    longest = max(map(len, images), default=0)
    chains: dict[bytes, bytes] = {}
    begun: set[bytes] = set()

    def chain(name: bytes) -> bytes:
        waiting = [name]
        while waiting:
            record = alive[waiting[-1]]
            needed = _below(record, alive)
            open_ = [each for each in needed if each not in chains]
            if open_ and record.id not in begun:
                begun.add(record.id)
                waiting += open_
                continue
            # In a circle, which BuildKit does not make, one of them is open still. Merges of merges double each time.
            own = b"" if record.joined and not record.blob else record.blob
            chains[record.id] = (b"".join(chains.get(each, b"") for each in needed) + own)[: longest + 1]
            waiting.pop()
        return chains[name]

    return frozenset(name for name in alive if chain(name) in images)


def _below(record: CacheRecord, alive: dict[bytes, CacheRecord]) -> list[bytes]:
    """The records whose layers a record has too. A diff with a blob of its own has only that."""
    if record.joined and record.is_diff:
        return [] if record.blob else [each for each in record.joined[-1:] if each in alive]
    return [each for each in record.parents if each in alive]


def _layers(graph: Graph, target: Ref, seen: set[Ref]) -> Iterator[list[bytes]]:
    """The layers of each manifest that an image's target leads to, from the base up."""
    record = graph.records.get(target)
    if not isinstance(record, Blob) or target in seen:
        return
    seen.add(target)
    layers = layers_of(record.labels)
    if layers:
        yield layers
        return
    for each in map(visited, graph.targets(target)):
        yield from _layers(graph, each, seen)
