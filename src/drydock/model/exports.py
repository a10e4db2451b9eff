"""What is taken out of a store: what was chosen, what became of it, what a container changed."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from drydock.model.names import Digest, RawPath

_LISTED = 100


@dataclass(frozen=True, slots=True)
class ChosenImage:
    """An image that a name means."""

    target: Digest
    """Its index or manifest."""
    names: tuple[bytes, ...]
    """Names of its records that were meant; empty where only a digest was said and no record has it."""
    media_type: bytes
    """Of the target, as recorded; empty without a record."""


@dataclass(frozen=True, slots=True)
class ChosenContainer:
    """A container that a name means, by the snapshot that is its file system."""

    id: bytes
    namespace: bytes
    """Of the snapshot's record, or as its row's name says."""
    snapshotter: bytes
    row: bytes | None
    """The snapshot's row; None where it has none."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One platform of an image."""

    manifest: Digest
    platform: bytes
    """``os/architecture`` or ``os/architecture/variant``; empty where nothing says it."""
    media_type: bytes
    """Of the manifest, as its index says; empty where it has none."""
    config: Digest | None
    layers: tuple[Digest, ...]
    """From the base up."""
    sizes: tuple[tuple[Digest, int], ...]
    """What documents say of the sizes of manifest, config and layers."""
    absent: tuple[Digest, ...]
    """Blobs of it that are not there."""
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
    """The target and nested ones; empty where the target is a manifest."""
    variants: tuple[Variant, ...]
    sizes: tuple[tuple[Digest, int], ...] = ()
    """What documents say of the sizes of nested indexes."""


@dataclass(slots=True)
class Exported:
    """What an export wrote."""

    root: RawPath
    """Absolute path of the containerd root it came from."""
    what: str
    """The image or container, shown."""
    count: int = 0
    """Blobs, or entries of a file system."""
    platforms: tuple[bytes, ...] = ()
    """Of an image: those that were written."""
    remarks: list[str] = field(default_factory=list)
    """What is left out because it was never there or has no place in the format; shown."""
    damage: list[str] = field(default_factory=list)
    """What is missing or wrong in what was written; shown. The first of them."""
    damages: int = 0
    """How many there were."""

    def note(self, text: str) -> None:
        """Add one damage."""
        self.damages += 1
        if len(self.damage) < _LISTED:
            self.damage.append(text)

    def exit_code(self) -> int:
        """The additive exit status (README.md): 2 damage."""
        return 2 if self.damages else 0


class ChangeKind(enum.Enum):
    """What a container did to a path; the value is how ``docker diff`` shows it."""

    ADDED = "A"
    CHANGED = "C"
    DELETED = "D"


@dataclass(frozen=True, slots=True)
class Change:
    """One path that is not as in the image."""

    kind: ChangeKind
    path: bytes
    """Absolute in the container."""
