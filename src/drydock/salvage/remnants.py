"""Images, containers and leases among the statements of a salvaged meta.db (containerd metadata/buckets.go, v2.1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from bbolt_reader.statements import Names, Statement, StatementStanding
from drydock.evidence.containerd.encoding import Undecodable, binary_time, varint
from drydock.model.names import Digest, Kind, UnixNano, is_digest
from drydock.model.records import Container, Image, Lease
from drydock.model.remnants import RecordStanding, Remnant

Where: TypeAlias = "tuple[int | None, Names]"
"""The fragment that a path starts at, if it is none of the tree, and the path."""

_KINDS: Final = {b"images": Kind.IMAGE, b"containers": Kind.CONTAINER, b"leases": Kind.LEASE}
_ORDER: Final = {StatementStanding.CURRENT: 0, StatementStanding.PREVIOUS: 1, StatementStanding.DELETED: 2}
_HELD: Final = frozenset({b"content", b"snapshots", b"ingests", b"images"})


def find_remnants(statements: Iterable[Statement]) -> list[Remnant]:
    """Find the records, sorted: images, containers, leases; of each current ones, previous ones, deleted ones, by name.

    Args:
        statements: of a salvage; of two that contradict each other, the newer one first.
    """
    remnants = list(_RecordFinder(statements).records())
    kinds = {Image: 0, Container: 1, Lease: 2}
    standings = list(RecordStanding)
    remnants.sort(
        key=lambda each: (
            kinds[type(each.record)],
            standings.index(each.standing),
            each.record.namespace,
            each.name,
            each.offset,
        )
    )
    return remnants


class _RecordFinder:
    def __init__(self, statements: Iterable[Statement]) -> None:
        self._buckets: defaultdict[Where, dict[bytes, Statement]] = defaultdict(dict)
        for each in statements:
            self._buckets[each.fragment, each.path].setdefault(each.key, each)

    def records(self) -> Iterator[Remnant]:
        named: dict[Where, Kind] = {}
        for (fragment, path), entries in self._buckets.items():
            if fragment is None and len(path) == 3 and path[0] == b"v1" and path[2] in _KINDS:
                for key, statement in entries.items():
                    if statement.value is None:
                        named[None, (*path, key)] = _KINDS[path[2]]
        for where, kind in named.items():
            yield from self._named(where, kind)
        for where in list(self._buckets):
            if where not in named:
                shape = self._shape(where)
                if shape is not None and not (where[0] is None and where[1][:1] == (b"v1",)):
                    yield self._make(where, shape, b"", where[1][-1] if where[1] else b"")

    def _named(self, where: Where, kind: Kind) -> Iterator[Remnant]:
        fragment, path = where
        own = self._buckets[fragment, path[:-1]][path[-1]]
        shape = self._shape(where) if where in self._buckets else kind
        # Old pages can lead to pages that were reused since.
        if own.standing is StatementStanding.CURRENT or shape is kind:
            yield self._make(where, kind, path[1], path[-1])

    def _shape(self, where: Where) -> Kind | None:
        """The kind of record that a bucket is, by its fields."""
        entries = self._buckets[where]
        if b"target" in entries and b"digest" in self._inner(where, b"target"):
            return Kind.IMAGE
        if b"spec" in entries and (b"runtime" in entries or b"snapshotKey" in entries):
            return Kind.CONTAINER
        times = b"createdat" in entries and b"updatedat" not in entries
        if times and set(entries) <= {b"createdat", b"labels", *_HELD}:
            return Kind.LEASE
        return None

    def _inner(self, where: Where, *names: bytes) -> Mapping[bytes, Statement]:
        return self._buckets.get((where[0], (*where[1], *names)), {})

    def _make(self, where: Where, kind: Kind, namespace: bytes, name: bytes) -> Remnant:
        fragment, path = where
        entries = self._buckets.get(where, {})
        own = self._buckets.get((fragment, path[:-1]), {}).get(path[-1]) if path else None
        place = own or min(entries.values(), key=lambda each: _ORDER[each.standing])
        labels = {key: each.value for key, each in self._inner(where, b"labels").items() if each.value is not None}
        created, updated = _time(entries, b"createdat"), _time(entries, b"updatedat")
        record: Image | Container | Lease
        if kind is Kind.IMAGE:
            target = self._inner(where, b"target")
            digest = _text(target, b"digest")
            record = Image(
                namespace,
                name,
                Digest(digest if is_digest(digest) else b""),
                _text(target, b"mediatype"),
                _size(target),
                labels,
                created,
                updated,
            )
        elif kind is Kind.CONTAINER:
            record = Container(
                namespace,
                name,
                _text(entries, b"image"),
                _text(entries, b"snapshotter"),
                _text(entries, b"snapshotKey"),
                _text(entries, b"sandboxid"),
                _text(self._inner(where, b"runtime"), b"name"),
                labels,
                created,
                updated,
            )
        else:
            record = Lease(
                namespace,
                name,
                labels,
                tuple(Digest(key) for key in self._inner(where, b"content")),
                tuple(self._inner(where, b"ingests")),
                tuple(self._inner(where, b"images")),
                tuple(
                    (snapshotter, key)
                    for snapshotter in self._inner(where, b"snapshots")
                    for key in self._inner(where, b"snapshots", snapshotter)
                ),
                created,
            )
        return Remnant(record, RecordStanding(place.standing.value), place.page, place.offset)


def _text(entries: Mapping[bytes, Statement], key: bytes) -> bytes:
    found = entries.get(key)
    return found.value or b"" if found is not None else b""


def _time(entries: Mapping[bytes, Statement], key: bytes) -> UnixNano | None:
    try:
        return binary_time(_text(entries, key))
    except Undecodable:
        return None


def _size(entries: Mapping[bytes, Statement]) -> int | None:
    try:
        return varint(_text(entries, b"size"))
    except Undecodable:
        return None
