"""Docker's classic layer store of one data root as it was read: images, layers, mounts, directories, links, builds.

Paths are relative to the data root. Sources: moby layer/filestore.go, image/fs.go, image/store.go,
daemon/graphdriver/overlay2/overlay.go, builder/builder-next/adapters/snapshot/snapshot.go (v28.5).
"""

import enum
import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from drydock.model.build_cache import BuildCache
from drydock.model.data import Fingerprint
from drydock.model.findings import Finding
from drydock.model.names import Digest, RawPath, UnixNano
from drydock.model.records import Lease
from drydock.model.roots import DockerContainer
from drydock.model.store_drops import StoreFile

OVERLAY2 = b"overlay2"
"""The graph driver whose layer store drydock judges, and the name of its folder in a data root."""

REFERENCES = RawPath(b"image/overlay2/repositories.json")
"""The names of the images, relative to the data root (moby daemon/internal/refstore/store.go, v28.5)."""

BUILDKIT = RawPath(b"buildkit")
"""The folder of dockerd's builder in a data root."""
BUILD_RECORDS, BUILD_LEASES, BUILD_SNAPSHOTS, BUILD_HISTORY = (
    RawPath(b"buildkit/" + each) for each in (b"metadata_v2.db", b"containerdmeta.db", b"snapshots.db", b"history.db")
)
"""Its databases in the classic mode, relative to the data root (moby builder/builder-next/controller.go
newGraphDriverController, v28.5)."""
BUILD_DATABASES = (BUILD_RECORDS, BUILD_LEASES, BUILD_SNAPSHOTS, BUILD_HISTORY)
"""In the order of their edits: a record that is marked as deleted may have a lease or not, and a snapshot without a
lease is nobody's."""

BUILDS = b"buildkit"
"""The namespace of the leases in ``buildkit/containerdmeta.db`` (moby builder/builder-next/controller.go, v28)."""

SNAPSHOTTER = b"default"
"""The name that BuildKit's snapshotter of the classic mode has in these leases."""


class ClassicImage(NamedTuple):
    """An image: a config in ``imagedb/content/sha256``."""

    id: Digest
    """sha256 of the config."""
    path: RawPath
    size: int
    """Bytes of the config."""
    names: tuple[bytes, ...]
    """Its references in repositories.json, sorted: ``name:tag`` and ``name@digest``; empty if it has none."""
    diff_ids: tuple[Digest, ...]
    chain: tuple[Digest, ...]
    """The chain ids of its layers, the base first."""
    parent: Digest | None
    """The image that the classic builder made it from: it keeps no layer."""
    created: bytes
    """As the config says, RFC 3339; empty if it does not say."""
    platform: bytes = b""
    """``os/architecture`` or ``os/architecture/variant``, as the config says; empty if it does not say."""
    labels: tuple[tuple[bytes, bytes], ...] = ()
    """Names and values of the labels that it was built with."""
    problem: str = ""
    """Why the config cannot be used, one shown line: dockerd does not list the image then. Empty if it can be used."""


class LayerRecord(NamedTuple):
    """A folder in ``layerdb/sha256`` that has the name of a chain id."""

    chain_id: Digest
    path: RawPath
    fingerprint: Fingerprint
    allocated: int
    """Bytes of allocated blocks of the folder and its files."""
    cache_id: bytes | None
    """Name of its directory in ``overlay2``; None if it cannot be read."""
    diff_id: Digest | None
    parent: Digest | None
    """Chain id of the layer below; None for a base, and if it cannot be read."""
    size: int | None
    """Bytes in its files, apparent; None if it cannot be read."""
    has_tar_split: bool
    problem: str = ""
    """Why dockerd cannot load it, one shown line; empty if it can. A parent that does not load is not noted here."""


class LayerRest(NamedTuple):
    """A folder that a layer's removal or unpacking left: ``layerdb/sha256/*-removing`` or ``layerdb/tmp/*``."""

    name: bytes
    path: RawPath
    fingerprint: Fingerprint
    allocated: int
    is_removing: bool
    """A removal that began; else a write-set, which nothing reads."""
    cache_id: bytes | None
    """None if it has none, as most write-sets; what could not be read is a finding."""
    chain_id: Digest | None = None
    """Of a removal: the layer that was to be removed."""


class MountRecord(NamedTuple):
    """A folder in ``layerdb/mounts`` with a ``mount-id``: the writable layer of a container, or of something else."""

    name: bytes
    """Relative to ``layerdb/mounts``; a record of an image mount may have slashes in it (28.0 to 29.1)."""
    path: RawPath
    fingerprint: Fingerprint
    allocated: int
    mount_id: bytes | None
    """Name of its directory in ``overlay2``; None if it cannot be read."""
    init_id: bytes | None
    """``<mount-id>-init``: only a container has one; None if there is none, or it cannot be read."""
    parent: Digest | None
    """Chain id of the layer that it was made on."""
    problem: str = ""
    """Why it cannot be read whole, one shown line; empty if it can."""

    @property
    def directories(self) -> tuple[bytes, ...]:
        """The directories that it names, with the ``-init`` that belongs to each: both go together."""
        named = [each.removesuffix(b"-init") for each in (self.mount_id, self.init_id) if each is not None]
        return tuple(each + end for each in dict.fromkeys(named) for end in (b"", b"-init"))


class DirectoryKind(enum.Enum):
    """What an entry of ``overlay2`` is by its name (moby daemon/graphdriver/overlay2/overlay.go, v28)."""

    LAYER = "layer"
    """64 hexadecimal digits: of an image's layer, of a container or of the classic builder."""
    INIT = "init"
    """The same with ``-init``: between an image and a container."""
    BUILD = "build"
    """25 characters: made by BuildKit, also if an image uses it now."""
    PROBE = "probe"
    """A test of the file system by a dockerd that was killed meanwhile."""
    FOREIGN = "foreign"


_NAMES: Final = {
    DirectoryKind.LAYER: re.compile(rb"[0-9a-f]{64}\Z"),
    DirectoryKind.INIT: re.compile(rb"[0-9a-f]{64}-init\Z"),
    DirectoryKind.BUILD: re.compile(rb"[0-9a-z]{25}\Z"),
    DirectoryKind.PROBE: re.compile(
        rb"(check-overlayfs-support|metacopy-check|opaque-bug-check|userxattr-check)[0-9]*\Z"
    ),
}


def directory_kind(name: bytes) -> DirectoryKind:
    """What an entry of ``overlay2`` is, by its name."""
    return next((kind for kind, names in _NAMES.items() if names.match(name)), DirectoryKind.FOREIGN)


class LayerDirectory(NamedTuple):
    """An entry of ``overlay2``, except ``l`` and the device for quotas."""

    name: bytes
    path: RawPath
    kind: DirectoryKind
    fingerprint: Fingerprint
    is_directory: bool
    link: bytes | None
    """Its name in ``l``; None if it has no file ``link``, or one that cannot be read."""
    lower: tuple[bytes, ...]
    """The names in ``l`` of the directories below it, the next one first; empty for a base."""
    has_diff: bool
    is_committed: bool
    """Whether something was made on it, so that it is mounted read-only."""
    allocated: int | None = None
    """Bytes of allocated blocks, each inode once; None if it was not measured."""
    problem: str = ""
    """What of it could not be read or is not as the driver writes it, one shown line; else empty."""


class LayerLink(NamedTuple):
    """An entry of ``overlay2/l``."""

    name: bytes
    path: RawPath
    fingerprint: Fingerprint
    directory: bytes | None
    """The directory that it leads to, if it is a symbolic link to ``../<directory>/diff``; else None."""
    allocated: int = 0
    """Bytes of allocated blocks: a long target takes one."""


LayerEntry = LayerRecord | LayerRest | MountRecord | LayerDirectory | LayerLink
"""What of a layer store is on disk."""


class BuildSnapshot(NamedTuple):
    """A bucket of BuildKit's ``snapshots.db``. Not each has a directory: lease ids have buckets too."""

    key: bytes
    parent: bytes
    """Key of its parent, or ``sha256:`` and a chain id; empty for none."""
    committed: bytes | None
    """The directory that it stands for; None if that is the key itself."""
    is_committed: bool
    """Whether another bucket stands for its directory now."""
    chain_id: Digest | None
    """The layer that it has become; None for none."""
    size: int | None
    """Bytes in its files, apparent; None if it was not recorded."""

    @property
    def directories(self) -> tuple[bytes, ...]:
        """The directories that it may stand for."""
        return (self.key,) if self.committed is None else (self.key, self.committed)


@dataclass(slots=True)
class Builds:
    """BuildKit's records in classic mode."""

    snapshots: dict[bytes, BuildSnapshot] = field(default_factory=dict)
    """The buckets of ``snapshots.db``, by key."""
    leases: list[Lease] = field(default_factory=list)
    """The leases of ``containerdmeta.db``."""
    blobs: frozenset[Digest] = frozenset()
    """The digests of the blobs that ``containerdmeta.db`` records in the namespace of the leases."""
    records: frozenset[bytes] = frozenset()
    """The ids of the cache records in ``metadata_v2.db`` that are not marked deleted."""
    snapshots_known: bool = True
    """False if not all of ``snapshots.db`` could be read: it may name any directory."""
    leases_known: bool = True
    """False if not all of ``containerdmeta.db`` could be read: a lease in it may name any layer."""
    records_changed: UnixNano | None = None
    """When ``metadata_v2.db`` last changed; None if it is missing or could not be read: no lease is ownerless then."""
    cache: BuildCache | None = None
    """The cache records, with those marked deleted; None if they are missing or could not be read."""

    def used_keys(self) -> frozenset[bytes] | None:
        """The keys of buckets that a lease or a cache record uses; None if not all of both are known.

        dockerd holds a layer for the leases that name it. Of a record that it prunes it leaves the buckets called as
        the record and as the layer, and does not look at them again (moby
        builder/builder-next/adapters/snapshot/leasemanager.go, v26.1 and v28.5).
        """
        if self.cache is None or not (self.cache.is_clear and self.snapshots_known and self.leases_known):
            return None
        used = {key for lease in self.leases for _, key in lease.snapshots}
        used.update(lease.id for lease in self.leases)
        for record in self.cache.records.values():
            used.update((record.id, record.snapshot))
        return frozenset(used)


@dataclass(slots=True)
class LayerStore:
    """The classic layer store of one data root, with the graph driver overlay2."""

    data: RawPath
    """Absolute path of the data root."""
    images: dict[Digest, ClassicImage] = field(default_factory=dict)
    """By id; one for each file in imagedb, also if its config cannot be used."""
    references: dict[bytes, Digest] = field(default_factory=dict)
    """The image ids in repositories.json, by reference; also of images that imagedb lacks."""
    image_files: dict[RawPath, StoreFile] = field(default_factory=dict)
    """The configs of images and the folders beside them, by path; empty unless images are to be dropped."""
    images_unknown: str = ""
    """Why there may be images besides these, one shown line; empty if there are none."""
    layers: dict[Digest, LayerRecord] = field(default_factory=dict)
    """By chain id."""
    rests: list[LayerRest] = field(default_factory=list)
    mounts: dict[bytes, MountRecord] = field(default_factory=dict)
    """By name."""
    directories: dict[bytes, LayerDirectory] = field(default_factory=dict)
    """By name."""
    links: dict[bytes, LayerLink] = field(default_factory=dict)
    """By name."""
    containers: dict[bytes, DockerContainer] = field(default_factory=dict)
    """Every container of the data root by id, whatever its driver."""
    containers_known: bool = True
    """False if the folder of containers is missing or cannot be listed."""
    builds: Builds = field(default_factory=Builds)
    foreign: list[RawPath] = field(default_factory=list)
    """Entries of layerdb and ``overlay2/l`` that dockerd does not make."""
    findings: list[Finding] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    """What could not be listed or read, one shown line each: nothing of the store may be removed then."""
    live: bool = False
    """Whether dockerd may have been at work while it was read."""

    def is_written(self, mount: MountRecord) -> bool:
        """Whether a container has, or had, a writable layer: only a container has an init layer.

        A record is written file by file (moby layer/filestore.go SetMountID, SetInitID, v28.5), so it may lack the name
        of the init layer that lies there.
        """
        return mount.init_id is not None or (mount.mount_id or b"") + b"-init" in self.directories

    def has_snapshot(self, key: bytes) -> bool:
        """Whether BuildKit finds the snapshot of a key: a layer, or a bucket with the one that it stands for.

        It does not ask for directories (moby builder/builder-next/adapters/snapshot/snapshot.go Stat, v26.1 and v28.5).
        """
        found = self.builds.snapshots.get(key)
        chain = Digest(key) if key.startswith(b"sha256:") else None if found is None else found.chain_id
        if chain is not None:
            return chain in self.layers
        return found is not None and (found.committed is None or found.committed in self.builds.snapshots)

    def recorded_sizes(self) -> dict[bytes, int]:
        """Bytes in the files of directories, apparent, as layerdb and BuildKit recorded them."""
        sizes = {key: each.size for key, each in self.builds.snapshots.items() if each.size is not None}
        sizes.update(
            (each.cache_id, each.size) for each in self.layers.values() if each.cache_id and each.size is not None
        )
        return {name: size for name, size in sizes.items() if size >= 0}

    @property
    def complete(self) -> bool:
        """Whether everything that may name a layer or a directory could be listed."""
        return not self.unlisted
