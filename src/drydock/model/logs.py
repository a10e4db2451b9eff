"""Logs of Docker's containers: their files in a data root, and what limits them."""

import enum
from typing import NamedTuple

from drydock.model.data import Fingerprint
from drydock.model.names import RawPath, UnixNano


class LogFormat(enum.Enum):
    """How a log is written; the value is the log driver of that format."""

    JSON_FILE = "json-file"
    """One JSON object a line."""
    LOCAL = "local"
    """Binary frames, also for the cache of a driver that cannot be read back."""


class LogFile(NamedTuple):
    """One file of a log."""

    path: RawPath
    """Relative to the data root."""
    number: int
    """0 for the file that the daemon appends to; it renames that one to 1 when it rotates the log, and so on."""
    fingerprint: Fingerprint
    allocated: int
    """Bytes of allocated blocks."""
    links: int
    """Hard links."""
    is_compressed: bool = False

    @property
    def size(self) -> int:
        """Bytes in it."""
        return self.fingerprint.size


class ContainerLog(NamedTuple):
    """The log of one container."""

    data: RawPath
    """Absolute path of the data root."""
    container: bytes
    """Id."""
    name: bytes | None
    """Name of the container; None if it could not be read."""
    format: LogFormat
    files: tuple[LogFile, ...]
    """The newest first; without the current one if that is missing."""
    driver: bytes | None = None
    """As the container was created with; None if its configuration could not be read."""
    max_size: bytes | None = None
    """The option ``max-size``, as written; None if it is not set."""
    max_file: bytes | None = None
    """The option ``max-file``, as written; None if it is not set."""
    since: UnixNano | None = None
    """Time of the oldest record; None if it could not be read."""
    until: UnixNano | None = None
    """When the newest file was last written to."""
    leftovers: tuple[LogFile, ...] = ()
    """Files beside the log that a killed run of drydock left; nothing else reads them."""

    @property
    def allocated(self) -> int:
        """Bytes of allocated blocks."""
        return sum(file.allocated for file in (*self.files, *self.leftovers))

    @property
    def path(self) -> RawPath:
        """Absolute path of its newest file."""
        return RawPath(self.data + b"/" + (self.files or self.leftovers)[0].path)

    @property
    def rotates(self) -> bool | None:
        """Whether the daemon limits it; None if that is not known.

        The driver ``json-file`` has no limit unless ``max-size`` is set. The driver ``local``, which also writes the
        cache of other drivers, always has one (moby daemon/logger/jsonfilelog/jsonfilelog.go, daemon/logger/local/
        config.go, v28.5).
        """
        if self.format is LogFormat.LOCAL:
            return True
        return None if self.driver is None else self.max_size is not None


class Logs(NamedTuple):
    """The logs of a data root."""

    found: tuple[ContainerLog, ...]
    """By container."""
    unread: tuple[str, ...] = ()
    """One shown line for each folder or configuration that could not be read."""
