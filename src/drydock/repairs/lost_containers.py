"""Containers of dockerd that meta.db no longer knows: after an older meta.db the engine would delete what they wrote.

dockerd keeps of a container its own folder, a lease with its id and two snapshots: ``<id>-init`` on its image's, and on
that ``<id>`` (moby daemon/containerd/image_snapshot.go createLayer, prepareInitLayer, v28.5). A snapshotter's row that
no record names goes with its directory at the next collection that removes anything of the snapshotter (containerd
core/metadata/snapshot.go garbageCollect, v2.1), and dockerd does not load a container without its snapshot or its lease
(GetLayerByID). Where the container's folder, the rows down to the base and their directories are there and agree, the
records are put in again: a row has the name, the parent and the labels that its record has (createSnapshot there).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from drydock.model import messages
from drydock.model.data import Backend, Row, RowKind, SnapshotEntry
from drydock.model.findings import Finding, Place
from drydock.model.names import Kind, Ref, UnixNano, is_container_id, snapshot_ref, split_row_name, split_snapshot_key
from drydock.model.plans import LeaseRecord, SnapshotRecord
from drydock.model.repairs import LostContainer, LostContainers
from drydock.model.roots import DockerContainer
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.verdict.blind_spots import backend_blindness
from drydock.verdict.leases import is_dockers

_ADOPT = messages.ADOPTABLE_CONTAINER.remedy


def find_lost_containers(store: Store, made: UnixNano) -> LostContainers:
    """The containers that the engine would no longer have once it is started, with what is to be put in.

    Args:
        store: as read.
        made: the time of records whose rows say none.
    """
    finder = _Finder(store, made)
    found = list(finder.lost())
    return LostContainers(tuple(found), tuple(finder.snapshots.values()), tuple(finder.leases))


def give_back(store: Store, lost: LostContainers) -> None:
    """Put the records of what can be given back into ``store``, as if they were there."""
    snapshots = {snapshot.ref: snapshot for snapshot in store.metadata.snapshots}
    for each in lost.snapshots:
        snapshots[each.ref] = each.record()
    for each in lost.snapshots:
        parent = snapshots.get(each.parent_ref) if each.links and each.parent_ref is not None else None
        if parent is not None:
            key = split_snapshot_key(each.ref.key)[1]
            snapshots[parent.ref] = parent._replace(children=tuple(sorted((*parent.children, key))))
    leases = [*store.metadata.leases, *(each.record() for each in lost.leases)]
    store.metadata = replace(store.metadata, snapshots=list(snapshots.values()), leases=leases)


def not_given_back(lost: LostContainers) -> LostContainers:
    """The same containers where nothing is put in: of each it is said what would give it its records back."""
    return LostContainers(tuple(each._replace(reason=each.reason or _ADOPT) for each in lost.containers))


def lost_findings(lost: LostContainers, store: Store) -> Iterator[Finding]:
    """What is said of each that stays without its records."""
    for each in lost.containers:
        if not each.reason:
            continue
        message = messages.ADOPTABLE_CONTAINER if each.reason == _ADOPT else messages.LOST_CONTAINER
        yield message(container=each.name, missing=each.missing).at(Place(store.metadata.path), each.name)


class _Finder:
    def __init__(self, store: Store, made: UnixNano) -> None:
        self._store = store
        self._made = made
        self._records = {snapshot.ref: snapshot for snapshot in store.metadata.snapshots}
        self._leases = {lease.ref: lease for lease in store.metadata.leases}
        self._taken = {(each.snapshotter, each.name) for each in store.metadata.snapshots}
        self._children: dict[Ref, set[bytes]] = {}
        for each in store.metadata.snapshots:
            if each.parent_ref is not None:
                self._children.setdefault(each.parent_ref, set()).add(each.key)
        self.snapshots: dict[Ref, SnapshotRecord] = {}
        """Of those that can be given back; several containers can stand on one image."""
        self.leases: list[LeaseRecord] = []

    def lost(self) -> Iterator[LostContainer]:
        """Each of them."""
        if not self._store.metadata.complete:
            return
        for container in self._store.owners.containers.values():
            backend = self._store.backends.get(container.driver or b"")
            if backend is None or not is_container_id(container.id) or backend_blindness(self._store, backend.name):
                continue
            rows = [row for row in backend.rows.values() if split_row_name(row.name)[2] == container.id]
            own = [row for row in rows if is_dockers(split_row_name(row.name)[0])]
            found = self._with_rows(container, backend, own) if own else self._without_row(container, backend)
            if found is not None:
                yield found

    def _with_rows(self, container: DockerContainer, backend: Backend, own: list[Row]) -> LostContainer | None:
        row = own[0]
        namespace = split_row_name(row.name)[0]
        lease = Ref(Kind.LEASE, namespace, container.id)
        gone = [
            *([] if lease in self._leases else ["its lease"]),
            *([] if snapshot_ref(namespace, backend.name, container.id) in self._records else ["its snapshot"]),
        ]
        if not gone or row.id not in _directories(backend):
            return None
        name = shown(container.name or container.id)
        missing = f"meta.db has no record of {' and '.join(gone)}"
        chain: dict[Ref, SnapshotRecord] = {}
        held = self._leases.get(lease)
        if len(own) > 1:
            reason = "several rows have its id"
        elif held is not None and (backend.name, container.id) not in held.snapshots:
            reason = "its lease does not hold its snapshot"
        else:
            reason = self._chain(row, backend, f"container {name}", chain)
        if not reason:
            self.snapshots |= chain
            if held is None:
                keys = (split_row_name(each)[2] for each in (row.name, row.parent))
                holds = tuple((backend.name, key) for key in keys if key.startswith(container.id))
                self.leases.append(LeaseRecord(lease, holds, row.created or self._made, f"container {name}"))
        return LostContainer(lease, name, missing, reason)

    def _without_row(self, container: DockerContainer, backend: Backend) -> LostContainer | None:
        """Of one that no row names either: it counts where the databases are older than the directories beside them."""
        namespaces = [each for each in self._store.metadata.namespaces if is_dockers(each)]
        known = any(snapshot_ref(each, backend.name, container.id) in self._records for each in namespaces)
        ids = {row.id for row in backend.rows.values()}
        newer = [
            entry.id
            for entry in backend.entries
            if entry.id is not None and entry.id not in ids and entry.id > (backend.sequence or 0)
        ]
        if known or not newer or not namespaces:
            return None
        where = f"{shown(backend.path)}/snapshots/{min(newer)} and later"
        reason = f"no row says which of {len(newer)} directories is its own ({where})"
        name = shown(container.name or container.id)
        ref = Ref(Kind.LEASE, namespaces[0], container.id)
        return LostContainer(ref, name, "neither meta.db nor metadata.db knows it", reason, has_row=False)

    def _chain(self, row: Row, backend: Backend, why: str, chain: dict[Ref, SnapshotRecord]) -> str:
        """Add the records of a row and of all that it stands on; why that cannot be, empty where it can."""
        if row.kind is not RowKind.ACTIVE:
            return "its row is not that of a snapshot that is written to"
        entries = _directories(backend)
        seen: set[bytes] = set()
        child, here = b"", row.name
        while here:
            found = backend.rows.get(here)
            entry = None if found is None else entries.get(found.id)
            if found is None or entry is None:
                return f"{shown(here)}, which it stands on, has no row or no directory"
            if here in seen or (seen and found.kind is not RowKind.COMMITTED):
                return f"{shown(here)}, which it stands on, is not committed, or stands on itself"
            record = self._record(found, backend.name, entry, child, why=why)
            if isinstance(record, str):
                return record
            if record is not None:
                chain[record.ref] = record
            seen.add(here)
            child, here = split_row_name(here)[2], found.parent
        return ""

    def _record(
        self, row: Row, snapshotter: bytes, entry: SnapshotEntry, child: bytes, *, why: str
    ) -> SnapshotRecord | str | None:
        """What is to be put in for a row; None where it has its record, and a reason where that cannot be."""
        namespace, _, key = split_row_name(row.name)
        above, _, parent = split_row_name(row.parent)
        ref = snapshot_ref(namespace, snapshotter, key)
        if row.parent and above != namespace:
            return f"{shown(row.name)} stands on a row of another namespace"
        record = self._records.get(ref)
        if record is not None:
            fits = (record.name, record.parent) == (row.name, parent)
            return None if fits else f"the record of snapshot {shown(key)} has another row or parent"
        if (snapshotter, row.name) in self._taken:
            return f"{shown(row.name)} is the row of another snapshot's record"
        before = self.snapshots.get(ref)
        children = {*self._children.get(ref, ()), *(before.children if before else ()), *([child] if child else [])}
        on = self._records.get(snapshot_ref(namespace, snapshotter, parent)) if parent else None
        return SnapshotRecord(
            ref,
            row.name,
            parent,
            tuple(sorted(children)),
            tuple(sorted(row.labels.items())),
            row.created or self._made,
            row.updated or self._made,
            entry.path,
            entry.fingerprint,
            on is not None and key not in on.children,
            why,
        )


def _directories(backend: Backend) -> dict[int, SnapshotEntry]:
    """The directories of snapshots, by the number that rows have."""
    return {entry.id: entry for entry in backend.entries if entry.id is not None and entry.is_directory}
