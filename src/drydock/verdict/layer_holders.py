"""Who holds what of a classic layer store, by the names that people use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from drydock.model.inventories import Holder
from drydock.model.layer_store import SNAPSHOTTER, LayerStore, MountRecord
from drydock.model.leases import LeaseClass
from drydock.model.names import Digest, Kind, Ref
from drydock.model.objects import LayerObject, ObjectKind, Verdict
from drydock.verdict.layer_store import mount_owner


def list_layer_holders(store: LayerStore, verdict: Verdict) -> Iterator[Holder]:
    """Each image, container and lease, and each record of a mount that stands for a lease, with all that it reaches."""
    places: dict[tuple[ObjectKind, bytes], int] = {}
    for place, found in enumerate(verdict.objects):
        if isinstance(found, LayerObject) and found.data_root == store.data:
            places[found.kind, found.id] = place
    walk = _LayerWalk(store, places)
    for image in store.images.values():
        names = image.names or (image.id,)
        yield Holder(Ref(Kind.IMAGE, b"", names[0]), names, None, None, walk.objects(image.chain))
    mounts: dict[bytes, list[MountRecord]] = {}
    for name, mount in store.mounts.items():
        container = mount_owner(store, name)
        if container is not None:
            mounts.setdefault(container, []).append(mount)
    for identity, own in mounts.items():
        called = store.containers[identity].name or identity
        yield Holder(Ref(Kind.CONTAINER, b"", identity), (called,), None, None, walk.objects((), own))
    leases = {lease.ref: lease for lease in store.builds.leases}
    for holding in verdict.leases:
        if holding.data_root != store.data or holding.kind is LeaseClass.EXPIRED:
            continue
        lease, rest = leases.get(holding.ref), store.mounts.get(holding.ref.key)
        if lease is not None:
            keys = [key for snapshotter, key in lease.snapshots if snapshotter == SNAPSHOTTER]
            chain = [Digest(key) for key in keys if key.startswith(b"sha256:")]
            reached = walk.objects(chain, (), keys)
        else:
            reached = walk.objects((), () if rest is None else (rest,))
        yield Holder(holding.ref, (holding.ref.key,), holding.kind, holding.owner, reached)


class _LayerWalk:
    """Collects what one holder reaches, as places in the list of objects."""

    def __init__(self, store: LayerStore, places: dict[tuple[ObjectKind, bytes], int]) -> None:
        self._store = store
        self._places = places
        self._links: dict[bytes, list[bytes]] = {}
        for link in store.links.values():
            if link.directory is not None:
                self._links.setdefault(link.directory, []).append(link.name)

    def objects(
        self, chain: Iterable[Digest], mounts: Iterable[MountRecord] = (), keys: Iterable[bytes] = ()
    ) -> tuple[int, ...]:
        """What layers with their parents, mounts, and keys of BuildKit's snapshots reach."""
        store = self._store
        found: set[tuple[ObjectKind, bytes]] = set()
        layers: list[Digest] = list(chain)
        directories: list[bytes] = []
        for mount in mounts:
            found.add((ObjectKind.LAYER_MOUNT, mount.name))
            directories += mount.directories
            layers += [mount.parent] if mount.parent is not None else []
        for key in keys:
            snapshot = store.builds.snapshots.get(key)
            directories += (key,) if snapshot is None else snapshot.directories
            if snapshot is not None and snapshot.chain_id is not None:
                layers.append(snapshot.chain_id)
        while layers:
            layer = store.layers.get(layers.pop())
            if layer is None or (ObjectKind.LAYER, layer.chain_id) in found:
                continue
            found.add((ObjectKind.LAYER, layer.chain_id))
            directories += [layer.cache_id] if layer.cache_id is not None else []
            layers += [layer.parent] if layer.parent is not None else []
        for name in directories:
            found.add((ObjectKind.LAYER_DIRECTORY, name))
            found.update((ObjectKind.LAYER_LINK, link) for link in self._links.get(name, ()))
        return tuple(sorted(self._places[each] for each in found if each in self._places))
