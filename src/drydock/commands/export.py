"""Exporting from a stopped or mounted host: an image, a container's files and what it changed of them, a volume."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TypeVar

from drydock.evidence.containerd.manifests import read_image_documents
from drydock.evidence.containerd.overlay_xattrs import PLAIN
from drydock.evidence.containerd.snapshot_layers import Stack, directory_stack, parent_stack, snapshot_stack
from drydock.evidence.docker.volumes import read_volumes, refuse_elsewhere
from drydock.export.changes import find_changes
from drydock.export.classic_image import write_classic_image
from drydock.export.container import write_tree
from drydock.export.image import select_variants, write_image
from drydock.export.new_file import open_export
from drydock.model.access import Access
from drydock.model.errors import EvidenceUnreadable, Usage
from drydock.model.exports import Change, ChosenContainer, ChosenImage, Exported, Variants
from drydock.model.layer_store import LayerStore, MountRecord
from drydock.model.names import Digest, RawPath
from drydock.model.objects import ObjectKind, Verdict
from drydock.model.oci import Config, Documents
from drydock.model.progress import counter
from drydock.model.roots import Engine
from drydock.model.scans import unread_among
from drydock.model.store_modes import StoreMode
from drydock.model.text import did_you_mean, quoted_path, shown
from drydock.model.volumes import Volume
from drydock.session import Session, find_roots, open_root
from drydock.verdict.blind_spots import backend_blindness
from drydock.verdict.choose import choose_container, choose_image, name_images, suggest_containers, suggest_images
from drydock.verdict.classic_images import FoundImage, choose_classic_image
from drydock.verdict.platforms import find_variants, matches
from drydock.verdict.volumes import find_volumes

_T = TypeVar("_T")
_DEPTH = 3
"""Parts of the path of a snapshot's directory below a containerd root."""


def export_image(
    name: bytes,
    where: RawPath | None,
    access: Access,
    *,
    output: RawPath | None,
    platform: bytes | None = None,
    namespace: bytes | None = None,
    only: StoreMode | None = None,
) -> Exported:
    """Write an image as an archive that ``docker load``, ``ctr images import`` and skopeo read.

    Args:
        name: a name, a digest, or the beginning of one that means one image only.
        where: as for :func:`drydock.session.find_roots`.
        access: how to read the stores there; exporting judges no time.
        output: a new file; None for stdout.
        platform: ``os/architecture[/variant]``; None for all that are there whole.
        namespace: look in this one only; not in Docker's classic store then.
        only: look in this one of Docker's stores only; None: first in the image store, then in the classic store.

    Raises:
        EvidenceUnreadable: ``where`` is no store, nothing has that name, or a blob is missing or wrong: it is named.
        Usage: the name means several things, or the id of an image, or the image is not for that platform.
        Refused: an engine uses the store.
        ActionFailed: the file is there already, or cannot be written. Of a failed export no file is left.
    """
    if platform is not None and b"/" not in platform:
        raise Usage(f"{shown(platform)} is not a platform, such as linux/amd64")
    with ExitStack() as stack:
        choose = partial(_choose_of_stores, name=name, namespace=namespace, only=only)
        found_in: tuple[Session, ChosenImage | FoundImage] = _choose(
            stack, name, where, access, choose, suggest=suggest_images
        )
        session, chosen = found_in
        root, store = session.root, session.store
        if isinstance(chosen, FoundImage):
            return _export_classic(stack, chosen, access, output, platform)
        documents = read_image_documents(root, store.content.blobs, [chosen.target])
        if isinstance(documents.found.get(chosen.target), Config):
            raise Usage(f"{shown(chosen.target)}: {_whose_id(session, chosen.target)}")
        found = find_variants(chosen.target, documents, store.content.blobs)
        exported = Exported(root, ", ".join(map(shown, chosen.names)) or shown(chosen.target))
        lost = {**_lost(session.verdict), **_unread(found, documents)}
        selected = select_variants(found, lost, platform, exported)
        file = stack.enter_context(open_export(output, root))
        file.progress = access.progress
        exported.count = write_image(
            root,
            store.content.blobs,
            chosen,
            file,
            found=found,
            selected=selected,
            alone=platform is not None or not found.indexes,
        )
        return exported


def _choose_of_stores(
    verdict: Verdict, name: bytes, namespace: bytes | None, only: StoreMode | None
) -> ChosenImage | FoundImage | None:
    of_images = None if only is StoreMode.CLASSIC else choose_image(verdict, name, namespace)
    if only is StoreMode.IMAGE_STORE or namespace is not None or (of_images is not None and of_images.names):
        return of_images
    # containerd has the configs of images that the classic store pulled: such a digest means the image.
    return choose_classic_image(verdict.store.layer_stores, name) or of_images


def _export_classic(
    stack: ExitStack, chosen: FoundImage, access: Access, output: RawPath | None, platform: bytes | None
) -> Exported:
    store, image = chosen
    if platform is not None and not matches(image.platform, platform):
        raise Usage(f"the image is not for {shown(platform)}; it is for {shown(image.platform) or 'an unknown one'}")
    exported = Exported(store.data, ", ".join(map(shown, image.names)) or shown(image.id))
    exported.platforms = (image.platform,)
    file = stack.enter_context(open_export(output, store.data))
    file.progress = access.progress
    exported.count = write_classic_image(store, image, file)
    return exported


def export_container(
    name: bytes,
    where: RawPath | None,
    access: Access,
    *,
    output: RawPath | None,
    namespace: bytes | None = None,
    mount: bool = False,
) -> Exported:
    """Write a container's file system as a tar archive, as a mount of its layers would show it.

    Args:
        name: a container's name, its id or how that begins; or the key of any snapshot.
        where: as for :func:`export_image`.
        access: as for :func:`export_image`.
        output: as for :func:`export_image`.
        namespace: as for :func:`export_image`.
        mount: have the kernel mount layers that are images, where nobody else sees them.

    Raises:
        EvidenceUnreadable: as for :func:`export_image`; or a layer is missing, or its snapshotter is not understood.
        Usage: as for :func:`export_image`.
        Refused: as for :func:`export_image`.
        ActionFailed: as for :func:`export_image`.
    """
    with ExitStack() as stack:
        session, chosen = _choose_container(stack, name, where, access, namespace)
        layers = replace(_new_layers(session, chosen), by_kernel=mount)
        exported = Exported(session.root, shown(chosen.id))
        file = stack.enter_context(open_export(output, session.root))
        file.progress, file.estimate = access.progress, _estimate(session.verdict, layers)
        exported.count = write_tree(layers, file, exported)
        exported.remarks += _apart(session.verdict, chosen)
        return exported


def export_volume(name: bytes, where: RawPath | None, access: Access, *, output: RawPath | None) -> Exported:
    """Write what is in a volume of Docker as a tar archive.

    Args:
        name: the volume's name; of an anonymous one the beginning is enough.
        where: as for :func:`export_image`.
        access: as for :func:`export_image`.
        output: as for :func:`export_image`.

    Raises:
        EvidenceUnreadable: as for :func:`export_image`; or the data of the volume is elsewhere, and would be mounted.
        Usage: several data roots have a volume of that name.
        Refused: as for :func:`export_image`.
        ActionFailed: as for :func:`export_image`.
    """
    with ExitStack() as stack:
        volume = _choose_volume(stack, name, where, access)
        refuse_elsewhere(volume)
        exported = Exported(volume.data, shown(volume.name))
        file = stack.enter_context(open_export(output, volume.data))
        file.progress = access.progress
        layers = Stack(volume.data, ((b"volumes", volume.name, b"_data"),), (shown(volume.name),), PLAIN)
        exported.count = write_tree(layers, file, exported)
        return exported


def diff_container(
    name: bytes, where: RawPath | None, access: Access, *, namespace: bytes | None = None, mount: bool = False
) -> tuple[list[Change], list[str]]:
    """List what a container changed against its image, as ``docker diff`` does.

    Args:
        name: as for :func:`export_container`.
        where: as for :func:`export_image`.
        access: as for :func:`export_image`.
        namespace: as for :func:`export_image`.
        mount: as for :func:`export_container`.

    Returns:
        The changes, and what could not be compared, shown.

    Raises:
        EvidenceUnreadable: as for :func:`export_container`.
        Usage: as for :func:`export_image`.
        Refused: as for :func:`export_image`.
    """
    with ExitStack() as stack:
        session, chosen = _choose_container(stack, name, where, access, namespace)
        new = replace(_new_layers(session, chosen), by_kernel=mount)
        old = replace(_old_layers(session, chosen), by_kernel=mount)
        exported = Exported(session.root, shown(chosen.id))
        step = counter(access.progress, "entries compared")
        return list(find_changes(new, old, exported.note, step)), exported.damage


def _choose(
    stack: ExitStack,
    name: bytes,
    where: RawPath | None,
    access: Access,
    choose: Callable[[Verdict], _T | None],
    *,
    suggest: Callable[[Verdict, bytes], list[str]],
) -> tuple[Session, _T]:
    """The only root that has the object of this name, held until the stack ends."""
    found: list[tuple[Session, _T]] = []
    causes: list[str] = []
    sessions: list[Session] = []
    for root in find_roots(where, access):
        session = stack.enter_context(open_root(root, access))
        chosen = choose(session.verdict)
        if chosen is not None:
            found.append((session, chosen))
        sessions.append(session)
        store = session.store
        cause = unread_among(store, (store.owners, store.content, *store.backends.values()))
        causes += [cause] if cause else []
    # Docker lists its containers for every root that it ever used; the root that has the files is meant.
    found = [each for each in found if not isinstance(each[1], ChosenContainer) or each[1].row is not None] or found
    if len(found) > 1:
        roots = ", ".join(quoted_path(session.root) for session, _ in found)
        raise Usage(f"{shown(name)} is in several roots: {roots}; name one of them as WHERE")
    if not found:
        others = dict.fromkeys(each for session in sessions for each in suggest(session.verdict, name))
        here = f"; here are: {', '.join(others)}" if others else ""
        raise EvidenceUnreadable("; ".join([f"nothing here is called {shown(name)}{here}", *causes]))
    return found[0]


def _choose_volume(stack: ExitStack, name: bytes, where: RawPath | None, access: Access) -> Volume:
    """The only volume of this name; the roots of its place are held until the stack ends."""
    found: dict[RawPath, list[Volume]] = {}
    unread: list[str] = []
    for root in find_roots(where, access):
        session = stack.enter_context(open_root(root, access))
        for data in root.docker:
            if data not in found:
                volumes = read_volumes(data, session.store.owners)
                found[data] = list(volumes.found)
                unread += volumes.unread
    chosen = [volume for volumes in found.values() for volume in find_volumes(volumes, name)]
    if len(chosen) > 1:
        roots = ", ".join(quoted_path(volume.data) for volume in chosen)
        raise Usage(f"{shown(name)} is a volume in several data roots: {roots}; name one of them as WHERE")
    if not chosen:
        names = [shown(volume.name) for volumes in found.values() for volume in volumes]
        raise EvidenceUnreadable(
            "; ".join([f"no volume here is called {shown(name)}{did_you_mean(shown(name), names)}", *unread])
        )
    return chosen[0]


def _choose_container(
    stack: ExitStack, name: bytes, where: RawPath | None, access: Access, namespace: bytes | None
) -> tuple[Session, ChosenContainer]:
    return _choose(
        stack, name, where, access, lambda each: choose_container(each, name, namespace), suggest=suggest_containers
    )


def _new_layers(session: Session, chosen: ChosenContainer) -> Stack:
    """The layers of a container."""
    classic = _mount_of(session, chosen)
    if classic is None:
        return _layers(session.verdict, chosen, snapshot_stack)
    return _directories(session, classic[0], classic[1].mount_id)


def _old_layers(session: Session, chosen: ChosenContainer) -> Stack:
    """The layers that a container was made of: in the classic store with the one that dockerd puts on its image."""
    classic = _mount_of(session, chosen)
    if classic is None:
        return _layers(session.verdict, chosen, parent_stack)
    return _directories(session, classic[0], classic[1].init_id)


def _mount_of(session: Session, chosen: ChosenContainer) -> tuple[LayerStore, MountRecord] | None:
    """Where the classic store has a container's files; None if it has none."""
    if chosen.row is not None:
        return None
    stores = session.store.layer_stores
    return next(((each, each.mounts[chosen.id]) for each in stores if chosen.id in each.mounts), None)


def _directories(session: Session, layers: LayerStore, name: bytes | None) -> Stack:
    if name is None:
        raise EvidenceUnreadable("the name of its directory in overlay2 cannot be read")
    return directory_stack(layers, name, is_rootless=session.store.root.engine is Engine.ROOTLESS)


def _layers(verdict: Verdict, chosen: ChosenContainer, layers: Callable[..., Stack]) -> Stack:
    if chosen.row is None:
        unread = backend_blindness(verdict.store, chosen.snapshotter) if chosen.snapshotter else None
        backend = verdict.store.backends.get(chosen.snapshotter)
        if unread is not None and backend is not None:
            places = shown(os.path.join(verdict.store.root.path, backend.path, b"snapshots"))
            raise EvidenceUnreadable(
                f"container {shown(chosen.id)}: its directory is not known: {unread}; the files that it wrote "
                f"may be in one of the directories below {places}"
            )
        driver = f" (its driver is {shown(chosen.snapshotter)})" if chosen.snapshotter else ""
        raise EvidenceUnreadable(f"container {shown(chosen.id)}: this store has no snapshot of it{driver}")
    return layers(verdict.store, chosen.snapshotter, chosen.row)


def _apart(verdict: Verdict, chosen: ChosenContainer) -> Iterator[str]:
    """The mounts of a container, whose contents are not among its own files."""
    owner = verdict.store.owners.containers.get(chosen.id)
    if owner is None:
        return
    if not owner.mounts_known:
        yield "its volumes are not known, and not in the tar"
    for each in owner.mounted:
        what = f"{shown(each.type)} {shown(each.source)}".rstrip()
        yield f"not in the tar: {what}, mounted at {shown(each.target)}"


def _estimate(verdict: Verdict, layers: Stack) -> int | None:
    """About the bytes of a tar of these layers: files that upper layers hide are counted too, headers are not."""
    folders = {b"/".join(parts[:_DEPTH]) for parts in layers.layers}
    return sum(found.allocated for found in verdict.objects if found.path in folders) or None


def _whose_id(session: Session, config: Digest) -> str:
    """What to export instead of a config."""
    targets = [image.target for image in session.verdict.store.metadata.images]
    documents = read_image_documents(session.root, session.verdict.store.content.blobs, targets)
    names = name_images(session.verdict, config, documents)
    by = f"its name: {', '.join(names)}" if names else "the digest of its manifest; no name here leads to it"
    return f"is the id of an image (the digest of its config); export the image by {by}"


def _lost(verdict: Verdict) -> dict[Digest, str]:
    """Why each damaged blob cannot be exported."""
    return {
        Digest(found.id): found.note for found in verdict.objects if found.kind is ObjectKind.BLOB and found.is_damaged
    }


def _unread(found: Variants, documents: Documents) -> dict[Digest, str]:
    """Why an index or manifest on disk cannot be used. Kinds that are not known are not among them."""
    wanted = (found.target, *(each.manifest for each in found.variants))
    return {
        digest: documents.findings[digest].message.removeprefix(f"{shown(digest)}: ")
        for digest in wanted
        if digest in documents.findings and digest not in documents.found
    }
