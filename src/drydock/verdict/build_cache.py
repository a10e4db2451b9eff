"""Which of its cache records BuildKit drops by itself, and which it keeps although builds on them fail.

Sources: buildkit cache/manager.go init, getRecord, parentsOf, DiskUsage, cache/refs.go (v0.12 to v0.34: the same
questions in the same order).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from drydock.model import messages
from drydock.model.build_cache import BuildCache, CacheRecord
from drydock.model.findings import Finding, Place
from drydock.model.layer_store import LayerStore
from drydock.model.leases import LeaseClass
from drydock.model.names import Kind, Ref
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.verdict.leases import Judgement, build_record, is_dockers, is_standalone
from drydock.verdict.similar_names import find_near

RECORD_DROPPED = "BuildKit drops its cache record: "
"""Why a lease or a snapshot goes, before the reason why the record does."""
_REMOTE = b"containerd.io/snapshot/remote"


class _Unclear(Exception):
    """What BuildKit makes of the records is not known."""


@dataclass(slots=True)
class _Start:
    """What BuildKit decides about each record when it starts."""

    records: Mapping[bytes, CacheRecord]
    snapshots: Mapping[bytes, bool]
    """By key: whether the snapshot is one that is not fetched yet."""
    blobs: AbstractSet[bytes]
    snapshotter: bytes
    there: Callable[[], Iterator[Ref]]
    """Gives all snapshots and blobs that a name in a record may mean, without their namespace."""
    reasons: dict[bytes, str | None] = field(default_factory=dict)
    """Why it drops a record; None if it keeps it."""

    def decide(self) -> None:
        """Decide about every record, after those that it needs.

        Raises:
            _Unclear: records need each other in a circle.
        """
        for name in self.records:
            waiting = {name: None}
            while waiting:
                record = self.records[next(reversed(waiting))]
                needed = (*record.parents, record.equal_mutable)
                open_ = next((each for each in needed if each in self.records and each not in self.reasons), None)
                if open_ in waiting:
                    raise _Unclear
                if open_ is not None:
                    waiting[open_] = None
                    continue
                self.reasons[record.id] = self._reason(record)
                del waiting[record.id]

    def near(self) -> Iterator[tuple[Ref, Ref]]:
        """Each name in a record that nothing has, with one that something has and that is nearly the same."""
        prefix = self.snapshotter + b"/"
        absent: set[Ref] = set()
        for record in self.records.values():
            needed = (*record.parents, record.equal_mutable)
            absent.update(Ref(Kind.LEASE, b"", each) for each in needed if each and each not in self.records)
            snapshot = record.id if record.is_mutable else record.snapshot
            if snapshot not in self.snapshots:
                absent.add(Ref(Kind.SNAPSHOT, b"", prefix + snapshot))
            if record.blob_only and record.blob and record.blob not in self.blobs:
                absent.add(Ref(Kind.BLOB, b"", record.blob))
        if absent:
            yield from find_near(absent, [*(Ref(Kind.LEASE, b"", each) for each in self.records), *self.there()])

    def dropped(self) -> dict[bytes, str]:
        """The records that BuildKit drops, each with the reason."""
        dropped = {name: why for name, why in self.reasons.items() if why is not None}
        return {**dropped, **dict(self.dropped_by_usage())}

    def broken(self) -> list[CacheRecord]:
        """The records that BuildKit keeps although their snapshot does not exist."""
        dropped = self.dropped()
        return [
            record
            for record in self.records.values()
            if record.id not in dropped
            and not (record.is_mutable or record.joined or record.blob_only)
            and self.records.get(record.equal_mutable) is None
            and record.snapshot not in self.snapshots
        ]

    def _loads(self, name: bytes) -> bool:
        return name in self.records and self.reasons[name] is None

    def _reason(self, record: CacheRecord) -> str | None:
        for parent in record.parents:
            if not self._loads(parent):
                return f"its parent {shown(parent)} {'is dropped' if parent in self.records else 'is missing'}"
        if record.equal_mutable:
            if self._loads(record.equal_mutable):
                return None
            if record.snapshot not in self.snapshots:
                return "neither its snapshot nor the record that had its data is there"
        if record.deleted:
            return "its removal had begun"
        if record.is_mutable and record.id not in self.snapshots:
            return "its snapshot is missing"
        if record.blob_only and record.blob:
            if record.blob not in self.blobs:
                return "its layer was never unpacked, and the blob is missing"
            if self.snapshots.get(record.snapshot, False):
                return "its layer is not on this host"
        return None

    def dropped_by_usage(self) -> Iterator[tuple[bytes, str]]:
        """The records that start keeps, and that the first disk-usage run drops: what an interrupted step left."""
        kept = [record for record in self.records.values() if self.reasons[record.id] is None]
        pairs = {record.equal_mutable: record for record in kept if record.equal_mutable in self.records}
        needed = {parent for record in kept for parent in record.parents}
        for record in kept:
            if not record.is_mutable or record.equal_mutable or record.retain or record.size is not None:
                continue
            final = pairs.get(record.id)
            if final is not None and (final.retain or final.id in needed):
                continue
            if record.id in needed:
                continue
            why = "an interrupted build left it, and its first disk-usage run drops it"
            yield record.id, why
            if final is not None:
                yield final.id, why


def find_dropped(store: Store, cache: BuildCache) -> dict[bytes, str]:
    """The records of a worker that BuildKit drops by itself, each with the reason.

    That is at its next start, or at its first disk-usage run: ``docker system df``, ``buildctl du`` or, one second
    after the start, its own GC where that is on.

    Returns:
        None of them if the engine may be at work, if not all records of the store are known, or if what BuildKit makes
        of its records is not, as when one names what does not exist, and something has nearly that name.
    """
    start = _decided(_read(store, cache, frozenset()))
    return {} if start is None else start.dropped()


def find_dropped_builds(layers: LayerStore) -> dict[bytes, str] | None:
    """As :func:`find_dropped`, of the builder of a classic store.

    Returns:
        None if dockerd may be at work, if not all that the builder has could be read, or if what BuildKit makes of its
        records is not known.
    """
    start = _decided(_read_classic(layers))
    return None if start is None else start.dropped()


def find_broken(store: Store, cache: BuildCache, gone: AbstractSet[Ref] = frozenset()) -> list[CacheRecord]:
    """The records that BuildKit keeps, and whose snapshot does not exist: a build that uses one fails.

    A record whose layer is not unpacked has no snapshot yet, and one of a merge or a diff gets its own when it is used.

    Args:
        store: the root.
        cache: the records of a worker.
        gone: snapshots whose records are about to be deleted.
    """
    start = _decided(_read(store, cache, gone))
    return [] if start is None else start.broken()


def find_dropped_leases(store: Store, classes: Mapping[Ref, Judgement]) -> dict[Ref, Judgement]:
    """The leases of dropped records, as BuildKit itself ends them."""
    dropped: dict[bool, dict[bytes, str]] = {True: {}, False: {}}
    staying: dict[bool, set[bytes]] = {True: set(), False: set()}
    for cache in store.owners.caches:
        its = find_dropped(store, cache)
        dropped[cache.is_dockers].update(its)
        # Several workers may have a record of the same name; one that stays keeps the lease.
        staying[cache.is_dockers] |= cache.records.keys() - its.keys()
    found: dict[Ref, Judgement] = {}
    if not any(dropped.values()):
        return found
    for lease in store.metadata.leases:
        name = build_record(lease)
        is_of_docker = is_dockers(lease.namespace)
        if name is None or not (is_of_docker or is_standalone(lease.namespace)):
            continue
        why = dropped[is_of_docker].get(name)
        if why is not None and name not in staying[is_of_docker] and not classes[lease.ref].kind.holds_nothing:
            owner = f"cache record {shown(name)}"
            found[lease.ref] = Judgement(LeaseClass.DROPPED, f"{RECORD_DROPPED}{why}", owner)
    return found


def find_records_without_snapshot(store: Store) -> Iterator[Finding]:
    """A finding for each record that BuildKit keeps and whose snapshot does not exist."""
    for cache in store.owners.caches:
        for record in find_broken(store, cache):
            place = Place(cache.path, bucket=(b"_main", record.id))
            yield messages.RECORD_WITHOUT_SNAPSHOT(record=record.id, snapshot=record.snapshot).at(place, record.id)


def find_misnamed(store: Store) -> Iterator[Finding]:
    """A finding for each name in a cache record that nothing has, but something nearly."""
    for cache in store.owners.caches:
        start = _read(store, cache, frozenset())
        for absent, other in start.near() if start is not None else ():
            found = messages.MISNAMED_BY_CACHE(cache=cache.path, absent=absent.key, other=other.key)
            yield found.at(Place(cache.path, bucket=(b"_main",)), absent.key)


def find_build_damage(layers: LayerStore) -> Iterator[Finding]:
    """The findings of the two functions above, of the builder of a classic store."""
    start, cache = _read_classic(layers), layers.builds.cache
    if start is None or cache is None:
        return
    for absent, other in start.near():
        found = messages.MISNAMED_BY_CACHE(cache=cache.path, absent=absent.key, other=other.key)
        yield found.at(Place(cache.path, bucket=(b"_main",)), absent.key)
    decided = _decided(start)
    for record in decided.broken() if decided is not None else ():
        place = Place(cache.path, bucket=(b"_main", record.id))
        text = messages.CLASSIC_RECORD_WITHOUT_SNAPSHOT(record=record.id, snapshot=record.snapshot)
        yield text.at(place, record.id)


def _decided(start: _Start | None) -> _Start | None:
    # A wrong byte in one name must not drop what it meant.
    if start is None or next(start.near(), None) is not None:
        return None
    try:
        start.decide()
    except _Unclear:
        return None
    return start


def _read(store: Store, cache: BuildCache, gone: AbstractSet[Ref]) -> _Start | None:
    if store.live or not store.metadata.complete or not cache.is_clear or not cache.records:
        return None
    spaces = _spaces(store, cache)
    snapshots: dict[bytes, bool] = {}
    for snapshot in store.metadata.snapshots:
        if snapshot.snapshotter == cache.snapshotter and snapshot.namespace in spaces and snapshot.ref not in gone:
            snapshots[snapshot.key] = snapshots.get(snapshot.key, True) and _REMOTE in snapshot.labels
    # Of very many blobs, few are those of records.
    wanted = {record.blob for record in cache.records.values() if record.blob_only and record.blob}
    blobs = frozenset(
        ref.key
        for ref in (store.metadata.blobs.refs() if wanted else ())
        if ref.key in wanted and ref.namespace in spaces
    )

    def there() -> Iterator[Ref]:
        yield from (
            Ref(Kind.SNAPSHOT, b"", each.ref.key) for each in store.metadata.snapshots if each.namespace in spaces
        )
        yield from (Ref(Kind.BLOB, b"", ref.key) for ref in store.metadata.blobs.refs() if ref.namespace in spaces)

    return _Start(cache.records, snapshots, blobs, cache.snapshotter, there)


def _read_classic(layers: LayerStore) -> _Start | None:
    builds = layers.builds
    is_known = builds.snapshots_known and builds.leases_known and layers.complete
    if layers.live or not is_known or builds.cache is None or not builds.cache.is_clear:
        return None
    snapshots = {key: False for key in (*builds.snapshots, *layers.layers) if layers.has_snapshot(key)}
    snapshotter = builds.cache.snapshotter

    def there() -> Iterator[Ref]:
        yield from (Ref(Kind.SNAPSHOT, b"", snapshotter + b"/" + key) for key in (*builds.snapshots, *layers.layers))
        yield from (Ref(Kind.BLOB, b"", digest) for digest in builds.blobs)

    return _Start(builds.cache.records, snapshots, builds.blobs, snapshotter, there)


def _spaces(store: Store, cache: BuildCache) -> set[bytes]:
    """The namespaces that the BuildKit of the records works in."""
    return set(filter(is_dockers if cache.is_dockers else is_standalone, store.metadata.namespaces))
