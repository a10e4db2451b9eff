"""What a user chooses to give up although something holds it: kinds of things, or one thing by its name."""

import enum
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from drydock.model.errors import Usage
from drydock.model.text import shown

ALL_LOSSES = b"all"
"""The word that accepts the loss of every image without a registry, and of what every container wrote."""


class DropKind(enum.Enum):
    """A kind of things; the value is what the option takes."""

    DANGLING_IMAGES = "dangling-images"
    """Images without a name that no container uses, as ``docker image prune`` removes them."""
    UNUSED_IMAGES = "unused-images"
    """Images that no container uses, as ``docker image prune -a`` removes them."""
    BUILD_CACHE = "build-cache"
    """BuildKit's cache, as ``docker builder prune`` removes it."""
    ALL_BUILD_CACHE = "all-build-cache"
    """The same as ``docker builder prune --all`` does."""
    BUILD_HISTORY = "build-history"
    """BuildKit's builds, as ``docker buildx history rm --all`` removes them."""
    IMAGE_ID_ONLY = "image-id-only"
    """Records of the CRI plugin that hold an image by its id alone after an interrupted removal."""
    IMAGE = "image"
    """One image by its name: ``image=NAME``."""
    STOPPED_CONTAINERS = "stopped-containers"
    """Containers of Docker that did not run when it was last stopped, as ``docker container prune`` removes them."""
    CONTAINER = "container"
    """One container of Docker, Kubernetes or containerd by its name or id: ``container=NAME``."""


_NAMED = (DropKind.IMAGE, DropKind.CONTAINER)
CLASSIC_IMAGES = (DropKind.DANGLING_IMAGES, DropKind.UNUSED_IMAGES, DropKind.IMAGE)
"""The kinds that also take images of Docker's classic store."""
CONTAINERS = (DropKind.STOPPED_CONTAINERS, DropKind.CONTAINER)
"""The kinds that drop containers."""
BUILD_KINDS = (DropKind.BUILD_CACHE, DropKind.ALL_BUILD_CACHE, DropKind.BUILD_HISTORY)
"""The kinds that take what BuildKit keeps."""
PRUNING = (DropKind.DANGLING_IMAGES, DropKind.UNUSED_IMAGES)
"""The kinds with which the leases labelled ``moby/prune.images`` end too, as ``docker image prune`` ends them."""
FILTERED = (*PRUNING, DropKind.STOPPED_CONTAINERS)
"""The kinds that ``--filter`` selects from."""


class Drop(NamedTuple):
    """One thing to drop."""

    kind: DropKind
    name: bytes = b""
    """Of a thing that is named; else empty."""

    def word(self) -> bytes:
        """As the option takes it."""
        return self.kind.value.encode() + (b"=" + self.name if self.kind in _NAMED else b"")


def parse_drop(word: bytes) -> Drop:
    """A word of the option ``--drop``.

    Raises:
        Usage: there is no such kind, or a name is missing or does not belong to it.
    """
    kind, equals, name = word.partition(b"=")
    found = next((each for each in DropKind if each.value.encode() == kind), None)
    if found is None:
        known = ", ".join(each.value + ("=NAME" if each in _NAMED else "") for each in DropKind)
        raise Usage(f"--drop {shown(word)} is not known: it takes {known}")
    if (found in _NAMED) != bool(name) or bool(equals) != bool(name):
        takes = f"a name: {found.value}=NAME" if found in _NAMED else "no name"
        raise Usage(f"--drop {found.value} takes {takes}")
    return Drop(found, name)


class LabelFilter(NamedTuple):
    """One ``label`` filter, as ``docker container prune --filter`` takes it."""

    name: bytes
    value: bytes | None
    """None: any value."""
    is_negated: bool
    """``label!=``: what has the label stays."""

    def word(self) -> bytes:
        """As the option takes it."""
        value = b"" if self.value is None else b"=" + self.value
        return (b"label!=" if self.is_negated else b"label=") + self.name + value

    def fits(self, labels: Mapping[bytes, bytes]) -> bool:
        """Whether labels have the name, with the value if there is one."""
        return self.name in labels and self.value in (None, labels[self.name])


def parse_filter(word: bytes) -> LabelFilter:
    """A word of the option ``--filter``.

    Raises:
        Usage: it is no filter by a label.
    """
    for mark, is_negated in ((b"label!=", True), (b"label=", False)):
        name, equals, value = word[len(mark) :].partition(b"=")
        if word.startswith(mark) and name:
            return LabelFilter(name, value if equals else None, is_negated)
    raise Usage("--filter takes label=NAME, label=NAME=VALUE, label!=NAME or label!=NAME=VALUE")


def selects(filters: Iterable[LabelFilter], labels: Mapping[bytes, bytes]) -> bool:
    """Whether something with these labels goes: each ``label`` fits, and not each ``label!`` does.

    Source: moby daemon/prune.go matchLabels, api/types/filters/parse.go MatchKVList, v28.5.
    """
    wanted = [each.fits(labels) for each in filters if not each.is_negated]
    unwanted = [each.fits(labels) for each in filters if each.is_negated]
    return all(wanted) and not (unwanted and all(unwanted))


def fits_all(filters: Iterable[LabelFilter], labels: Mapping[bytes, bytes]) -> bool:
    """Whether an image with these labels goes: each ``label`` fits, and no ``label!`` does.

    Source: moby daemon/containerd/image_list.go setupLabelFilter, v28.5.
    """
    return all(each.fits(labels) != each.is_negated for each in filters)
