"""The verdict on one root: every object's state, every lease's class, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain

from drydock.model import messages
from drydock.model.data import LayoutKind, RowKind
from drydock.model.findings import Finding, Place, Severity
from drydock.model.leases import Holding
from drydock.model.names import Kind, RawPath, Ref, UnixNano, is_container_id, split_row_name
from drydock.model.objects import DAMAGED, ObjectKind, State, StoreObject, StoreObjects, Verdict
from drydock.model.records import Lease, Metadata
from drydock.model.store import Store
from drydock.verdict.blind_spots import is_kept_blindly
from drydock.verdict.build_cache import (
    find_build_damage,
    find_dropped_leases,
    find_misnamed,
    find_records_without_snapshot,
)
from drydock.verdict.dangling import Dangling, dangling_findings, find_dangling, list_loose
from drydock.verdict.graph import Flat, Graph, Node, visited
from drydock.verdict.labels import PRUNED, expiry
from drydock.verdict.layer_store import judge_layer_store
from drydock.verdict.leases import (
    Judgement,
    classify,
    container_id,
    is_dockers,
    mounting_container,
    note_ends,
    withdraw_ownerless,
)
from drydock.verdict.plugins import judge_plugins
from drydock.verdict.reach import Marks, mark, path_to, sole_holders, trace
from drydock.verdict.recorded_sizes import find_far_sizes
from drydock.verdict.states import judge_blobs, judge_ingests, judge_snapshots
from drydock.verdict.store_choice import hidden_volumes, idle_stores

_DAMAGED = {
    (State.MISSING, ObjectKind.BLOB): messages.MISSING_BLOB,
    (State.CORRUPT, ObjectKind.BLOB): messages.CORRUPT_BLOB,
    (State.MISSING, ObjectKind.SNAPSHOT): messages.MISSING_SNAPSHOT,
    (State.CORRUPT, ObjectKind.SNAPSHOT): messages.CORRUPT_SNAPSHOT,
}


@dataclass(slots=True)
class Reach:
    """What the roots and the leases of one meta.db reach."""

    graph: Graph
    why: dict[Ref, str]
    """The roots, without leases, with the reason."""
    classes: dict[Ref, Judgement]
    """The class of each lease."""
    owned: tuple[Ref, ...]
    """The leases that have an owner."""
    live: Marks
    """Each node that a root or an owned lease reaches, with the first such root or lease."""
    leased: dict[Ref, tuple[Ref, ...]]
    """Each record that only other leases reach, with these leases."""
    _ways: dict[Node, Node | None] | None = None
    _loose: list[Ref] | None = None
    _dangling: list[Dangling] | None = None

    def __contains__(self, ref: Ref) -> bool:
        """Whether anything reaches a record."""
        return ref in self.live or ref in self.leased or Flat(ref) in self.live

    def holders(self, ref: Ref) -> tuple[State, tuple[Ref, ...]]:
        """The state of a record, and what keeps it.

        A live record is kept by the root that :meth:`path` begins with, where a node that is not flat comes first.
        """
        start = self.live.get(ref) or self.live.get(Flat(ref))
        if start is not None:
            return State.LIVE, (start,)
        leases = self.leased.get(ref, ())
        return State.LEASED if leases else State.UNREACHABLE, leases

    def refs(self) -> Iterator[Ref]:
        """The reference of everything that is reached, recorded or not; some come twice."""
        yield from map(visited, self.live)
        yield from self.leased

    def absent(self) -> set[Ref]:
        """The references that are reached and have no record."""
        refs = chain(map(visited, self.live.without_places()), self.leased)
        return {ref for ref in refs if ref not in self.graph.records}

    def starts(self) -> list[Ref | None]:
        """For each record of a blob its start in :attr:`live`, None for none."""
        return self.live.starts()

    def loose(self, metadata: Metadata) -> list[Ref]:
        """The records that nothing reaches; computed lazily."""
        if self._loose is None:
            self._loose = list_loose(self, metadata)
        return self._loose

    def dangling(self, store: Store) -> list[Dangling]:
        """The dangling references of what is reached; computed lazily."""
        if self._dangling is None:
            self._dangling = find_dangling(self, store, self.loose(store.metadata))
        return self._dangling

    def ways(self) -> dict[Node, Node | None]:
        """The predecessor of each live node on its path from a root; computed lazily."""
        if self._ways is None:
            self._ways = trace(self.graph, [*self.why, *self.owned])
        return self._ways

    def path(self, ref: Ref) -> list[Node]:
        """The path from a root to ``ref``; empty if no root reaches it."""
        nodes: tuple[Node, ...] = ref, Flat(ref)
        for node in nodes:
            if node in self.live:
                return path_to(self.ways(), node)
        return []


def reach(
    store: Store,
    now: UnixNano,
    ended: Iterable[Ref] = (),
    kept: Mapping[Ref, str] | None = None,
    before: Reach | None = None,
    *,
    ignored: AbstractSet[bytes] = frozenset(),
) -> Reach:
    """Mark the records of a store as containerd's GC would at ``now``.

    Args:
        store: the root as it was read.
        now: the time that expiries are compared with.
        ended: leases and images to treat as deleted.
        kept: further records to treat as roots, with the reason.
        before: an earlier result for the same store and ``now``, whose graph and lease classes are used again.
        ignored: namespaces whose records are no roots; what their leases hold is held all the same.
    """
    graph = Graph(store.metadata) if before is None else before.graph
    gone = frozenset(ended)
    why = {
        **(kept or {}),
        **{ref: why for ref, why in graph.roots(now) if ref not in gone and ref.namespace not in ignored},
    }
    classes = (
        {record.ref: classify(record, graph, store.owners, now) for record in store.metadata.leases}
        if before is None
        else before.classes
    )
    if before is None:
        classes.update(withdraw_ownerless(classes, graph, store.owners))
        classes.update(find_dropped_leases(store, classes))
    owned = tuple(ref for ref, lease in classes.items() if lease.kind.is_owned and ref not in gone)
    live = mark(graph, [*why, *owned])
    leased: dict[Ref, list[Ref]] = {}
    for ref, lease in classes.items():
        if lease.kind.is_owned or lease.kind.holds_nothing or ref in gone:
            continue
        for node in mark(graph, [ref], within=live):
            holders = leased.setdefault(visited(node), [])
            if ref not in holders:
                holders.append(ref)
    return Reach(graph, why, classes, owned, live, {ref: tuple(holders) for ref, holders in leased.items()})


def judge(store: Store, now: UnixNano) -> tuple[Verdict, Reach]:
    """Compare records, rows and data of one root.

    Returns:
        The verdict, and what was marked for it.
    """
    reached = reach(store, now)
    objects = judge_blobs(store, reached.holders, reached.starts())
    objects.extend(judge_ingests(store, reached.holders))
    objects.extend(judge_snapshots(store, reached.holders))
    damaged = [found for found in objects.others() if found.state in DAMAGED]
    findings = [
        *store.all_findings(),
        *_emptied(store),
        *(
            each
            for records in store.owners.stores
            if records.data in store.root.layer_stores
            for each in hidden_volumes(records, store.owners.containers)
        ),
        *note_ends(store, now),
        *_blocking(store),
        *dangling_findings(reached.dangling(store), store.metadata.path),
        *(damage_finding(store, found) for found in damaged),
        *find_far_sizes(store, objects.others()),
        *find_records_without_snapshot(store),
        *find_misnamed(store),
    ]
    verdict = Verdict(store, now, objects, _holdings(store, reached, objects), findings)
    for plugins in store.plugin_stores:
        verdict.objects.extend(judge_plugins(plugins))
    for layers in store.layer_stores:
        judged = judge_layer_store(layers, now)
        verdict.objects.extend(judged.objects)
        verdict.leases += judged.leases
        verdict.findings += (*judged.findings, *find_build_damage(layers))
        verdict.kept[layers.data] = judged.kept
        verdict.let_go[layers.data] = judged.let_go
    verdict.findings += idle_stores(verdict)
    return verdict, reached


def _blocking(store: Store) -> Iterator[Finding]:
    """Snapshots of erofs that some versions of containerd cannot remove, so that their GC stops there.

    containerd first clears a flag of ``layer.erofs``: in v2.3.4 the file must exist, in v2.4.2 it need not
    (plugins/snapshots/erofs/erofs.go Remove; core/metadata/snapshot.go pruneBranch).
    """
    for backend in store.backends.values():
        if backend.layout is not LayoutKind.EROFS or not backend.complete:
            continue
        whole = {entry.id for entry in backend.entries if not entry.lacks_layer}
        for row in backend.rows.values():
            if row.kind is RowKind.COMMITTED and row.id not in whole:
                place = Place(RawPath(backend.path + b"/metadata.db"), bucket=(b"v1", b"snapshots", row.name))
                yield messages.NO_EROFS_LAYER(snapshot=row.name, number=row.id, snapshotter=backend.name).at(
                    place, row.name
                )


def _holdings(store: Store, reached: Reach, objects: StoreObjects) -> list[Holding]:
    holding = [lease for lease in store.metadata.leases if not reached.classes[lease.ref].kind.holds_nothing]
    if not holding:
        return [_holding(lease, reached.classes[lease.ref], 0) for lease in store.metadata.leases]
    owned = any(lease.kind.is_owned for lease in reached.classes.values())
    rooted = mark(reached.graph, reached.why) if owned else reached.live
    sole = sole_holders(reached.graph, rooted, (lease.ref for lease in holding))
    only: dict[Ref, int] = {}
    has_blobs = any(ref.kind is Kind.BLOB for ref in sole)
    for found in objects if has_blobs else objects.others():
        refs = found.refs
        if is_kept_blindly(store, found):
            continue
        if len(refs) == 1:
            holder = sole.get(refs[0])
        else:
            holders = {sole[ref] for ref in refs if ref in sole}
            if any(ref in rooted or Flat(ref) in rooted for ref in refs):
                holders.add(None)
            holder = holders.pop() if len(holders) == 1 else None
        if holder is not None:
            only[holder] = only.get(holder, 0) + found.allocated
    return [_holding(lease, reached.classes[lease.ref], only.get(lease.ref, 0)) for lease in store.metadata.leases]


def _holding(lease: Lease, judgement: Judgement, only: int) -> Holding:
    kind, reason, owner = judgement
    resources = len(lease.blobs) + len(lease.ingests) + len(lease.images) + len(lease.snapshots)
    pruned = PRUNED in lease.labels
    return Holding(lease.ref, kind, reason, owner, lease.created, expiry(lease.labels), resources, only, pruned)


def _emptied(store: Store) -> Iterator[Finding]:
    """A finding if dockerd's folder of containers is empty, and leases, snapshots or rows show that it had some."""
    if not store.owners.has_no_container:
        return
    leases = sum(_is_containers(lease.namespace, lease.id) for lease in store.metadata.leases)
    snapshots = {each.name for each in store.metadata.snapshots if _is_containers(each.namespace, each.key)}
    rows = {
        name
        for backend in store.backends.values()
        for name in backend.rows
        if name not in snapshots and _is_containers(*split_row_name(name)[::2])
    }
    counts = {"leases": leases, "snapshots": len(snapshots), "rows without a record": len(rows)}
    counted = ", ".join(f"{what}: {number}" for what, number in counts.items() if number)
    for data in store.root.docker if counted else ():
        path = RawPath(data + b"/containers")
        yield messages.NO_CONTAINERS(folder=path, counts=counted).at(Place(path))


def _is_containers(namespace: bytes, key: bytes) -> bool:
    """Whether dockerd gives such a name to a lease or a snapshot of a container, or of its image mounts."""
    return is_dockers(namespace) and (is_container_id(container_id(key)) or mounting_container(key) is not None)


def damage_finding(store: Store, found: StoreObject) -> Finding:
    """The finding about a damaged object."""
    # The next GC drops what nothing reaches, damaged or not: a note is enough.
    severity = Severity.NOTE if found.reach is State.UNREACHABLE else Severity.DAMAGE
    remedy = "" if severity is Severity.NOTE else None
    message, place = _DAMAGED[found.state, found.kind], Place(store.metadata.path)
    return message(id=found.id, problem=found.note).at(place, found.id, severity=severity, remedy=remedy)
