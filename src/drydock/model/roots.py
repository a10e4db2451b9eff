"""Where containerd keeps its data, and the records outside containerd that own its leases."""

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.build_cache import BuildCache
from drydock.model.findings import Finding
from drydock.model.names import (
    CONTENT,
    SNAPSHOTTER_PREFIX,
    WORKER_CONTENT,
    WORKER_SNAPSHOTS,
    Digest,
    RawPath,
    UnixNano,
    is_container_id,
)
from drydock.model.store_modes import GRAPH_DRIVERS, DaemonSettings, StoreMode, StoreRecords

_GRAPH_DRIVERS_ONLY = frozenset((b"overlay2", b"vfs", b"aufs", b"devicemapper", b"overlay"))
"""Also those that were removed."""


class Engine(enum.Enum):
    """Who runs the containerd of a root; reports show the value."""

    DOCKER = "docker"
    CONTAINERD = "containerd"
    K3S = "k3s"
    RKE2 = "rke2"
    MICROK8S = "microk8s"
    K0S = "k0s"
    ROOTLESS = "rootless"
    KIND = "kind"
    BUILDKIT = "buildkit"


class RootLayout(NamedTuple):
    """Where a root has its parts, relative to it."""

    metadata: RawPath = RawPath(b"io.containerd.metadata.v1.bolt/meta.db")
    content: bytes = CONTENT
    worker: bytes = b""
    """The only snapshotter of a BuildKit worker; empty for a containerd root, which has a folder for each."""

    def snapshotter(self, name: bytes) -> RawPath:
        """The folder of a snapshotter."""
        return RawPath(WORKER_SNAPSHOTS if self.worker else SNAPSHOTTER_PREFIX + name)

    def named(self, folder: bytes) -> bytes | None:
        """The snapshotter whose folder has this name; None for another folder."""
        if self.worker:
            return self.worker if folder == WORKER_SNAPSHOTS else None
        return folder[len(SNAPSHOTTER_PREFIX) :] if folder.startswith(SNAPSHOTTER_PREFIX) else None


CONTAINERD_LAYOUT = RootLayout()


def worker_layout(snapshotter: bytes) -> RootLayout:
    """The layout of a BuildKit worker that runs builds itself (buildkit worker/runc/runc.go NewWorkerOpt, v0.34)."""
    return RootLayout(RawPath(b"containerdmeta.db"), WORKER_CONTENT, snapshotter)


class Root(NamedTuple):
    """One root: the folder with a containerd's ``io.containerd.metadata.v1.bolt``, or a BuildKit worker's folder.

    Or a Docker data root that no containerd root belongs to.
    """

    path: RawPath
    """Absolute, from the view of this process."""
    engine: Engine
    host: RawPath = RawPath(b"/")
    """Root of the host file system it belongs to: ``/`` for this host, else where that host is mounted."""
    states: tuple[RawPath, ...] = ()
    """State folders of its engine, such as ``/run/containerd``: absolute, from the view of this process."""
    docker: tuple[RawPath, ...] = ()
    """Absolute Docker data roots whose ``containers/`` and BuildKit databases can own its leases."""
    docker_known: bool = True
    """False if a setting that may name another data root could not be read: no lease then counts as ownerless."""
    snapshotters: tuple[tuple[bytes, RawPath], ...] = ()
    """(snapshotter, absolute folder from the view of this process) of each snapshotter whose ``root_path`` lies
    elsewhere; several of one snapshotter if configs contradict each other."""
    findings: tuple[Finding, ...] = ()
    """Settings about this root that could not be read."""
    layout: RootLayout = CONTAINERD_LAYOUT
    buildkit: tuple[RawPath, ...] = ()
    """Absolute roots of buildkitd whose records can own its leases in the namespaces of a standalone BuildKit."""
    layer_stores: tuple[RawPath, ...] = ()
    """The data roots of ``docker`` whose classic layer stores are judged with this root: of several roots that have a
    data root, the first."""
    has_containerd: bool = True
    """False for a Docker data root of which no containerd root was found: ``path`` is then the data root."""
    daemons: tuple[tuple[RawPath, DaemonSettings], ...] = ()
    """The data roots of ``docker`` whose dockerd's settings were found, with these."""


class Mounted(NamedTuple):
    """Something that dockerd mounts in a container and that is not part of the container's own files."""

    type: bytes
    """``volume``, ``bind``, ``tmpfs`` …, as dockerd names it."""
    source: bytes
    """The volume's name, or the path; empty for none."""
    target: bytes
    """Path of the mount point in the container."""


class DockerContainer(NamedTuple):
    """A folder of dockerd's ``containers/``. Its name alone keeps the lease; what could not be read is None."""

    id: bytes
    name: bytes | None = None
    driver: bytes | None = None
    image: Digest | None = None
    """The image id (config digest)."""
    manifest: Digest | None = None
    """``ImageManifest.digest``: what the container was made from with the containerd image store."""
    running: bool | None = None
    """As dockerd last wrote it; still true after a crash."""
    asked: bytes | None = None
    """The name of the image that the user gave when the container was created; ``docker ps`` shows it."""
    manifest_known: bool = True
    """False if its configuration could not be read: it may have been created from any manifest."""
    mounts: frozenset[bytes] = frozenset()
    """Ids of the leases and snapshots of its image mounts (``docker run --mount type=image``)."""
    mounts_known: bool = True
    """False if its configuration could not be read: any id of such a form may belong to one of its image mounts."""
    is_classic: bool = False
    """Whether the classic image store has its layer (``image/<driver>/layerdb/mounts``), and containerd has none."""
    mounted: tuple[Mounted, ...] = ()
    """Its mounts, sorted by mount point."""
    compose: tuple[bytes, bytes] | None = None
    """The service of Compose that it belongs to, and the files that define the service; None if none is known."""

    @property
    def mode(self) -> StoreMode | None:
        """The store that has its layer; None if that is not known.

        ``btrfs``, ``zfs`` and ``fuse-overlayfs`` are names of graph drivers and of snapshotters.
        """
        if self.is_classic or self.driver in _GRAPH_DRIVERS_ONLY:
            return StoreMode.CLASSIC
        if self.driver is None or (self.driver in GRAPH_DRIVERS and self.manifest is None):
            return None
        return StoreMode.IMAGE_STORE


@dataclass(slots=True)
class BuildOwners:
    """Records of a BuildKit that own leases; the times are as in :class:`Owners`."""

    records: frozenset[bytes] = frozenset()
    history: frozenset[bytes] = frozenset()
    blobs_only: frozenset[bytes] = frozenset()
    records_changed: UnixNano | None = None
    history_changed: UnixNano | None = None


@dataclass(slots=True)
class Owners:
    """Records outside containerd that own its leases, as far as they could be read.

    Each set has the time when it last changed (mtime): that of the newest folder or file of a data root, and the oldest
    of these if there are several data roots. The time is None if not all records of the kind could be read: then a
    lease whose owner was not found is not ownerless. With a time, only a lease that was created earlier can be
    ownerless: an empty mount point, or the data root of an engine that now works elsewhere, last changed before that.
    """

    containers: dict[bytes, DockerContainer] = field(default_factory=dict)
    """dockerd's containers by id, from every data root of the containerd root."""
    images: frozenset[Digest] = frozenset()
    """Image ids of the graphdriver image store (``image/*/imagedb/content``)."""
    build_records: frozenset[bytes] = frozenset()
    """BuildKit cache records (``metadata_v2.db``) that are not marked deleted."""
    build_history: frozenset[bytes] = frozenset()
    """BuildKit history records (``history*.db``)."""
    image_mounts: dict[bytes, DockerContainer] = field(default_factory=dict)
    """The containers that mount an image, by the id of the lease and snapshot of the mount."""
    build_blobs_only: frozenset[bytes] = frozenset()
    """The cache records whose layer is not unpacked yet: their leases list a snapshot that does not exist."""
    containers_changed: UnixNano | None = None
    images_changed: UnixNano | None = None
    build_records_changed: UnixNano | None = None
    build_history_changed: UnixNano | None = None
    stores: list[StoreRecords] = field(default_factory=list)
    """What tells which image store each data root uses."""
    by_data_root: dict[RawPath, dict[bytes, DockerContainer] | None] = field(default_factory=dict)
    """dockerd's containers of each data root; None if they could not be listed."""
    buildkitd: BuildOwners = field(default_factory=BuildOwners)
    """The records of a BuildKit outside dockerd."""
    caches: list[BuildCache] = field(default_factory=list)
    """The cache records of each worker that could be read whole, of dockerd and of a buildkitd."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def builds(self) -> BuildOwners:
        """The records of the BuildKit in dockerd."""
        return BuildOwners(
            self.build_records,
            self.build_history,
            self.build_blobs_only,
            self.build_records_changed,
            self.build_history_changed,
        )

    @property
    def containers_known(self) -> bool:
        """Whether all of dockerd's containers were found."""
        return self.containers_changed is not None

    @property
    def has_no_container(self) -> bool:
        """Whether the folders of containers could be read and have no container: they may have been emptied."""
        return self.containers_known and not any(map(is_container_id, self.containers))

    @property
    def mounts_known(self) -> bool:
        """Whether all images that dockerd's containers mount were found."""
        return self.containers_known and all(each.mounts_known for each in self.containers.values())
