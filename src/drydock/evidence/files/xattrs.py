"""Extended attributes of what a container wrote: nothing is opened, no symlink followed."""

from __future__ import annotations

import errno


def read_xattrs(name: bytes, parent: int) -> dict[bytes, bytes]:
    """All extended attributes of ``name`` in the open folder ``parent``; of the folder itself where ``name`` is ``.``.

    Linux bounds both the list of names and each value at 64 KiB (include/uapi/linux/limits.h).

    Raises:
        OSError: they cannot be read.
    """
    import xattr  # noqa: PLC0415 - a command that needs none must not load a C library

    # There is no lgetxattrat before Linux 6.13: the folder is reached through its descriptor, and the last name is not
    # followed. Devices and FIFOs are not opened on that way.
    path = b"/proc/self/fd/%d/%s" % (parent, name)
    found: dict[bytes, bytes] = {}
    try:
        for key in xattr.list(path, nofollow=True):
            found[key] = xattr.get(path, key, nofollow=True)
    except OSError as error:
        # Not of every file system; an ACL that says what the mode says is listed and has no value on some.
        if error.errno not in (errno.ENOTSUP, errno.ENODATA):
            raise
    return found
