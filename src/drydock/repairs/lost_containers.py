"""Containers of dockerd without records, as after an older meta.db was restored: the engine would delete their files.

dockerd keeps for a container a directory of its own, a lease with its id, and two snapshots: ``<id>-init`` on top of
the image, and ``<id>`` on top of that (moby daemon/containerd/image_snapshot.go createLayer, prepareInitLayer, v28.5).
A row that no record names goes, with its directory, at the next GC that removes anything of the snapshotter
(containerd core/metadata/snapshot.go garbageCollect, v2.1), and dockerd does not load a container without its snapshot
or its lease (GetLayerByID). If the container's directory, the rows down to the base and the rows' directories exist and
agree, the records are put in again: a row has the name, parent and labels of its record (createSnapshot there).
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
    """Find the containers that the engine would lose when it starts, and the records that prevent it.

    Args:
        store: as read.
        made: the time of records whose rows have none.
    """
    finder = _Finder(store, made)
    found = list(finder.lost())
    return LostContainers(tuple(found), tuple(finder.snapshots.values()), tuple(finder.leases))


def give_back(store: Store, lost: LostContainers) -> None:
    """Put the records of containers that can be given back into ``store``."""
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
    """The same containers without records to put in; the reason of each names the option that gives them back."""
    return LostContainers(
        tuple(
            each._replace(reason=_ADOPT, is_adoptable=True) if each.reason is None else each for each in lost.containers
        )
    )


def lost_findings(lost: LostContainers, store: Store) -> Iterator[Finding]:
    """A finding for each container that stays without its records."""
    for each in lost.containers:
        if each.reason is None:
            continue
        message = messages.ADOPTABLE_CONTAINER if each.is_adoptable else messages.LOST_CONTAINER
        yield message(container=each.name, missing=each.missing).at(Place(store.metadata.path), each.name)


class _NotGivenBack(Exception):
    """The records of a container cannot be put in again; the message is why, on one shown line."""


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
        """Of containers that can be given back; several can stand on one image."""
        self.leases: list[LeaseRecord] = []

    def lost(self) -> Iterator[LostContainer]:
        """Find each container that lost records."""
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
        held = self._leases.get(lease)
        if len(own) > 1:
            return LostContainer(lease, name, missing, "several rows have its id")
        if held is not None and (backend.name, container.id) not in held.snapshots:
            return LostContainer(lease, name, missing, "its lease does not hold its snapshot")
        try:
            self.snapshots |= self._chain(row, backend, f"container {name}")
        except _NotGivenBack as error:
            return LostContainer(lease, name, missing, str(error))
        if held is None:
            keys = (split_row_name(each)[2] for each in (row.name, row.parent))
            holds = tuple((backend.name, key) for key in keys if key.startswith(container.id))
            self.leases.append(LeaseRecord(lease, holds, row.created or self._made, f"container {name}"))
        return LostContainer(lease, name, missing)

    def _without_row(self, container: DockerContainer, backend: Backend) -> LostContainer | None:
        """A container that no row names either: lost if the databases are older than the directories beside them."""
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
        reason = f"no row tells which of {len(newer)} directories belongs to it ({where})"
        name = shown(container.name or container.id)
        ref = Ref(Kind.LEASE, namespaces[0], container.id)
        return LostContainer(ref, name, "neither meta.db nor metadata.db knows it", reason, has_row=False)

    def _chain(self, row: Row, backend: Backend, why: str) -> dict[Ref, SnapshotRecord]:
        """The missing records of a row and of its parents.

        Raises:
            _NotGivenBack: a row, a directory or a record contradicts them.
        """
        if row.kind is not RowKind.ACTIVE:
            raise _NotGivenBack("its row is not that of an active snapshot")
        chain: dict[Ref, SnapshotRecord] = {}
        entries = _directories(backend)
        seen: set[bytes] = set()
        child, here = b"", row.name
        while here:
            found = backend.rows.get(here)
            entry = None if found is None else entries.get(found.id)
            if found is None or entry is None:
                raise _NotGivenBack(f"its parent {shown(here)} has no row or no directory")
            if here in seen or (seen and found.kind is not RowKind.COMMITTED):
                raise _NotGivenBack(f"its parent {shown(here)} is not committed, or is its own parent")
            record = self._record(found, backend.name, entry, child, why=why)
            if record is not None:
                chain[record.ref] = record
            seen.add(here)
            child, here = split_row_name(here)[2], found.parent
        return chain

    def _record(
        self, row: Row, snapshotter: bytes, entry: SnapshotEntry, child: bytes, *, why: str
    ) -> SnapshotRecord | None:
        """The record to put in for a row; None if it has its record."""
        namespace, _, key = split_row_name(row.name)
        above, _, parent = split_row_name(row.parent)
        ref = snapshot_ref(namespace, snapshotter, key)
        if row.parent and above != namespace:
            raise _NotGivenBack(f"the parent of {shown(row.name)} is in another namespace")
        record = self._records.get(ref)
        if record is not None:
            if (record.name, record.parent) != (row.name, parent):
                raise _NotGivenBack(f"the record of snapshot {shown(key)} has another row or parent")
            return None
        if (snapshotter, row.name) in self._taken:
            raise _NotGivenBack(f"another snapshot's record names the row {shown(row.name)}")
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
    """The directories of snapshots, by the id of their rows."""
    return {entry.id: entry for entry in backend.entries if entry.id is not None and entry.is_directory}
