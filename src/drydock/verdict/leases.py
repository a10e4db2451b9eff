"""Who owns a lease: by its labels, its id, and the records of its owner.

docs/leases.md lists every kind. Sources: moby daemon/containerd/leases.go, image_snapshot.go, daemon/images/store.go
(v24 to v29.7), daemon/volumes.go (v28.0 to v29.7), buildkit cache/manager.go, cache/refs.go, util/leaseutil/manager.go,
solver/llbsolver/history (v0.13 to v0.32), containerd internal/cri/server (v2.1 to v2.3), core/leases/id.go (v2.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from drydock.model import messages
from drydock.model.findings import Finding, Place
from drydock.model.leases import LeaseClass
from drydock.model.names import Digest, Kind, Ref, UnixNano, is_container_id
from drydock.model.records import Lease
from drydock.model.roots import BuildOwners, Owners
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.model.times import age, is_ahead, show_time
from drydock.verdict.graph import Graph
from drydock.verdict.labels import FLAT, expiry, has_expired
from drydock.verdict.similar_names import find_near

_BUILD_RECORD = re.compile(rb"([0-9a-z]{25})(-variants|-view)?\Z")
_RANDOM = re.compile(rb"[0-9]{1,9}-[A-Za-z0-9_-]{4}\Z")
_MOUNT = re.compile(rb"([0-9a-f]{64})-.")
_MOUNT_IN_HEX = re.compile(rb"((?:3[0-9]|6[1-6]){64})2c7372633d(?:[0-9a-f]{2})+\Z")
"""``<container id>,src=`` and more, each byte as two hexadecimal digits."""
_LAYERS = (b"-init-key", b"-init", b"")
"""What dockerd appends to a container's id for its snapshots (moby daemon/containerd/image_snapshot.go, v29.7)."""
IMAGE_LEASE = b"moby-image-"
"""The beginning of the id of the lease that dockerd gives an image of the classic store."""
_HISTORY = b"ref_"
_HISTORIES = b"_history"
"""The namespace of BuildKit's history is that of the builds with this suffix."""
_TEMPORARY = (b"buildkit/lease.temporary", b"moby/prune.images", b"moby.lease/temporary")
_DAY = 86_400 * 1_000_000_000


class Judgement(NamedTuple):
    """Who owns a lease."""

    kind: LeaseClass
    reason: str
    """Why it is of this class; one shown line."""
    owner: str | None = None
    """Shown name of its owner; None if none is known."""


_NOT_DOCKERS = Judgement(
    LeaseClass.UNKNOWN, "it belongs to a BuildKit outside dockerd, and drydock does not know where its records are"
)
_BUILDKITD = b"buildkit"
"""The namespace of a buildkitd, unless it is configured (buildkit cmd/buildkitd/main_containerd_worker.go, v0.34)."""


def classify(lease: Lease, graph: Graph, owners: Owners, now: UnixNano) -> Judgement:
    """Decide who owns ``lease`` at ``now``, and why.

    If not all records of the owner's kind could be read, or if they last changed before the lease was made, a lease
    whose owner was not found is UNKNOWN, never OWNERLESS.
    """
    ending = _ending(lease, now)
    if ending is not None:
        return ending
    docker = is_dockers(lease.namespace)
    if docker and lease.id.startswith(IMAGE_LEASE):
        return _image(lease, owners, now)
    if lease.namespace.endswith(_HISTORIES) and lease.id.startswith(_HISTORY):
        return _history(lease, owners, now) if _has_builds(lease.namespace[: -len(_HISTORIES)]) else _NOT_DOCKERS
    build = _BUILD_RECORD.match(lease.id)
    if build is not None and (FLAT in lease.labels or build[2]):
        return _build(lease, build[1], owners, now) if _has_builds(lease.namespace) else _NOT_DOCKERS
    if docker and mounting_container(lease.id) is not None:
        return _image_mount(lease, owners, now)
    if is_container_id(lease.id):
        return _container(lease, graph, owners, now)
    if docker and _RANDOM.match(lease.id) and not lease.labels:
        return _nameless(lease, now)
    return Judgement(LeaseClass.UNKNOWN, "neither its labels nor its id name an owner")


def classify_build(lease: Lease, owners: Owners, now: UnixNano) -> Judgement:
    """As :func:`classify`, for a lease in the ``containerdmeta.db`` of dockerd's builder in the classic mode."""
    ending = _ending(lease, now)
    if ending is not None:
        return ending
    record = build_record(lease)
    if record is not None:
        return _build(lease, record, owners, now)
    return Judgement(LeaseClass.UNKNOWN, "neither its labels nor its id name a cache record")


def _ending(lease: Lease, now: UnixNano) -> Judgement | None:
    """The class of a lease that ends by itself, or that its maker marked as temporary; None for any other."""
    end = expiry(lease.labels)
    past = end is not None and has_expired(lease.labels, now)
    contradiction = end_contradiction(lease, now) if past else None
    if end is not None and past and contradiction is None:
        return Judgement(LeaseClass.EXPIRED, f"ended {show_time(end)}")
    for label in _TEMPORARY:
        if label in lease.labels:
            return Judgement(LeaseClass.TEMPORARY, f"labelled {shown(label)}")
    if end is not None:
        why = f"its end cannot be judged: {contradiction}" if past else f"ends {show_time(end)}"
        return Judgement(LeaseClass.TEMPORARY, why)
    return None


def end_contradiction(lease: Lease, now: UnixNano) -> str | None:
    """Why the end of a lease cannot be compared with ``now``; None if it can.

    The maker of a lease computes its end from the same clock that containerd takes the record's time from (containerd
    core/leases/lease.go WithExpiration, core/metadata/leases.go Create, v2.1).
    """
    end = expiry(lease.labels)
    if end is None or lease.created is None:
        return None
    if is_ahead(lease.created, now):
        return f"it was made {show_time(lease.created)}, which is after the clock"
    # An end has whole seconds.
    return f"it ended {show_time(end)}, before it was made" if is_ahead(lease.created, end) else None


def note_ends(store: Store, now: UnixNano) -> Iterator[Finding]:
    """Findings about leases whose end is before the time that their record was made at: one of the two is wrong."""
    for lease in store.metadata.leases:
        end = expiry(lease.labels)
        if end is None or lease.created is None or not is_ahead(lease.created, end):
            continue
        # A time after the clock is a finding of its own.
        if not is_ahead(lease.created, now):
            place = Place(store.metadata.path, bucket=(b"v1", lease.namespace, b"leases", lease.id))
            end_, created = show_time(end), show_time(lease.created)
            yield messages.ENDED_BEFORE_MADE(lease=lease.id, end=end_, created=created).at(place, lease.id)


def names_owner(lease: Lease) -> bool:
    """Whether the id of a lease contains the id of its owner: an image, a build, a cache record, a container."""
    build = _BUILD_RECORD.match(lease.id)
    return (
        lease.id.startswith(IMAGE_LEASE)
        or (lease.namespace.endswith(_HISTORIES) and lease.id.startswith(_HISTORY))
        or is_container_id(lease.id)
        or mounting_container(lease.id) is not None
        or (build is not None and (FLAT in lease.labels or build[2] is not None))
    )


def build_record(lease: Lease) -> bytes | None:
    """The id of the BuildKit record in a lease's id; None if the id has another form."""
    build = _BUILD_RECORD.match(lease.id)
    return build[1] if build is not None and (FLAT in lease.labels or build[2]) else None


def withdraw_ownerless(classes: dict[Ref, Judgement], graph: Graph, owners: Owners) -> dict[Ref, Judgement]:
    """Make UNKNOWN those ownerless leases whose id is similar to that of an owner's missing lease."""
    ownerless = [ref for ref, lease in classes.items() if lease.kind is LeaseClass.OWNERLESS]
    namespaces = {ref.namespace for ref in ownerless}
    lacking = (
        Ref(Kind.LEASE, namespace, name)
        for namespace in namespaces
        for name in _owned_names(namespace, graph, owners)
        if Ref(Kind.LEASE, namespace, name) not in classes
    )
    return {
        ref: Judgement(
            LeaseClass.UNKNOWN,
            f"{classes[ref].reason}, but {shown(near.key)}, an owner's lease with a similar id, is missing",
        )
        for near, ref in find_near(lacking, ownerless)
    }


def _owned_names(namespace: bytes, graph: Graph, owners: Owners) -> Iterator[bytes]:
    """The ids of the leases that the owners in a namespace should have."""
    if namespace.endswith(_HISTORIES):
        yield from (_HISTORY + each for each in _builds_in(namespace, owners).history)
    if _has_builds(namespace):
        for record in _builds_in(namespace, owners).records:
            yield from (record, record + b"-variants", record + b"-view")
    if is_dockers(namespace):
        yield from (*owners.containers, *owners.image_mounts)
        yield from (IMAGE_LEASE + each for each in owners.images)
    else:
        kinds = (Kind.CONTAINER, Kind.SANDBOX)
        yield from (ref.key for ref in graph.records.others() if ref.kind in kinds and ref.namespace == namespace)


def builds_of(lease: Lease, owners: Owners) -> BuildOwners:
    """The records of the BuildKit that works in the namespace of a lease."""
    return _builds_in(lease.namespace, owners)


def _builds_in(namespace: bytes, owners: Owners) -> BuildOwners:
    return owners.builds if is_dockers(namespace.removesuffix(_HISTORIES)) else owners.buildkitd


def _has_builds(namespace: bytes) -> bool:
    return is_dockers(namespace) or is_standalone(namespace)


def is_standalone(namespace: bytes) -> bool:
    """Whether a buildkitd keeps its snapshots and blobs in a namespace, unless it is configured."""
    return namespace == _BUILDKITD


def is_dockers(namespace: bytes) -> bool:
    """Whether dockerd keeps its images and containers in a namespace."""
    # With userns-remap moby-<uid>.<gid> (moby daemon/daemon.go RemapContainerdNamespaces). Not plugins.moby: dockerd's
    # records do not show who owns leases there.
    return re.match(rb"moby(-[0-9]+\.[0-9]+)?\Z", namespace) is not None


def container_id(key: bytes) -> bytes:
    """A snapshot's key without dockerd's suffixes: the container id, if the snapshot belongs to a container."""
    return key.removesuffix(next(end for end in _LAYERS if key.endswith(end)))


def mounting_container(key: bytes) -> bytes | None:
    """The container id in the name of an image mount's lease or snapshot; None for another name.

    dockerd used such names from 28.0 to 29.1.3. Since 29.1.4 the name is a hash, which shows no container.
    """
    if found := _MOUNT.match(key):
        return found[1]
    found = _MOUNT_IN_HEX.match(key)
    return bytes.fromhex(found[1].decode()) if found else None


def _image(lease: Lease, owners: Owners, now: UnixNano) -> Judgement:
    digest = Digest(lease.id[len(IMAGE_LEASE) :])
    if digest in owners.images:
        return Judgement(LeaseClass.IMAGE, "its image is in Docker's imagedb", f"image {shown(digest)}")
    missing = "its image is not in Docker's imagedb"
    return _gone(lease, now, missing, _Records(owners.images_changed, "Docker's imagedb", "Docker's image records"))


def _history(lease: Lease, owners: Owners, now: UnixNano) -> Judgement:
    record, builds = lease.id[len(_HISTORY) :], builds_of(lease, owners)
    if record in builds.history:
        return Judgement(LeaseClass.BUILD_HISTORY, "its build is in BuildKit's history", f"build {shown(record)}")
    missing = "its build is not in BuildKit's history"
    history = "BuildKit's history"
    return _gone(lease, now, missing, _Records(builds.history_changed, history, history))


def _build(lease: Lease, record: bytes, owners: Owners, now: UnixNano) -> Judgement:
    builds = builds_of(lease, owners)
    if record in builds.records:
        found = "its cache record is in BuildKit's metadata_v2.db"
        return Judgement(LeaseClass.BUILD_CACHE, found, f"cache record {shown(record)}")
    missing = "its cache record is not in BuildKit's metadata_v2.db"
    records = _Records(builds.records_changed, "BuildKit's metadata_v2.db", "BuildKit's cache records")
    return _gone(lease, now, missing, records)


def _container(lease: Lease, graph: Graph, owners: Owners, now: UnixNano) -> Judgement:
    for kind in (Kind.CONTAINER, Kind.SANDBOX):
        if Ref(kind, lease.namespace, lease.id) in graph.records:
            known = owners.containers.get(lease.id) if is_dockers(lease.namespace) else None
            called = shown((known and known.name) or lease.id)
            return Judgement(LeaseClass.CONTAINER, f"a {kind.value} record has its id", f"{kind.value} {called}")
    if lease.namespace == b"k8s.io":
        return Judgement(LeaseClass.OWNERLESS, "no sandbox or container record has its id")
    if not is_dockers(lease.namespace):
        return Judgement(LeaseClass.UNKNOWN, "its id is a container id of an unknown engine")
    container = owners.containers.get(lease.id)
    if container is not None:
        name = shown(container.name or lease.id)
        return Judgement(LeaseClass.CONTAINER, "dockerd has a container with its id", f"container {name}")
    return _image_mount(lease, owners, now)


def _image_mount(lease: Lease, owners: Owners, now: UnixNano) -> Judgement:
    """The owner of a lease that may belong to an image mount: dockerd has no container with the lease's id."""
    named = mounting_container(lease.id)
    container = owners.image_mounts.get(lease.id) or owners.containers.get(named or b"")
    if container is not None:
        name = shown(container.name or container.id)
        return Judgement(LeaseClass.CONTAINER, "it holds an image that the container mounts", f"container {name}")
    if owners.has_no_container:
        return Judgement(LeaseClass.UNKNOWN, "dockerd has no containers: their folder may have been emptied")
    if owners.containers_known and not owners.mounts_known:
        return Judgement(
            LeaseClass.UNKNOWN, "it may be an image mount of a container whose configuration could not be read"
        )
    missing = "dockerd has no container with its id, and none that mounts it"
    if named is not None:
        missing = "dockerd does not have the container whose image mount it is"
    records = _Records(owners.containers_changed, "dockerd's containers/", "Docker's containers")
    return _gone(lease, now, missing, records)


class _Records(NamedTuple):
    """The records of one kind of owner."""

    changed: UnixNano | None
    """When they last changed; None if not all of them could be read."""
    where: str
    what: str


def _gone(lease: Lease, now: UnixNano, missing: str, records: _Records) -> Judgement:
    """Judge a lease without an owner.

    Removing the owner changed its records: if they are older than the lease, they are not the right records.
    """
    if records.changed is None:
        return Judgement(LeaseClass.UNKNOWN, f"not all of {records.what} could be read")
    if lease.created is None:
        return Judgement(LeaseClass.UNKNOWN, f"{missing}, but the lease has no creation time")
    if is_ahead(lease.created, now):
        return Judgement(LeaseClass.UNKNOWN, f"{missing}, but the lease was made after the clock")
    if records.changed < lease.created:
        why = f"{records.where} last changed before this lease was made: it may not be the right one"
        return Judgement(LeaseClass.UNKNOWN, why)
    return Judgement(LeaseClass.OWNERLESS, missing)


def _nameless(lease: Lease, now: UnixNano) -> Judgement:
    # From 24 to 27.3, docker save and docker pull of an existing tag left such leases without an end (moby #48910).
    known = age(lease.created, now)
    if known is not None and known > _DAY:
        return Judgement(
            LeaseClass.OWNERLESS,
            "it is from an operation of dockerd that is older than a day and ended with the daemon",
        )
    return Judgement(LeaseClass.UNKNOWN, "it is from an operation of dockerd that is not older than a day")
