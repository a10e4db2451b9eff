"""Dropping one of Docker's two image stores: what goes with it, and what exists only there."""

import enum
from typing import NamedTuple

from drydock.model.data import Fingerprint
from drydock.model.names import Digest, RawPath
from drydock.model.store_modes import StoreMode

IMAGE_STORE_NAMESPACES = (b"moby", b"moby_history")
"""The namespaces of containerd that dockerd's image store has: of images, and of BuildKit's history (moby
daemon/config/config_linux.go, builder/builder-next/controller.go, v28.5)."""

DROPPED = "its store is dropped (--drop-store)"
"""Why something goes."""


class StoreFile(NamedTuple):
    """A file or folder of a store, besides layers, blobs and snapshots."""

    data: RawPath
    """Absolute path of the data root."""
    path: RawPath
    """Relative to the data root."""
    fingerprint: Fingerprint
    allocated: int
    """Bytes of allocated blocks."""


class LossKind(enum.Enum):
    """What a loss is; documents show the value."""

    IMAGE = "image"
    WRITTEN_LAYER = "written-layer"
    """What a container wrote whose folder is gone."""


class StoreLoss(NamedTuple):
    """Something that only the store has that is dropped."""

    kind: LossKind
    id: bytes
    """Of an image: the digest of its config, or of its target if no config of it is there; else the mount's record."""
    names: tuple[bytes, ...]
    """Of an image, sorted."""
    bytes: int
    """Of its layers, or of its blobs; parts that several images have count for each."""


class StoreDrop(NamedTuple):
    """A store that a plan removes."""

    data: RawPath
    """Absolute path of the data root."""
    mode: StoreMode
    following: StoreMode
    """The store that the next start of dockerd chooses, before and after."""
    following_reason: str
    """One shown line."""
    losses: tuple[StoreLoss, ...]
    """The largest first."""


class StoredImage(NamedTuple):
    """An image of the image store, by its target."""

    target: Digest
    configs: frozenset[Digest]
    """Of its platforms that are whole."""
    bytes: int
    """Of its blobs that are on disk."""


class StoreContents(NamedTuple):
    """What has to be known to drop a store, and for nothing else."""

    files: tuple[StoreFile, ...] = ()
    images: tuple[StoredImage, ...] = ()
    """Of the image store."""
