"""Data that nothing names, and that may still belong to something that stays: contradicting evidence keeps both sides.

containerd's next GC would remove some of this. It has no one to ask; an administrator can look first.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator
from typing import NamedTuple

from drydock.model.names import Kind, RawPath, Ref, ingest_name, is_container_id, split_row_name
from drydock.model.objects import ObjectKind, State, Verdict
from drydock.model.records import Snapshot
from drydock.model.roots import Owners
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.verdict.judge import Reach
from drydock.verdict.leases import container_id, is_dockers, mounting_container
from drydock.verdict.similar_names import find_near

_HAS_CONTAINER = "dockerd has a container with its id"
_MAY_HAVE_CONTAINER = "its key is a container id, and not all of dockerd's containers could be read"
_IS_MOUNTED = "it is an image mount of a container that dockerd has"
_MAY_BE_MOUNTED = "its key may be that of an image mount, and not all configurations of containers could be read"


def docker_containers(
    store: Store, given_up: Container[Ref] = (), going: Collection[bytes] = frozenset()
) -> dict[Ref, str]:
    """Records that a container of dockerd, known or possible, was made from, with the reason: its lease may be lost.

    dockerd deletes the lease before the container's folder (moby daemon/delete.go, v28.5), so a folder without a lease
    is not a leak.

    Args:
        store: the root.
        given_up: leases that the user ends by name, although their containers may exist.
        going: ids of containers that go, and of their image mounts.
    """
    dockers = frozenset(filter(is_dockers, store.metadata.namespaces))
    if not dockers:
        return {}
    kept: dict[Ref, str] = {}
    uncertain: set[Ref] = set()
    for snapshot in store.metadata.snapshots:
        if snapshot.namespace in dockers:
            reason = _reason(store.owners, snapshot.namespace, snapshot.key, going)
            lease = Ref(Kind.LEASE, snapshot.namespace, container_id(snapshot.key))
            if reason is not None and lease not in given_up:
                kept[snapshot.ref] = reason
                if reason == _MAY_HAVE_CONTAINER:
                    uncertain.add(lease)
    manifests = {each.manifest for each in store.owners.containers.values() if each.id not in going}
    unsure = _unsure(store, dockers, given_up, uncertain)
    if not manifests and not unsure:
        # This is the case for nearly all stores.
        return kept
    for ref in store.metadata.blobs.refs():
        if ref.key in manifests and ref.namespace in dockers:
            kept[ref] = "dockerd has a container that was made from it"
        elif ref.namespace in unsure:
            kept[ref] = unsure[ref.namespace]
    return kept


def docker_rows(store: Store, rows: Iterable[bytes], going: Collection[bytes] = frozenset()) -> dict[bytes, str]:
    """The rows of containers of dockerd, known or possible, with the reason: their records may be lost.

    Args:
        store: the root.
        rows: names of rows.
        going: ids of containers that go, and of their image mounts.
    """
    reasons = ((row, _reason(store.owners, *split_row_name(row)[::2], going)) for row in rows)
    return {row: reason for row, reason in reasons if reason is not None}


def ambiguous_rows(
    reached: Reach, snapshotter: bytes, lost: Iterable[Snapshot], rows: Iterable[bytes]
) -> dict[bytes, str]:
    """The rows that may belong to a snapshot which stays, with the reason.

    Either something refers to a snapshot of that name that has no record; or a recorded snapshot has no row, and two of
    the three parts of its row name are those of this row: the third may be damaged, in the row or in the record.

    Args:
        reached: what is reached by the records that stay.
        snapshotter: the snapshotter with the rows.
        lost: its snapshots that stay and have no row.
        rows: the names of its rows without a record.
    """
    unrecorded = {
        _Pair(b"", ref.namespace, ref.key[len(snapshotter) + 1 :])
        for ref in reached.refs()
        if ref.kind is Kind.SNAPSHOT and ref.key.startswith(snapshotter + b"/") and ref not in reached.graph.records
    }
    near = {
        pair for snapshot in lost for pair in (*_pairs(snapshot.name), _Pair(b"", snapshot.namespace, snapshot.key))
    }
    ambiguous: dict[bytes, str] = {}
    for row in rows:
        pairs = _pairs(row)
        if not near.isdisjoint(pairs):
            ambiguous[row] = "it may be the row of a recorded snapshot that has none"
        elif not unrecorded.isdisjoint(pairs):
            ambiguous[row] = "a record that stays refers to it, although it has no record"
    return ambiguous


def misnamed_blobs(store: Store, named: Iterable[bytes]) -> dict[bytes, str]:
    """The blobs on disk without a record whose digest is similar to one that is not on disk, with the reason.

    Args:
        store: the root.
        named: the digests that records which stay name, recorded or not.
    """
    recorded = set(store.metadata.blobs.digests)
    there = store.content.blobs.keys()
    pairs = _near(Kind.BLOB, recorded.union(named) - there, there - recorded)
    return {blob: f"it may be {shown(absent)}, which is missing and has a similar name" for absent, blob in pairs}


def awaited_blobs(store: Store, dropped: Container[Ref]) -> set[bytes]:
    """The blobs on disk that ingests which stay wait for, and those with a similar digest if one is missing."""
    expected = {each.expected for each in store.metadata.ingests if each.expected and each.ref not in dropped}
    there = store.content.blobs.keys()
    lacking = expected - there
    return {*expected, *(blob for _, blob in _near(Kind.BLOB, lacking, there if lacking else ()))}


def misnamed_ingests(store: Store, dropped: Container[Ref]) -> dict[RawPath, str]:
    """The ingest folders without a record whose ``ref`` is similar to that of a record without a folder."""
    records = [each for each in store.metadata.ingests if each.ref not in dropped and each.backend_ref]
    folders = {each.name for each in store.content.ingests}
    recorded = {ingest_name(each.backend_ref) for each in records}
    # An ingest that waits for a blob has no folder.
    refs = (each.backend_ref for each in records if each.expected is None)
    paths = {
        each.backend_ref: each.path for each in store.content.ingests if each.backend_ref and each.name not in recorded
    }
    pairs = _near(Kind.INGEST, [ref for ref in refs if ingest_name(ref) not in folders], paths)
    return {
        paths[folder]: f"it may be the folder of the write {shown(absent)}, which has none and has a similar name"
        for absent, folder in pairs
    }


def misnamed_snapshotter(store: Store, snapshotter: bytes, rows: Iterable[bytes]) -> dict[bytes, str]:
    """The rows that are recorded for a snapshotter with a similar name and no data, with the reason."""
    absent = {each.snapshotter for each in store.metadata.snapshots} - store.backends.keys()
    near = {each for each, _ in _near(Kind.SNAPSHOT, absent, (snapshotter,))}
    recorded = {each.name: each.snapshotter for each in store.metadata.snapshots if each.snapshotter in near}
    return {
        row: f"a record names it for snapshotter {shown(recorded[row])}, which has no data and a similar name"
        for row in rows
        if row in recorded
    }


def without_row(store: Store, dropped: Container[Ref]) -> dict[bytes, list[Snapshot]]:
    """The snapshots that stay and have no row, by snapshotter: any directory without a row may be theirs."""
    lost: dict[bytes, list[Snapshot]] = {}
    for snapshot in store.metadata.snapshots:
        if snapshot.ref not in dropped:
            backend = store.backends.get(snapshot.snapshotter)
            if backend is not None and snapshot.name not in backend.rows:
                lost.setdefault(snapshot.snapshotter, []).append(snapshot)
    return lost


def without_directory(verdict: Verdict, dropped: Container[Ref]) -> dict[bytes, list[bytes]]:
    """Keys of the snapshots that stay and have a row but no directory, by snapshotter.

    Any directory that no row names may belong to one of them.
    """
    lacking: dict[bytes, list[bytes]] = {}
    for found in verdict.objects:
        if (
            found.kind is ObjectKind.SNAPSHOT
            and found.state is State.MISSING
            and found.row is not None
            and any(ref not in dropped for ref in found.refs)
        ):
            lacking.setdefault(found.snapshotter, []).append(found.id)
    return lacking


def _near(kind: Kind, absent: Iterable[bytes], there: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Each absent name with each similar name that is there."""
    wanted = [Ref(kind, b"", name) for name in absent]
    for one, other in find_near(wanted, (Ref(kind, b"", name) for name in there)):
        yield one.key, other.key


class _Pair(NamedTuple):
    """Two of the three parts of a row's name; the third is empty."""

    number: bytes
    namespace: bytes
    key: bytes


def _pairs(row: bytes) -> set[_Pair]:
    namespace, number, key = split_row_name(row)
    return {_Pair(b"", namespace, key), _Pair(number, namespace, b""), _Pair(number, b"", key)} if key else set()


def _unsure(store: Store, dockers: frozenset[bytes], given_up: Container[Ref], uncertain: set[Ref]) -> dict[bytes, str]:
    """Docker's namespaces in which any blob may be the manifest of a container, with the reason.

    No record shows for certain which blobs are manifests. ``uncertain`` has the leases, recorded or lost, of containers
    that may exist and have snapshots.
    """
    root, owners = store.root, store.owners
    unread = next((container for container in owners.containers.values() if not container.manifest_known), None)
    if unread is not None:
        name = shown(unread.name or unread.id)
        return dict.fromkeys(
            dockers, f"container {name} may have been made from it: its configuration could not be read"
        )
    leases = {
        lease.ref
        for lease in store.metadata.leases
        if _reason(owners, lease.namespace, lease.id) == _MAY_HAVE_CONTAINER and lease.ref not in given_up
    }
    # A root without its data root, such as a copy, is not damaged for that: there only a lost lease is damage.
    uncertain = uncertain | leases if root.docker or not root.docker_known else uncertain - leases
    found = {lease.namespace for lease in uncertain}
    return dict.fromkeys(found, "a container may have been made from it: not all of dockerd's containers could be read")


def _reason(owners: Owners, namespace: bytes, key: bytes, going: Collection[bytes] = frozenset()) -> str | None:
    """Why a snapshot or a lease with this key may belong to one of dockerd's containers; None if it cannot."""
    if not is_dockers(namespace):
        return None
    container, named = container_id(key), mounting_container(key)
    if container in going or key in going or named in going:
        return None
    if container in owners.containers:
        return _HAS_CONTAINER
    if key in owners.image_mounts:
        return _IS_MOUNTED
    if is_container_id(container) and _may_have_more(owners):
        return _MAY_HAVE_CONTAINER
    if named is None:
        return _MAY_BE_MOUNTED if is_container_id(key) and not owners.mounts_known else None
    # If the container's mounts are known, it is none of them: `docker diff` leaves a view with such a key as well.
    found = owners.containers.get(named)
    is_unsure = _may_have_more(owners) if found is None else not found.mounts_known
    return _MAY_BE_MOUNTED if is_unsure else None


def _may_have_more(owners: Owners) -> bool:
    """Whether dockerd may have more containers than were found."""
    return owners.has_no_container or not owners.containers_known
