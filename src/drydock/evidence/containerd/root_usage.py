"""Disk usage of the scanned places by category: of each data root, and of each other root outside one.

Directories of snapshots that reading a store has measured are not walked again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from drydock.evidence.buildkit.root_usage import WORKER_PARTS, measure_builder
from drydock.evidence.docker.data_root import DataRootRecords, measure_data_root
from drydock.evidence.docker.volumes import read_volumes
from drydock.evidence.files.directory import folder
from drydock.evidence.files.mountinfo import mount_id
from drydock.evidence.files.sizes import Measure
from drydock.evidence.files.usage_finder import UsageFinder
from drydock.evidence.files.usage_meter import UsageMeter
from drydock.evidence.files.walk_pool import WalkAhead
from drydock.model.data import Backend, LayoutKind
from drydock.model.disk_usage import FileSystem, FoundEntry, PlaceUsage, UsageEntry
from drydock.model.disk_usage import UsageCategory as Category
from drydock.model.names import RawPath, is_within
from drydock.model.objects import ObjectKind, Verdict
from drydock.model.policies import SizeSource
from drydock.model.progress import Progress
from drydock.model.volumes import Volume

_MOUNT_POINTS = b"tmpmounts"
"""Mount points of containerd itself (core/mount/temp.go, v2.1)."""
_OTHERS = (b"lost+found", b"containerd.log")
"""k3s keeps the log there."""
_LEFTOVER = re.compile(rb"(new|rm)-.*", re.DOTALL)
"""A directory that is being prepared or removed, beside the snapshots (containerd overlay.go, v2.1)."""
_BESIDE = {
    b"/var/lib/containerd-stargz-grpc": Category.SNAPSHOTTER_FILES,
    b"/var/lib/soci-snapshotter-grpc": Category.SNAPSHOTTER_FILES,
    b"/var/lib/nydus/cache": Category.SNAPSHOTTER_FILES,
    b"/var/lib/drydock": Category.DRYDOCK,
}
"""Folders of a host beside the engines' roots: of snapshotters in processes of their own, and of drydock itself.

Sources: the documentation of stargz-snapshotter and nydus-snapshotter, soci-snapshotter config/config.go;
reclaim/state_dir.py.
"""
_DATABASE_FILES = (b"metadata.db", b"metadata.db.lock")


def measure_places(
    verdicts: Sequence[Verdict],
    counted: Mapping[RawPath, Measure],
    where: RawPath | None = None,
    progress: Progress | None = None,
    ahead: WalkAhead | None = None,
) -> dict[RawPath, list[PlaceUsage]]:
    """The usage of each place that the scanned roots belong to.

    A place inside another, such as the data root of a Docker in a volume, is part of the other. Stores whose sizes are
    as recorded have these, and what else there is has no bytes.

    Args:
        verdicts: of the roots.
        counted: by path of a root, what has counted the inodes with several links while its store was read.
        where: what was scanned: a data root outside it is no place; None for this host.
        progress: told how many folders are measured.
        ahead: has folders that are measured already.

    Returns:
        The places by the path of the first root that each belongs to.
    """
    top = None if where is None else RawPath(os.path.realpath(where))
    parts = _parts(verdicts, top)
    found: dict[RawPath, list[PlaceUsage]] = {}
    hosts: set[RawPath] = set()
    for part in parts:
        measure = None
        if part.first.store.measured is SizeSource.DISK:
            measure = Measure(counted[each.store.root.path] for each in part.verdicts)
        with UsageMeter(measure, live=part.first.store.live, progress=progress, ahead=ahead) as meter:
            usage = _measure_place(part.path, part.verdicts or [part.first], part.remapped, meter)
        found.setdefault(part.first.store.root.path, []).append(usage)
    for verdict in verdicts:
        host = verdict.store.root.host
        if top in (None, host) and host not in hosts:
            hosts.add(host)
            beside = _beside(host, verdict, [part.path for part in parts], progress)
            found.setdefault(verdict.store.root.path, []).extend(beside)
    return found


def find_entry(path: RawPath, verdicts: Sequence[Verdict], where: RawPath | None = None) -> FoundEntry | None:
    """Find the entry of the usage that a path belongs to, and measure the path.

    Args:
        path: absolute, without symbolic links in front of its last part.
        verdicts: as for :func:`measure_places`.
        where: the same.

    Returns:
        None if the path is in no place of the roots, or does not exist.
    """
    if not os.path.lexists(path):
        return None
    top = None if where is None else RawPath(os.path.realpath(where))
    entry = None
    # A place on a mount of its own may lie in another one.
    for part in sorted(_parts(verdicts, top), key=lambda part: -len(part.path)):
        if is_within(path, part.path):
            finder = UsageFinder(path)
            _measure_place(part.path, part.verdicts or [part.first], part.remapped, finder)
            entry, place = finder.found, part.path
            break
    for host in () if entry else dict.fromkeys(verdict.store.root.host for verdict in verdicts):
        for name, category in _BESIDE.items():
            beside = RawPath(os.path.join(host, name.lstrip(b"/")))
            if top in (None, host) and is_within(path, beside):
                entry, place = UsageEntry(category, os.path.basename(beside), beside, None), beside
    if entry is None:
        return None
    try:
        with folder(RawPath(os.path.dirname(path))) as parent:
            if path != place and mount_id(parent) != _mount(place):
                return FoundEntry(place, entry, None, "it is in a mount, which is not entered")
            size = Measure().folder(os.path.basename(path), parent)
    except OSError as error:
        return FoundEntry(place, entry, None, error.strerror or str(error))
    allocated = size.allocated if size.entries else None
    return FoundEntry(place, entry, allocated, entry.note or next(iter(size.skipped), ""))


class _Part(NamedTuple):
    """A place that scanned roots belong to, and that is in no other."""

    path: RawPath
    first: Verdict
    """Of the first root that belongs to it."""
    verdicts: list[Verdict]
    """Of the roots that lie in it."""
    remapped: list[RawPath]
    """Data roots of userns-remap in it."""


def _parts(verdicts: Sequence[Verdict], top: RawPath | None) -> list[_Part]:
    firsts: dict[RawPath, Verdict] = {}
    for verdict in verdicts:
        root = verdict.store.root
        builders = root.buildkit if root.layout.worker else ()
        wider = [each for each in (*root.docker, *builders) if top is None or is_within(each, top)]
        for place in wider if builders and wider else (*wider, root.path):
            firsts.setdefault(place, verdict)
    mounts = {place: _mount(place) for place in firsts}
    parts: list[_Part] = []
    for place, verdict in firsts.items():
        if any(place != other and is_within(place, other) and mounts[place] == mounts[other] for other in firsts):
            continue
        remapped = [each for each in firsts if os.path.dirname(each) == place and mounts[each] == mounts[place]]
        stores = [
            each
            for each in verdicts
            if each.store.root.path in (place, *_managed((place, *remapped)))
            or (each.store.root.layout.worker and place in each.store.root.buildkit)
        ]
        parts.append(_Part(place, verdict, stores, remapped))
    return parts


def _beside(
    host: RawPath, verdict: Verdict, places: Iterable[RawPath], progress: Progress | None
) -> Iterator[PlaceUsage]:
    """The folders of a host that lie beside the engines' roots."""
    for name, category in _BESIDE.items():
        path = RawPath(os.path.join(host, name.lstrip(b"/")))
        if not os.path.lexists(path) or any(is_within(path, each) for each in places):
            continue
        measure = Measure() if verdict.store.measured is SizeSource.DISK else None
        file_system = None
        with UsageMeter(measure, live=verdict.store.live, progress=progress) as meter:
            try:
                with folder(RawPath(os.path.dirname(path))) as parent:
                    meter.measure([(os.path.basename(path), category, path, os.path.basename(path))], parent)
                file_system = _file_system(path)
            except OSError as error:
                meter.add(category, path, note=error.strerror or str(error))
            yield PlaceUsage(path, meter.entries(), file_system)


def _managed(data: Iterable[RawPath]) -> list[RawPath]:
    """Where the containerd that a dockerd starts has its root, in each of these data roots."""
    return [RawPath(each + part) for each in data for part in (b"/containerd", b"/containerd/daemon")]


def _mount(place: RawPath) -> int | None:
    try:
        with folder(place) as descriptor:
            return mount_id(descriptor)
    except OSError:
        return None


def _measure_place(
    place: RawPath, verdicts: Sequence[Verdict], remapped: Sequence[RawPath], meter: UsageMeter
) -> PlaceUsage:
    readers = {
        each.store.root.path: _RootReader(each, meter).read for each in verdicts if each.store.root.has_containerd
    }
    file_system = None
    volumes: dict[RawPath, Volume] = {}
    try:
        if place in readers:
            with folder(place) as descriptor:
                meter.add_folder(Category.CONTAINERD, place, descriptor)
                readers[place](place, descriptor)
        elif any(place in each.store.root.buildkit for each in verdicts):
            with folder(place) as descriptor:
                meter.add_folder(Category.BUILDKIT, place, descriptor)
                measure_builder(meter, place, descriptor, b"", workers=readers)
        else:
            data = (place, *remapped)
            volumes = {each.path: each for root in data for each in _volumes(root, verdicts)}
            owners = [each.store.owners.containers.items() for each in verdicts]
            records = DataRootRecords(
                {identity: found.name for each in owners for identity, found in each if found.name},
                frozenset(path for path, each in volumes.items() if each.is_anonymous),
                {each.data: each for verdict in verdicts for each in verdict.store.layer_stores},
            )
            measure_data_root(
                place, meter, remapped=remapped, containerd=readers, records=records, builder=measure_builder
            )
        file_system = _file_system(place)
    except OSError as error:
        meter.add(Category.UNKNOWN, place, note=error.strerror or str(error))
    return PlaceUsage(place, tuple(_with_facts(meter.entries(), volumes)), file_system)


def _volumes(data: RawPath, verdicts: Sequence[Verdict]) -> Iterable[Volume]:
    """The volumes of a data root, with the containers that mount each."""
    owners = next((each.store.owners for each in verdicts if data in each.store.root.docker), None)
    return () if owners is None else read_volumes(data, owners).found


def _with_facts(entries: Iterable[UsageEntry], volumes: Mapping[RawPath, Volume]) -> Iterator[UsageEntry]:
    """The entries, with the containers that mount a volume, and the drivers of logs and stores."""
    for entry in entries:
        if entry.category in (Category.NAMED_VOLUMES, Category.ANONYMOUS_VOLUMES):
            volume = volumes.get(RawPath(entry.path + b"/_data"))
            known = None if volume is None else volume.users
            users = None if known is None else sorted({each.name or each.id for each in known})
            note = f"its data is elsewhere: {volume.device}" if volume is not None and volume.device else ""
            yield entry._replace(used_by=None if users is None else tuple(users), note=entry.note or note)
        else:
            yield entry._replace(driver=_driver(entry))


def _driver(entry: UsageEntry) -> bytes:
    if entry.category is Category.LOGS:
        file = os.path.basename(entry.path)
        return b"json-file" if file.endswith(b"-json.log") else b"local" if file == b"local-logs" else b"cache"
    if entry.category is Category.CLASSIC_CONTAINERS:
        return b"overlay2"
    is_named = entry.category in (Category.CLASSIC_LAYERS, Category.CLASSIC_METADATA, Category.SNAPSHOTS)
    return entry.name if is_named else b""


def _file_system(place: RawPath) -> FileSystem:
    found = os.statvfs(place)
    size = found.f_frsize
    return FileSystem(
        os.stat(place).st_dev,
        place,
        found.f_blocks * size,
        (found.f_blocks - found.f_bfree) * size,
        found.f_bavail * size,
        found.f_files,
        found.f_ffree,
    )


def _is_leftover(path: RawPath | None) -> bool:
    return path is not None and _LEFTOVER.fullmatch(os.path.basename(path)) is not None


class _RootReader:
    """Adds the entries of one root."""

    def __init__(self, verdict: Verdict, meter: UsageMeter) -> None:
        self._verdict = verdict
        self._meter = meter
        self._layout = verdict.store.root.layout

    def read(self, root: RawPath, descriptor: int) -> None:
        meter = self._meter
        if not meter.measures:
            self._add_recorded(root)
        whole = []
        for name in meter.listed(Category.CONTAINERD, root, descriptor):
            path = RawPath(os.path.join(root, name))
            backend = self._backend(name)
            if name == self._layout.content or backend is not None:
                if not meter.measures:
                    continue
                category = Category.CONTENT if backend is None else Category.DATABASES
                with meter.folder(category, path, name, descriptor, into=(path, b"")) as inner:
                    if inner is not None and backend is None:
                        self._content(path, inner)
                    elif inner is not None and backend is not None:
                        self._snapshotter(backend, path, inner)
            elif name == self._layout.metadata.partition(b"/")[0]:
                if meter.measures:
                    whole.append((name, Category.DATABASES, path, b""))
            elif self._layout.worker:
                known = WORKER_PARTS.fullmatch(name) is not None
                whole.append((name, Category.BUILDKIT, root, b"") if known else (name, Category.UNKNOWN, path, name))
            elif name == _MOUNT_POINTS:
                whole.append((name, Category.UNPACK_LEFTOVERS, path, name))
            else:
                known = name.startswith(b"io.containerd.") or name in _OTHERS
                whole.append((name, Category.CONTAINERD if known else Category.UNKNOWN, path, name))
        meter.measure(whole, descriptor)

    def _backend(self, name: bytes) -> Backend | None:
        snapshotter = self._layout.named(name)
        return None if snapshotter is None else self._verdict.store.backends.get(snapshotter)

    def _add_recorded(self, root: RawPath) -> None:
        meter, store = self._meter, self._verdict.store
        sizes = dict.fromkeys(ObjectKind, 0)
        layers = dict.fromkeys(store.backends, 0)
        left: dict[bytes, int] = {}
        sizes[ObjectKind.BLOB] = self._verdict.objects.sum_usual()[1]
        for found in self._verdict.objects.others():
            sizes[found.kind] += found.allocated
            if found.kind is ObjectKind.SNAPSHOT and found.snapshotter in layers:
                sums = left if found.row is None and _is_leftover(found.path) else layers
                sums[found.snapshotter] = sums.get(found.snapshotter, 0) + found.allocated
        content = RawPath(os.path.join(root, self._layout.content))
        meter.add(Category.CONTENT, content, b"", sizes[ObjectKind.BLOB])
        meter.add(Category.INGESTS, RawPath(content + b"/ingest"), b"", sizes[ObjectKind.INGEST])
        meter.add(
            Category.DATABASES,
            RawPath(os.path.join(root, self._layout.metadata.partition(b"/")[0])),
            b"",
            store.database_bytes,
        )
        for name, backend in store.backends.items():
            known = backend.layout is not LayoutKind.FOREIGN
            path = RawPath(os.path.join(root, backend.path))
            meter.add(Category.SNAPSHOTS, path, name, layers[name] if known else None)
            if name in left:
                meter.add(Category.UNPACK_LEFTOVERS, path, name, left[name])

    def _content(self, path: RawPath, descriptor: int) -> None:
        meter = self._meter
        whole = []
        for name in meter.listed(Category.CONTENT, path, descriptor):
            below = RawPath(os.path.join(path, name))
            if name == b"ingest":
                whole.append((name, Category.INGESTS, below, b""))
            elif name == b"blobs":
                whole.append((name, Category.CONTENT, path, b""))
            else:
                whole.append((name, Category.UNKNOWN, below, name))
        meter.measure(whole, descriptor)

    def _snapshotter(self, backend: Backend, path: RawPath, descriptor: int) -> None:
        meter, entry = self._meter, (Category.SNAPSHOTS, path, backend.name)
        done = {each.path: each.allocated for each in backend.entries if each.allocated is not None}
        parts = {each.path.split(b"/")[1] for each in backend.entries} | {b"snapshots"}
        whole = []
        for name in meter.listed(Category.DATABASES, path, descriptor):
            below = RawPath(os.path.join(path, name))
            if name in _DATABASE_FILES:
                whole.append((name, Category.DATABASES, path, b""))
            elif name not in parts:
                known = backend.layout is LayoutKind.FOREIGN
                whole.append((name, Category.SNAPSHOTTER_FILES if known else Category.UNKNOWN, below, name))
            else:
                with meter.folder(Category.SNAPSHOTS, path, name, descriptor, into=entry[1:]) as inner:
                    if inner is not None:
                        left = []
                        for each in meter.listed(Category.SNAPSHOTS, below, inner):
                            size = done.get(RawPath(b"/".join((backend.path, name, each))))
                            its = (Category.UNPACK_LEFTOVERS, *entry[1:]) if _LEFTOVER.fullmatch(each) else entry
                            if size is None:
                                left.append((each, *its))
                            else:
                                meter.add(*its, size)
                        meter.measure(left, inner)
        meter.measure(whole, descriptor)
