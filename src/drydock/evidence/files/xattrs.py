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
    path = _path(name, parent)
    try:
        for key in xattr.list(path, nofollow=True):
            found[key] = xattr.get(path, key, nofollow=True)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENODATA):
            raise
    return found


def read_supported_xattrs(name: bytes, parent: int) -> dict[bytes, bytes] | None:
    """As :func:`read_xattrs`, for a comparison: None on a file system without extended attributes.

    Attributes that cannot be read are left out, and so differ from what they are compared with.
    """
    path = _path(name, parent)
    try:
        return {key: xattr.get(path, key, nofollow=True) for key in xattr.list(path, nofollow=True)}
    except OSError as error:
        return None if error.errno == errno.ENOTSUP else {}


def _path(name: bytes, parent: int) -> bytes:
    # There is no lgetxattrat before Linux 6.13: the folder is reached through its descriptor, and the last name is not
    # followed. Devices and FIFOs are not opened on that way.
    return b"/proc/self/fd/%d/%s" % (parent, name)
