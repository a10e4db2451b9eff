"""Docker's two image stores: the evidence about which one a data root uses, and what follows from it."""

import enum
from typing import NamedTuple

from drydock.model.names import RawPath, UnixNano


class StoreMode(enum.Enum):
    """The image store that dockerd works with; reports and options show the value."""

    CLASSIC = "classic"
    """A graph driver, with layers in ``overlay2`` and records in ``image/overlay2``."""
    IMAGE_STORE = "image-store"
    """containerd's snapshotters and content store."""

    @property
    def shown(self) -> str:
        """Its name in a sentence."""
        return "classic store" if self is StoreMode.CLASSIC else "image store"

    @property
    def other(self) -> "StoreMode":
        """The other one."""
        return StoreMode.IMAGE_STORE if self is StoreMode.CLASSIC else StoreMode.CLASSIC


GRAPH_DRIVERS = frozenset((b"overlay2", b"fuse-overlayfs", b"btrfs", b"zfs", b"vfs"))
"""The graph drivers of Docker 24 to 29 on Linux (moby daemon/graphdriver/register, v24.0 to v29.7)."""


class ChoiceRules(enum.Enum):
    """The rules by which a version of dockerd chooses its store when it starts; the value names the versions."""

    BEFORE_29 = "24 to 28"
    """moby daemon/daemon.go NewDaemon, v24.0 to v28.5."""
    V29_0 = "29.0"
    """moby daemon/image_store_choice.go determineImageStoreChoice, v29.0."""
    SINCE_29_1 = "29.1 and later"
    """The same, v29.1 to v29.7."""


class EngineVersion(NamedTuple):
    """A dockerd that is installed on a host."""

    version: str
    """Shown; for a program that has only its module's path, the major versions that have this path."""
    source: RawPath
    """The file that tells: absolute in that host."""
    rules: tuple[ChoiceRules, ...]
    """The rules that it may have; none if it is older than Docker 24."""


class DaemonSettings(NamedTuple):
    """What the settings of a host say about the store of its dockerd, as the values that each setting may have."""

    features: frozenset[bool | None] = frozenset((None,))
    """``features.containerd-snapshotter``, or the flag ``--feature``; None: not set."""
    drivers: frozenset[bytes | None] = frozenset((None,))
    """``storage-driver``, or the variable ``DOCKER_DRIVER``, which comes first; None: not set."""
    migrates: bool = False
    """Whether ``features.containerd-migration`` may be set."""
    is_remapped: bool = False
    """Whether ``userns-remap`` may be set."""
    versions: tuple[EngineVersion, ...] = ()
    unread: str | None = None
    """Why not all of the settings are known, on one shown line; None if they are."""


class StoreUse(NamedTuple):
    """A sign that a data root was used in one mode."""

    mode: StoreMode
    at: UnixNano
    """When the file or folder last changed."""
    path: RawPath
    """Absolute."""


class StoreRecords(NamedTuple):
    """The evidence of one data root."""

    data: RawPath
    """Absolute path of the data root."""
    settings: DaemonSettings | None
    """None if no settings of a host are known to be those of its dockerd."""
    prior: tuple[bytes, ...]
    """The graph drivers whose folders are there and not empty; Docker counts those of ``vfs`` never."""
    uses: tuple[StoreUse, ...]
    """The newest sign of each mode that has any."""
    containers: frozenset[bytes] = frozenset()
    """The ids of its containers, of either store."""


class IdleStore(NamedTuple):
    """What the store has that dockerd does not use."""

    mode: StoreMode
    images: int
    containers: int
    bytes: int
    """On disk, as objects have them."""


class StoreChoice(NamedTuple):
    """Which store a data root was used with last, and which one the next start of its dockerd chooses."""

    data: RawPath
    """Absolute path of the data root."""
    last: StoreMode | None
    """None if nothing tells, or both have the same time."""
    last_reason: str
    """One shown line."""
    following: StoreMode | None
    """None if that is not known, or the start would fail."""
    following_reason: str
    """One shown line."""
    idle: IdleStore | None = None
    """The other store, if it has anything."""

    @property
    def used(self) -> StoreMode | None:
        """The store that dockerd uses, as far as that is known: a changed setting counts from its next start on."""
        return self.last or self.following

    def may_use(self, mode: StoreMode) -> str | None:
        """Why ``mode`` may be the store in use, or the one that the next start chooses; None if it is neither."""
        if self.following is not mode.other:
            if self.following is None:
                return f"it is not known which store the next start of dockerd chooses: {self.following_reason}"
            return f"the next start of dockerd chooses the {mode.shown}: {self.following_reason}"
        if self.last is not mode.other:
            if self.last is None:
                return f"it is not known which store was used last: {self.last_reason}"
            return (
                f"the {mode.shown} was used last: {self.last_reason}; start dockerd once in the other mode, and stop it"
            )
        return None
