"""Directories that are this user's alone: what drydock wrote there is believed later."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from drydock.model.names import RawPath


def open_private_dir(place: RawPath, *, create: bool) -> int:
    """A directory that nobody else made or may write to.

    Args:
        place: its path.
        create: whether it is made if it is not there.

    Raises:
        OSError: it cannot be opened, or is not this user's alone.
    """
    if create:
        with suppress(FileExistsError):
            os.mkdir(place, 0o700)
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    info = os.fstat(fd)
    # /dev/shm is everybody's: what someone else made or may write there is neither written to nor believed.
    if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o022:
        os.close(fd)
        raise OSError(errno.EPERM, "it belongs to, or can be written by, someone else")
    return fd
