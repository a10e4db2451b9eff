"""Docker's volumes in a data root."""

import re
from typing import Final, NamedTuple

from drydock.model.names import RawPath, UnixNano

BUILDER_VOLUME: Final = re.compile(rb"buildx_buildkit_(.+)_state", re.DOTALL)
"""The volume of a buildx builder, with the name of its node (buildx driver/docker-container/driver.go, v0.20)."""


class VolumeUser(NamedTuple):
    """A container that mounts a volume."""

    id: bytes
    name: bytes | None
    target: bytes
    """Path of the mount point in the container."""


class Volume(NamedTuple):
    """One volume."""

    data: RawPath
    """Absolute path of the data root."""
    name: bytes
    driver: bytes | None
    """``local``, or the name of a plugin; None if the database of volumes could not be read."""
    is_anonymous: bool | None
    """Whether dockerd named it, as its label tells; of a volume that has no labels a name of 64 hex digits is a hint.
    None if the database of volumes could not be read."""
    users: tuple[VolumeUser, ...] | None
    """None if not all containers could be read: any may mount it."""
    created: UnixNano | None = None
    """As ``docker volume inspect`` shows it: when its folder last changed; None without a folder."""
    device: str = ""
    """What the driver mounts for it, shown, without its mount options, which may have a password; else empty."""
    has_folder: bool = True
    """Whether it has a folder in the data root; those of plugins have none."""
    has_row: bool = True
    """Whether the database of volumes has it. A folder without a row is a volume too, and has no labels."""
    note: str = ""
    """What could not be read of it; one shown line."""

    @property
    def path(self) -> RawPath:
        """Absolute path of its data, if it has any there."""
        return RawPath(b"/".join((self.data, b"volumes", self.name, b"_data")))

    @property
    def is_mounted(self) -> bool:
        """Whether its data is elsewhere, and mounted when a container starts."""
        return bool(self.device) or not self.has_folder


class Volumes(NamedTuple):
    """The volumes of a data root."""

    found: tuple[Volume, ...]
    """By name."""
    unread: tuple[str, ...] = ()
    """One shown line for each folder or database that could not be read."""
