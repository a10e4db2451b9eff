"""Lists of images, containers, snapshots, leases, content and ingests: each record with the state of its data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from drydock.model.data import Backend, Content, IngestDirectory, Row
from drydock.model.exports import Variant
from drydock.model.layer_store import LayerStore
from drydock.model.listings import Cell, ListKind
from drydock.model.names import Digest, Kind, Ref
from drydock.model.objects import LayerObject, ObjectKind, StoreObject, Verdict
from drydock.model.oci import Documents
from drydock.model.records import Labels
from drydock.model.roots import DockerContainer, Owners
from drydock.model.scans import unread_among
from drydock.model.store import Store
from drydock.model.store_modes import StoreMode
from drydock.model.text import shown
from drydock.model.times import show_known
from drydock.verdict.classic_images import list_classic_images
from drydock.verdict.find import describe
from drydock.verdict.judge import Reach
from drydock.verdict.leases import is_dockers
from drydock.verdict.platforms import find_variants

_Row = dict[str, Cell]


def list_kind(
    kind: ListKind, verdict: Verdict, reached: Reach, documents: Documents, only: StoreMode | None = None
) -> list[dict[str, Cell]]:
    """The rows of one list, sorted by namespace and name; objects without a record come last.

    Layers are sorted by size, the largest first.

    Args:
        kind: which list.
        verdict: from :func:`drydock.verdict.judge.judge`.
        reached: the same.
        documents: the documents of the images; only the list of images needs them.
        only: leave out the images and containers of Docker's other store, and containers of which that is not known.
    """
    makers: dict[ListKind, Callable[[], Iterator[_Row]]] = {
        ListKind.IMAGES: lambda: _images(verdict, documents),
        ListKind.CONTAINERS: lambda: _containers(verdict),
        ListKind.SNAPSHOTS: lambda: _snapshots(verdict, reached),
        ListKind.LEASES: lambda: _leases(verdict, reached),
        ListKind.CONTENT: lambda: _content(verdict, reached),
        ListKind.INGESTS: lambda: _ingests(verdict, reached),
        ListKind.LAYERS: lambda: _layers(verdict),
    }
    rows = (row for row in makers[kind]() if only is None or row.get("store", only.value) == only.value)
    return sorted(rows, key=_by_size if kind is ListKind.LAYERS else _order)


def unread_list(kind: ListKind, store: Store) -> str | None:
    """Why a list may lack something, on one shown line; None if it is complete."""
    content, backends, owners = [store.content], store.backends.values(), [store.owners]
    parts: dict[ListKind, Iterable[Content | Backend | Owners]] = {
        ListKind.IMAGES: content,
        ListKind.CONTAINERS: owners,
        ListKind.SNAPSHOTS: backends,
        ListKind.LEASES: owners,
        ListKind.CONTENT: content,
        ListKind.INGESTS: content,
        ListKind.LAYERS: owners,
    }
    return unread_among(store, parts[kind])


def _by_size(row: _Row) -> tuple[int, str]:
    size = row["bytes"]
    return -size if isinstance(size, int) else 0, str(row["directory"])


def _order(row: _Row) -> tuple[bool, str, str]:
    namespace = row.get("namespace")
    name = next(value for key, value in row.items() if key not in ("store", "namespace"))
    return namespace is None, str(namespace), str(name)


def _images(verdict: Verdict, documents: Documents) -> Iterator[_Row]:
    files = verdict.store.content.blobs
    lost = {found.id for found in verdict.objects if found.kind is ObjectKind.BLOB and found.is_damaged}
    yield from list_classic_images(verdict.store.layer_stores)
    for image in verdict.store.metadata.images:
        found = find_variants(image.target, documents, files)
        images = [each for each in found.variants if not each.is_attestation]
        blobs = {*found.indexes, *(digest for each in found.variants for digest in each.blobs)} | {image.target}
        yield {
            "store": StoreMode.IMAGE_STORE.value,
            "namespace": shown(image.namespace),
            "name": shown(image.name),
            "digest": shown(image.target),
            "media_type": shown(image.media_type),
            "bytes": sum(files[digest].size for digest in blobs if digest in files),
            "platforms": _platforms(each for each in images if not each.absent and lost.isdisjoint(each.blobs)),
            "incomplete": _platforms(each for each in images if each.absent or not lost.isdisjoint(each.blobs)),
            "damaged": sorted(shown(digest) for digest in blobs if digest in lost),
            "labels": _labels(image.labels),
            "created": show_known(image.created),
            "updated": show_known(image.updated),
        }


def _platforms(variants: Iterable[Variant]) -> list[str]:
    return sorted({shown(each.platform) or "unknown" for each in variants})


def _containers(verdict: Verdict) -> Iterator[_Row]:
    snapshots: dict[bytes, StoreObject] = {}
    by_ref: dict[Ref, StoreObject] = {}
    for found in verdict.objects:
        if found.kind is ObjectKind.SNAPSHOT:
            snapshots.setdefault(found.id, found)
            by_ref.update(dict.fromkeys(found.refs, found))
    docker = dict(verdict.store.owners.containers)
    written = _written(verdict.store.layer_stores)
    for record in verdict.store.metadata.containers:
        owner = docker.pop(record.id, None)
        snapshot = None
        if record.snapshotter:
            key = record.snapshotter + b"/" + record.snapshot_key
            snapshot = by_ref.get(Ref(Kind.SNAPSHOT, record.namespace, key))
        elif is_dockers(record.namespace):
            snapshot = snapshots.get(record.id)
        yield {
            "store": _store_of(owner),
            "namespace": shown(record.namespace),
            "id": shown(record.id),
            "name": shown(owner.name) if owner is not None and owner.name else None,
            "image": shown(record.image or (owner.asked if owner is not None else None) or b""),
            "image_digest": _image_of(owner),
            "runtime": shown(record.runtime),
            "engine": "containerd" if owner is None else "docker",
            "running": None if owner is None else owner.running,
            **(
                _root_of(snapshot, record.snapshotter, record.snapshot_key)
                if owner is None or record.snapshotter
                else _root_of(
                    snapshot,
                    owner.driver or b"",
                    owner.id,
                    is_classic=owner.is_classic,
                    size=written.get(owner.id),
                )
            ),
            "created": show_known(record.created),
        }
    for owner in docker.values():
        snapshot = snapshots.get(owner.id)
        namespaces = [] if snapshot is None else snapshot.namespaces
        yield {
            "store": _store_of(owner),
            "namespace": shown(namespaces[0]) if namespaces else None,
            "id": shown(owner.id),
            "name": shown(owner.name) if owner.name else None,
            "image": shown(owner.asked or owner.image or owner.manifest or b""),
            "image_digest": _image_of(owner),
            "runtime": None,
            "engine": "docker",
            "running": owner.running,
            **_root_of(
                snapshot, owner.driver or b"", owner.id, is_classic=owner.is_classic, size=written.get(owner.id)
            ),
            "created": None,
        }


def _image_of(owner: DockerContainer | None) -> str | None:
    digest = None if owner is None else owner.image or owner.manifest
    return None if digest is None else shown(digest)


def _store_of(owner: DockerContainer | None) -> str | None:
    """The store of a container of dockerd."""
    return None if owner is None or owner.mode is None else owner.mode.value


def _written(stores: Iterable[LayerStore]) -> dict[bytes, int]:
    """Bytes that each container wrote in the classic store."""
    found: dict[bytes, int] = {}
    for store in stores:
        for mount in store.mounts.values():
            directory = store.directories.get(mount.mount_id or b"")
            if directory is not None and directory.allocated is not None:
                found[mount.name] = directory.allocated
    return found


def _root_of(
    snapshot: StoreObject | None,
    snapshotter: bytes,
    key: bytes,
    *,
    is_classic: bool = False,
    size: int | None = None,
) -> _Row:
    return {
        "snapshotter": shown(snapshotter if snapshot is None else snapshot.snapshotter),
        "snapshot": shown(key),
        "bytes": size if snapshot is None else snapshot.allocated,
        "state": _state_of(snapshot, snapshotter, is_classic=is_classic),
    }


def _state_of(snapshot: StoreObject | None, snapshotter: bytes, *, is_classic: bool) -> str | None:
    if snapshot is not None:
        return snapshot.state.value
    if is_classic:
        return "classic"
    # A container without a snapshotter has its files elsewhere.
    return "missing" if snapshotter else None


def _snapshots(verdict: Verdict, reached: Reach) -> Iterator[_Row]:
    for found in verdict.objects:
        if found.kind is not ObjectKind.SNAPSHOT:
            continue
        backend = verdict.store.backends.get(found.snapshotter)
        row = None if backend is None or found.row is None else backend.rows.get(found.row)
        for ref in found.refs or (None,):
            record: Any = None if ref is None else reached.graph.records.get(ref)
            yield {
                "namespace": None if ref is None else shown(ref.namespace),
                "snapshotter": shown(found.snapshotter),
                "key": shown(found.id if record is None else record.key),
                "parent": shown(record.parent) if record is not None else _parent(row),
                "kind": None if row is None else row.kind.name.capitalize(),
                "bytes": found.allocated,
                **_facts(found),
                "row": None if found.row is None else shown(found.row),
                "labels": {} if record is None else _labels(record.labels),
                "created": show_known(record.created) if record is not None else None,
            }


def _parent(row: Row | None) -> str | None:
    return None if row is None else shown(row.parent)


def _leases(verdict: Verdict, reached: Reach) -> Iterator[_Row]:
    for holding in verdict.leases:
        # BuildKit's leases in Docker's classic mode are not in meta.db.
        record: Any = reached.graph.records.get(holding.ref)
        yield {**holding.facts(), "labels": {} if record is None else _labels(record.labels)}


def _content(verdict: Verdict, reached: Reach) -> Iterator[_Row]:
    files = verdict.store.content.blobs
    for found in verdict.objects:
        if found.kind is not ObjectKind.BLOB:
            continue
        refs = [ref for ref in found.refs if ref.kind is Kind.BLOB]
        file = files.get(Digest(found.id))
        for ref in refs or (None,):
            record: Any = None if ref is None else reached.graph.records.get(ref)
            yield {
                "namespace": None if ref is None else shown(ref.namespace),
                "digest": shown(found.id),
                "size": file.size if file is not None else None,
                "recorded_size": None if record is None else record.size,
                "bytes": found.allocated,
                **_facts(found),
                "labels": {} if record is None else _labels(record.labels),
                "created": show_known(record.created) if record is not None else None,
            }


def _ingests(verdict: Verdict, reached: Reach) -> Iterator[_Row]:
    folders = {each.path: each for each in verdict.store.content.ingests}
    for found in verdict.objects:
        if found.kind is not ObjectKind.INGEST:
            continue
        folder: IngestDirectory | None = None if found.path is None else folders.get(found.path)
        for ref in found.refs or (None,):
            record: Any = None if ref is None else reached.graph.records.get(ref)
            yield {
                "namespace": None if ref is None else shown(ref.namespace),
                "ref": shown(found.id if record is None else record.name),
                "received": None if folder is None else folder.received,
                "total": None if folder is None else folder.total,
                "bytes": found.allocated,
                **_facts(found),
                "updated": None if folder is None else show_known(folder.updated),
                "expires": show_known(record.expires) if record is not None else None,
            }


def _layers(verdict: Verdict) -> Iterator[_Row]:
    for store in verdict.store.layer_stores:
        layers = {each.cache_id: each for each in store.layers.values()}
        mounts = {name: each for each in store.mounts.values() for name in each.directories}
        for found in verdict.objects:
            if not isinstance(found, LayerObject) or found.data_root != store.data:
                continue
            if found.kind is ObjectKind.LAYER_DIRECTORY:
                name, layer = found.id, layers.get(found.id)
            elif found.kind is ObjectKind.LAYER and (layer := store.layers.get(Digest(found.id))) is None:
                name = None
            else:
                continue
            mount = None if name is None else mounts.get(name)
            owner = None if mount is None else store.containers.get(mount.name)
            yield {
                "data_root": shown(store.data),
                "directory": None if name is None else shown(name),
                "layer": shown(found.id) if name is None else None if layer is None else shown(layer.chain_id),
                "parent": None if layer is None or layer.parent is None else shown(layer.parent),
                "container": None if owner is None else shown(owner.name or owner.id),
                "size": None if layer is None else layer.size,
                "bytes": found.allocated,
                **_facts(found),
            }


def _facts(found: StoreObject) -> _Row:
    return {
        "state": found.state.value,
        "held_by": [_holder(ref) for ref in found.held_by],
        "path": None if found.path is None else shown(found.path),
        "note": found.note,
    }


def _holder(ref: Ref) -> str:
    kind, name = describe(ref)
    return f"{kind} {shown(name)}"


def _labels(labels: Labels) -> dict[str, str]:
    return {shown(key): shown(value) for key, value in sorted(labels.items())}
