"""Extended attributes of what a container wrote: nothing is opened, no symbolic link followed.

This is the only module that reads them, and it takes pyxattr: names are bytes there, and a missing value can be told
from a missing attribute. Linux bounds both the list of names and each value at 64 KiB (include/uapi/linux/limits.h).
"""

from __future__ import annotations

import errno

import xattr


def read_xattrs(name: bytes, parent: int) -> dict[bytes, bytes]:
    """All extended attributes of ``name`` in the open folder ``parent``; of the folder itself where ``name`` is ``.``.

    A file system without extended attributes gives none, and so does an attribute without a value: an ACL that says
    what the mode says is listed on some file systems and has none.

    Raises:
        OSError: they cannot be read.
    """
    found: dict[bytes, bytes] = {}
    try:
        _read(_path(name, parent), found)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
    return found


def read_supported_xattrs(name: bytes, parent: int) -> dict[bytes, bytes] | None:
    """As :func:`read_xattrs`, for a comparison: None on a file system without extended attributes.

    If one cannot be read, there are none, and so they differ from what they are compared with.
    """
    found: dict[bytes, bytes] = {}
    try:
        _read(_path(name, parent), found)
    except OSError as error:
        return None if error.errno == errno.ENOTSUP else {}
    return found


def _read(path: bytes, found: dict[bytes, bytes]) -> None:
    for key in xattr.list(path, nofollow=True):
        try:
            found[key] = xattr.get(path, key, nofollow=True)
        except OSError as error:  # noqa: PERF203 - an attribute without a value hides no other
            if error.errno != errno.ENODATA:
                raise


def _path(name: bytes, parent: int) -> bytes:
    # There is no lgetxattrat before Linux 6.13: the folder is reached through its descriptor, and the last name is not
    # followed. Devices and FIFOs are not opened on that way.
    return b"/proc/self/fd/%d/%s" % (parent, name)
