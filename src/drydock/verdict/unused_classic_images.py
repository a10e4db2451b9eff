"""Which images of Docker's classic store may be dropped by choice: as dockerd's own commands do, and never one in use.

Sources: moby daemon/images/image_prune.go, image_delete.go, image/store.go, reference/store.go (v26.1, v28.5). An image
is used by the containers that have its id, whatever they were created from. A name that goes takes the digests of its
repository along, if no other tag of the repository is left; an image goes with its last name, unless another was built
on it; and its unnamed parents, which the classic builder made, go with it.

What dockerd does not do: it takes all but one name of an image in use, and images that no registry has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from drydock.model.drops import ALL_LOSSES, Drop, DropKind, LabelFilter, selects
from drydock.model.layer_store import ClassicImage, LayerStore
from drydock.model.names import Digest, UnixNano, image_names
from drydock.model.roots import DockerContainer
from drydock.model.text import quoted_name, shown
from drydock.model.times import age, parse_time
from drydock.verdict.layer_store import mount_owner


@dataclass(slots=True)
class ClassicChoice:
    """What becomes of the images of one classic store that a policy drops."""

    images: dict[Digest, str] = field(default_factory=dict)
    """The images that go, with the reason in one shown line; an image before those that were built on it."""
    names: dict[bytes, str] = field(default_factory=dict)
    """The names that go, with the reason: of these images, of images that stay, and of such as imagedb lacks."""
    staying: dict[bytes, str] = field(default_factory=dict)
    """By name, or else id: what would go but for a doubt, for a loss that was not accepted, or because it is in use."""


def choose_classic_images(
    store: LayerStore,
    drops: Iterable[Drop],
    now: UnixNano,
    *,
    unused_for: int | None = None,
    filters: Iterable[LabelFilter] = (),
    accepted: Collection[bytes] = (),
    kept: dict[Digest, str] | None = None,
) -> ClassicChoice:
    """Choose the images to drop from one classic store.

    Args:
        store: as it was read.
        drops: the kinds and names that the user chose.
        now: the time that ``unused_for`` counts back from.
        unused_for: nanoseconds: only images that were made at least this long ago go by their kind.
        filters: only images that were built with these labels go by their kind.
        accepted: names and ids of images that may be lost: that go although no registry is known to have them.
        kept: the images that stay in any case, with the reason.
    """
    chooser = _Chooser(
        store, tuple(drops), now, unused_for=unused_for, filters=tuple(filters), accepted=accepted, kept=kept or {}
    )
    return chooser.choose()


class _Chooser:
    def __init__(
        self,
        store: LayerStore,
        drops: tuple[Drop, ...],
        now: UnixNano,
        *,
        unused_for: int | None,
        filters: tuple[LabelFilter, ...],
        accepted: Collection[bytes],
        kept: dict[Digest, str],
    ) -> None:
        self._store = store
        self._now = now
        self._unused_for = unused_for
        self._filters = filters
        self._kinds = {drop.kind for drop in drops}
        self._words = tuple(drop.name for drop in drops if drop.name)
        self._accepts_all = ALL_LOSSES in accepted
        self._accepted = {each for name in accepted for each in (name, *image_names(name))}
        self._loaded = {image.id: image for image in store.images.values() if _is_loaded(store, image)}
        self._children: dict[Digest, set[Digest]] = {}
        for image in self._loaded.values():
            if image.parent in self._loaded:
                self._children.setdefault(image.parent, set()).add(image.id)
        self._built_on = frozenset(self._children)
        """The images that another was built on before anything went."""
        self._names: dict[Digest, list[bytes]] = {}
        """The names of each image that are left."""
        for name in sorted(store.references):
            self._names.setdefault(store.references[name], []).append(name)
        self._in_registry = {image for image, names in self._names.items() if any(map(_is_digest, names))}
        self._kept = kept
        self._used = dict(self._uses())
        self._made = ClassicChoice()

    def choose(self) -> ClassicChoice:
        """Choose."""
        by_name = [(word, name) for word in self._words for name in self._store.references if fits(name, word)]
        # Those on top first: an image that another was built on can only go after it.
        by_kind = sorted(self._names.keys() | self._loaded.keys(), key=self._depth)
        doubt = self._doubt() if by_name or self._kinds - {DropKind.IMAGE} else None
        for word, name in by_name:
            self._drop_name(name, f"chosen by --drop image={shown(word)}", doubt)
        for image in by_kind:
            reason = self._why(image)
            if reason is not None:
                self._drop_image(image, reason, doubt)
        self._made.images = dict(reversed(self._made.images.items()))
        return self._made

    def _why(self, image: Digest) -> str | None:
        """Why an image is to go by its kind; None if it is not."""
        names = self._names.get(image, [])
        if not names and image in self._built_on:
            return None  # it goes with the last image that was built on it
        found = self._store.images.get(image)
        if self._filters and (found is None or found.problem or not selects(self._filters, dict(found.labels))):
            return None
        if found is not None and self._unused_for is not None:
            old = age(parse_time(found.created), self._now)
            if old is None or old < self._unused_for:
                return None
        if DropKind.UNUSED_IMAGES in self._kinds:
            return "no container uses it (--drop unused-images)"
        if DropKind.DANGLING_IMAGES in self._kinds and all(map(_is_digest, names)) and image not in self._built_on:
            return "it has no tag, and no container uses it (--drop dangling-images)"
        return None

    def _drop_name(self, name: bytes, reason: str, doubt: str | None) -> None:
        """As ``docker rmi NAME``: only the name goes if the image has another one."""
        image = self._store.references[name]
        if name in self._made.names:
            return
        stays = doubt or self._kept.get(image)
        going = self._with_digests(name)
        is_last = len(going) == len(self._names[image])
        if stays is None and image in self._store.images and image not in self._loaded:
            stays = "dockerd does not list its image, whose config or layers are damaged"
        if stays is None and (is_last or self._is_single(image)):
            stays = self._used.get(image)
        if stays is None and is_last and not self._children.get(image):
            stays = self._loss(image)
        if stays is not None:
            self._made.staying[name] = stays
            return
        self._drop_names(image, going, reason)
        if is_last:
            self._remove(image, reason)

    def _drop_image(self, image: Digest, reason: str, doubt: str | None) -> None:
        """As ``docker image prune``: every name of the image goes, and the image if nothing was built on it."""
        if image in self._used or image in self._made.images:
            return
        names = self._names.get(image, [])
        called = names[0] if names else image
        stays = doubt or self._kept.get(image) or self._loss(image)
        if stays is not None:
            if image not in self._store.images or image in self._loaded:
                self._made.staying[called] = stays
            return
        if image in self._store.images and image not in self._loaded:
            return  # dockerd does not know it
        self._drop_names(image, names, reason)
        self._remove(image, reason)

    def _is_single(self, image: Digest) -> bool:
        """Whether dockerd counts the names of an image as one: a tag and the digests of its repository."""
        names = self._names[image]
        return len(set(map(_repository, names))) == 1 and sum(not _is_digest(name) for name in names) <= 1

    def _with_digests(self, name: bytes) -> list[bytes]:
        """A name, and the digests of its repository if no other tag of the repository is left."""
        names = self._names[self._store.references[name]]
        same = [each for each in names if each != name and _repository(each) == _repository(name)]
        if _is_digest(name) or not all(map(_is_digest, same)):
            return [name]
        return [name, *same]

    def _drop_names(self, image: Digest, names: Iterable[bytes], reason: str) -> None:
        going = list(names)
        self._made.names.update(dict.fromkeys(going, reason))
        self._names[image] = [each for each in self._names.get(image, []) if each not in going]

    def _remove(self, image: Digest, reason: str) -> None:
        """Let an image go that has no name left, and its parents, unless something holds them."""
        found = self._loaded.get(image)
        while found is not None:
            held = self._children.get(found.id) or self._names.get(found.id) or found.id in self._used
            if held or found.id in self._kept:
                return
            self._made.images[found.id] = reason
            reason = f"only {shown(found.id)}, which goes, was built on it"
            parent = None if found.parent is None else self._loaded.get(found.parent)
            if parent is not None:
                self._children[parent.id].discard(found.id)
            found = parent

    def _depth(self, image: Digest) -> tuple[int, Digest]:
        """Sorts images that were built on others before these."""
        depth, found = 0, self._loaded.get(image)
        while found is not None and found.parent in self._loaded and depth <= len(self._loaded):
            depth += 1
            found = self._loaded[found.parent]
        return -depth, image

    # What uses an image

    def _uses(self) -> Iterator[tuple[Digest, str]]:
        store = self._store
        for container in store.containers.values():
            reason = f"container {shown(container.name or container.id)} uses it"
            if container.image is not None:
                yield container.image, reason
            for mount in container.mounted:
                if mount.type == b"image":
                    for image in self._mounted(mount.source):
                        yield image, reason
        # dockerd keeps the id of a mounted image, and drydock reads the name: that may have moved since.
        mounted = {
            each.parent
            for name, each in store.mounts.items()
            if name not in store.containers and mount_owner(store, name) is not None
        }
        for each in store.images.values():
            if each.chain and each.chain[-1] in mounted:
                yield each.id, "it may be mounted in a container"

    def _mounted(self, source: bytes) -> Iterator[Digest]:
        for image in self._store.images:
            hexadecimal = image.partition(b":")[2]
            if source == image or (len(source) >= 4 and hexadecimal.startswith(source.removeprefix(b"sha256:"))):
                yield image
        for name, image in self._store.references.items():
            if fits(name, source):
                yield image

    # What is not known

    def _doubt(self) -> str | None:
        """Why it is not known whether an image is used, or what it is called; None if it is known."""
        store = self._store
        if store.images_unknown:
            return store.images_unknown
        if store.unlisted:
            return store.unlisted[0]
        if not store.containers_known:
            return "Docker's containers could not be listed"
        unread = next((each for each in store.containers.values() if not _is_read(each)), None)
        if unread is not None:
            return f"the configuration of container {shown(unread.id)} could not be read"
        return None

    def _loss(self, image: Digest) -> str | None:
        """Why an image would be lost; None if a registry has it, or the loss is accepted.

        dockerd notes a digest with each pull and each push. That a registry has its layers is not enough: an image that
        was built without a new layer has those of its base.
        """
        if image in self._in_registry or self._accepts_all:
            return None
        names = [name for name in self._store.references if self._store.references[name] == image]
        called = {each for name in names for each in (name, *image_names(name))}
        if not self._accepted.isdisjoint({*called, image, image.partition(b":")[2]}):
            return None
        word = quoted_name(min(names) if names else image)
        return f"WOULD BE LOST: no registry is known to have it; --accept-loss {word} drops it"


def fits(name: bytes, word: bytes) -> bool:
    """Whether a word that a user types means a name of an image."""
    return not {word, *image_names(word)}.isdisjoint({name, *image_names(name)})


def _is_loaded(store: LayerStore, image: ClassicImage) -> bool:
    """Whether dockerd loads an image when it starts (moby image/store.go restore, v28.5)."""
    layers = (store.layers.get(chain) for chain in image.chain)
    return not image.problem and all(each is not None and not each.problem for each in layers)


def _is_read(container: DockerContainer) -> bool:
    """Whether the images that a container uses are known; a folder that a removed container left uses none."""
    is_left = container.manifest_known and container.name is None and container.driver is None
    return container.mounts_known and (container.image is not None or (is_left and container.asked is None))


def _is_digest(name: bytes) -> bool:
    return b"@" in name


def _repository(name: bytes) -> bytes:
    return name.partition(b"@")[0] if b"@" in name else name.rpartition(b":")[0]
