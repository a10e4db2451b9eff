"""The only module that removes, renames or shortens in a store (docs/safety.md 2).

Each call is relative to an open directory, or to an open file.

None follows a symbolic link in its last component, and callers pass a single name, so what goes is always an entry of
the very directory that was opened and looked at. :mod:`drydock.reclaim.removals`, :mod:`drydock.reclaim.remove_tree`,
:mod:`drydock.reclaim.log_cuts`, :mod:`drydock.reclaim.image_names` and :mod:`drydock.reclaim.layer_restores` decide
what to remove; :mod:`drydock.repairs.layer_writer` and :mod:`drydock.reclaim.quarantine` remove what drydock made.
"""

from __future__ import annotations

import errno
import os

from drydock.reclaim.syscalls import renameat2_exchange, renameat2_noreplace

unlink = os.unlink
"""``unlink(name, dir_fd=…)``: drop an entry that is no directory. Raises OSError."""

rmdir = os.rmdir
"""``rmdir(name, dir_fd=…)``: drop an empty directory. Raises OSError."""


def empty(descriptor: int) -> None:
    """Let an open file have no bytes. Raises OSError."""
    os.ftruncate(descriptor, 0)


def shorten(descriptor: int, size: int) -> None:
    """Let an open file end after ``size`` bytes. Raises OSError."""
    os.ftruncate(descriptor, size)


def exchange(directory: int, name: bytes, other: bytes, other_directory: int | None = None) -> None:
    """Let two entries of a directory, or of two, change places; neither name is ever missing.

    Raises:
        OSError: with the kernel's reason; ``EINVAL`` if the file system cannot do it.
    """
    renameat2_exchange(directory, name, other, other_directory)


def replace(directory: int, name: bytes, other: bytes) -> None:
    """Rename an entry of a directory over another one, whose file goes; the other name is never missing.

    For a file that was written anew, and whose former contents are kept elsewhere. Raises OSError.
    """
    os.rename(name, other, src_dir_fd=directory, dst_dir_fd=directory)


def move(source: int, name: bytes, target: int, new_name: bytes) -> None:
    """Rename ``name`` in the directory ``source`` to ``new_name`` in ``target``; nothing is ever replaced.

    Raises:
        FileExistsError: ``new_name`` is taken.
        OSError: with the kernel's reason; ``EXDEV`` when the two directories are of different mounts.
    """
    try:
        renameat2_noreplace(source, name, target, new_name)
    except OSError as error:
        # EINVAL: the file system does not know RENAME_NOREPLACE (NFS, some FUSE); ENOSYS: the libc or kernel does not.
        if error.errno not in {errno.EINVAL, errno.ENOSYS}:
            raise
        try:
            os.stat(new_name, dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
        else:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name) from None
