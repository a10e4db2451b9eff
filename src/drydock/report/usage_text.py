"""What lies in a data root beside the objects that have states, in words: groups, the largest entries, who decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from drydock.model.disk_usage import PlaceUsage, UsageCategory, UsageEntry
from drydock.model.layer_store import OVERLAY2
from drydock.model.policies import SizeSource
from drydock.model.roots import Owners
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.report.wording import short_ids, show_bytes, show_count

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
_CLASSIC: Final = (
    UsageCategory.CLASSIC_LAYERS,
    UsageCategory.CLASSIC_CONTAINERS,
    UsageCategory.CLASSIC_METADATA,
    UsageCategory.BUILD_CACHE,
)
KINDS: Final = {
    UsageCategory.NAMED_VOLUMES: "volume",
    UsageCategory.ANONYMOUS_VOLUMES: "anonymous volume",
    UsageCategory.LOGS: "log",
    UsageCategory.CLASSIC_LAYERS: "layers",
    UsageCategory.CLASSIC_CONTAINERS: "written by a container",
    UsageCategory.CLASSIC_METADATA: "records of layers",
    UsageCategory.BUILD_CACHE: "build cache",
    UsageCategory.BUILD_HISTORY: "build history",
    UsageCategory.BUILDKIT: "BuildKit's databases",
    UsageCategory.CONTAINER_CONFIGURATION: "configuration",
    UsageCategory.CONTAINER_SHM: "shared memory",
    UsageCategory.CONTAINER_FILES: "container's files",
    UsageCategory.SNAPSHOTTER_FILES: "snapshotter's files",
    UsageCategory.UNKNOWN: "unknown",
}
"""What one entry of a category is; the others are called by their category."""
_NAMED: Final = (UsageCategory.NAMED_VOLUMES, UsageCategory.ANONYMOUS_VOLUMES, UsageCategory.LOGS)
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
NOTABLE: Final = 1 << 20
"""Bytes from which on an entry is listed, and advice is given about its group."""
_LISTED: Final = 5
_LARGEST: Final = 4


class UsageGroup(NamedTuple):
    """Entries of one kind."""

    name: str
    bytes: int
    entries: tuple[UsageEntry, ...]

    @property
    def words(self) -> str:
        """Its name, and how many entries it has where that tells something."""
        return f"{self.name} ({len(self.entries)})" if self.name in _COUNTED else self.name


class UsageText(NamedTuple):
    """One place in words. Every text is shown."""

    path: str
    groups: tuple[UsageGroup, ...]
    """What was measured and is not empty, the largest first."""
    unmeasured: tuple[str, ...]
    """Names of groups of which something was not measured."""
    largest: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    file_system: str = ""


@dataclass(slots=True)
class _Collected:
    measured: list[UsageEntry] = field(default_factory=list)
    unmeasured: list[UsageEntry] = field(default_factory=list)


def usage_texts(scan: Scan) -> list[UsageText]:
    """What lies beside the objects in each place of a scan; none of a place that has nothing else."""
    texts = (usage_text(place, scan) for place in scan.places)
    return [text for text in texts if text.groups or set(text.unmeasured) - {_OTHER}]


def usage_text(place: PlaceUsage, scan: Scan) -> UsageText:
    """What lies beside the objects in a place of a scan."""
    found: dict[str, _Collected] = {}
    for entry in place.entries:
        if not is_of_objects(entry, scan):
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
    entries = [entry for group in groups for entry in group.entries if (entry.bytes or 0) >= NOTABLE]
    entries.sort(key=lambda entry: (-(entry.bytes or 0), entry.path))
    notable = [group.name for group in groups if group.bytes >= NOTABLE]
    return UsageText(
        shown(place.path),
        tuple(groups),
        unmeasured,
        tuple(f"{show_bytes(entry.bytes or 0):>10}  {_words(entry, place)}" for entry in entries[:_LARGEST]),
        tuple(_advice(notable, scan.verdict.store.owners)),
        _file_system(place, taken=scan.verdict.store.measured is SizeSource.DISK),
    )


def is_of_objects(entry: UsageEntry, scan: Scan) -> bool:
    """Whether an entry is of a store whose objects the scan shows by state: containerd's, or a classic layer store."""
    if entry.category not in _CLASSIC:
        return entry.category.is_judged
    # BuildKit has directories there too.
    return any(
        entry.path.startswith(store.data + b"/" + part)
        for store in scan.verdict.store.layer_stores
        for part in (OVERLAY2, b"image/" + OVERLAY2)
    )


def _unmeasured(name: str, entries: Sequence[UsageEntry]) -> str:
    if name == "volumes":
        return show_count(sum(1 for entry in entries if entry.name), "volume") if entries[0].name else name
    if name != "unknown":
        return name
    listed = ", ".join(shown(entry.name) or shown(entry.path) for entry in entries[:_LISTED])
    more = f" and {len(entries) - _LISTED} more" if len(entries) > _LISTED else ""
    return f"unknown ({listed}{more})"


def _words(entry: UsageEntry, place: PlaceUsage) -> str:
    path = shown(entry.path[len(place.path) :].lstrip(b"/"))
    noun = _NOUNS.get(entry.category, "")
    if entry.category is UsageCategory.UNKNOWN or not entry.name or shown(entry.name) == path:
        words = f"{noun} {path}".strip()
    elif entry.category in _NAMED:  # its name says where it is
        words = f"{noun} {short_ids(shown(entry.name))}"
    else:
        words = f"{noun} {shown(entry.name)}: {path}".strip()
    if entry.used_by is not None:
        words += f", mounted by {', '.join(map(shown, entry.used_by)) or 'no container'}"
    return f"{words} ({entry.note})" if entry.note else words


def is_mixed(owners: Owners) -> bool:
    """Whether there are containers of both image stores; dockerd sees those of one."""
    return len({each.is_classic for each in owners.containers.values()}) > 1


def _advice(notable: Sequence[str], owners: Owners) -> list[str]:
    advice = []
    if "volumes" in notable:
        advice.append("volumes: drydock never removes one; a named volume may be needed although no container uses it")
        if is_mixed(owners):
            advice.append(
                "volumes: dockerd does not see the containers of the image store that it does not use, and "
                "`docker volume prune` removes their anonymous volumes"
            )
    if "logs" in notable:
        advice.append('logs: "log-opts": {"max-size": "10m"} in daemon.json caps the logs of containers created later')
    if "drydock's own" in notable:
        advice.append("drydock's own: a quarantine or journals; delete a run's folder when you need no undo of it")
    return advice


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
