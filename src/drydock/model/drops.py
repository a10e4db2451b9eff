"""What a user chooses to give up although something holds it: kinds of things, or one thing by its name."""

import enum
from typing import NamedTuple

from drydock.model.errors import Usage

ALL_LOSSES = b"all"
"""The word that accepts the loss of every image without a registry."""


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


_NAMED = (DropKind.IMAGE,)
CLASSIC_IMAGES = (DropKind.DANGLING_IMAGES, DropKind.UNUSED_IMAGES, DropKind.IMAGE)
"""The kinds that also take images of Docker's classic store."""
PRUNING = (DropKind.DANGLING_IMAGES, DropKind.UNUSED_IMAGES)
"""The kinds with which the leases labelled ``moby/prune.images`` end too, as ``docker image prune`` ends them."""


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
        raise Usage(f"--drop takes {known}")
    if (found in _NAMED) != bool(name) or bool(equals) != bool(name):
        raise Usage(f"--drop {found.value} takes {'a name: image=NAME' if found in _NAMED else 'no name'}")
    return Drop(found, name)
