"""What a Docker data root or a containerd root takes on disk, by category, and the file systems below."""

import enum
from typing import NamedTuple, TypeAlias

from drydock.model.names import RawPath


class UsageCategory(enum.Enum):
    """Kinds of data. Each allocated block of a place is in exactly one; reports show the value."""

    CONTENT = "content"
    """containerd's blobs, and whatever else lies in its content store."""
    INGESTS = "ingests"
    SNAPSHOTS = "snapshots"
    """The directories of every snapshotter."""
    UNPACK_LEFTOVERS = "unpack-leftovers"
    """Directories beside the snapshots that containerd makes while it prepares or removes one, and ``tmpmounts``."""
    DATABASES = "databases"
    """meta.db and every metadata.db, with their folders."""
    SNAPSHOTTER_FILES = "snapshotter-files"
    """What else a snapshotter keeps, such as the caches of stargz, soci and nydus."""
    CONTAINERD = "containerd"
    """The folders of containerd's other plugins, and the containerd root itself."""
    CLASSIC_LAYERS = "classic-layers"
    """Layers of images in Docker's classic store: the folder of a graph driver, such as ``overlay2``."""
    CLASSIC_CONTAINERS = "classic-containers"
    """What containers wrote, in the classic store: the writable layer of each, with its init layer."""
    CLASSIC_METADATA = "classic-metadata"
    """The records of the classic store: ``image/<driver>``."""
    BUILD_CACHE = "build-cache"
    """The files and blobs of BuildKit's cache, outside containerd's stores."""
    BUILD_HISTORY = "build-history"
    """BuildKit's records of past builds."""
    BUILDKIT = "buildkit"
    """BuildKit's databases, and its other folders."""
    NAMED_VOLUMES = "named-volumes"
    ANONYMOUS_VOLUMES = "anonymous-volumes"
    """Volumes that dockerd named, by their label; without labels a name of 64 hex digits is a hint, not a proof."""
    LOGS = "logs"
    """Logs of containers: of the drivers ``json-file`` and ``local``, and the cache of other drivers."""
    CONTAINER_CONFIGURATION = "container-configuration"
    CONTAINER_SHM = "container-shm"
    """``mounts`` in a container's folder: the mount points of its shared memory and its secrets."""
    CONTAINER_FILES = "container-files"
    """What else is in a container's folder, such as checkpoints; mount points of containers."""
    PLUGINS = "plugins"
    SWARM = "swarm"
    NETWORK = "network"
    TRUST = "trust"
    """Keys of Docker before version 23."""
    TMP = "tmp"
    """dockerd's temporary files; it removes ``tmp`` when it starts."""
    DOCKERD = "dockerd"
    """The database of volumes, ``runtimes``, the engine's id, and the folders of the data root as such."""
    DRYDOCK = "drydock"
    """Journals and quarantines of drydock, by the names of the folders of its runs."""
    UNKNOWN = "unknown"
    """Anything of no kind that drydock knows."""

    @property
    def is_judged(self) -> bool:
        """Whether a scan shows the data by state."""
        return self in _JUDGED


_JUDGED = (
    UsageCategory.CONTENT,
    UsageCategory.INGESTS,
    UsageCategory.SNAPSHOTS,
    UsageCategory.UNPACK_LEFTOVERS,
    UsageCategory.DATABASES,
)


ContainerNames: TypeAlias = tuple[bytes, ...]
DriverName: TypeAlias = bytes


class UsageEntry(NamedTuple):
    """One thing that takes space, such as a volume, or the log of a container."""

    category: UsageCategory
    name: bytes
    """Of the volume, the container, the builder, the driver or the file; empty for all of a category."""
    path: RawPath
    """Absolute."""
    bytes: int | None
    """Bytes of allocated blocks, each inode once; None if it was not measured."""
    note: str = ""
    """Why it was not measured, or not all of it; else empty. One shown line."""
    used_by: ContainerNames | None = None
    """Names of the containers that mount a volume; None if that is not known, and for everything else."""
    driver: DriverName = b""
    """Of a log: ``json-file``, ``local``, or ``cache`` for what dockerd keeps beside another log driver. Of the classic
    store its graph driver, of snapshots the snapshotter; else empty."""


class FoundEntry(NamedTuple):
    """The entry that a path belongs to, and what the path takes."""

    place: RawPath
    """The data root, containerd root or other folder that it is in: absolute."""
    entry: UsageEntry
    """Without bytes."""
    bytes: int | None
    """Bytes of allocated blocks of the path alone; None if they could not be measured."""
    note: str
    """Why not all of the path was measured; else empty. One shown line."""


class FileSystem(NamedTuple):
    """A file system, as ``statvfs`` describes it."""

    device: int
    path: RawPath
    """The place that lies on it: absolute."""
    size: int
    """Bytes."""
    used: int
    free: int
    """Bytes that users other than root can still write."""
    inodes: int
    """0 if the file system has no fixed number of them."""
    inodes_free: int


class PlaceUsage(NamedTuple):
    """A Docker data root with everything below it, or a containerd root outside any."""

    path: RawPath
    """Absolute."""
    entries: tuple[UsageEntry, ...]
    """In the order of the categories, the largest of each first."""
    file_system: FileSystem | None
    """None if the place cannot be read."""

    def totals(self, *, measured: bool) -> dict[UsageCategory, int]:
        """Bytes by category; a category of which nothing was measured has none.

        Args:
            measured: everything was to be measured, so that a category without entries has 0 bytes.
        """
        found = dict.fromkeys(UsageCategory if measured else (), 0)
        for entry in self.entries:
            if entry.bytes is not None:
                found[entry.category] = found.get(entry.category, 0) + entry.bytes
        blind = {entry.category for entry in self.entries} - {
            entry.category for entry in self.entries if entry.bytes is not None
        }
        return {category: size for category, size in found.items() if category not in blind}
