"""Which image records may be dropped by choice: by the rules of the engine's own command, and never one in use.

Sources: moby daemon/containerd/image_prune.go, image_delete.go (v28.5 to v29.7); nerdctl pkg/imgutil/filtering.go,
pkg/cmd/image/prune.go (v2.3.5); containerd internal/cri/server/images (v2.3.4); cri-tools cmd/crictl/image.go (v1.37).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from drydock.model.drops import ALL_LOSSES, Drop, DropKind, LabelFilter, fits_all
from drydock.model.names import DANGLING, Digest, Kind, Ref, UnixNano, image_names, names_asked, snapshot_ref
from drydock.model.objects import Verdict
from drydock.model.oci import Config, list_children
from drydock.model.records import Blob, Image, Snapshot
from drydock.model.roots import DockerContainer
from drydock.model.text import quoted_name, shown
from drydock.model.times import age
from drydock.verdict.graph import visited
from drydock.verdict.judge import Reach
from drydock.verdict.labels import SOURCE
from drydock.verdict.leases import is_dockers
from drydock.verdict.reach import mark

_CRI: Final = b"k8s.io"
_PINNED: Final = b"io.cri-containerd.pinned"
_CRI_IMAGE: Final = b"io.cri-containerd.image"
_ID: Final = re.compile(rb"sha256:[0-9a-f]{64}\Z")
_IMAGE_VOLUMES: Final = b"/image-volumes/"
"""In the key of the snapshot of an image volume, which is the path of its mount."""
_PAUSE: Final = re.compile(rb"(?:^|/|-)pause(?:[:@]|\Z)")
"""The image of sandboxes: containerd before 1.7 does not label it as pinned."""


@dataclass(slots=True)
class ImageChoice:
    """What becomes of the images that a policy drops."""

    going: dict[Ref, str] = field(default_factory=dict)
    """The image records that go, with the reason in one shown line."""
    staying: dict[Ref, str] = field(default_factory=dict)
    """Images that would go but for a doubt, for a loss that was not accepted, or because a named one is in use."""


def choose_images(
    verdict: Verdict,
    reached: Reach,
    drops: Iterable[Drop],
    *,
    unused_for: int | None = None,
    filters: Iterable[LabelFilter] = (),
    accepted: Collection[bytes] = (),
) -> ImageChoice:
    """Choose the image records to drop.

    Args:
        verdict: from :func:`drydock.verdict.judge.judge`.
        reached: the same.
        drops: the kinds and names that the user chose.
        unused_for: nanoseconds: only images whose records are at least this old go by their kind.
        filters: only images that were built with these labels go by ``dangling-images`` and ``unused-images``.
        accepted: names of images that may be lost: that go although no registry is known to have them.
    """
    return _Chooser(
        verdict, reached, tuple(drops), unused_for=unused_for, filters=tuple(filters), accepted=accepted
    ).choose()


class _Chooser:
    def __init__(
        self,
        verdict: Verdict,
        reached: Reach,
        drops: tuple[Drop, ...],
        *,
        unused_for: int | None,
        filters: tuple[LabelFilter, ...],
        accepted: Collection[bytes],
    ) -> None:
        self._graph = reached.graph
        self._store = verdict.store
        self._now: UnixNano = verdict.now
        self._kinds = {drop.kind for drop in drops}
        self._wanted = {name: drop for drop in drops if drop.name for name in (drop.name, *image_names(drop.name))}
        self._unused_for = unused_for
        self._filters = filters
        self._accepts_all = ALL_LOSSES in accepted
        self._accepted = {each for name in accepted for each in (name, *image_names(name))}
        self._images = self._store.metadata.images
        self._containers = self._store.owners.containers
        self._by_name: dict[tuple[bytes, bytes], Image] = {}
        self._by_target: dict[tuple[bytes, Digest], list[Image]] = {}
        for image in self._images:
            self._by_name[image.namespace, image.name] = image
            self._by_target.setdefault((image.namespace, image.target), []).append(image)
        self._digests: dict[Ref, frozenset[Digest]] = {}
        self._used = dict(self._uses())

    def choose(self) -> ImageChoice:
        """Choose."""
        chosen = ImageChoice()
        for image in self._images:
            reason, is_named = self._why(image)
            if reason is None:
                continue
            stays = self._used.get(image.ref)
            if stays is not None:
                if is_named:
                    chosen.staying[image.ref] = stays
                continue
            doubt = self._doubt(image) or self._loss(image)
            if doubt is not None:
                chosen.staying[image.ref] = doubt
            else:
                chosen.going[image.ref] = reason
        self._keep_last(chosen)
        return chosen

    def _why(self, image: Image) -> tuple[str | None, bool]:
        """Why an image is to go, and whether it was named; None if it is not."""
        drop = self._wanted.get(image.name)
        if drop is not None:
            return f"chosen by --drop image={shown(drop.name)}", True
        if self._unused_for is not None:
            old = age(image.created, self._now)
            if old is None or old < self._unused_for:
                return None, False
        if DropKind.UNUSED_IMAGES in self._kinds and self._is_selected(image):
            return "no container uses it (--drop unused-images)", False
        if DropKind.DANGLING_IMAGES in self._kinds and _is_dangling(image) and self._is_selected(image):
            return "it has no name, and no container uses it (--drop dangling-images)", False
        if DropKind.IMAGE_ID_ONLY in self._kinds and self._is_id_only(image):
            return "only its id names it (--drop image-id-only)", False
        return None, False

    def _is_selected(self, image: Image) -> bool:
        """Whether one of the image's configs has the labels; not if none can be read.

        Source: moby daemon/containerd/image_list.go setupLabelFilter (v28.5 to v29.7). Before v29 the config of an
        attestation, which has no labels, fits every ``label!``; here it never does.
        """
        if not self._filters:
            return True
        documents = self._store.image_documents.found
        level, seen = [image.target], set[Digest]()
        while level:
            digest = level.pop()
            document = documents.get(digest)
            if isinstance(document, Config) and fits_all(self._filters, dict(document.labels)):
                return True
            seen.add(digest)
            level += [
                each.digest for each in list_children(document) if not each.is_attestation and each.digest not in seen
            ]
        return False

    # What uses an image

    def _uses(self) -> Iterator[tuple[Ref, str]]:
        """The images in use, with what uses them, in one shown line."""
        for image in self._images:
            if image.namespace == _CRI:
                same = self._by_target[image.namespace, image.target]
                if any(each.labels.get(_PINNED) == b"pinned" for each in same):
                    yield image.ref, "it is pinned"
                elif any(_PAUSE.search(each.name) for each in same):
                    yield image.ref, "it may be the image of the sandboxes of pods"
            elif image.labels.get(_PINNED) == b"pinned":
                yield image.ref, "it is pinned"
        for record in self._store.metadata.containers:
            for name in {record.image, *image_names(record.image)}:
                named = self._by_name.get((record.namespace, name))
                if named is None:
                    continue
                same = [named]
                if named.namespace == _CRI:
                    # The kubelet and the CRI plugin know an image by its id: all of its names are one image.
                    same = self._by_target[named.namespace, named.target]
                for each in same:
                    yield each.ref, f"container {shown(record.id)} uses it"
        yield from self._unpacked_for_containers()
        for container in self._containers.values():
            for image in self._images:
                if is_dockers(image.namespace) and self._is_made_from(container, image):
                    yield image.ref, f"container {shown(container.name or container.id)} uses it"

    def _unpacked_for_containers(self) -> Iterator[tuple[Ref, str]]:
        """The images that a container's file system, or an image volume of a pod, was made on.

        A pull moves a name to another image, and the record of a container keeps the name. Of an image volume only the
        snapshot tells (containerd internal/cri/server/container_image_mount.go, v2.1).
        """
        made: dict[Ref, str] = {}
        for record in self._store.metadata.containers:
            own = self._graph.records.get(snapshot_ref(record.namespace, record.snapshotter, record.snapshot_key))
            if isinstance(own, Snapshot) and own.parent_ref is not None:
                made.setdefault(own.parent_ref, f"container {shown(record.id)} uses it")
        for each in self._store.metadata.snapshots:
            if each.namespace == _CRI and _IMAGE_VOLUMES in each.key and each.parent_ref is not None:
                made.setdefault(each.parent_ref, f"image volume {shown(each.key)} is made of it")
        namespaces = {ref.namespace for ref in made}
        for image in self._images:
            if image.namespace not in namespaces:
                continue
            for blob in self._reached_digests(image):
                for ref in map(visited, self._graph.targets(Ref(Kind.BLOB, image.namespace, blob))):
                    if ref in made:
                        yield image.ref, made[ref]

    def _is_made_from(self, container: DockerContainer, image: Image) -> bool:
        digest, asked = container.image, container.asked
        if digest is not None and image.name == DANGLING + digest:
            return True
        if asked is not None and image.name in names_asked(asked):
            return True
        return any(mount.type == b"image" and mount.source in (image.name, image.target) for mount in container.mounted)

    def _keep_last(self, chosen: ImageChoice) -> None:
        """Keep one record of each image that a container of Docker needs by a digest, whatever its names.

        A container that was created by an id has no other name of its image. The manifest that a container was made
        from is held by the image alone, and ``commit`` needs it.
        """
        needed: dict[Digest, DockerContainer] = {}
        for container in self._containers.values():
            if container.manifest is not None:
                needed.setdefault(container.manifest, container)
            if container.image is not None and _names_digest(container.asked, container.image):
                needed.setdefault(container.image, container)
        having: dict[Digest, list[Image]] = {}
        for image in sorted(self._images, key=lambda each: each.name) if needed else ():
            if is_dockers(image.namespace):
                for digest in self._reached_digests(image).intersection(needed):
                    having.setdefault(digest, []).append(image)
        for digest, images in having.items():
            if all(each.ref in chosen.going for each in images):
                kept, container = images[0].ref, needed[digest]
                del chosen.going[kept]
                if kept.key in self._wanted:
                    name = shown(container.name or container.id)
                    chosen.staying[kept] = f"container {name} uses it, and it is its last name"

    def _reached_digests(self, image: Image) -> frozenset[Digest]:
        found = self._digests.get(image.ref)
        if found is None:
            nodes = map(visited, mark(self._graph, [image.ref]))
            found = frozenset((image.target, *(Digest(ref.key) for ref in nodes if ref.kind is Kind.BLOB)))
            self._digests[image.ref] = found
        return found

    # What is not known

    def _doubt(self, image: Image) -> str | None:
        """Why it is not known whether an image is used; None if it is known."""
        if is_dockers(image.namespace):
            return self._dockers_doubt
        return self._cris_doubt if image.namespace == _CRI else None

    @cached_property
    def _dockers_doubt(self) -> str | None:
        if not self._store.root.docker:
            return "Docker's containers are not known: no data root of Docker belongs to this root"
        if self._store.owners.containers_changed is None:
            return "not all of Docker's containers could be read"
        for container in self._containers.values():
            if not (container.manifest_known and container.mounts_known):
                return f"the configuration of container {shown(container.id)} could not be read"
        return None

    @cached_property
    def _cris_doubt(self) -> str | None:
        for record in self._store.metadata.containers:
            if record.namespace != _CRI or not record.image:
                continue
            if not any((_CRI, name) in self._by_name for name in (record.image, *image_names(record.image))):
                return f"container {shown(record.id)} uses {shown(record.image)}, which has no record: it may be this"
        return None

    def _loss(self, image: Image) -> str | None:
        """Why an image would be lost; None if a registry has it, or the loss is accepted."""
        record = self._graph.records.get(Ref(Kind.BLOB, image.namespace, image.target))
        if isinstance(record, Blob) and any(label.startswith(SOURCE) for label in record.labels):
            return None
        same = {each.name for each in self._by_target[image.namespace, image.target]}
        if self._accepts_all or not self._accepted.isdisjoint(same):
            return None
        return f"WOULD BE LOST: no registry is known to have it; --accept-loss {quoted_name(image.name)} drops it"

    def _is_id_only(self, image: Image) -> bool:
        """Whether an interrupted removal left only the record that the CRI plugin names by the image's id.

        RemoveImage deletes the records one by one, that one last (containerd#13875).
        """
        if image.namespace != _CRI or not _ID.match(image.name) or image.labels.get(_CRI_IMAGE) != b"managed":
            return False
        if len(self._by_target[image.namespace, image.target]) > 1:
            return False
        config = Digest(image.name)
        others = (each for each in self._images if each.namespace == _CRI and each.name != image.name)
        return not any(config in self._reached_digests(each) for each in others)


def _names_digest(asked: bytes | None, digest: Digest) -> bool:
    """Whether the name that a container was created from is an id of its image, or the beginning of one."""
    if asked is None:
        return False
    hexadecimal = asked.removeprefix(b"sha256:")
    is_beginning = bool(hexadecimal) and digest.partition(b":")[2].startswith(hexadecimal)
    return is_beginning or asked.endswith(b"@" + digest)


def _is_dangling(image: Image) -> bool:
    """Whether an image has no name that a person gave it, as its engine sees it."""
    if is_dockers(image.namespace):
        return image.name == DANGLING + image.target
    if image.namespace == _CRI:
        return False  # the CRI plugin makes names without a tag for every image
    return b":" not in image.name.partition(b"@")[0].rpartition(b"/")[2]
