"""Recognising a folder by its contents: a containerd root, a BuildKit root, a Docker data root, and the roots inside.

Sources: buildkit worker/runc/runc.go NewWorkerOpt and worker/containerd/containerd.go NewWorkerOpt (v0.12 to v0.34);
buildx driver/docker-container/driver.go (v0.20) for the volume of a builder, which is a BuildKit root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress

from drydock.evidence.files.directory import folder
from drydock.evidence.host.filesystem import Host, is_folder, names
from drydock.model.names import RawPath
from drydock.model.roots import CONTAINERD_LAYOUT, Engine, Root, RootLayout, worker_layout

_NAMES = 65536
_REMAPPED = re.compile(rb"[0-9]+\.[0-9]+\Z")
_PARTS = (b"io.containerd.metadata.v1.bolt", b"io.containerd.content.v1.content")
_OWN_WORKER, _CONTAINERDS_WORKER = b"runc-", b"containerd-"
"""How the name of a BuildKit worker's folder begins: that of its snapshotter follows."""
_WORKER_PARTS = (b"containerdmeta.db", b"metadata_v2.db", b"content", b"snapshots")
_DOCKER_PARTS = (b"containers", b"image", b"buildkit", b"volumes", b"network", b"plugins", b"swarm")


def is_root(path: bytes) -> bool:
    """Whether ``path`` has the databases or the content of a containerd; a root that lost its meta.db counts."""
    return any(is_folder(path + b"/" + part) for part in _PARTS)


def find_layout(path: bytes) -> RootLayout | None:
    """The layout of the root in a folder: a containerd root, or a BuildKit worker; None if it is neither.

    A worker has no other sign of its snapshotter than the name of its folder.
    """
    if is_root(path):
        return CONTAINERD_LAYOUT
    name = os.path.basename(path)
    if not name.startswith(_OWN_WORKER) or name == _OWN_WORKER:
        return None
    there = [os.path.lexists(path + b"/" + part) for part in _WORKER_PARTS]
    return worker_layout(name[len(_OWN_WORKER) :]) if any(there) else None


def worker_roots(buildkit: RawPath, host: RawPath) -> list[Root]:
    """The workers of a BuildKit root that run builds themselves: each has its own databases, content and snapshots.

    Args:
        buildkit: absolute path of the BuildKit root.
        host: as for :class:`Root`.
    """
    found: list[Root] = []
    for name in sorted(names(buildkit, _NAMES)):
        path = RawPath(os.path.join(buildkit, name))
        layout = find_layout(path) if name.startswith(_OWN_WORKER) and is_folder(path) else None
        if layout is not None and layout.worker:
            found.append(Root(path, Engine.BUILDKIT, host, layout=layout, buildkit=(buildkit,)))
    return found


def has_containerds_worker(buildkit: RawPath) -> bool:
    """Whether a BuildKit root has the records of a worker that has a containerd run builds and keep its data."""
    return any(name.startswith(_CONTAINERDS_WORKER) for name in names(buildkit, _NAMES))


def is_data_root(path: bytes) -> bool:
    """Whether ``path`` has folders that dockerd itself writes; those of its containerd alone do not count."""
    return any(is_folder(path + b"/" + part) for part in _DOCKER_PARTS)


def unknown_reason(path: RawPath) -> str | None:
    """Why drydock cannot find out whether the folder ``path`` is a data root; None if it can."""
    try:
        with folder(path) as descriptor, os.scandir(descriptor):
            for part in _DOCKER_PARTS:
                with suppress(FileNotFoundError):
                    os.stat(part, dir_fd=descriptor, follow_symlinks=False)
    except OSError as error:
        return error.strerror or str(error)
    return None


def layer_folders(root: Root) -> list[RawPath]:
    """The folders of the classic layer store in the data roots of a root, whether they exist or not.

    What uses the rest of a data root, such as a volume or a container's /dev/shm, is no user of its layers.
    """
    return [RawPath(os.path.join(data, part)) for data in root.docker for part in (b"overlay2", b"image/overlay2")]


def managed_roots(host: Host, data: RawPath) -> tuple[RawPath, ...]:
    """The roots of the containerd that a dockerd starts itself: the place of now, and that before Docker 18.09."""
    name = host.name(data).rstrip(b"/")
    found = (host.folder(name + b"/containerd/daemon"), host.folder(name + b"/containerd"))
    return tuple(each for each in found if each is not None and is_root(each))


def with_remapped(data: RawPath) -> tuple[RawPath, ...]:
    """The data roots at and directly below ``data``: userns-remap has all its records in ``<uid>.<gid>``."""
    below = sorted(RawPath(os.path.join(data, name)) for name in names(data, _NAMES) if _REMAPPED.match(name))
    return tuple(each for each in (data, *below) if is_folder(each) and is_data_root(each))


def links_to_remapped(data: RawPath) -> list[RawPath]:
    """Symbolic links in the place of such records: dockerd follows them, and drydock does not."""
    below = (RawPath(os.path.join(data, name)) for name in names(data, _NAMES) if _REMAPPED.match(name))
    return sorted(filter(os.path.islink, below))


def nested_roots(host: Host, data: RawPath, owner: RawPath) -> Iterator[Root]:
    """Roots inside Docker's volumes. Containers write there, so no path is followed out of a volume.

    The volume of a buildx builder is a BuildKit root (``buildx_buildkit_<name>_state``).
    """
    volumes = host.folder(host.name(data) + b"/volumes")
    for name in sorted(names(volumes, _NAMES)) if volumes else ():
        inside = RawPath(os.path.join(volumes or b"", name, b"_data"))
        if not is_folder(os.path.dirname(inside)) or not is_folder(inside):
            continue
        volume = Host(inside)
        if (node := volume.folder(b"/lib/containerd")) is not None and is_root(node):
            yield Root(node, Engine.KIND, owner)
        if (agent := volume.folder(b"/agent/containerd")) is not None and is_root(agent):
            yield Root(agent, Engine.K3S, owner)  # k3d: /var/lib/rancher/k3s of a node is a volume
        yield from worker_roots(inside, owner)
        for path in (b"/", b"/lib/docker"):  # docker:dind: /var/lib/docker is a volume
            docker = volume.folder(path)
            for each in managed_roots(volume, docker) if docker else ():
                yield Root(each, Engine.DOCKER, owner, docker=with_remapped(docker) if docker else ())


def with_layer_stores(found: list[Root]) -> list[Root]:
    """The roots, each with those of its data roots that no root before it has."""
    seen: set[RawPath] = set()
    roots: list[Root] = []
    for root in found:
        roots.append(root._replace(layer_stores=tuple(data for data in root.docker if data not in seen)))
        seen.update(root.docker)
    return roots


def distinct_roots(found: list[Root]) -> list[Root]:
    """The first root of each folder, by device and inode."""
    seen: dict[tuple[int, int], Root] = {}
    for root in found:
        status = os.lstat(root.path)
        seen.setdefault((status.st_dev, status.st_ino), root)
    return list(seen.values())
