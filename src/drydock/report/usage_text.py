"""What else lies in a data root, in words for the table and the tree: groups, the largest entries, who decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from drydock.model.disk_usage import PlaceUsage, UsageCategory, UsageEntry
from drydock.model.layer_store import OVERLAY2
from drydock.model.policies import SizeSource
from drydock.model.roots import Owners
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.report.summary import Advice
from drydock.report.wording import show_bytes, show_count

_OTHER: Final = "other"
_GROUPS: Final = {
    UsageCategory.NAMED_VOLUMES: "volumes",
    UsageCategory.ANONYMOUS_VOLUMES: "volumes",
    UsageCategory.LOGS: "logs",
    UsageCategory.CLASSIC_LAYERS: "classic store",
    UsageCategory.CLASSIC_CONTAINERS: "classic store",
    UsageCategory.CLASSIC_METADATA: "classic store",
    UsageCategory.BUILD_CACHE: "BuildKit",
    UsageCategory.BUILD_HISTORY: "BuildKit",
    UsageCategory.BUILDKIT: "BuildKit",
    UsageCategory.CONTAINER_CONFIGURATION: "container files",
    UsageCategory.CONTAINER_SHM: "container files",
    UsageCategory.CONTAINER_FILES: "container files",
    UsageCategory.SNAPSHOTTER_FILES: "snapshotter files",
    UsageCategory.TMP: "tmp",
    UsageCategory.PLUGINS: "plugins",
    UsageCategory.DRYDOCK: "drydock's own",
    UsageCategory.UNKNOWN: "unknown",
}
_COUNTED: Final = ("volumes", "logs", "unknown")
_NOUNS: Final = {
    UsageCategory.NAMED_VOLUMES: "volume",
    UsageCategory.ANONYMOUS_VOLUMES: "anonymous volume",
    UsageCategory.LOGS: "log of",
    UsageCategory.CLASSIC_LAYERS: "layers of",
    UsageCategory.CLASSIC_CONTAINERS: "written by",
    UsageCategory.CLASSIC_METADATA: "records of",
    UsageCategory.BUILD_CACHE: "build cache of",
    UsageCategory.BUILD_HISTORY: "build history of",
    UsageCategory.BUILDKIT: "BuildKit of",
    UsageCategory.CONTAINER_CONFIGURATION: "configuration of",
    UsageCategory.CONTAINER_SHM: "shared memory of",
    UsageCategory.CONTAINER_FILES: "files of",
    UsageCategory.UNKNOWN: "unknown:",
}
_NOTABLE: Final = 1 << 20
"""Bytes from which on an entry is listed, and advice is given about its group."""
_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """Entries of one kind."""

    name: str
    bytes: int
    entries: tuple[UsageEntry, ...]

    @property
    def words(self) -> str:
        """Its name, and how many entries it has where that tells something."""
        return f"{self.name} ({len(self.entries)})" if self.name in _COUNTED else self.name


@dataclass(frozen=True, slots=True)
class UsageText:
    """One place in words. Every text is shown."""

    path: str
    groups: tuple[UsageGroup, ...]
    """What was measured and is not empty, the largest first."""
    unmeasured: tuple[str, ...]
    """Names of groups of which something was not measured."""
    largest: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    commands: tuple[Advice, ...] = ()
    file_system: str = ""


@dataclass(slots=True)
class _Collected:
    measured: list[UsageEntry] = field(default_factory=list)
    unmeasured: list[UsageEntry] = field(default_factory=list)


def usage_texts(scan: Scan) -> list[UsageText]:
    """What lies beside containerd's objects in each place of a scan; none of a place that has nothing else."""
    texts = (_text(place, scan) for place in scan.places)
    return [text for text in texts if text is not None]


def _text(place: PlaceUsage, scan: Scan) -> UsageText | None:
    found: dict[str, _Collected] = {}
    for entry in place.entries:
        if not (entry.category.is_judged or _is_of_layer_store(entry, scan)):
            collected = found.setdefault(_GROUPS.get(entry.category, _OTHER), _Collected())
            (collected.unmeasured if entry.bytes is None else collected.measured).append(entry)
    groups = [
        UsageGroup(name, sum(entry.bytes or 0 for entry in each.measured), tuple(each.measured))
        for name, each in found.items()
        if any(entry.bytes for entry in each.measured)
    ]
    groups.sort(key=lambda group: -group.bytes)
    names = dict.fromkeys((*_GROUPS.values(), _OTHER))
    unmeasured = tuple(
        _unmeasured(name, found[name].unmeasured) for name in names if name in found and found[name].unmeasured
    )
    if not groups and set(unmeasured) <= {_OTHER}:
        return None
    entries = [entry for group in groups for entry in group.entries if (entry.bytes or 0) >= _NOTABLE]
    entries.sort(key=lambda entry: (-(entry.bytes or 0), entry.path))
    notable = [group.name for group in groups if group.bytes >= _NOTABLE]
    return UsageText(
        shown(place.path),
        tuple(groups),
        unmeasured,
        tuple(f"{show_bytes(entry.bytes or 0):>10}  {_words(entry, place)}" for entry in entries[:_LISTED]),
        tuple(_advice(notable, scan.verdict.store.owners)),
        tuple(_commands(notable, scan.verdict.store.owners)),
        _file_system(place, taken=scan.verdict.store.measured is SizeSource.DISK),
    )


def _is_of_layer_store(entry: UsageEntry, scan: Scan) -> bool:
    """Whether an entry is of a classic layer store that the scan shows by state."""
    classic = (UsageCategory.CLASSIC_LAYERS, UsageCategory.CLASSIC_CONTAINERS)
    return entry.category in classic and any(
        entry.path.startswith(store.data + b"/" + OVERLAY2) for store in scan.verdict.store.layer_stores
    )


def _unmeasured(name: str, entries: Sequence[UsageEntry]) -> str:
    if name != "unknown":
        return name
    listed = ", ".join(shown(entry.name) or shown(entry.path) for entry in entries[:_LISTED])
    more = f" and {len(entries) - _LISTED} more" if len(entries) > _LISTED else ""
    return f"unknown ({listed}{more})"


def _words(entry: UsageEntry, place: PlaceUsage) -> str:
    path = shown(entry.path[len(place.path) :].lstrip(b"/"))
    noun = _NOUNS.get(entry.category, "")
    if entry.category is UsageCategory.UNKNOWN or not entry.name:
        words = f"{noun} {path}".strip()
    else:
        words = f"{noun} {shown(entry.name)}: {path}".strip()
    if entry.used_by is not None:
        words += f", mounted by {', '.join(map(shown, entry.used_by)) or 'no container'}"
    return f"{words} ({entry.note})" if entry.note else words


def _is_mixed(owners: Owners) -> bool:
    """Whether there are containers of both image stores; dockerd sees those of one."""
    return len({each.is_classic for each in owners.containers.values()}) > 1


def _advice(notable: Sequence[str], owners: Owners) -> list[str]:
    advice = []
    if "volumes" in notable:
        advice.append("volumes: drydock never removes one; a named volume may be needed although no container uses it")
        if _is_mixed(owners):
            advice.append(
                "volumes: dockerd does not see the containers of the image store that it does not use, and "
                "`docker volume prune` removes their anonymous volumes"
            )
    if "logs" in notable:
        advice.append('logs: "log-opts": {"max-size": "10m"} in daemon.json caps the logs of containers created later')
    if "tmp" in notable:
        advice.append("tmp: dockerd removes it when it starts")
    if "drydock's own" in notable:
        advice.append("drydock's own: a quarantine or journals; delete a run's folder when you need no undo of it")
    if "unknown" in notable:
        advice.append("unknown: drydock does not know what wrote it; you decide")
    return advice


def _commands(notable: Sequence[str], owners: Owners) -> list[Advice]:
    commands = []
    if "volumes" in notable and not _is_mixed(owners):
        commands.append(Advice("docker volume prune", "removes anonymous volumes that no container uses", False))
    if "BuildKit" in notable:
        commands.append(Advice("docker builder prune", "removes build cache that no build uses", False))
    if "classic store" in notable:
        commands.append(Advice("docker image prune", "removes untagged images, if dockerd uses this store", False))
    return commands


def _file_system(place: PlaceUsage, *, taken: bool) -> str:
    found = place.file_system
    if found is None:
        return ""
    inodes = f", {show_count(found.inodes_free, 'inode')} free" if found.inodes else ""
    size = sum(entry.bytes or 0 for entry in place.entries)
    own = f" {shown(place.path)} takes {show_bytes(size)} of it." if taken else ""
    return (
        f"File system of {shown(place.path)}: {show_bytes(found.size)}, {show_bytes(found.used)} used, "
        f"{show_bytes(found.free)} free{inodes}.{own}"
    )
