"""Dropping one of Docker's two image stores: when that is refused, and what exists only in the store.

Nothing of the store may be in use: no container of it is left, and dockerd neither used it last nor chooses it at its
next start. The other store stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from drydock.evidence.containerd.manifests import read_image_documents
from drydock.evidence.docker.store_files import read_store_files
from drydock.evidence.files.sizes import Measure
from drydock.model.errors import EvidenceUnreadable, Refused
from drydock.model.layer_store import LayerStore, MountRecord
from drydock.model.names import Digest, RawPath
from drydock.model.objects import StoreObject
from drydock.model.plans import Removal, Target
from drydock.model.roots import DockerContainer
from drydock.model.scans import unread_among
from drydock.model.store import Store
from drydock.model.store_drops import (
    DROPPED,
    IMAGE_STORE_NAMESPACES,
    LossKind,
    StoreContents,
    StoredImage,
    StoreDrop,
    StoreLoss,
)
from drydock.model.store_modes import StoreMode
from drydock.model.text import shown
from drydock.verdict.classic_images import sizes
from drydock.verdict.platforms import find_variants
from drydock.verdict.store_choice import choose_store

_LISTED = 3


def read_contents(store: Store, mode: StoreMode, measure: Measure) -> StoreContents:
    """What has to be known to drop one of Docker's stores.

    Raises:
        EvidenceUnreadable: its files cannot be listed.
    """
    root, blobs = store.root, store.content.blobs
    try:
        # Several roots may have a data root: its files go with the first.
        files = [each for data in root.layer_stores for each in read_store_files(data, mode, measure)]
    except OSError as error:
        raise EvidenceUnreadable(f"the files of the {mode.shown} cannot be listed: {error.strerror}") from error
    targets = sorted({each.target for each in store.metadata.images if each.namespace in IMAGE_STORE_NAMESPACES})
    documents = read_image_documents(root.path, blobs, targets)
    images: list[StoredImage] = []
    for target in targets:
        found = find_variants(target, documents, blobs)
        whole = frozenset(each.config for each in found.variants if each.config is not None and not each.absent)
        its = {target, *found.indexes, *(digest for each in found.variants for digest in each.blobs)}
        images.append(StoredImage(target, whole, sum(blobs[digest].size for digest in its if digest in blobs)))
    return StoreContents(tuple(files), tuple(images))


def refuse_drop(store: Store, mode: StoreMode, no_edit: str | None) -> None:
    """Refuse to drop a store that may be in use, or of which not everything could be read.

    Args:
        store: a root with Docker data roots.
        mode: the store that the user named.
        no_edit: why meta.db cannot be edited; None if it can.

    Raises:
        Refused: as above. The message says what to do.
    """
    owners = store.owners
    # BuildKit's databases go with the store, and a run that was killed may have removed some of them.
    unread = unread_among(store, (store.content, *store.backends.values()))
    if mode is StoreMode.IMAGE_STORE:
        unread = unread or no_edit
    else:
        unread = unread or next((each for layers in store.layer_stores for each in layers.unlisted), None)
    if unread is not None:
        raise Refused(f"the {mode.shown} is not dropped, because not everything could be read: {unread}")
    if not owners.containers_known:
        raise Refused(f"the {mode.shown} is not dropped, because not all of Docker's containers are known")
    left = [each for each in owners.containers.values() if each.mode is not mode.other]
    if left:
        names = ", ".join(_name(each) for each in left[:_LISTED])
        more = f" and {len(left) - _LISTED} more" if len(left) > _LISTED else ""
        raise Refused(
            f"the {mode.shown} is not dropped, because containers are or may be in it: {names}{more}; remove them with "
            "docker rm in that mode, after drydock export container where their files are needed"
        )
    if mode is StoreMode.IMAGE_STORE:
        recorded = [each for each in store.metadata.containers if each.namespace in IMAGE_STORE_NAMESPACES]
        if recorded:
            raise Refused(
                f"the image store is not dropped, because containerd has a record of container {shown(recorded[0].id)}"
            )
    for records in owners.stores:
        reason = choose_store(records).may_use(mode)
        if reason is not None:
            raise Refused(f"the {mode.shown} of {shown(records.data)} is not dropped, because {reason}")


def drops(store: Store, mode: StoreMode, lost: Mapping[RawPath, Iterable[StoreLoss]]) -> Iterator[StoreDrop]:
    """The drop of each data root that has something of the store.

    Args:
        store: the root.
        mode: the store that is dropped.
        lost: what exists only in the store, for each data root that has something of it.
    """
    for records in store.owners.stores:
        choice = choose_store(records)
        if records.data in lost and choice.following is not None:
            losses = tuple(sorted(lost[records.data], key=lambda loss: (-loss.bytes, loss.id)))
            yield StoreDrop(records.data, mode, choice.following, choice.following_reason, losses)


def file_removals(store: Store) -> Iterator[Removal]:
    """The files that go with the store, in an order such that a crash leaves no record of what is gone."""
    found = sorted(store.contents.files, key=lambda each: (not each.path.startswith(b"buildkit/"), each.path))
    for each in found:
        yield Removal(Target.STORE_FILE, each.data, each.path, each.fingerprint, each.allocated, DROPPED)


def classic_losses(store: Store, layers: LayerStore) -> Iterator[StoreLoss]:
    """The images of a classic store that the image store has not, by their configs, and what containers wrote."""
    elsewhere = {config for image in store.contents.images for config in image.configs}
    for image in layers.images.values():
        if image.id not in elsewhere:
            names = tuple(name for name in image.names if b"@" not in name) or image.names
            yield StoreLoss(LossKind.IMAGE, image.id, names, sum(sizes(layers, image).values()))
    for mount in layers.mounts.values():
        if layers.is_written(mount):
            yield StoreLoss(LossKind.WRITTEN_LAYER, mount.name, (), _written(layers, mount))


def image_store_losses(store: Store, going: Iterable[StoreObject]) -> Iterator[StoreLoss]:
    """The images of the image store that no classic store has, by their configs.

    Args:
        store: the root.
        going: the objects whose data goes; an image that stays with another namespace is not lost.
    """
    elsewhere = {image for layers in store.layer_stores for image, each in layers.images.items() if not each.problem}
    gone = {found.id for found in going}
    names: dict[Digest, list[bytes]] = {}
    for image in store.metadata.images:
        if image.namespace in IMAGE_STORE_NAMESPACES:
            names.setdefault(image.target, []).append(image.name)
    for stored in store.contents.images:
        is_elsewhere = stored.configs and stored.configs <= elsewhere
        if stored.target in names and stored.target in gone and not is_elsewhere:
            its = tuple(sorted(names[stored.target]))
            yield StoreLoss(LossKind.IMAGE, min(stored.configs, default=stored.target), its, stored.bytes)


def _written(layers: LayerStore, mount: MountRecord) -> int:
    directory = layers.directories.get(mount.mount_id or b"")
    return 0 if directory is None else directory.allocated or 0


def _name(container: DockerContainer) -> str:
    return shown(container.name or container.id)
