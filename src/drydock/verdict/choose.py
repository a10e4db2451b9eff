"""Which image or container a word names, as for ``docker`` and ``ctr``: a name, an id, or the beginning of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import SequenceMatcher

from drydock.model.errors import Usage
from drydock.model.exports import ChosenContainer, ChosenImage
from drydock.model.names import Digest, Ref, image_names, is_digest, split_row_name
from drydock.model.objects import ObjectKind, Verdict
from drydock.model.oci import Documents
from drydock.model.records import Image
from drydock.model.roots import DockerContainer
from drydock.model.text import shown
from drydock.verdict.find import short_names
from drydock.verdict.platforms import find_variants

_SHORTEST_PREFIX = 4
_LISTED = 8
_COMPARED = 100


def choose_image(verdict: Verdict, word: bytes, namespace: bytes | None = None) -> ChosenImage | None:
    """Find the image that a word names by its name or digest, or by the beginning of one; None if there is none.

    The digest of a blob that no image record names is an image too: its names may be lost.

    Args:
        verdict: from :func:`drydock.verdict.judge.judge`.
        word: what the user typed.
        namespace: search this namespace only.

    Raises:
        Usage: the word names several images.
    """
    images = [each for each in verdict.store.metadata.images if namespace in (None, each.namespace)]
    wanted = {word, *image_names(word)}
    tests: tuple[Callable[[Image], bool], ...] = (
        lambda image: image.name in wanted,
        lambda image: word in _digest_names(image.target),
        lambda image: word in short_names(image.name) or begins(image.name, word),
        lambda image: any(each.startswith(word) for each in _digest_names(image.target)),
    )
    for test in tests:
        found = [each for each in images if word and test(each)]
        targets = {each.target for each in found}
        if len(targets) > 1:
            raise Usage(several(word, (each.namespace + b"/" + each.name for each in found)))
        if found:
            if all(is_digest(each.name) for each in found):
                # The CRI plugin records an image under its id too: then all names of that image are chosen.
                found = [each for each in images if each.target in targets]
            names = tuple(dict.fromkeys(each.name for each in found))
            return ChosenImage(found[0].target, names, found[0].media_type)
    digest = _blob(verdict, word)
    return None if digest is None else ChosenImage(digest, (), b"")


def choose_container(verdict: Verdict, word: bytes, namespace: bytes | None = None) -> ChosenContainer | None:
    """Find the container that a word names: dockerd's by name or id, containerd's by id, or else a snapshot by its key.

    dockerd's stopped containers have no record in containerd, and its running ones name no snapshot: the snapshot that
    has the container's id is its file system (moby daemon/containerd/image_snapshot.go, v28.5).

    Args:
        verdict: as for :func:`choose_image`.
        word: what the user typed.
        namespace: as for :func:`choose_image`.

    Raises:
        Usage: the word names several containers.
    """
    docker = verdict.store.owners.containers
    names = {each: container.name or b"" for each, container in docker.items()}
    known = [each for each in _containers(verdict, docker) if namespace in (None, each.namespace)]
    snapshots = [each for each in _snapshots(verdict) if namespace in (None, each.namespace)]
    tests: tuple[tuple[list[ChosenContainer], Callable[[bytes], bool]], ...] = (
        (known, lambda key: word in (key, names.get(key))),
        (snapshots, lambda key: key == word),
        (known, lambda key: key.startswith(word)),
        (snapshots, lambda key: begins(key, word)),
    )
    for candidates, test in tests:
        found = list(dict.fromkeys(each for each in candidates if word and test(each.id)))
        if len(found) > 1:
            raise Usage(several(word, (each.namespace + b"/" + each.id for each in found)))
        if found:
            return found[0]
    return None


def name_images(verdict: Verdict, config: Digest, documents: Documents) -> list[str]:
    """The shown names of the images that have a config; engines call the config's digest the image id.

    Args:
        verdict: as for :func:`choose_image`.
        config: digest of the config.
        documents: the documents of all images, from :func:`drydock.evidence.containerd.manifests.read_image_documents`.
    """
    there = verdict.store.content.blobs
    having = {
        target
        for target in {image.target for image in verdict.store.metadata.images}
        if any(each.config == config for each in find_variants(target, documents, there).variants)
    }
    return sorted({shown(image.name) for image in verdict.store.metadata.images if image.target in having})


def suggest_images(verdict: Verdict, word: bytes) -> list[str]:
    """The shown names of images that are similar to a word, the most similar first."""
    return _similar(word, (image.name for image in verdict.store.metadata.images))


def suggest_containers(verdict: Verdict, word: bytes) -> list[str]:
    """The same for containers: the name, or the id of a container without a name."""
    docker = verdict.store.owners.containers
    names = {container.id: docker[container.id].name or container.id for container in docker.values()}
    records = {container.id: container.id for container in verdict.store.metadata.containers}
    return _similar(word, {**records, **names}.values())


def _similar(word: bytes, names: Iterable[bytes]) -> list[str]:
    def unlike(name: bytes) -> tuple[float, bytes]:
        parts = (name[:_COMPARED], name.rpartition(b"/")[2][:_COMPARED])
        near = max(SequenceMatcher(None, word[:_COMPARED], part, autojunk=False).ratio() for part in parts)
        return -near, name

    return [shown(name) for name in sorted(set(names), key=unlike)[:_LISTED]]


def _containers(verdict: Verdict, docker: Mapping[bytes, DockerContainer]) -> Iterator[ChosenContainer]:
    by_key: dict[bytes, list[ChosenContainer]] = {}
    for each in _snapshots(verdict):
        by_key.setdefault(each.id, []).append(each)
    for container in verdict.store.metadata.containers:
        key = container.snapshot_key if container.snapshotter else container.id
        same = [
            each
            for each in by_key.get(key, ())
            if each.namespace == container.namespace and container.snapshotter in (b"", each.snapshotter)
        ]
        row = same[0].row if same else None
        owner = docker.get(container.id)
        driver = owner.driver if owner is not None else None
        snapshotter = same[0].snapshotter if same else container.snapshotter or driver or b""
        yield ChosenContainer(container.id, container.namespace, snapshotter, row)
    recorded = {container.id for container in verdict.store.metadata.containers}
    for key, owner in docker.items():
        # A graph driver keeps no snapshots: then containerd has no more than the record of a running container.
        known = [] if key in recorded else [ChosenContainer(key, b"", owner.driver or b"", None)]
        yield from by_key.get(key, known)


def _snapshots(verdict: Verdict) -> Iterator[ChosenContainer]:
    for found in verdict.objects:
        if found.kind is not ObjectKind.SNAPSHOT:
            continue
        if found.refs:
            for ref in found.refs:
                yield ChosenContainer(_key(ref), ref.namespace, found.snapshotter, found.row)
        elif found.row is not None:
            namespace, _, key = split_row_name(found.row)
            yield ChosenContainer(key, namespace, found.snapshotter, found.row)


def _key(ref: Ref) -> bytes:
    return ref.key.partition(b"/")[2]


def _blob(verdict: Verdict, word: bytes) -> Digest | None:
    blobs = verdict.store.content.blobs
    if is_digest(word):
        return Digest(word) if word in blobs else None
    found = [each for each in blobs if any(begins(name, word) for name in _digest_names(each))]
    if len(found) > 1:
        raise Usage(several(word, found))
    return found[0] if found else None


def _digest_names(digest: Digest) -> tuple[bytes, bytes]:
    return digest, digest.partition(b":")[2]


def begins(name: bytes, word: bytes) -> bool:
    """Whether a word is long enough to stand for a name, and the beginning of it."""
    return len(word) >= _SHORTEST_PREFIX and name.startswith(word)


def several(word: bytes, names: Iterable[bytes]) -> str:
    """Say that a word names several things, and which."""
    every = sorted({shown(each) for each in names})
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return f"{shown(word)} may mean any of {len(every)}: {', '.join(every[:_LISTED])}{more}"
