"""Values of exports: the chosen image or container, what was written, and what a container changed."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from drydock.model.names import Digest, RawPath

_LISTED = 100


@dataclass(frozen=True, slots=True)
class ChosenImage:
    """The image that a name means."""

    target: Digest
    """Its index or manifest."""
    names: tuple[bytes, ...]
    """Names of its records; empty for a digest that no record has."""
    media_type: bytes
    """Of the target, as recorded; empty if there is no record."""


@dataclass(frozen=True, slots=True)
class ChosenContainer:
    """The container that a name means, by the snapshot of its file system."""

    id: bytes
    namespace: bytes
    """Of the snapshot's record, or else of its row's name."""
    snapshotter: bytes
    row: bytes | None
    """The snapshot's row; None if it has none."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One platform of an image."""

    manifest: Digest
    platform: bytes
    """``os/architecture`` or ``os/architecture/variant``; empty if not known."""
    media_type: bytes
    """Of the manifest, as in its index; empty if it has no index."""
    config: Digest | None
    layers: tuple[Digest, ...]
    """From the base up."""
    sizes: tuple[tuple[Digest, int], ...]
    """Sizes of manifest, config and layers, as in the documents."""
    absent: tuple[Digest, ...]
    """Its blobs that are missing."""
    is_attestation: bool

    @property
    def blobs(self) -> tuple[Digest, ...]:
        """Manifest, config and layers, each once."""
        found = (self.manifest, *((self.config,) if self.config is not None else ()), *self.layers)
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Variants:
    """An image by platform."""

    target: Digest
    indexes: tuple[Digest, ...]
    """The target and nested ones; empty if the target is a manifest."""
    variants: tuple[Variant, ...]
    sizes: tuple[tuple[Digest, int], ...] = ()
    """Sizes of nested indexes, as in the documents."""


@dataclass(slots=True)
class Exported:
    """The result of an export."""

    root: RawPath
    """Absolute path of its containerd root."""
    what: str
    """The image or container, shown."""
    count: int = 0
    """Blobs of an image, or entries of a file system."""
    platforms: tuple[bytes, ...] = ()
    """Of an image: the platforms that were written."""
    remarks: list[str] = field(default_factory=list)
    """What is left out because it was never fetched or the format has no type for it; shown."""
    damage: list[str] = field(default_factory=list)
    """What is missing or wrong in the archive, shown; only the first entries."""
    damages: int = 0
    """Number of all entries of damage."""

    def note(self, text: str) -> None:
        """Add one entry of damage."""
        self.damages += 1
        if len(self.damage) < _LISTED:
            self.damage.append(text)

    def exit_code(self) -> int:
        """The additive exit status (README.md): 2 damage."""
        return 2 if self.damages else 0


class ChangeKind(enum.Enum):
    """How a container changed a path; the value is the letter of ``docker diff``."""

    ADDED = "A"
    CHANGED = "C"
    DELETED = "D"


@dataclass(frozen=True, slots=True)
class Change:
    """One path that a container changed against its image."""

    kind: ChangeKind
    path: bytes
    """Absolute in the container."""
