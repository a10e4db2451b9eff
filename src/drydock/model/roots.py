"""Where containerd storage lies, and whose records can own what is in it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.findings import Finding
from drydock.model.names import Digest, RawPath, UnixNano, is_container_id


class Engine(enum.Enum):
    """Who runs the containerd of a root; the value is what reports show."""

    DOCKER = "docker"
    CONTAINERD = "containerd"
    K3S = "k3s"
    RKE2 = "rke2"
    MICROK8S = "microk8s"
    K0S = "k0s"
    ROOTLESS = "rootless"
    KIND = "kind"
    BUILDKIT = "buildkit"


class Root(NamedTuple):
    """One containerd root: the folder that holds ``io.containerd.metadata.v1.bolt``."""

    path: RawPath
    """Absolute, as this process reaches it."""
    engine: Engine
    host: RawPath = RawPath(b"/")
    """Root of the host file system it belongs to: ``/`` for this host, else where that host is mounted."""
    states: tuple[RawPath, ...] = ()
    """Absolute state folders (``/run/containerd`` ...) that its engine would use, as this process reaches them."""
    docker: tuple[RawPath, ...] = ()
    """Absolute Docker data roots whose ``containers/`` and BuildKit databases can own its leases."""
    docker_known: bool = True
    """False when a setting that may name one more data root could not be read: then no owner is provably gone."""
    snapshotters: tuple[tuple[bytes, RawPath], ...] = ()
    """(snapshotter, absolute folder), as this process reaches it, of those whose ``root_path`` lies elsewhere; several
    of one where configs contradict each other."""
    findings: tuple[Finding, ...] = ()
    """What could not be read of the settings that led here."""


class Mounted(NamedTuple):
    """Something that dockerd mounts in a container, and that is no part of the container's own files."""

    type: bytes
    """``volume``, ``bind``, ``tmpfs`` …, as dockerd has it."""
    source: bytes
    """The volume's name, or the path; empty for none."""
    target: bytes
    """Where, in the container."""


class DockerContainer(NamedTuple):
    """A folder of dockerd's ``containers/``. Its name alone keeps the lease; the rest is None where unreadable."""

    id: bytes
    name: bytes | None = None
    driver: bytes | None = None
    image: Digest | None = None
    """The image id (config digest)."""
    manifest: Digest | None = None
    """``ImageManifest.digest``: what the container was made from with the containerd image store."""
    running: bool | None = None
    """What dockerd last wrote; a crash leaves it true."""
    asked: bytes | None = None
    """The image as it was named when the container was made, which ``docker ps`` shows."""
    manifest_known: bool = True
    """False where its configuration could not be read: any manifest may be what it was made from."""
    mounts: frozenset[bytes] = frozenset()
    """Ids that the leases and snapshots of its image mounts have (``docker run --mount type=image``)."""
    mounts_known: bool = True
    """False where its configuration could not be read: any id of such a form may be a mount's of it."""
    is_classic: bool = False
    """Whether the classic image store has its layer (``image/<driver>/layerdb/mounts``): containerd then has none."""
    mounted: tuple[Mounted, ...] = ()
    """Its mount points, by where they are."""


@dataclass(slots=True)
class Owners:
    """Records outside containerd that own its leases: what was found of each kind, whatever else could not be read.

    Beside each set, when it last changed (mtime): the newest folder or file of a data root, the oldest of several data
    roots. None where not all of the kind is known: then what was not found is not provably gone. Else it is so only
    for a lease made before: the data root of an engine that works elsewhere, or an empty mount point, last changed
    before.
    """

    containers: dict[bytes, DockerContainer] = field(default_factory=dict)
    """dockerd's containers by id, over every data root of the containerd root."""
    images: frozenset[Digest] = frozenset()
    """Image ids of the graphdriver image store (``image/*/imagedb/content``)."""
    build_records: frozenset[bytes] = frozenset()
    """BuildKit cache records (``metadata_v2.db``) that are not marked deleted."""
    build_history: frozenset[bytes] = frozenset()
    """BuildKit history records (``history*.db``)."""
    image_mounts: dict[bytes, DockerContainer] = field(default_factory=dict)
    """The containers that mount an image, by the id of the mount's lease and snapshot."""
    build_blobs_only: frozenset[bytes] = frozenset()
    """The cache records whose layer is not unpacked yet: their leases list a snapshot that is not there."""
    containers_changed: UnixNano | None = None
    images_changed: UnixNano | None = None
    build_records_changed: UnixNano | None = None
    build_history_changed: UnixNano | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def containers_known(self) -> bool:
        """Whether dockerd has no containers but those found."""
        return self.containers_changed is not None

    @property
    def has_no_container(self) -> bool:
        """Whether dockerd's folders of containers could be read and hold none: they may have been emptied."""
        return self.containers_known and not any(map(is_container_id, self.containers))

    @property
    def mounts_known(self) -> bool:
        """Whether dockerd's containers mount no images but those found."""
        return self.containers_known and all(each.mounts_known for each in self.containers.values())
