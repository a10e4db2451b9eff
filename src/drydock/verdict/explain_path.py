"""What a path is there for that belongs to no object: by the category of its usage."""

from __future__ import annotations

import re
from typing import Final

from drydock.model.disk_usage import FoundEntry, UsageCategory, UsageEntry
from drydock.model.explanations import Explanation
from drydock.model.names import RawPath, builder_of
from drydock.model.text import quoted, shown
from drydock.model.usage_purposes import PURPOSES, Purpose

_PARTS: Final = {
    re.compile(rb"(?:.*/)?\.tmp-[^/]*", re.DOTALL): Purpose(
        "a write that was cut off: dockerd passes it over, and never removes it", "you, with dockerd stopped"
    ),
    re.compile(rb"image/[^/]+/distribution(?:/.*)?", re.DOTALL): Purpose(
        "hints for push and pull, without data; they grow for ever", "you, with dockerd stopped: it makes them again"
    ),
    re.compile(rb"image/[^/]+/repositories\.json"): Purpose(
        "the names of the images in the classic store", "docker image prune -a, in part"
    ),
    re.compile(rb"image/[^/]+/imagedb(?:/.*)?", re.DOTALL): Purpose(
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
    """Say what a path is there for, what it is part of, and what frees it.

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


def _purpose(path: RawPath, found: FoundEntry) -> Purpose:
    of_category = PURPOSES[found.entry.category]
    if path == found.place:
        return Purpose(f"{of_category.what}, with all below it", "drydock scan shows what is in it")
    if found.entry.category is UsageCategory.UNKNOWN:
        return of_category
    below = path[len(found.place.rstrip(b"/")) + 1 :]
    return next((purpose for pattern, purpose in _PARTS.items() if pattern.fullmatch(below)), of_category)
