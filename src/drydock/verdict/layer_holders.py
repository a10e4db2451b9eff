"""Who holds what of a classic layer store, by the names that people use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from drydock.model.findings import Finding
from drydock.model.inventories import Holder
from drydock.model.layer_store import BUILDS, SNAPSHOTTER, LayerStore, MountRecord
from drydock.model.names import Digest, Kind, RawPath, Ref, snapshot_ref
from drydock.model.objects import LayerObject, ObjectKind, Verdict
from drydock.model.text import shown
from drydock.verdict.classic_builds import find_let_go
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
    builds = find_let_go(store).left
    leases = {lease.ref: lease for lease in builds.leases}
    # A lease has a bucket of its id.
    leased = {key for lease in leases.values() for key in (lease.id, *(key for _, key in lease.snapshots))}
    for key in (each for each in builds.snapshots if each not in leased):
        reached = walk.objects([Digest(key)] if key.startswith(b"sha256:") else (), (), (key,))
        if reached:
            yield Holder(snapshot_ref(BUILDS, SNAPSHOTTER, key), (key,), None, None, reached)
    for holding in verdict.leases:
        if holding.data_root != store.data or holding.kind.holds_nothing:
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


class LayerDependants:
    """The images and containers that need a part of a classic layer store; computed when first asked for."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._users: dict[tuple[RawPath, str], tuple[tuple[str, ...], tuple[str, ...]]] | None = None

    def of(self, finding: Finding) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The shown names of the images and of the containers that a finding affects."""
        if self._users is None:
            self._users = dict(self._find())
        return self._users.get((_data_root(self._verdict, finding), finding.subject), ((), ()))

    def _find(self) -> Iterator[tuple[tuple[RawPath, str], tuple[tuple[str, ...], tuple[str, ...]]]]:
        objects = self._verdict.objects
        for store in self._verdict.store.layer_stores:
            images: dict[str, list[str]] = {}
            containers: dict[str, list[str]] = {}
            for image in store.images.values():
                images.setdefault(shown(image.id), []).append(shown(image.names[0] if image.names else image.id))
            for holder in list_layer_holders(store, self._verdict):
                users = {Kind.IMAGE: images, Kind.CONTAINER: containers}.get(holder.ref.kind)
                if users is not None:
                    for place in holder.objects:
                        users.setdefault(shown(objects[place].id), []).append(shown(holder.names[0]))
            for name in images.keys() | containers.keys():
                found = (tuple(sorted(set(each.get(name, ())))) for each in (images, containers))
                yield (store.data, name), (next(found), next(found))


def _data_root(verdict: Verdict, finding: Finding) -> RawPath:
    """The data root whose layer store a finding is about; empty for none."""
    stores = (each.data for each in verdict.store.layer_stores if finding.place.file.startswith(each.data + b"/"))
    return next(stores, RawPath(b""))
