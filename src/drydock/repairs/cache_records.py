"""BuildKit's cache records on which builds fail: what a repair drops, together with all that depends on it.

BuildKit keeps a finished record without asking for its snapshot, also over restarts (buildkit cache/manager.go
getRecord, v0.12 to v0.34). A record whose parent is missing it drops by itself, so none that needs a dropped one stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from drydock.model.build_cache import BuildCache
from drydock.model.leases import LeaseClass
from drydock.model.names import RawPath, Ref
from drydock.model.plans import FieldDrop, LeaseEnd
from drydock.model.store import Store
from drydock.verdict.build_cache import find_broken
from drydock.verdict.leases import Judgement, build_record, is_dockers, is_standalone
from drydock.verdict.reach import closure

_WHY = "builds that use it fail, because its snapshot, or that of a record that it depends on, does not exist"
_ENDS = "its cache record goes"


def find_repaired(store: Store, gone: AbstractSet[Ref] = frozenset()) -> dict[RawPath, list[bytes]]:
    """The cache records that a repair drops, sorted, by the absolute path of their database.

    Args:
        store: the root.
        gone: snapshots whose records the repair deletes.
    """
    found = {cache.path: _with_dependants(cache, (each.id for each in find_broken(store, cache, gone)))
             for cache in store.owners.caches}  # fmt: skip
    return {path: names for path, names in found.items() if names}


def drop_records(database: RawPath, keys: Iterable[tuple[tuple[bytes, ...], bytes]]) -> Iterator[FieldDrop]:
    """The deletions of cache records.

    Args:
        database: absolute path of their database.
        keys: everything in it that belongs to them.
    """
    for bucket, key in keys:
        yield FieldDrop(None, bucket, key, _WHY, database)


def end_leases(
    store: Store, classes: Mapping[Ref, Judgement], repaired: Mapping[RawPath, list[bytes]]
) -> Iterator[LeaseEnd]:
    """The leases of dropped records, if no other worker has a record of the same name."""
    dropped, stay = {True: set[bytes](), False: set[bytes]()}, {True: set[bytes](), False: set[bytes]()}
    for cache in store.owners.caches:
        gone = repaired.get(cache.path, ())
        dropped[cache.is_dockers].update(gone)
        stay[cache.is_dockers].update(cache.records.keys() - gone)
    for lease in store.metadata.leases:
        name, docker = build_record(lease), is_dockers(lease.namespace)
        its = docker or is_standalone(lease.namespace)
        if name is not None and its and name in dropped[docker] and name not in stay[docker]:
            kind = classes[lease.ref].kind
            if kind in (LeaseClass.BUILD_CACHE, LeaseClass.TEMPORARY):
                yield LeaseEnd(lease.ref, kind, _ENDS)


def _with_dependants(cache: BuildCache, names: Iterable[bytes]) -> list[bytes]:
    """These records, and all that need one of them."""
    found = set(names)
    if not found:
        return []
    needing: dict[bytes, list[bytes]] = {}
    for record in cache.records.values():
        for name in (*record.parents, record.equal_mutable):
            if name:
                needing.setdefault(name, []).append(record.id)
    return sorted(closure(found, needing))
