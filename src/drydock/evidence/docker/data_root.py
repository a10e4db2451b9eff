"""What lies in a Docker data root beside containerd's stores, by category. Nothing is judged here.

Sources: moby daemon/daemon.go (the folders of the root), volume/local/local.go (``volumes/<name>``),
daemon/logger/jsonfilelog and daemon/logger/local (names of logs), image/fs.go and layer/filestore.go
(``image/<driver>``), daemon/graphdriver/overlay2/overlay.go, builder/builder-next/controller.go,
plugin/manager.go, v28.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeAlias

from drydock.evidence.files.directory import folder, may_be_folder
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.usage_meter import UsageMeter
from drydock.model.disk_usage import UsageCategory as Category
from drydock.model.names import RawPath, is_container_id
from drydock.model.text import shown

MeasureContainerd: TypeAlias = Callable[[RawPath, int], None]
"""Adds the entries of a containerd root, from its absolute path and an open descriptor of it."""

_DRIVERS: Final = frozenset(
    (b"overlay2", b"fuse-overlayfs", b"btrfs", b"zfs", b"vfs", b"aufs", b"devicemapper", b"overlay")
)
"""Graph drivers, also those that were removed (moby daemon/graphdriver/driver.go, v20.10 to v28)."""
_PARTS: Final[Mapping[bytes, tuple[Category, ...]]] = {
    b"image": (Category.CLASSIC_METADATA,),
    b"buildkit": (Category.BUILDKIT,),
    b"volumes": (Category.NAMED_VOLUMES, Category.ANONYMOUS_VOLUMES),
    b"containers": (Category.LOGS, Category.CONTAINER_CONFIGURATION, Category.CONTAINER_FILES),
    b"rootfs": (Category.CONTAINER_FILES,),
    b"plugins": (Category.PLUGINS,),
    b"swarm": (Category.SWARM,),
    b"network": (Category.NETWORK,),
    b"tmp": (Category.TMP,),
    b"tmp-old": (Category.TMP,),
    b"containerd": (Category.CONTAINERD,),
    **dict.fromkeys(_DRIVERS, (Category.CLASSIC_LAYERS,)),
    **dict.fromkeys((b"engine-id", b"trust", b"runtimes", b"policy", b"builder", b"lost+found"), (Category.DOCKERD,)),
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
_VOLUME_FILES: Final = frozenset((b"metadata.db", b"backingFsBlockDev"))
_CONFIGURATION: Final = frozenset(
    (b"config.v2.json", b"hostconfig.json", b"hostname", b"hosts", b"resolv.conf", b"resolv.conf.hash")
)
_LAYER: Final = re.compile(rb"[0-9a-f]{64}(-init)?|[0-9a-z]{25}|l|backingFsBlockDev|" + _PROBE.pattern)
_ANY: Final = re.compile(rb".*", re.DOTALL)
_PLUGIN: Final = re.compile(rb"[0-9a-f]{64}(-removing)?|storage|tmp")
_LOG: Final = re.compile(rb"([0-9a-f]{64}-json\.log|container-cached\.log)(\.[0-9]+(\.gz)?)?|local-logs")
_RUN: Final = re.compile(rb"[0-9]{8}T[0-9]{6}Z-[0-9]+(-[0-9]+)?")
"""The name of the folder of one of drydock's own runs, in a state directory or a quarantine."""
_UNFINISHED: Final = b".tmp-"
"""How the name of an atomic write begins that was not finished (moby/sys/atomicwriter)."""


def measure_data_root(
    data: RawPath,
    meter: UsageMeter,
    *,
    remapped: Collection[RawPath] = (),
    containerd: Mapping[RawPath, MeasureContainerd] = {},
    containers: Mapping[bytes, bytes] = {},
) -> None:
    """Add an entry for everything in a data root; without measuring, only for what lies directly in it.

    Args:
        data: absolute path of the data root.
        meter: collects the entries.
        remapped: data roots of userns-remap, those directly below it among them.
        containerd: by path, what reads each containerd root in its folder ``containerd``.
        containers: names of containers by id.

    Raises:
        OSError: the data root cannot be opened.
    """
    with folder(data) as descriptor:
        meter.add_folder(Category.DOCKERD, data, descriptor)
        _DataRootReader(data, meter, remapped, containerd, containers).read(descriptor)


class _DataRootReader:
    """Adds the entries of one data root."""

    def __init__(
        self,
        data: RawPath,
        meter: UsageMeter,
        remapped: Collection[RawPath],
        containerd: Mapping[RawPath, MeasureContainerd],
        containers: Mapping[bytes, bytes],
    ) -> None:
        self._data = data
        self._meter = meter
        self._remapped = remapped
        self._containerd = containerd
        self._containers = containers

    def read(self, descriptor: int) -> None:
        below = {
            b"image": self._image,
            b"buildkit": self._buildkit,
            b"volumes": self._volumes,
            b"containers": self._containers_below,
            b"plugins": self._plugins,
            **dict.fromkeys(_DRIVERS, self._layers),
        }
        meter = self._meter
        whole = []
        for name in meter.listed(Category.UNKNOWN, self._data, descriptor):
            path = self._path(name)
            if any(root == path or root.startswith(path + b"/") for root in self._containerd):
                self._containerd_below(path, descriptor)
            elif path in self._remapped:
                with meter.folder(Category.DOCKERD, path, name, descriptor, into=(path, b"")) as inner:
                    if inner is not None:
                        _DataRootReader(path, meter, (), self._containerd, self._containers).read(inner)
            elif meter.measures and name in below:
                below[name](name, path, descriptor)
            elif meter.measures:
                whole.append((name, self._categories(name, descriptor)[0], path, name))
            else:
                for category in self._categories(name, descriptor):
                    meter.add(category, path, b"" if name in below else name)
        meter.measure(whole, descriptor, "folders of the data root measured")

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
        with meter.folder(Category.BUILDKIT, path, name, parent, into=(path, b"")) as inner:
            if inner is None:
                return
            whole = []
            for each in meter.listed(Category.BUILDKIT, path, inner):
                category = Category.BUILDKIT if _BUILDKIT_PART.fullmatch(each) else Category.UNKNOWN
                whole.append((each, category, self._path(name, each), each))
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
                elif is_container_id(each):  # 64 hex digits too
                    whole.append((each, Category.ANONYMOUS_VOLUMES, *entry))
                else:
                    whole.append((each, Category.NAMED_VOLUMES, *entry))
            meter.measure(whole, inner, "volumes measured")

    def _containers_below(self, name: bytes, path: RawPath, parent: int) -> None:
        meter = self._meter
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
        meter, known = self._meter, self._containers.get(identity, identity)
        with meter.folder(Category.CONTAINER_CONFIGURATION, path, identity, parent, into=(path, known)) as inner:
            if inner is None:
                return
            found = meter.listed(Category.CONTAINER_CONFIGURATION, path, inner)
            logs = [each for each in found if _LOG.fullmatch(each)]
            log = RawPath(os.path.join(path, logs[0])) if len(logs) == 1 else path
            whole = []
            for each in found:
                if each in logs:
                    whole.append((each, Category.LOGS, log, known))
                elif each in _CONFIGURATION or each.startswith(_UNFINISHED):
                    whole.append((each, Category.CONTAINER_CONFIGURATION, path, known))
                else:
                    whole.append((each, Category.CONTAINER_FILES, path, known))
            meter.measure(whole, inner)

    def _plugins(self, name: bytes, path: RawPath, parent: int) -> None:
        with self._meter.folder(Category.PLUGINS, path, name, parent, into=(path, b"")) as inner:
            if inner is not None:
                self._parts(_PLUGIN, (Category.PLUGINS, path, b""), inner)

    def _layers(self, name: bytes, path: RawPath, parent: int) -> None:
        with self._meter.folder(Category.CLASSIC_LAYERS, path, name, parent, into=(path, name)) as inner:
            if inner is not None:
                # The folders of the other drivers have other names, and drydock does not know all of them.
                known = _LAYER if name == b"overlay2" else _ANY
                self._parts(known, (Category.CLASSIC_LAYERS, path, name), inner, f"folders of {shown(name)} measured")

    def _parts(
        self, known: re.Pattern[bytes], entry: tuple[Category, RawPath, bytes], inner: int, many: str = ""
    ) -> None:
        """Measure an open folder: known names belong to one entry, each other name is unknown."""
        category, path, _ = entry
        whole: list[tuple[bytes, Category, RawPath, bytes]] = []
        for each in self._meter.listed(category, path, inner):
            other = (Category.UNKNOWN, RawPath(os.path.join(path, each)), each)
            whole.append((each, *(entry if known.fullmatch(each) else other)))
        self._meter.measure(whole, inner, many)


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
