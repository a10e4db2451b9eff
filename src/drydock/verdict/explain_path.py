"""What a path is there for that belongs to no object: by the category of its usage."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from drydock.model.disk_usage import FoundEntry, UsageCategory, UsageEntry
from drydock.model.explanations import Explanation
from drydock.model.names import RawPath, builder_of
from drydock.model.text import quoted, shown


class _Purpose(NamedTuple):
    """What a category is for, and what frees it. Both are shown."""

    what: str
    freed_by: str


_SCAN: Final = "see what drydock scan says of the store"
_NOBODY: Final = "nothing does: the engine needs it"
_COMPACTED: Final = "drydock clean --compact, if most of it is free pages; the engine needs the rest"
_PURPOSES: Final = {
    UsageCategory.CONTENT: _Purpose("containerd's blobs, and the folders around them", _SCAN),
    UsageCategory.INGESTS: _Purpose("downloads in progress", _SCAN),
    UsageCategory.SNAPSHOTS: _Purpose("the directories of a snapshotter", _SCAN),
    UsageCategory.UNPACK_LEFTOVERS: _Purpose("what containerd makes while it prepares or removes a snapshot", _SCAN),
    UsageCategory.DATABASES: _Purpose("the records of containerd, or the rows of a snapshotter", _COMPACTED),
    UsageCategory.SNAPSHOTTER_FILES: _Purpose("what a snapshotter in a process of its own keeps", "its snapshotter"),
    UsageCategory.CONTAINERD: _Purpose("the root of a containerd, or the folder of one of its plugins", _NOBODY),
    UsageCategory.CLASSIC_LAYERS: _Purpose("layers of images in Docker's classic store", "docker image prune -a"),
    UsageCategory.CLASSIC_CONTAINERS: _Purpose("what a container wrote, with its init layer", "docker rm CONTAINER"),
    UsageCategory.CLASSIC_METADATA: _Purpose("the records of the classic store", "docker image prune -a, in part"),
    UsageCategory.BUILD_CACHE: _Purpose("files and blobs of BuildKit's cache", "docker builder prune"),
    UsageCategory.BUILD_HISTORY: _Purpose("BuildKit's records of past builds", "docker buildx history rm --all"),
    UsageCategory.BUILDKIT: _Purpose("BuildKit's databases, and its other folders", _COMPACTED),
    UsageCategory.NAMED_VOLUMES: _Purpose("a volume", "you: docker volume rm NAME"),
    UsageCategory.ANONYMOUS_VOLUMES: _Purpose("a volume that dockerd named", "docker volume prune"),
    UsageCategory.LOGS: _Purpose("the log of a container", "you: drydock clean --truncate-logs 10M"),
    UsageCategory.CONTAINER_CONFIGURATION: _Purpose("dockerd's record of a container", "docker rm CONTAINER"),
    UsageCategory.CONTAINER_SHM: _Purpose(
        "mount points of a container's shared memory and secrets", "docker rm CONTAINER"
    ),
    UsageCategory.CONTAINER_FILES: _Purpose("other files of a container, such as checkpoints", "docker rm CONTAINER"),
    UsageCategory.PLUGINS: _Purpose("Docker's plugins", "docker plugin rm NAME"),
    UsageCategory.SWARM: _Purpose("the state of a node of a swarm", "docker swarm leave"),
    UsageCategory.NETWORK: _Purpose("Docker's networks", _NOBODY),
    UsageCategory.TRUST: _Purpose("keys of Docker before version 23", "you, if no older Docker is to run again"),
    UsageCategory.TMP: _Purpose("dockerd's temporary files", "a restart of dockerd"),
    UsageCategory.DOCKERD: _Purpose("what dockerd itself keeps in the data root", _NOBODY),
    UsageCategory.DRYDOCK: _Purpose("journals and quarantines of drydock", "you: delete runs that need no undo"),
    UsageCategory.UNKNOWN: _Purpose("of no kind that drydock knows: it never removes that", "you"),
}
_PARTS: Final = {
    re.compile(rb"(?:.*/)?\.tmp-[^/]*", re.DOTALL): _Purpose(
        "a write that was cut off: dockerd passes it over, and never removes it", "you, with dockerd stopped"
    ),
    re.compile(rb"image/[^/]+/distribution(?:/.*)?", re.DOTALL): _Purpose(
        "hints for push and pull, without data; they grow for ever", "you, with dockerd stopped: it makes them again"
    ),
    re.compile(rb"image/[^/]+/repositories\.json"): _Purpose(
        "the names of the images in the classic store", "docker image prune -a, in part"
    ),
    re.compile(rb"image/[^/]+/imagedb(?:/.*)?", re.DOTALL): _Purpose(
        "the configs of the images in the classic store", "docker image prune -a, in part"
    ),
}
"""Parts of a data root that are told apart, by their paths in it.

Sources: moby/sys/atomicwriter (``.tmp-``), moby distribution/metadata/metadata.go, reference/store.go, image/fs.go
(v28.5).
"""
_OF: Final = {
    UsageCategory.CLASSIC_CONTAINERS: "container",
    UsageCategory.CONTAINER_CONFIGURATION: "container",
    UsageCategory.CONTAINER_SHM: "container",
    UsageCategory.CONTAINER_FILES: "container",
    UsageCategory.LOGS: "container",
    UsageCategory.NAMED_VOLUMES: "volume",
    UsageCategory.ANONYMOUS_VOLUMES: "volume",
    UsageCategory.SNAPSHOTS: "snapshotter",
    UsageCategory.BUILD_CACHE: "builder",
    UsageCategory.BUILD_HISTORY: "builder",
    UsageCategory.BUILDKIT: "builder",
}
"""What the name of an entry is, of the categories whose entries have one that the path does not show."""
_DOCKERD: Final = b"default"
"""The name of the entries of dockerd's own BuildKit."""
_OF_BUILDER: Final = {
    UsageCategory.BUILD_CACHE: ("buildctl prune", "docker buildx prune"),
    UsageCategory.BUILD_HISTORY: ("buildctl prune-histories", "docker buildx history rm --all"),
}
"""What frees them of a buildkitd that runs by itself, and of a builder of buildx."""


def explain_path(path: RawPath, found: FoundEntry) -> Explanation:
    """What is there, whose it is, and what frees it.

    Args:
        path: absolute.
        found: what it belongs to.
    """
    entry = found.entry
    purpose = _purpose(path, found)
    facts = [("what it is", purpose.what)]
    if entry.path != path:
        facts.append(("part of", shown(entry.path)))
    word = _OF.get(entry.category)
    if word is not None and entry.name:
        facts.append((word, shown(entry.name)))
    if found.note:
        facts.append(("not all of it was measured", found.note))
    freed_by = _of_builder(entry) or purpose.freed_by
    if word is not None and entry.name and freed_by.endswith((" NAME", " CONTAINER")):
        freed_by = f"{freed_by.rpartition(' ')[0]} {quoted(entry.name)}"
    facts.append(("freed by", freed_by))
    return Explanation(
        found.place, f"path {shown(path)}", entry.category.value, tuple(facts), (), None, (), bytes=found.bytes
    )


def _of_builder(entry: UsageEntry) -> str:
    """What frees cache or history of a BuildKit that is not dockerd's; empty for all else."""
    if entry.category not in _OF_BUILDER or entry.name == _DOCKERD:
        return ""
    alone, beside = _OF_BUILDER[entry.category]
    if not entry.name:
        return alone
    builder = builder_of(entry.name)
    return "" if builder is None else f"{beside} --builder {quoted(builder)}"


def _purpose(path: RawPath, found: FoundEntry) -> _Purpose:
    of_category = _PURPOSES[found.entry.category]
    if path == found.place:
        return _Purpose(f"{of_category.what}, with all below it", "drydock scan shows what is in it")
    if found.entry.category is UsageCategory.UNKNOWN:
        return of_category
    below = path[len(found.place.rstrip(b"/")) + 1 :]
    return next((purpose for pattern, purpose in _PARTS.items() if pattern.fullmatch(below)), of_category)
