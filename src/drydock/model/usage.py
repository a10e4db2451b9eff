"""What of the running system uses a containerd root."""

from __future__ import annotations

from typing import NamedTuple

from drydock.model.names import RawPath


class Process(NamedTuple):
    """A process that uses a root."""

    pid: int
    name: bytes
    why: str
    """One shown line: the evidence, a clause that follows the process's name."""
    stop: str
    """What to run, or do, so that it ends."""
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
    """Of its namespace's mountinfo."""
    namespace: int
    """Inode of the mount namespace."""
    pid: int
    """One process, or thread, in that namespace; what ``nsenter -t`` takes, unless ``kept`` is given."""
    point: RawPath
    """Where it is mounted, in that namespace."""
    why: str
    """One shown line: the evidence, a clause that follows the mount point."""
    snapshot: bytes | None = None
    """Directory number of the snapshot that it uses, where that can be told."""
    kept: RawPath | None = None
    """The file that keeps a namespace without a process; what ``nsenter --mount=`` takes."""
