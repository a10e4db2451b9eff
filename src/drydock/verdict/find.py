"""Which objects and records a word of the user names."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

from drydock.model.errors import Usage
from drydock.model.layer_store import ClassicImage, LayerStore
from drydock.model.names import Kind, Ref, image_names, is_digest, split_snapshot_key
from drydock.model.objects import DataRootObject, StoreObject, Verdict
from drydock.model.text import did_you_mean, shown
from drydock.verdict.judge import Reach


class LayerImage(NamedTuple):
    """An image of a classic layer store."""

    store: LayerStore
    image: ClassicImage


Subject = StoreObject | Ref | LayerImage
"""An object, or the record of an image, a container, a sandbox or a lease."""

_SHORTEST_PREFIX = 4
_LISTED = 8
_SUGGESTED = 5000
_NAMED = (Kind.IMAGE, Kind.CONTAINER, Kind.SANDBOX, Kind.LEASE)


def find(verdict: Verdict, reached: Reach, word: bytes) -> list[Subject]:
    """Everything in one root that ``word`` names: by path, or else by a whole name, or else by the beginning of one.

    A container's name stands for its image mounts as well.

    Raises:
        Usage: the word is the beginning of more than one name.
    """
    by_path = [found for found in verdict.objects if _is_path(verdict, found, word)] if b"/" in word else []
    if by_path:
        return list(by_path)
    exact: list[Subject] = []
    begins: list[Subject] = []
    wanted = {word, *image_names(word)}
    for subject, names in _names(verdict, reached):
        if not wanted.isdisjoint(names):
            exact.append(subject)
            continue
        is_beginning = len(word) >= _SHORTEST_PREFIX and any(name.startswith(word) for name in names)
        if is_beginning or word in _short_names_of(subject):
            begins.append(subject)
    if exact:
        return _with_image_mounts(verdict, reached, exact)
    several = sorted({_id(subject) for subject in begins})
    # Docker makes ``<id>-init`` beside a container's ``<id>``: the beginning of both names the container.
    if several and set(several) <= {several[0], several[0] + b"-init"}:
        return _with_image_mounts(verdict, reached, [each for each in begins if _id(each) == several[0]])
    if several:
        listed = ", ".join(shown(each) for each in several[:_LISTED])
        more = f" and {len(several) - _LISTED} more" if len(several) > _LISTED else ""
        raise Usage(f"{shown(word)} may mean any of {len(several)} names: {listed}{more}")
    return []


def _with_image_mounts(verdict: Verdict, reached: Reach, subjects: list[Subject]) -> list[Subject]:
    """The subjects, with the snapshots and leases of their image mounts if a subject is a container of Docker."""
    containers = verdict.store.owners.containers
    mounts = {mount for each in map(_id, subjects) if each in containers for mount in containers[each].mounts}
    if not mounts:
        return subjects
    more = [each for each, _ in _names(verdict, reached) if _id(each) in mounts and each not in subjects]
    return [*subjects, *more]


def suggest(verdict: Verdict, word: bytes) -> str:
    """A suggestion for a word that names nothing, to end a message with; empty if no name is similar."""
    metadata, owners = verdict.store.metadata, verdict.store.owners
    # Long and short names, each with the long one; of very many the first are enough.
    wanted: dict[str, str] = {}
    for image in islice(metadata.images, _SUGGESTED):
        for name in (image.name, *short_names(image.name)):
            wanted.setdefault(shown(name), shown(image.name))
    others = chain(
        (container.name or container.id for container in owners.containers.values()),
        (container.id for container in metadata.containers),
        (lease.ref.key for lease in metadata.leases),
        (name for store in verdict.store.layer_stores for image in store.images.values() for name in image.names),
    )
    for name in islice(others, _SUGGESTED):
        wanted.setdefault(shown(name), shown(name))
    return did_you_mean(shown(word), wanted, wanted)


def _id(subject: Subject) -> bytes:
    if isinstance(subject, LayerImage):
        return subject.image.names[0] if subject.image.names else subject.image.id
    return subject.key if isinstance(subject, Ref) else subject.id


def _short_names_of(subject: Subject) -> tuple[bytes, ...]:
    if isinstance(subject, LayerImage):
        return tuple(name for each in subject.image.names for name in short_names(each))
    return short_names(subject.key) if isinstance(subject, Ref) and subject.kind is Kind.IMAGE else ()


def short_names(image: bytes) -> tuple[bytes, ...]:
    """The short names of an image that is not from Docker Hub: without its registry, and without its tag as well."""
    last = image.rpartition(b"/")[2]
    return last, last.partition(b":")[0], image[: len(image) - len(last)] + last.partition(b":")[0]


def _names(verdict: Verdict, reached: Reach) -> Iterator[tuple[Subject, set[bytes]]]:
    # dockerd's stopped containers have no record in containerd: the snapshot with their id stands for them.
    containers = {key: container.name for key, container in verdict.store.owners.containers.items() if container.name}
    for found in verdict.objects:
        names = {found.id}
        if is_digest(found.id):
            names.add(found.id.partition(b":")[2])
        if found.row is not None:
            names.add(found.row)
        if found.path is not None:
            names.add(found.path.rpartition(b"/")[2])
        if found.id in containers:
            names.add(containers[found.id])
        yield found, names
    for store in verdict.store.layer_stores:
        for image in store.images.values():
            yield LayerImage(store, image), {image.id, image.id.partition(b":")[2], *image.names}
    for ref in reached.graph.records.others():
        if ref.kind in _NAMED:
            names = {ref.key}
            if ref.kind is not Kind.IMAGE and ref.key in containers:
                names.add(containers[ref.key])
            yield ref, names


def _is_path(verdict: Verdict, found: StoreObject, word: bytes) -> bool:
    if found.path is None:
        return False
    root = found.data_root if isinstance(found, DataRootObject) else verdict.store.root.path
    whole = root.rstrip(b"/") + b"/" + found.path
    word = word.rstrip(b"/")
    if word in (whole, found.path) or word.startswith((whole + b"/", found.path + b"/")):
        return True
    # The end of a path, as in a message: snapshots/105.
    return not word.startswith(b"/") and found.path.endswith(b"/" + word)


def describe(ref: Ref) -> tuple[str, bytes]:
    """A record's kind, and its key; of a snapshot without the snapshotter."""
    return ref.kind.value, split_snapshot_key(ref.key)[1] if ref.kind is Kind.SNAPSHOT else ref.key
