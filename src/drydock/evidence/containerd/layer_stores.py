"""Docker's classic layer stores of the data roots of a root, with what BuildKit keeps there in the classic mode.

BuildKit has its leases in ``buildkit/containerdmeta.db``, which has containerd's schema (moby
builder/builder-next/controller.go newGraphDriverController, v28.5).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping

from bbolt_reader import BoltError, Database
from bbolt_reader.verify import verify
from drydock.evidence.buildkit.records import UnknownRecords, opened, read_classic_records
from drydock.evidence.buildkit.snapshots import read_snapshots
from drydock.evidence.containerd.database_file import database_findings
from drydock.evidence.containerd.metadata import read_metadata
from drydock.evidence.docker.layer_store import YOUNG, has_layer_store, measure_directories, read_layer_store
from drydock.evidence.docker.plugins import read_plugins
from drydock.evidence.files.sizes import Measure
from drydock.evidence.files.walk_pool import WalkAhead
from drydock.model import messages
from drydock.model.errors import DrydockError, Refused
from drydock.model.findings import Place
from drydock.model.layer_store import BUILD_LEASES, BUILD_RECORDS, BUILD_SNAPSHOTS, BUILDS, LayerStore
from drydock.model.names import Digest, RawPath, UnixNano
from drydock.model.plugin_store import PluginStore
from drydock.model.progress import Progress
from drydock.model.roots import DockerContainer, Root
from drydock.model.text import shown

_LOOKS = 4
_PAUSE = 0.2


def read_plugin_stores(root: Root) -> list[PluginStore]:
    """Docker's plugins of the data roots of a root."""
    found = (read_plugins(data, Measure()) for data in root.layer_stores)
    return [plugins for plugins in found if plugins is not None]


def read_layer_stores(
    root: Root,
    containers: Mapping[RawPath, dict[bytes, DockerContainer] | None],
    measure: Measure,
    *,
    recorded: bool,
    live: bool = False,
    progress: Progress | None = None,
    ahead: WalkAhead | None = None,
) -> list[LayerStore]:
    """Read the classic layer stores that are judged with a root; a data root without one has none.

    Args:
        root: the root.
        containers: dockerd's containers of each data root; None if they could not be listed.
        measure: counts allocated blocks.
        recorded: take the size of a directory from its record, where it has one, instead of measuring it.
        live: dockerd may be at work: take no lock.
        progress: told how many directories are done.
        ahead: has directories that are measured already.

    Raises:
        Refused: an engine has a lock on a database of BuildKit.
    """
    found: list[LayerStore] = []
    for data in root.layer_stores:
        if not has_layer_store(data):
            continue
        store = read_layer_store(data, containers.get(data), live=live)
        if live:
            store = _settled(store, containers.get(data))
        _read_builds(store, live=live)
        if live:
            _leave_young(store)
        measure_directories(store, measure, recorded=recorded, live=live, progress=progress, ahead=ahead)
        found.append(store)
    return found


def _settled(store: LayerStore, containers: dict[bytes, DockerContainer] | None) -> LayerStore:
    """The store, read again until its records are the same as before: dockerd may have added or removed some."""
    for _ in range(_LOOKS):
        before, store = store, read_layer_store(store.data, containers, live=True)
        if _names(before) == _names(store):
            return store
        time.sleep(_PAUSE)
    store.unlisted.append(f"{shown(store.data)}: its classic layer store changed each time that it was read")
    return store


def _names(store: LayerStore) -> tuple[object, ...]:
    return store.images.keys(), store.layers.keys(), store.mounts.keys(), store.references


def _leave_young(store: LayerStore) -> None:
    """Leave out layers that came in the last hour and that nothing uses: a pull has its layers before its image."""
    used = {chain for image in store.images.values() for chain in image.chain}
    used |= {mount.parent for mount in store.mounts.values() if mount.parent is not None}
    used |= {each.chain_id for each in store.builds.snapshots.values() if each.chain_id is not None}
    used |= {Digest(key) for key in store.builds.snapshots}
    used |= {Digest(key) for lease in store.builds.leases for _, key in lease.snapshots}
    for chain in tuple(used):
        layer = store.layers.get(chain)
        while layer is not None and layer.parent is not None and layer.parent not in used:
            used.add(layer.parent)
            layer = store.layers.get(layer.parent)
    oldest = time.time_ns() - YOUNG * 1_000_000_000
    for chain, layer in tuple(store.layers.items()):
        if chain not in used and layer.fingerprint.ctime_ns >= oldest:
            del store.layers[chain]
            directory = store.directories.pop(layer.cache_id or b"", None)
            if directory is not None:
                store.links.pop(directory.link or b"", None)


def _read_builds(store: LayerStore, *, live: bool) -> None:
    """Read BuildKit's snapshots, leases and cache records; without any of its databases there are none."""
    builds, data = store.builds, store.data
    there = {
        name for name in (BUILD_SNAPSHOTS, BUILD_LEASES, BUILD_RECORDS) if os.path.lexists(os.path.join(data, name))
    }
    # A build that is going on writes all of them.
    builds.snapshots_known = _read(store, BUILD_SNAPSHOTS, _read_snapshots, there, live=live)
    builds.leases_known = _read(store, BUILD_LEASES, _read_leases, there, live=live)
    if BUILD_RECORDS not in there:
        return
    path = RawPath(os.path.join(data, BUILD_RECORDS))
    try:
        builds.cache = read_classic_records(data, live=live)
        builds.records = frozenset(each.id for each in builds.cache.records.values() if not each.deleted)
        # It lies beside the leases: that it was not written since a lease was made does not make it another's.
        changed = [os.lstat(os.path.join(data, name)).st_mtime_ns for name in there]
        builds.records_changed = UnixNano(max(changed))
    except Refused:
        raise
    except (OSError, BoltError, DrydockError, UnknownRecords) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        effect = "every lease of the build cache is kept"
        store.findings.append(messages.UNREADABLE_OWNERS(path=path, problem=problem, effect=effect).at(Place(path)))


def _read(
    store: LayerStore,
    name: bytes,
    read: Callable[[LayerStore, Database, RawPath], bool],
    there: Collection[bytes],
    *,
    live: bool,
) -> bool:
    """Read one database; whether all of it was read and understood, or BuildKit has none of its databases."""
    path = RawPath(os.path.join(store.data, name))
    if name not in there:
        if there:
            store.findings.append(messages.NO_BUILD_DATABASE(file=path).at(Place(path)))
        return not there
    try:
        with opened(path, live=live) as database:
            complete = read(store, database, path)
            found = database_findings(database, path, verify(database))
    except Refused:
        raise
    except (OSError, BoltError, DrydockError) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        place = Place(path, error.page, error.offset) if isinstance(error, BoltError) else Place(path)
        store.findings.append(messages.UNREADABLE_DATABASE(file=path, problem=problem).at(place))
        return False
    store.findings += found
    return complete and not found


def _read_snapshots(store: LayerStore, database: Database, path: RawPath) -> bool:
    store.builds.snapshots, complete = read_snapshots(database, path, store.findings)
    return complete


def _read_leases(store: LayerStore, database: Database, path: RawPath) -> bool:
    if not store.builds.snapshots and next(iter(database.root.items()), None) is None:
        return True  # until the first build it has no bucket (tried with 28.5)
    metadata = read_metadata(database, path)
    store.builds.leases = [lease for lease in metadata.leases if lease.namespace == BUILDS]
    store.builds.blobs = frozenset(Digest(blob.ref.key) for blob in metadata.blobs if blob.namespace == BUILDS)
    store.findings += metadata.findings
    return metadata.complete
