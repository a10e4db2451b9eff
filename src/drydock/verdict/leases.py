"""Whose a lease is: from its labels, its id, and its owner's own records.

Sources: moby daemon/containerd/leases.go, image_snapshot.go, daemon/images/store.go (v24 to v28.5), buildkit
cache/manager.go, util/leaseutil/manager.go, solver/llbsolver/history.go (v0.13 to v0.25), containerd
internal/cri/server/podsandbox (v2.1), core/leases/id.go (v2.1).
"""

from __future__ import annotations

import re

from drydock.model.leases import LeaseClass
from drydock.model.names import Digest, Kind, Ref, UnixNano, is_container_id
from drydock.model.records import Lease
from drydock.model.roots import Owners
from drydock.model.text import shown
from drydock.model.times import show_time
from drydock.verdict.graph import Graph
from drydock.verdict.labels import FLAT, expiry, has_expired

_BUILD_RECORD = re.compile(rb"([0-9a-z]{25})(-variants|-view)?\Z")
_RANDOM = re.compile(rb"[0-9]{1,9}-[A-Za-z0-9_-]{4}\Z")
_IMAGE = b"moby-image-"
_HISTORY = b"ref_"
_HISTORIES = b"_history"
"""Ends the namespace that has these, after that of the builds."""
_TEMPORARY = (b"buildkit/lease.temporary", b"moby/prune.images", b"moby.lease/temporary")
_DAY = 86_400 * 1_000_000_000

Judgement = tuple[LeaseClass, str, str]
"""Class, reason, owner; both texts shown."""

_NOT_DOCKERS = (LeaseClass.UNKNOWN, "of a BuildKit that is not dockerd's: its records are not read", "")


def classify(lease: Lease, graph: Graph, owners: Owners, now: UnixNano) -> Judgement:
    """Whose ``lease`` is at ``now``, and why.

    Where not all records of a kind of owner could be read, or they last changed before the lease was made, a lease
    whose owner was not found is UNKNOWN, never OWNERLESS.
    """
    end = expiry(lease.labels)
    if end is not None and has_expired(lease.labels, now):
        return LeaseClass.EXPIRED, f"ended {show_time(end)}", ""
    for label in _TEMPORARY:
        if label in lease.labels:
            return LeaseClass.TEMPORARY, f"labelled {shown(label)}", ""
    if end is not None:
        return LeaseClass.TEMPORARY, f"ends {show_time(end)}", ""
    docker = is_dockers(lease.namespace)
    if docker and lease.id.startswith(_IMAGE):
        return _image(lease, owners)
    if lease.namespace.endswith(_HISTORIES) and lease.id.startswith(_HISTORY):
        return _history(lease, owners) if is_dockers(lease.namespace[: -len(_HISTORIES)]) else _NOT_DOCKERS
    build = _BUILD_RECORD.match(lease.id)
    if build is not None and (FLAT in lease.labels or build[2]):
        return _build(lease, build[1], owners) if docker else _NOT_DOCKERS
    if is_container_id(lease.id):
        return _container(lease, graph, owners)
    if docker and _RANDOM.match(lease.id) and not lease.labels:
        return _nameless(lease, now)
    return LeaseClass.UNKNOWN, "neither its labels nor its id say whose it is", ""


def names_owner(lease: Lease) -> bool:
    """Whether the id is made of what owns the lease: an image, a build, a cache record, a container."""
    build = _BUILD_RECORD.match(lease.id)
    return (
        lease.id.startswith(_IMAGE)
        or (lease.namespace.endswith(_HISTORIES) and lease.id.startswith(_HISTORY))
        or is_container_id(lease.id)
        or (build is not None and (FLAT in lease.labels or build[2] is not None))
    )


def is_dockers(namespace: bytes) -> bool:
    """Whether a namespace is one that dockerd keeps its images and containers in."""
    # With userns-remap moby-<uid>.<gid> (moby daemon/daemon.go RemapContainerdNamespaces). Not plugins.moby, nor where
    # a standalone buildkitd works: whose leases these are is in none of dockerd's records.
    return re.match(rb"moby(-[0-9]+\.[0-9]+)?\Z", namespace) is not None


def _image(lease: Lease, owners: Owners) -> Judgement:
    digest = Digest(lease.id[len(_IMAGE) :])
    if digest in owners.images:
        return LeaseClass.IMAGE, "its image is in Docker's imagedb", f"image {shown(digest)}"
    missing = "its image is not in Docker's imagedb"
    return _gone(lease, owners.images_changed, missing, "Docker's imagedb", "Docker's image records")


def _history(lease: Lease, owners: Owners) -> Judgement:
    record = lease.id[len(_HISTORY) :]
    if record in owners.build_history:
        return LeaseClass.BUILD_HISTORY, "its build is in BuildKit's history", f"build {shown(record)}"
    missing = "its build is not in BuildKit's history"
    return _gone(lease, owners.build_history_changed, missing, "BuildKit's history", "BuildKit's history")


def _build(lease: Lease, record: bytes, owners: Owners) -> Judgement:
    if record in owners.build_records:
        return (
            LeaseClass.BUILD_CACHE,
            "its cache record is in BuildKit's metadata_v2.db",
            f"cache record {shown(record)}",
        )
    missing = "its cache record is not in BuildKit's metadata_v2.db"
    where, records = "BuildKit's metadata_v2.db", "BuildKit's cache records"
    return _gone(lease, owners.build_records_changed, missing, where, records)


def _container(lease: Lease, graph: Graph, owners: Owners) -> Judgement:
    for kind in (Kind.CONTAINER, Kind.SANDBOX):
        if Ref(kind, lease.namespace, lease.id) in graph.records:
            known = owners.containers.get(lease.id) if is_dockers(lease.namespace) else None
            called = shown((known and known.name) or lease.id)
            return LeaseClass.CONTAINER, f"a {kind.value} record has its id", f"{kind.value} {called}"
    if lease.namespace == b"k8s.io":
        return LeaseClass.OWNERLESS, "no sandbox or container record has its id", ""
    if not is_dockers(lease.namespace):
        return LeaseClass.UNKNOWN, "its id is a container's, of an engine not known here", ""
    container = owners.containers.get(lease.id)
    if container is not None:
        name = shown(container.name or lease.id)
        return LeaseClass.CONTAINER, "dockerd has a container with its id", f"container {name}"
    missing = "dockerd has no container with its id"
    return _gone(lease, owners.containers_changed, missing, "dockerd's containers/", "Docker's containers")


def _gone(lease: Lease, changed: UnixNano | None, missing: str, where: str, records: str) -> Judgement:
    """What removed the owner from ``where`` changed it: one that did not change since the lease was made is another."""
    if changed is None:
        return LeaseClass.UNKNOWN, f"not all of {records} could be read", ""
    if lease.created is None:
        return LeaseClass.UNKNOWN, f"{missing}, and when the lease was made is not recorded", ""
    if changed < lease.created:
        return LeaseClass.UNKNOWN, f"{where} last changed before this lease was made: it may not be the right one", ""
    return LeaseClass.OWNERLESS, missing, ""


def _nameless(lease: Lease, now: UnixNano) -> Judgement:
    # docker save, and docker pull of an existing tag, left such leases without an end from 24 to 27.3 (moby #48910).
    if lease.created is not None and now - lease.created > _DAY:
        return LeaseClass.OWNERLESS, "an operation of dockerd's, older than a day, that ended with the daemon", ""
    return LeaseClass.UNKNOWN, "an operation of dockerd's, not older than a day", ""
