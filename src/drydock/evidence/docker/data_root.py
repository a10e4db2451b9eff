"""What lies in a Docker data root beside containerd's stores, by category. Nothing is judged here.

Sources: moby daemon/daemon.go (the folders of the root), volume/local/local.go (``volumes/<name>``),
daemon/logger/jsonfilelog and daemon/logger/local (names of logs), image/fs.go and layer/filestore.go
(``image/<driver>``), daemon/graphdriver/overlay2/overlay.go, builder/builder-next/controller.go,
plugin/manager.go, v28.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple, TypeAlias

from drydock.evidence.files.directory import folder, may_be_folder
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.sizes import BLOCK
from drydock.evidence.files.usage_meter import UsageMeter
from drydock.model.disk_usage import UsageCategory as Category
from drydock.model.layer_store import OVERLAY2, LayerStore
from drydock.model.names import RawPath, is_container_id
from drydock.model.volumes import BUILDER_VOLUME

MeasureContainerd: TypeAlias = Callable[[RawPath, int], None]
"""Adds the entries of a containerd root, from its absolute path and an open descriptor of it."""

MeasureBuilder: TypeAlias = Callable[[UsageMeter, RawPath, int, bytes, tuple[Category, RawPath, bytes]], None]
"""Adds the entries of a BuildKit root, from its absolute path, an open descriptor of it, the name of its builder, and
the entry that whatever BuildKit does not make belongs to."""

BUILDER: Final = b"default"
"""How buildx calls the BuildKit in dockerd, where no context is chosen (buildx store/nodegroup.go, v0.20)."""

_DRIVERS: Final = frozenset(
    (OVERLAY2, b"fuse-overlayfs", b"btrfs", b"zfs", b"vfs", b"aufs", b"devicemapper", b"overlay")
)
"""Graph drivers, also those that were removed (moby daemon/graphdriver/driver.go, v20.10 to v28)."""
_PARTS: Final[Mapping[bytes, tuple[Category, ...]]] = {
    b"image": (Category.CLASSIC_METADATA,),
    b"buildkit": (Category.BUILD_CACHE, Category.BUILD_HISTORY, Category.BUILDKIT),
    b"volumes": (Category.NAMED_VOLUMES, Category.ANONYMOUS_VOLUMES),
    b"containers": (Category.CONTAINER_CONFIGURATION, Category.CONTAINER_FILES),
    b"rootfs": (Category.CONTAINER_FILES,),
    b"plugins": (Category.PLUGINS,),
    b"swarm": (Category.SWARM,),
    b"network": (Category.NETWORK,),
    b"trust": (Category.TRUST,),
    b"tmp": (Category.TMP,),
    b"tmp-old": (Category.TMP,),
    b"containerd": (Category.CONTAINERD,),
    **dict.fromkeys(_DRIVERS, (Category.CLASSIC_LAYERS,)),
    **dict.fromkeys((b"engine-id", b"runtimes", b"policy", b"builder", b"lost+found"), (Category.DOCKERD,)),
}
_PROBE: Final = re.compile(rb"(check-overlayfs-support|metacopy-check|opaque-bug-check|userxattr-check)[0-9]*")
"""Folders of a driver's probes of the file system: they stay if dockerd is killed."""
_IMAGE_FOLDERS: Final = frozenset((*_DRIVERS, b"overlayfs", b"native", b"stargz", b"erofs", b"nydus", b"soci"))
"""Also those of snapshotters: with the containerd image store dockerd makes a folder of that name."""
_IMAGE_PART: Final = re.compile(rb"distribution|imagedb|layerdb|repositories\.json|\.tmp-.*", re.DOTALL)
_IMAGE_CACHE: Final = b"identity-cache.db"
_BUILDKIT_PART: Final = re.compile(
    rb"(snapshots|containerdmeta|metadata_v2|metadata|cache|history|history_c8d)\.db(\.bak)?"
    rb"|content|executor|net|containerd-[a-z0-9.-]+|\.tmp-.*",
    re.DOTALL,
)
_BUILD_HISTORY: Final = re.compile(rb"history(_c8d)?\.db(\.bak)?")
_BUILD_CONTENT: Final = b"content"
_BUILD_DIRECTORY: Final = re.compile(rb"[0-9a-z]{25}")
_VOLUME_FILES: Final = frozenset((b"metadata.db", b"backingFsBlockDev"))
_CONFIGURATION: Final = frozenset(
    (b"config.v2.json", b"hostconfig.json", b"hostname", b"hosts", b"resolv.conf", b"resolv.conf.hash")
)
_LAYER: Final = re.compile(rb"[0-9a-f]{64}(-init)?|[0-9a-z]{25}|l|backingFsBlockDev|" + _PROBE.pattern)
_ANY: Final = re.compile(rb".*", re.DOTALL)
_PLUGIN: Final = re.compile(rb"[0-9a-f]{64}(-removing)?|storage|tmp")
_LOG: Final = re.compile(rb"(?:([0-9a-f]{64}-json\.log|container-cached\.log)(?:\.[0-9]+(?:\.gz)?)?|(local-logs))")
_SHM: Final = b"mounts"
_RUN: Final = re.compile(rb"[0-9]{8}T[0-9]{6}Z-[0-9]+(-[0-9]+)?")
"""The name of the folder of one of drydock's own runs, in a state directory or a quarantine."""
_UNFINISHED: Final = b".tmp-"
"""How the name of an atomic write begins that was not finished (moby/sys/atomicwriter)."""


class DataRootRecords(NamedTuple):
    """What dockerd's records say of what lies in data roots."""

    containers: Mapping[bytes, bytes] = {}
    """Names of containers by id."""
    anonymous: Collection[bytes] = ()
    """Names of the volumes that dockerd named."""
    layers: Mapping[RawPath, LayerStore] = {}
    """The classic layer store of each data root that has one."""


NO_RECORDS: Final = DataRootRecords()


def measure_data_root(
    data: RawPath,
    meter: UsageMeter,
    *,
    remapped: Collection[RawPath] = (),
    containerd: Mapping[RawPath, MeasureContainerd] = {},
    records: DataRootRecords = NO_RECORDS,
    builder: MeasureBuilder | None = None,
) -> None:
    """Add an entry for everything in a data root.

    Without measuring, the entries are for what lies directly in the data root, for each volume, and for the log of each
    container. The logs alone have bytes then, and the layers of the classic store have the size that dockerd recorded.

    Args:
        data: absolute path of the data root.
        meter: collects the entries.
        remapped: data roots of userns-remap, those directly below it among them.
        containerd: by path, what reads each containerd root in its folder ``containerd``.
        records: what dockerd's records say of it.
        builder: what reads the BuildKit root in the volume of a buildx builder.

    Raises:
        OSError: the data root cannot be opened.
    """
    with folder(data) as descriptor:
        meter.add_folder(Category.DOCKERD, data, descriptor)
        _DataRootReader(data, meter, containerd, records, builder).read(descriptor, remapped)


class _DataRootReader:
    """Adds the entries of one data root."""

    def __init__(
        self,
        data: RawPath,
        meter: UsageMeter,
        containerd: Mapping[RawPath, MeasureContainerd],
        records: DataRootRecords,
        builder: MeasureBuilder | None,
    ) -> None:
        self._data = data
        self._meter = meter
        self._containerd = containerd
        self._records = records
        self._builder = builder

    def read(self, descriptor: int, remapped: Collection[RawPath] = ()) -> None:
        below = {
            b"image": self._image,
            b"buildkit": self._buildkit,
            b"volumes": self._volumes,
            b"containers": self._containers_below,
            b"plugins": self._plugins,
            **dict.fromkeys(_DRIVERS, self._layers),
        }
        always = (b"volumes", b"containers", OVERLAY2)
        meter = self._meter
        whole = []
        for name in meter.listed(Category.UNKNOWN, self._data, descriptor):
            path = self._path(name)
            if any(root == path or root.startswith(path + b"/") for root in self._containerd):
                self._containerd_below(path, descriptor)
            elif path in remapped:
                with meter.folder(Category.DOCKERD, path, name, descriptor, into=(path, b"")) as inner:
                    if inner is not None:
                        _DataRootReader(path, meter, self._containerd, self._records, self._builder).read(inner)
            elif name in below and (meter.measures or name in always):
                below[name](name, path, descriptor)
            elif meter.measures:
                whole.append((name, self._categories(name, descriptor)[0], path, name))
            else:
                for category in self._categories(name, descriptor):
                    meter.add(category, path, b"" if name in below else name)
        meter.measure(whole, descriptor)

    def _path(self, *parts: bytes) -> RawPath:
        return RawPath(os.path.join(self._data, *parts))

    def _categories(self, name: bytes, parent: int) -> tuple[Category, ...]:
        if name.startswith(_UNFINISHED) or _PROBE.fullmatch(name):
            return (Category.DOCKERD,)
        if name in _PARTS:
            return _PARTS[name]
        return (Category.DRYDOCK if _has_runs(name, parent) else Category.UNKNOWN,)

    def _containerd_below(self, path: RawPath, parent: int) -> None:
        """A folder that is a containerd root (the managed one before Docker 18.09), or has roots in it."""
        meter = self._meter
        own = self._containerd.get(path)
        with meter.folder(Category.CONTAINERD, path, os.path.basename(path), parent, into=(path, b"")) as inner:
            if inner is None:
                return
            if own is not None:
                own(path, inner)
                return
            whole = []
            for name in meter.listed(Category.CONTAINERD, path, inner):
                each = RawPath(os.path.join(path, name))
                root = self._containerd.get(each)
                if root is None:
                    whole.append((name, Category.UNKNOWN, each, name))
                    continue
                with meter.folder(Category.CONTAINERD, each, name, inner, into=(each, b"")) as descriptor:
                    if descriptor is not None:
                        root(each, descriptor)
            meter.measure(whole, inner)

    def _image(self, name: bytes, path: RawPath, parent: int) -> None:
        meter, metadata = self._meter, Category.CLASSIC_METADATA
        with meter.folder(Category.DOCKERD, path, name, parent, into=(path, name)) as inner:
            if inner is None:
                return
            whole = []
            for each in meter.listed(metadata, path, inner):
                driver = self._path(name, each)
                if each not in _IMAGE_FOLDERS:
                    known = each == _IMAGE_CACHE or each.startswith(_UNFINISHED)
                    whole.append((each, Category.DOCKERD if known else Category.UNKNOWN, driver, each))
                    continue
                with meter.folder(metadata, driver, each, inner, into=(driver, each)) as below:
                    if below is not None:
                        self._parts(_IMAGE_PART, (metadata, driver, each), below)
            meter.measure(whole, inner)

    def _buildkit(self, name: bytes, path: RawPath, parent: int) -> None:
        meter = self._meter
        with meter.folder(Category.BUILDKIT, path, name, parent, into=(path, BUILDER)) as inner:
            if inner is None:
                return
            whole: list[tuple[bytes, Category, RawPath, bytes]] = []
            for each in meter.listed(Category.BUILDKIT, path, inner):
                below = self._path(name, each)
                if not _BUILDKIT_PART.fullmatch(each):
                    whole.append((each, Category.UNKNOWN, below, each))
                elif each == _BUILD_CONTENT:
                    whole.append((each, Category.BUILD_CACHE, below, BUILDER))
                else:
                    is_history = _BUILD_HISTORY.fullmatch(each)
                    whole.append((each, Category.BUILD_HISTORY if is_history else Category.BUILDKIT, below, BUILDER))
            meter.measure(whole, inner)

    def _volumes(self, name: bytes, path: RawPath, parent: int) -> None:
        meter = self._meter
        with meter.folder(Category.DOCKERD, path, name, parent, into=(path, name)) as inner:
            if inner is None:
                return
            whole = []
            for each in meter.listed(Category.NAMED_VOLUMES, path, inner):
                entry = self._path(name, each), each
                if each in _VOLUME_FILES or each.startswith(_UNFINISHED):
                    whole.append((each, Category.DOCKERD, path, name))
                elif not _may_be_volume(each, inner):
                    whole.append((each, Category.UNKNOWN, *entry))
                elif each in self._records.anonymous or is_container_id(each):  # 64 hex digits too
                    whole.append((each, Category.ANONYMOUS_VOLUMES, *entry))
                elif meter.measures and self._builder is not None and (found := BUILDER_VOLUME.fullmatch(each)):
                    self._builder_volume(each, entry[0], inner, found[1], self._builder)
                else:
                    whole.append((each, Category.NAMED_VOLUMES, *entry))
            meter.measure(whole, inner)

    def _builder_volume(self, name: bytes, path: RawPath, parent: int, node: bytes, builder: MeasureBuilder) -> None:
        """A volume that is the BuildKit root of a builder; what BuildKit does not make in it is the volume's."""
        meter, own = self._meter, (Category.NAMED_VOLUMES, path, name)
        with meter.folder(Category.NAMED_VOLUMES, path, name, parent, into=(path, name)) as inner:
            if inner is None:
                return
            whole = []
            for each in meter.listed(Category.NAMED_VOLUMES, path, inner):
                if each != b"_data":
                    whole.append((each, *own))
                    continue
                data = RawPath(path + b"/_data")
                with meter.folder(Category.NAMED_VOLUMES, data, each, inner, into=(path, name)) as root:
                    if root is not None:
                        builder(meter, data, root, node, own)
            meter.measure(whole, inner)

    def _containers_below(self, name: bytes, path: RawPath, parent: int) -> None:
        meter = self._meter
        if not meter.measures:
            for category in self._categories(name, parent):
                meter.add(category, path)
        with meter.folder(Category.CONTAINER_CONFIGURATION, path, name, parent, into=(path, b"")) as inner:
            if inner is None:
                return
            whole = []
            for each in meter.listed(Category.CONTAINER_CONFIGURATION, path, inner):
                below = self._path(name, each)
                if is_container_id(each):
                    self._container(each, below, inner)
                else:
                    whole.append((each, Category.UNKNOWN, below, each))
            meter.measure(whole, inner)

    def _container(self, identity: bytes, path: RawPath, parent: int) -> None:
        meter, known = self._meter, self._records.containers.get(identity, identity)
        with meter.folder(Category.CONTAINER_CONFIGURATION, path, identity, parent, into=(path, known)) as inner:
            if inner is None:
                return
            whole: list[tuple[bytes, Category, RawPath, bytes]] = []
            for each in meter.listed(Category.CONTAINER_CONFIGURATION, path, inner):
                log = _LOG.fullmatch(each)
                if log is not None:
                    at = RawPath(os.path.join(path, log[1] or log[2]))
                    if meter.measures:
                        whole.append((each, Category.LOGS, at, known))
                    else:
                        meter.add(Category.LOGS, at, known, _log_bytes(each, inner))
                elif each in _CONFIGURATION or each.startswith(_UNFINISHED):
                    whole.append((each, Category.CONTAINER_CONFIGURATION, path, known))
                elif each == _SHM:
                    whole.append((each, Category.CONTAINER_SHM, RawPath(path + b"/" + each), known))
                else:
                    whole.append((each, Category.CONTAINER_FILES, path, known))
            if meter.measures:
                meter.measure(whole, inner)

    def _plugins(self, name: bytes, path: RawPath, parent: int) -> None:
        with self._meter.folder(Category.PLUGINS, path, name, parent, into=(path, b"")) as inner:
            if inner is not None:
                self._parts(_PLUGIN, (Category.PLUGINS, path, b""), inner)

    def _layers(self, name: bytes, path: RawPath, parent: int) -> None:
        meter, entry = self._meter, (Category.CLASSIC_LAYERS, path, name)
        store = self._records.layers.get(self._data) if name == OVERLAY2 else None
        if not meter.measures:
            if store is None:
                meter.add(*entry)
            else:
                self._add_recorded(store, entry)
            return
        with meter.folder(*entry[:2], name, parent, into=(path, name)) as inner:
            if inner is None:
                return
            if name != OVERLAY2:
                # The folders of the other drivers have other names, and drydock does not know all of them.
                self._parts(_ANY, entry, inner)
                return
            owners = {} if store is None else self._layer_owners(store, path)
            whole: list[tuple[bytes, Category, RawPath, bytes]] = []
            for each in meter.listed(Category.CLASSIC_LAYERS, path, inner):
                owner = owners.get(each) or _directory_entry(each, path)
                directory = None if store is None else store.directories.get(each)
                if directory is None or directory.allocated is None:
                    whole.append((each, *owner))
                else:  # it was measured when the store was read
                    meter.add(*owner, directory.allocated)
            meter.measure(whole, inner)

    def _add_recorded(self, store: LayerStore, entry: tuple[Category, RawPath, bytes]) -> None:
        """The sizes of directories that dockerd or BuildKit recorded, or that were measured for want of a record."""
        meter, owners, sizes = self._meter, self._layer_owners(store, entry[1]), store.recorded_sizes()
        meter.add(*entry, 0)
        for name, directory in store.directories.items():
            size = sizes.get(name) if directory.allocated is None else directory.allocated
            meter.add(*(owners.get(name) or _directory_entry(name, entry[1])), size)

    def _layer_owners(self, store: LayerStore, path: RawPath) -> dict[bytes, tuple[Category, RawPath, bytes]]:
        """The entries that directories of ``overlay2`` belong to: those of layers, and of what containers wrote."""
        layers = (Category.CLASSIC_LAYERS, path, OVERLAY2)
        found = {each.cache_id: layers for each in store.layers.values() if each.cache_id is not None}
        for mount in store.mounts.values():
            written = RawPath(os.path.join(path, mount.mount_id or b""))
            entry = (Category.CLASSIC_CONTAINERS, written, self._records.containers.get(mount.name, mount.name))
            found |= dict.fromkeys(mount.directories, entry)
        return found

    def _parts(self, known: re.Pattern[bytes], entry: tuple[Category, RawPath, bytes], inner: int) -> None:
        """Measure an open folder: known names belong to one entry, each other name is unknown."""
        category, path, _ = entry
        whole: list[tuple[bytes, Category, RawPath, bytes]] = []
        for each in self._meter.listed(category, path, inner):
            other = (Category.UNKNOWN, RawPath(os.path.join(path, each)), each)
            whole.append((each, *(entry if known.fullmatch(each) else other)))
        self._meter.measure(whole, inner)


def _log_bytes(name: bytes, parent: int) -> int | None:
    """Bytes of allocated blocks of a file of a log, or of the files in the folder of the log driver ``local``."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        size = found.st_blocks * BLOCK
        if not stat.S_ISDIR(found.st_mode):
            return size
        descriptor = open_directory(parent, name, readable=True)
    except OSError:
        return None
    try:
        with os.scandir(descriptor) as entries:
            return size + sum(entry.stat(follow_symlinks=False).st_blocks * BLOCK for entry in entries)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _directory_entry(name: bytes, path: RawPath) -> tuple[Category, RawPath, bytes]:
    """The entry that a name in ``overlay2`` belongs to which no record names."""
    if _BUILD_DIRECTORY.fullmatch(name):
        return Category.BUILD_CACHE, path, BUILDER
    if _LAYER.fullmatch(name):
        return Category.CLASSIC_LAYERS, path, OVERLAY2
    return Category.UNKNOWN, RawPath(os.path.join(path, name)), name


def _may_be_volume(name: bytes, parent: int) -> bool:
    try:
        return may_be_folder(name, parent)
    except OSError:  # it went meanwhile, or the meter notes why it cannot be measured
        return True


def _has_runs(name: bytes, parent: int) -> bool:
    """Whether a folder has the folders of drydock's runs, and nothing else."""
    try:
        descriptor = open_directory(parent, name, readable=True)
    except OSError:
        return False
    found = False
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:  # not all of them are listed: a folder of another program may be very large
                if not _RUN.fullmatch(os.fsencode(entry.name)):
                    return False
                found = True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return found
