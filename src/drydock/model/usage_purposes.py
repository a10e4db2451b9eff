"""What each category of usage is there for, and what frees it, in words."""

from typing import Final, NamedTuple

from drydock.model.disk_usage import UsageCategory


class Purpose(NamedTuple):
    """What a category is for, and what frees it. Both are shown."""

    what: str
    freed_by: str


_SCAN: Final = "see what drydock scan says of the store"
_NOBODY: Final = "nothing does: the engine needs it"
_COMPACTED: Final = "drydock clean --compact, if most of it is free pages; the engine needs the rest"
PURPOSES: Final = {
    UsageCategory.CONTENT: Purpose("containerd's blobs, and the folders around them", _SCAN),
    UsageCategory.INGESTS: Purpose("downloads in progress", _SCAN),
    UsageCategory.SNAPSHOTS: Purpose("the directories of a snapshotter", _SCAN),
    UsageCategory.UNPACK_LEFTOVERS: Purpose("what containerd makes while it prepares or removes a snapshot", _SCAN),
    UsageCategory.DATABASES: Purpose("the records of containerd, or the rows of a snapshotter", _COMPACTED),
    UsageCategory.SNAPSHOTTER_FILES: Purpose("what a snapshotter in a process of its own keeps", "its snapshotter"),
    UsageCategory.CONTAINERD: Purpose("the root of a containerd, or the folder of one of its plugins", _NOBODY),
    UsageCategory.CLASSIC_LAYERS: Purpose("layers of images in Docker's classic store", "docker image prune -a"),
    UsageCategory.CLASSIC_CONTAINERS: Purpose("what a container wrote, with its init layer", "docker rm CONTAINER"),
    UsageCategory.CLASSIC_METADATA: Purpose("the records of the classic store", "docker image prune -a, in part"),
    UsageCategory.BUILD_CACHE: Purpose("files and blobs of BuildKit's cache", "docker builder prune"),
    UsageCategory.BUILD_HISTORY: Purpose("BuildKit's records of past builds", "docker buildx history rm --all"),
    UsageCategory.BUILDKIT: Purpose("BuildKit's databases, and its other folders", _COMPACTED),
    UsageCategory.NAMED_VOLUMES: Purpose("a volume", "you: docker volume rm NAME"),
    UsageCategory.ANONYMOUS_VOLUMES: Purpose("a volume that dockerd named", "docker volume prune"),
    UsageCategory.LOGS: Purpose("the log of a container", "you: drydock clean --truncate-logs 10M"),
    UsageCategory.CONTAINER_CONFIGURATION: Purpose("dockerd's record of a container", "docker rm CONTAINER"),
    UsageCategory.CONTAINER_SHM: Purpose(
        "mount points of a container's shared memory and secrets", "docker rm CONTAINER"
    ),
    UsageCategory.CONTAINER_FILES: Purpose("other files of a container, such as checkpoints", "docker rm CONTAINER"),
    UsageCategory.PLUGINS: Purpose("Docker's plugins", "docker plugin rm NAME"),
    UsageCategory.SWARM: Purpose("the state of a node of a swarm", "docker swarm leave"),
    UsageCategory.NETWORK: Purpose("Docker's networks", _NOBODY),
    UsageCategory.TRUST: Purpose("keys of Docker before version 23", "you, if no older Docker is to run again"),
    UsageCategory.TMP: Purpose("dockerd's temporary files", "a restart of dockerd"),
    UsageCategory.DOCKERD: Purpose("what dockerd itself keeps in the data root", _NOBODY),
    UsageCategory.DRYDOCK: Purpose("journals and quarantines of drydock", "you: delete runs that need no undo"),
    UsageCategory.UNKNOWN: Purpose("of no kind that drydock knows: it never removes that", "you"),
}
