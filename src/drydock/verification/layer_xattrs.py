"""Extended attributes of entries: those that containerd sets, and their values after the kernel stored them.

Sources: containerd pkg/archive/tar.go createTarFile, pkg/archive/tar_unix.go setxattr (v1.5 to v2.3); Linux
fs/xattr.c xattr_permission, fs/posix_acl.c posix_acl_equiv_mode and __posix_acl_chmod_masq,
include/uapi/linux/posix_acl_xattr.h, security/commoncap.c cap_inode_getsecurity (v6.12).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

CAPABILITY: Final = b"security.capability"
"""Any change of a file's owner drops it (Linux fs/open.c chown_common, security/commoncap.c, v6.12)."""
_RECORD: Final = b"SCHILY.xattr."
_ACCESS: Final = b"system.posix_acl_access"
_DEFAULT: Final = b"system.posix_acl_default"
_ACLS: Final = (_ACCESS, _DEFAULT)
_VERSION: Final = struct.pack("<I", 2)
_ENTRY: Final = struct.Struct("<HHI")
_OWNER, _USER, _GROUP_OF_OWNER, _GROUP, _MASK, _OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NOBODY: Final = 0xFFFFFFFF
_CAPABILITY: Final = struct.Struct("<I16xI")
"""Revision with flags, the sets of capabilities, and the root of a user namespace (uapi/linux/capability.h)."""


def list_attributes(records: Mapping[bytes, bytes], *, takes_user: bool, takes_acl: bool) -> dict[bytes, bytes]:
    """List the attributes in an entry's pax records that containerd sets.

    It skips ``trusted.``, and ignores that the kernel refuses kinds that Linux does not have, such as those of macOS.

    Args:
        records: of the entry's own pax header.
        takes_user: whether it is a file or a directory: only these have ``user.`` attributes.
        takes_acl: whether it has a mode, as everything but a symbolic link.
    """
    found: dict[bytes, bytes] = {}
    for key, value in records.items():
        name = key.removeprefix(_RECORD)
        if name == key:
            continue
        if name.startswith(b"security.") or (name.startswith(b"user.") and takes_user) or (name in _ACLS and takes_acl):
            found[name] = value
    return found


def kept_value(name: bytes, value: bytes, mode: int) -> bytes | None:
    """The value that the kernel returns for an attribute after attribute and mode were set; None if it has none."""
    if name == CAPABILITY:
        return _kept_capability(value)
    head, body = value[: len(_VERSION)], value[len(_VERSION) :]
    if name not in _ACLS or head != _VERSION or len(body) % _ENTRY.size:
        return value
    return _kept_list(list(_ENTRY.iter_unpack(body)), None if name == _DEFAULT else mode)


def _kept_list(entries: list[tuple[int, int, int]], mode: int | None) -> bytes | None:
    """An ACL that is equivalent to a mode becomes the mode; in any other, the mode replaces some entries."""
    tags = {tag for tag, _, _ in entries}
    if not tags or (mode is not None and tags <= {_OWNER, _GROUP_OF_OWNER, _OTHERS}):
        return None
    by_mode: dict[int, int] = {}
    if mode is not None:
        group = _MASK if _MASK in tags else _GROUP_OF_OWNER
        by_mode = {_OWNER: mode >> 6 & 7, group: mode >> 3 & 7, _OTHERS: mode & 7}
    return _VERSION + b"".join(
        _ENTRY.pack(tag, by_mode.get(tag, rights), number if tag in (_USER, _GROUP) else _NOBODY)
        for tag, rights, number in entries
    )


def _kept_capability(value: bytes) -> bytes:
    """A capability of the user namespace whose root is uid 0 is returned as one of no namespace."""
    if len(value) != _CAPABILITY.size:
        return value
    magic, root = _CAPABILITY.unpack(value)
    if magic >> 24 != 3 or root:
        return value
    return struct.pack("<I", 2 << 24 | magic & 0xFFFFFF) + value[4:-4]
