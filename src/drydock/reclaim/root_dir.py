"""The containerd root as an open directory: every removal starts from it."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from drydock.evidence.files.openat2 import open_directory
from drydock.model.data import Fingerprint
from drydock.model.errors import EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.text import shown


class RootDir(NamedTuple):
    """An open containerd root. Close it when done."""

    path: RawPath
    fd: int
    """An O_PATH descriptor, which stays with this directory whatever happens to the path."""
    device: int
    inode: int

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    def open_parent(self, path: RawPath, device: int) -> tuple[int, bytes]:
        """Open the directory that holds ``path`` (relative to the root); also the last component of ``path``.

        A mount point on the way is crossed only if ``device`` is not that of the root: then the plan saw the file on
        another file system, such as a snapshotter's own disk.

        Raises:
            OSError: a component is a symbolic link, ``..``, an unexpected mount, or not there.
        """
        components = path.split(b"/")
        if len(components) < 2 or not {b"", b".", b".."}.isdisjoint(components) or 0 in path:
            raise OSError(errno.EINVAL, "not a path below the root", path)
        parent = b"/".join(components[:-1])
        return open_directory(self.fd, parent, cross_mounts=device != self.device), components[-1]


def open_root_dir(path: RawPath) -> RootDir:
    """Open a containerd root by its absolute path, whose last component must not be a symbolic link.

    Raises:
        EvidenceUnreadable: it is not there, is no directory, or may not be opened.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise EvidenceUnreadable(f"{shown(path)}: {error.strerror}") from error
    info = os.fstat(fd)
    return RootDir(path, fd, info.st_dev, info.st_ino)


def describe_change(expect: Fingerprint, found: Fingerprint) -> str | None:
    """Which fields of two fingerprints differ, in words; None if none does."""
    if (expect.device, expect.inode) != (found.device, found.inode):
        return "something else is there now"
    if stat.S_IFMT(expect.mode) != stat.S_IFMT(found.mode):
        return "its type changed"
    fields = {
        "mode": expect.mode != found.mode,
        "size": expect.size != found.size,
        "mtime": expect.mtime_ns != found.mtime_ns,
        "ctime": expect.ctime_ns != found.ctime_ns,
    }
    changed = [name for name, differs in fields.items() if differs]
    return f"its {' and '.join(changed)} changed" if changed else None
