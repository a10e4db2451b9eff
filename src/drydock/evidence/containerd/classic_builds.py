"""What the build cache and the history of dockerd's classic mode consist of, as the store of a BuildKit worker.

``buildkit/containerdmeta.db`` and ``buildkit/content`` are as those of a worker that runs builds itself. The snapshots
are others: the buckets of ``snapshots.db``, and the layers of the classic store (moby
builder/builder-next/adapters/snapshot/snapshot.go Stat, v26.1 and v28.5).
"""

from __future__ import annotations

import os
from typing import Final

from bbolt_reader import BoltError
from bbolt_reader.verify import verify
from drydock.evidence.buildkit.records import UnknownRecords, opened, read_classic_history
from drydock.evidence.containerd.content import read_content
from drydock.evidence.containerd.metadata import read_metadata
from drydock.model.errors import DrydockError, Refused
from drydock.model.layer_store import BUILD_LEASES, BUILDKIT, BUILDS, SNAPSHOTTER, LayerStore
from drydock.model.names import RawPath
from drydock.model.records import Snapshot
from drydock.model.roots import BuildOwners, Engine, Owners, Root, worker_layout
from drydock.model.store import Store

_LABELS: Final[dict[bytes, bytes]] = {}


def read_build_stores(of: Store) -> dict[RawPath, Store]:
    """The build cache and the history of each classic store, to be judged as a root of its own, by data root.

    Args:
        of: the store that the classic stores were read with.

    Returns:
        None of a data root that has no such database, or whose builder's databases could not be read whole.

    Raises:
        Refused: an engine has a lock on one.
    """
    found: dict[RawPath, Store] = {}
    for layers in of.layer_stores:
        try:
            store = _read(layers, of)
        except Refused:
            raise
        except (OSError, BoltError, DrydockError, UnknownRecords):
            continue
        if store is not None:
            found[layers.data] = store
    return found


def _read(layers: LayerStore, of: Store) -> Store | None:
    builds, folder = layers.builds, RawPath(os.path.join(layers.data, BUILDKIT))
    path = RawPath(os.path.join(layers.data, BUILD_LEASES))
    if builds.cache is None or not (builds.leases_known and builds.snapshots_known) or not os.path.lexists(path):
        return None
    with opened(path, live=of.live) as database:
        metadata = read_metadata(database, path)
        metadata.complete = metadata.complete and next(verify(database), None) is None
    metadata.namespaces.setdefault(BUILDS, _LABELS)
    metadata.snapshots += [
        Snapshot(BUILDS, SNAPSHOTTER, key, key, b"", (), _LABELS, None, None)
        for key in sorted({*builds.snapshots, *layers.layers})
        if layers.has_snapshot(key)
    ]
    layout = worker_layout(SNAPSHOTTER)
    content = read_content(folder, records=metadata, live=of.live, layout=layout)
    history = frozenset(read_classic_history(layers.data, live=of.live))
    owners = Owners(
        buildkitd=BuildOwners(
            builds.records, history, records_changed=builds.records_changed, history_changed=builds.records_changed
        ),
        caches=[builds.cache],
    )
    # dockerd does not write a version of the schema into this database, as a containerd does.
    root = Root(folder, Engine.BUILDKIT, of.root.host, layout=layout, buildkit=(folder,), has_containerd=False)
    return Store(root, metadata, content, {}, owners, of.measured, of.verified, live=of.live)
