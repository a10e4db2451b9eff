"""What nothing names, and may yet be of something that stays: where evidence contradicts itself, both sides stay.

containerd would remove some of this at its next collection. It has no one to ask; an administrator can look first.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import NamedTuple

from drydock.model.names import Kind, Ref, split_row_name
from drydock.model.objects import ObjectKind, State, Verdict
from drydock.model.records import Snapshot
from drydock.model.store import Store
from drydock.verdict.judge import Reach
from drydock.verdict.leases import is_dockers

_LAYERS = (b"-init-key", b"-init", b"")
"""What dockerd appends to a container's id for its snapshots (moby daemon/containerd/image_snapshot.go, v28.5)."""
_HAS_CONTAINER = "dockerd has a container with its id"


def docker_containers(store: Store) -> dict[Ref, str]:
    """What a container that dockerd has was made of, with the reason: its lease, which keeps that, may be lost.

    dockerd drops the lease before the container's folder (moby daemon/delete.go, v28.5), so a folder alone is no leak.
    """
    containers = store.owners.containers
    if not containers:
        return {}
    kept: dict[Ref, str] = {}
    for snapshot in store.metadata.snapshots:
        if _is_of(containers, snapshot.namespace, snapshot.key):
            kept[snapshot.ref] = _HAS_CONTAINER
    manifests = {container.manifest for container in containers.values()}
    for blob in store.metadata.blobs:
        if blob.ref.key in manifests and is_dockers(blob.ref.namespace):
            kept[blob.ref] = "dockerd has a container that was made of it"
    return kept


def docker_rows(store: Store, rows: Iterable[bytes]) -> dict[bytes, str]:
    """The rows of containers that dockerd has, with the reason: their records, and their leases, may be lost."""
    containers = store.owners.containers
    if not containers:
        return {}
    return {row: _HAS_CONTAINER for row in rows if _is_of(containers, *split_row_name(row)[::2])}


def doubtful_rows(
    reached: Reach, snapshotter: bytes, lost: Iterable[Snapshot], rows: Iterable[bytes]
) -> dict[bytes, str]:
    """The rows that may be of a snapshot which stays, with the reason.

    Either something refers to a snapshot of that name which has no record; or one that is recorded has no row, and two
    of the three parts of its name are this row's: the third may be damaged, in the row or in the record.

    Args:
        reached: what stays.
        snapshotter: whose rows.
        lost: its snapshots that stay and have no row.
        rows: the names of some of its rows that no record has.
    """
    unrecorded = {
        _Pair(b"", ref.namespace, ref.key[len(snapshotter) + 1 :])
        for ref in reached.refs()
        if ref.kind is Kind.SNAPSHOT and ref.key.startswith(snapshotter + b"/") and ref not in reached.graph.records
    }
    near = {
        pair for snapshot in lost for pair in (*_pairs(snapshot.name), _Pair(b"", snapshot.namespace, snapshot.key))
    }
    doubtful: dict[bytes, str] = {}
    for row in rows:
        pairs = _pairs(row)
        if not near.isdisjoint(pairs):
            doubtful[row] = "it may be the row of a snapshot that is recorded and has none"
        elif not unrecorded.isdisjoint(pairs):
            doubtful[row] = "a record that stays refers to it, though it has no record itself"
    return doubtful


def without_row(store: Store, dropped: Container[Ref]) -> dict[bytes, list[Snapshot]]:
    """The snapshots that stay and have no row, by snapshotter: any directory that no row has may be theirs."""
    lost: dict[bytes, list[Snapshot]] = {}
    for snapshot in store.metadata.snapshots:
        if snapshot.ref not in dropped:
            backend = store.backends.get(snapshot.snapshotter)
            if backend is not None and snapshot.name not in backend.rows:
                lost.setdefault(snapshot.snapshotter, []).append(snapshot)
    return lost


def without_directory(verdict: Verdict, dropped: Container[Ref]) -> set[bytes]:
    """The snapshotters of which a snapshot that stays has no directory: any that no row has may be its."""
    return {
        found.snapshotter
        for found in verdict.objects
        if found.kind is ObjectKind.SNAPSHOT
        and found.state is State.MISSING
        and found.row is not None
        and any(ref not in dropped for ref in found.refs)
    }


class _Pair(NamedTuple):
    """Two of the three parts of a row's name; the third is empty."""

    number: bytes
    namespace: bytes
    key: bytes


def _pairs(row: bytes) -> set[_Pair]:
    namespace, number, key = split_row_name(row)
    return {_Pair(b"", namespace, key), _Pair(number, namespace, b""), _Pair(number, b"", key)} if key else set()


def _is_of(containers: Container[bytes], namespace: bytes, key: bytes) -> bool:
    """Whether a snapshot's key is made of the id of one of dockerd's containers."""
    end = next(end for end in _LAYERS if key.endswith(end))
    return is_dockers(namespace) and key.removesuffix(end) in containers
