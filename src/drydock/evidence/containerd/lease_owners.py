"""The owners of leases outside of meta.db: from every Docker data root of a root, and from every buildkitd of it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TypeVar

from drydock.evidence.buildkit.records import BuildKit, find_buildkits, read_build_history, read_build_records
from drydock.evidence.docker.classic_store import note_classic_store, read_images
from drydock.evidence.docker.containers import read_containers
from drydock.evidence.docker.store_uses import read_store_records
from drydock.evidence.docker.volumes import note_volume_options
from drydock.model import messages
from drydock.model.build_cache import BuildCache
from drydock.model.findings import Finding, Place
from drydock.model.names import RawPath, UnixNano
from drydock.model.roots import BuildOwners, Owners, Root

_T = TypeVar("_T")


def read_owners(root: Root, *, live: bool = False) -> Owners:
    """Who may own the leases of ``root``.

    The leases of a BuildKit worker that keeps its data itself have no other owners than the records of its buildkitd.

    An owner that no data root has is provably gone only if all owners of its kind are known. They are not if a data
    root could not be read whole. They are not for any kind if there is no data root (Kubernetes, or a root that was
    copied without its owner), or if a setting that may name a further one could not be read. The owners that were
    found are in the result in each case.

    Args:
        root: the containerd root with the leases.
        live: take no lock, because an engine may be at work.
    """
    owners = Owners(findings=list(root.findings))
    dockers, others = find_buildkits(root)
    owners.buildkitd = _read_builds(others, owners.findings, owners.caches, live=live)
    if root.layout.worker:
        return owners
    if not root.docker:
        owners.findings.append(messages.NO_OWNERS(root=root.path).at(Place(root.path)))
        return owners
    if not root.docker_known:
        owners.findings.append(messages.UNKNOWN_DATA_ROOT(root=root.path).at(Place(root.path)))

    times: list[UnixNano | None] = []
    daemons = dict(root.daemons)
    for data in root.docker:
        each, when = read_containers(data, owners.findings, live=live)
        owners.containers.update(each)
        owners.by_data_root[data] = None if when is None else each
        owners.image_mounts.update((mount, found) for found in each.values() for mount in found.mounts)
        times.append(when)
        owners.stores.append(read_store_records(data, each, daemons.get(data)))
        owners.findings += note_classic_store(data)
        if not live:  # dockerd may be writing one
            owners.findings += note_volume_options(data)
    owners.containers_changed = _oldest(root, times)
    owners.images, owners.images_changed = _union(root, read_images, owners.findings)
    builds = _read_builds(dockers, owners.findings, owners.caches, live=live)
    owners.build_records, owners.build_history, owners.build_blobs_only = (
        builds.records,
        builds.history,
        builds.blobs_only,
    )
    if root.docker_known:
        owners.build_records_changed, owners.build_history_changed = builds.records_changed, builds.history_changed
    return owners


def _read_builds(
    buildkits: list[BuildKit], findings: list[Finding], caches: list[BuildCache], *, live: bool
) -> BuildOwners:
    """The records of several BuildKits together; a time only if those of all are known."""
    cached: list[BuildCache] = []
    read: Callable[[BuildKit], tuple[AbstractSet[bytes], UnixNano | None]]
    found: list[tuple[set[bytes], list[UnixNano | None]]] = []
    for read in (
        partial(read_build_records, findings=findings, caches=cached, live=live),
        partial(read_build_history, findings=findings, live=live),
    ):
        each = [read(buildkit) for buildkit in buildkits]
        found.append((set().union(*(records for records, _ in each)), [when for _, when in each]))
    caches += cached
    return BuildOwners(
        frozenset(found[0][0]),
        frozenset(found[1][0]),
        frozenset(record.id for cache in cached for record in cache.records.values() if record.blob_only),
        _oldest_known(found[0][1]),
        _oldest_known(found[1][1]),
    )


def _union(
    root: Root,
    read: Callable[[RawPath, list[Finding]], tuple[AbstractSet[_T], UnixNano | None]],
    findings: list[Finding],
) -> tuple[frozenset[_T], UnixNano | None]:
    found: set[_T] = set()
    times: list[UnixNano | None] = []
    for data in root.docker:
        each, when = read(data, findings)
        found.update(each)
        times.append(when)
    return frozenset(found), _oldest(root, times)


def _oldest(root: Root, times: list[UnixNano | None]) -> UnixNano | None:
    """The oldest time: any of several data roots may have owned a lease, so their proof reaches as far as this."""
    return _oldest_known(times) if root.docker_known else None


def _oldest_known(times: list[UnixNano | None]) -> UnixNano | None:
    """The oldest of the times; None if one of them is not known, or if there is none."""
    known = [each for each in times if each is not None]
    return min(known) if known and len(known) == len(times) else None
