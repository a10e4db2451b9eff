"""What a place is full of and what frees it, for the first lines of a table and of a page."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from drydock.model.data import RowKind
from drydock.model.disk_usage import PlaceUsage, UsageCategory, UsageEntry
from drydock.model.drops import DropKind
from drydock.model.layer_store import LayerStore
from drydock.model.leases import LeaseClass
from drydock.model.names import DANGLING, Digest, Kind, RawPath, Ref, builder_of, names_asked
from drydock.model.objects import LayerObject, PluginObject, State, StoreObject
from drydock.model.roots import DockerContainer, Engine
from drydock.model.scans import Scan
from drydock.model.store_modes import StoreMode
from drydock.model.text import quoted, shown
from drydock.model.usage_purposes import PURPOSES
from drydock.report.summary import Advice
from drydock.report.usage_text import NOTABLE, UsageGroup, UsageText, is_mixed, is_of_objects, usage_text
from drydock.report.wording import show_bytes, show_count

_ROWS: Final = 6
"""Rows that are listed; with more, the smallest have one row together."""
_BUILDS: Final = (UsageCategory.BUILD_CACHE, UsageCategory.BUILD_HISTORY, UsageCategory.BUILDKIT)
_KUBERNETES: Final = (Engine.K3S, Engine.RKE2, Engine.K0S, Engine.MICROK8S, Engine.KIND)
_YOU: Final = {
    "volumes": PURPOSES[UsageCategory.NAMED_VOLUMES].freed_by,
    "logs": PURPOSES[UsageCategory.LOGS].freed_by,
    "unknown": "you: drydock does not know what it is",
    "drydock's own": PURPOSES[UsageCategory.DRYDOCK].freed_by,
    "tmp": PURPOSES[UsageCategory.TMP].freed_by,
    "plugins": PURPOSES[UsageCategory.PLUGINS].freed_by,
    "classic store": PURPOSES[UsageCategory.CLASSIC_LAYERS].freed_by,
    "container files": "docker container prune",
    "snapshotter files": PURPOSES[UsageCategory.SNAPSHOTTER_FILES].freed_by,
}
"""What frees a group of usage."""


class _Keeper(enum.Enum):
    """What keeps an object, as far as it says who frees it; the value is shown."""

    IMAGES = "images"
    CONTAINERS = "containers' files"
    BUILD_CACHE = "build cache"
    BUILD_HISTORY = "build history"
    LEASES = "held by leases"
    UNUSED = "unreferenced"
    FOREIGN = "not understood"
    OTHER = "kept by something else"

    # Members are singletons: a store may have very many objects, and each is counted.
    __hash__ = object.__hash__


_OF_LEASES: Final = {
    LeaseClass.CONTAINER: _Keeper.CONTAINERS,
    LeaseClass.BUILD_CACHE: _Keeper.BUILD_CACHE,
    LeaseClass.BUILD_HISTORY: _Keeper.BUILD_HISTORY,
    LeaseClass.IMAGE: _Keeper.IMAGES,
}
_OF_KINDS: Final = {
    Kind.IMAGE: _Keeper.IMAGES,
    Kind.CONTAINER: _Keeper.CONTAINERS,
    Kind.SANDBOX: _Keeper.CONTAINERS,
    Kind.LAYER_MOUNT: _Keeper.CONTAINERS,
}
_OF_STATES: Final = {
    State.LEASED: _Keeper.LEASES,
    State.UNREACHABLE: _Keeper.UNUSED,
    State.ORPHANED: _Keeper.UNUSED,
    State.FOREIGN: _Keeper.FOREIGN,
}


_DOCKER_NAMESPACES: Final = frozenset((b"moby", b"moby_history"))
_OF_DOCKER: Final = (_Keeper.IMAGES, _Keeper.CONTAINERS, _Keeper.BUILD_CACHE, _Keeper.BUILD_HISTORY)
"""What goes with the store that dockerd does not use."""


class SpaceRow(NamedTuple):
    """Data of one kind. Every text is shown."""

    name: str
    bytes: int
    freed_by: str
    """A command, or who decides; empty where nothing frees it."""


class _DockerCommand(NamedTuple):
    """A command of Docker."""

    words: str
    bytes: int | None
    """What it frees; None if that was not measured."""
    what: str
    is_most: bool = False
    """Whether it may free less."""
    drop: DropKind | None = None
    """What ``clean --drop`` takes to do the same without an engine; None if it cannot."""

    @property
    def does(self) -> str:
        """What it frees, in words."""
        amount = "not measured" if self.bytes is None else show_bytes(self.bytes)
        return f"{'up to ' if self.is_most else ''}{amount}: {self.what}"


class PlaceSummary(NamedTuple):
    """One place in words. Every text is shown."""

    path: str
    rows: tuple[SpaceRow, ...]
    """What is not empty, the largest first."""
    prunes: tuple[Advice, ...]
    """Docker's own commands, with what each frees."""
    instead: Advice | None
    """What does the same where Docker does not start; None if nothing does."""
    usage: UsageText


def place_summaries(scan: Scan) -> list[PlaceSummary]:
    """What each place of a scan is full of."""
    return [_summarize(place, scan) for place in scan.places]


def _summarize(place: PlaceUsage, scan: Scan) -> PlaceSummary:
    usage = usage_text(place, scan)
    sums = _sums(place, scan)
    stores = sum(entry.bytes or 0 for entry in place.entries if is_of_objects(entry, scan))
    idle = _idle_stores(scan)
    rows = [_row(part, store, size, scan, idle) for (part, store), size in sums.items()]
    rest = stores - sum(sums.values())
    # Beside a running engine, what is new and has no record yet is measured, and is no object.
    has_new = scan.live and rest - scan.verdict.store.database_bytes >= NOTABLE
    name = "databases, records, new data" if has_new else "databases and records"
    rows.append(SpaceRow(name, max(0, rest), ""))
    rows += [SpaceRow(group.words, group.bytes, _group_freed_by(group, scan)) for group in usage.groups]
    rows = sorted((row for row in rows if row.bytes), key=lambda row: (-row.bytes, row.name))
    shown_rows = rows if len(rows) <= _ROWS + 1 else [*rows[:_ROWS], _together(rows[_ROWS:])]
    prunes = _notable(_prunes(place, scan, sums, usage.groups))
    advice = tuple(Advice(each.words, each.does, False) for each in prunes)
    return PlaceSummary(usage.path, tuple(shown_rows), advice, _instead(prunes), usage)


def _notable(prunes: Iterable[_DockerCommand]) -> list[_DockerCommand]:
    """The commands that free much, the most first; and those of which that is not known."""
    found = [each for each in prunes if each.bytes is None or each.bytes >= NOTABLE]
    return sorted(found, key=lambda each: -1 if each.bytes is None else -each.bytes)


def _instead(prunes: Iterable[_DockerCommand]) -> Advice | None:
    kinds = [each.drop.value for each in prunes if each.drop is not None]
    return (
        Advice(f"clean --drop {','.join(kinds)}", "if Docker does not start: shows what drydock would remove")
        if kinds
        else None
    )


def _idle_stores(scan: Scan) -> frozenset[StoreMode]:
    """The stores that no dockerd of this scan uses, as far as that is known."""
    used = [choice.used for choice in scan.stores]
    if not used or None in used:
        return frozenset()
    return frozenset(mode for mode in StoreMode if mode not in used)


def _is_dockers(scan: Scan) -> bool:
    """Whether a containerd root is dockerd's alone."""
    store = scan.verdict.store
    return store.root.engine is Engine.DOCKER or set(store.metadata.namespaces) <= _DOCKER_NAMESPACES


def _row(part: _Keeper, store: StoreMode, size: int, scan: Scan, idle: frozenset[StoreMode]) -> SpaceRow:
    is_classic = store is StoreMode.CLASSIC
    if part in _OF_DOCKER and store in idle and (is_classic or _is_dockers(scan)):
        return SpaceRow(f"idle store: {part.value}", size, f"drydock clean --drop-store {store.value}")
    name = part.value
    if part is _Keeper.UNUSED and not is_classic and not scan.verdict.store.metadata.complete:
        name = f"perhaps {name}"  # a record that could not be read may name it
    freed_by = _freed_by(part, scan, is_classic=is_classic)
    return SpaceRow(f"classic: {name}" if is_classic else name, size, freed_by)


def _together(rows: list[SpaceRow]) -> SpaceRow:
    return SpaceRow(f"{len(rows)} smaller: {rows[0].name} ...", sum(row.bytes for row in rows), "")


def _is_in(path: RawPath, place: RawPath) -> bool:
    return path == place or path.startswith(place.rstrip(b"/") + b"/")


def _sums(place: PlaceUsage, scan: Scan) -> Counter[tuple[_Keeper, StoreMode]]:
    """Bytes of the objects in a place, by what keeps them and by store; containerd's are of the image store."""
    parts = _Keepers(scan)
    is_inside = _is_in(scan.verdict.store.root.path, place.path)
    of, classic, image_store = parts.of, dict.fromkeys(_Keeper, 0), dict.fromkeys(_Keeper, 0)
    for start, size in scan.verdict.objects.usual() if is_inside else ():
        image_store[parts.of_blob(start)] += size
    for found in scan.verdict.objects.others():
        size = found.allocated
        if not size or isinstance(found, PluginObject):
            continue  # the bytes of plugins are in their own group
        if isinstance(found, LayerObject):
            if _is_in(found.data_root, place.path):
                classic[of(found)] += size
        elif is_inside:
            image_store[of(found)] += size
    by_store = ((StoreMode.CLASSIC, classic), (StoreMode.IMAGE_STORE, image_store))
    return Counter({(part, store): size for store, sums in by_store for part, size in sums.items() if size})


class _Keepers:
    """Says what keeps the objects of a scan."""

    def __init__(self, scan: Scan) -> None:
        self._leases: dict[Ref, LeaseClass] = {holding.ref: holding.kind for holding in scan.verdict.leases}
        self._backends = scan.verdict.store.backends
        self._written = {
            (layers.data, name)
            for layers in scan.verdict.store.layer_stores
            for mount in layers.mounts.values()
            for name in mount.directories
        }

    def of(self, found: StoreObject) -> _Keeper:
        """What keeps an object."""
        of_state = _OF_STATES.get(found.state)
        if of_state is not None:
            return of_state
        for holder in found.held_by:
            if holder.kind is Kind.SNAPSHOT and isinstance(found, LayerObject):
                return _Keeper.BUILD_CACHE
            part = self._part(holder)
            # A container also keeps the layers of its image.
            return _Keeper.IMAGES if part is _Keeper.CONTAINERS and not self.is_written(found) else part
        return _Keeper.OTHER

    def of_blob(self, holder: Ref) -> _Keeper:
        """What keeps a live blob that this holds."""
        part = self._part(holder)
        return _Keeper.IMAGES if part is _Keeper.CONTAINERS else part

    def _part(self, holder: Ref) -> _Keeper:
        if holder.kind is Kind.LEASE:
            return _OF_LEASES.get(self._leases.get(holder, LeaseClass.UNKNOWN), _Keeper.OTHER)
        return _OF_KINDS.get(holder.kind, _Keeper.OTHER)

    def is_written(self, found: StoreObject) -> bool:
        """Whether a container writes to an object."""
        if isinstance(found, LayerObject):
            return (found.data_root, found.id) in self._written
        backend = self._backends.get(found.snapshotter)
        row = None if backend is None or found.row is None else backend.rows.get(found.row)
        return row is not None and row.kind is RowKind.ACTIVE


def _freed_by(part: _Keeper, scan: Scan, *, is_classic: bool) -> str:
    if part is _Keeper.UNUSED:
        return "kept: see below" if scan.plan.is_empty else "drydock clean"
    if part is _Keeper.LEASES:
        return f"drydock clean --end-leases {'ownerless' if is_classic else 'temporary'}"
    if part is _Keeper.FOREIGN:
        return "you: drydock does not know what it is"
    root = scan.verdict.store.root
    if root.engine is Engine.BUILDKIT:
        return {_Keeper.BUILD_CACHE: "buildctl prune", _Keeper.BUILD_HISTORY: "buildctl prune-histories"}.get(part, "")
    is_kubernetes = root.engine in _KUBERNETES or b"k8s.io" in scan.verdict.store.metadata.namespaces
    if not root.docker:
        if part is _Keeper.IMAGES:
            return "crictl rmi --prune" if is_kubernetes else _image_prune(scan)
        return ""
    return {
        _Keeper.IMAGES: "docker image prune -a",
        _Keeper.CONTAINERS: "docker container prune",
        _Keeper.BUILD_CACHE: "docker builder prune",
        _Keeper.BUILD_HISTORY: "docker buildx history rm --all",
    }.get(part, "")


def _image_prune(scan: Scan) -> str:
    """What frees the images of a containerd root of which no data root of Docker is known."""
    namespaces = {image.namespace for image in scan.verdict.store.metadata.images}
    if namespaces and namespaces <= _DOCKER_NAMESPACES:
        return "docker image prune -a"
    if len(namespaces) == 1 and namespaces != {b"default"}:
        return f"nerdctl --namespace {quoted(namespaces.pop())} image prune --all"
    return "nerdctl image prune --all"


def _group_freed_by(group: UsageGroup, scan: Scan) -> str:
    if group.name != "BuildKit":
        return _YOU.get(group.name, "")
    if scan.verdict.store.root.engine is Engine.BUILDKIT:
        return "buildctl prune"
    own = sum(entry.bytes or 0 for entry in group.entries if entry.name in (b"", b"default"))
    return "docker buildx prune --builder NAME" if 2 * own < group.bytes else "docker builder prune"


def _prunes(
    place: PlaceUsage, scan: Scan, sums: Counter[tuple[_Keeper, StoreMode]], groups: tuple[UsageGroup, ...]
) -> Iterator[_DockerCommand]:
    """Docker's commands, with what each frees as far as that is known."""
    root, owners = scan.verdict.store.root, scan.verdict.store.owners
    if not root.docker or not any(_is_in(data, place.path) or _is_in(place.path, data) for data in root.docker):
        return
    free = [
        entry for entry in place.entries if entry.category is UsageCategory.ANONYMOUS_VOLUMES and entry.used_by == ()
    ]
    if free and not is_mixed(owners):
        sizes = [entry.bytes for entry in free if entry.bytes is not None]
        what = f"{show_count(len(free), 'anonymous volume')} that no container mounts"
        yield _DockerCommand("docker volume prune", sum(sizes) if sizes else None, what)
    stopped = [each for each in owners.containers.values() if each.running is False]
    if stopped:
        what = f"what {show_count(len(stopped), 'stopped container')} wrote and logged"
        size = _of_containers(place, scan, stopped)
        yield _DockerCommand("docker container prune", size, what, drop=DropKind.STOPPED_CONTAINERS)
    idle = _idle_stores(scan)
    cache = sum(size for (part, store), size in sums.items() if part is _Keeper.BUILD_CACHE and store not in idle)
    cache += sum(entry.bytes or 0 for group in groups for entry in group.entries if _is_default_cache(entry))
    drop = DropKind.BUILD_CACHE
    yield _DockerCommand("docker builder prune", cache, "build cache that no build uses", is_most=True, drop=drop)
    images = _of_unused_images(place, scan, idle)
    drop = DropKind.UNUSED_IMAGES
    yield _DockerCommand("docker image prune -a", images, "images that no container uses", is_most=True, drop=drop)
    yield from _builders(place)


def _of_unused_images(place: PlaceUsage, scan: Scan, idle: frozenset[StoreMode]) -> int:
    """At most how many bytes images of Docker keep that no container was created from.

    An object names the first image that keeps it; others, and containers, may keep it as well.
    """
    store = scan.verdict.store
    containers = store.owners.containers.values()
    ids = {each.image for each in containers if each.image is not None}
    names = {DANGLING + each for each in ids}
    names.update(name for each in containers if each.asked is not None for name in names_asked(each.asked))
    leases = {each.ref for each in scan.verdict.leases if each.kind is LeaseClass.IMAGE}
    unused = {lease for lease in leases if lease.key.rpartition(b"-")[2] not in ids}
    layers = {each for each_store in store.layer_stores for each in _used_layers(each_store, ids)}

    def may_go(holder: Ref) -> bool:
        if holder.kind is not Kind.IMAGE:
            return holder in unused
        # Images of the classic store have no namespace.
        return not holder.namespace or (holder.namespace.startswith(b"moby") and holder.key not in names)

    is_counted = _is_in(store.root.path, place.path) and StoreMode.IMAGE_STORE not in idle
    size = sum(each for start, each in scan.verdict.objects.usual() if may_go(start)) if is_counted else 0
    for found in scan.verdict.objects.others():
        if found.state is not State.LIVE or isinstance(found, PluginObject):
            continue
        if not found.held_by or not all(map(may_go, found.held_by)):
            continue
        if isinstance(found, LayerObject):
            is_there = StoreMode.CLASSIC not in idle and _is_in(found.data_root, place.path)
            size += found.allocated if is_there and (found.data_root, found.id) not in layers else 0
        elif is_counted:
            size += found.allocated
    return size


def _used_layers(store: LayerStore, images: Collection[Digest]) -> Iterator[tuple[RawPath, bytes]]:
    """The layers of these classic images, and their directories."""
    for image in store.images.values():
        for chain in image.chain if image.id in images else ():
            yield store.data, chain
            layer = store.layers.get(chain)
            if layer is not None and layer.cache_id is not None:
                yield store.data, layer.cache_id


def _of_containers(place: PlaceUsage, scan: Scan, containers: Sequence[DockerContainer]) -> int:
    """Bytes of the logs of containers, and of what they wrote, as far as it was measured."""
    names = {each.name or each.id for each in containers}
    keys = {each.id for each in containers}
    size = sum(
        entry.bytes or 0
        for entry in place.entries
        if entry.category in (UsageCategory.LOGS, UsageCategory.CLASSIC_CONTAINERS) and entry.name in names
    )
    # dockerd calls the writable snapshot of a container by its id.
    others = scan.verdict.objects.others()
    return size + sum(found.allocated for found in others if found.snapshotter and found.id in keys)


def _is_default_cache(entry: UsageEntry) -> bool:
    return entry.category is UsageCategory.BUILD_CACHE and entry.name == b"default"


def _builders(place: PlaceUsage) -> Iterator[_DockerCommand]:
    sizes: Counter[bytes] = Counter()
    for entry in place.entries:
        if entry.category in _BUILDS and entry.bytes and entry.name not in (b"", b"default"):
            sizes[entry.name] += entry.bytes
    for node, size in sizes.most_common():
        # A name may have come from a folder that anybody made: then it is no word of a command.
        builder = builder_of(node)
        if builder is not None:
            words = f"docker buildx prune --builder {shown(builder)}"
            yield _DockerCommand(words, size, "the cache of that builder", is_most=True)
