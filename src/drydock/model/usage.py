"""Processes, loop devices and mounts that use a containerd root."""

from typing import NamedTuple

from drydock.model.names import RawPath


class Process(NamedTuple):
    """A process that uses a root."""

    pid: int
    name: bytes
    why: str
    """The evidence: one shown line, a clause that follows the name of the process."""
    stop: str
    """What to run or do to end the process."""
    container: tuple[bytes, bytes] | None = None
    """(namespace, id) of the container that a shim keeps running."""


class Loop(NamedTuple):
    """A loop device that has a file of a root open."""

    device: str
    """Its path."""
    backing: RawPath
    """The file, as the kernel names it."""


class Mount(NamedTuple):
    """A mount, in some mount namespace, that uses a root."""

    id: int
    """Its id in the mountinfo of the mount namespace."""
    namespace: int
    """Inode of the mount namespace."""
    pid: int
    """A process or thread in that namespace, for ``nsenter -t``, unless ``kept`` is given."""
    point: RawPath
    """The mount point in that namespace."""
    why: str
    """The evidence: one shown line, a clause that follows the mount point."""
    snapshot: bytes | None = None
    """Directory number of the snapshot that it uses, if that is known."""
    kept: RawPath | None = None
    """The file that keeps a mount namespace without a process, for ``nsenter --mount=``."""
