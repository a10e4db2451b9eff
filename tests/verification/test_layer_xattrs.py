"""Attributes as the kernel stores them: each is set on a file, then the mode, and read again."""

import os
import struct

import pytest

from drydock.verification.layer_xattrs import CAPABILITY, kept_value

ACCESS, DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"


def _list(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize("mode", [0o640, 0o751, 0o000])
@pytest.mark.parametrize(
    "value",
    [
        _list((1, 6, 0), (4, 4, 0), (32, 0, 0)),
        _list((1, 6, 0), (2, 7, 1000), (2, 1, 2000), (4, 5, 0), (8, 3, 5), (16, 7, 9), (32, 4, 0)),
        _list((1, 6, 0), (4, 7, 0), (16, 5, 0), (32, 4, 0)),
        _list(),
    ],
    ids=["as a mode", "named", "mask", "empty"],
)
def test_access_lists_are_what_the_kernel_makes_of_them(value, mode, tmp_path):
    """An ACL that is equivalent to a mode is gone; in any other, the mode replaces owner, mask and others."""
    path = tmp_path / "file"
    path.touch()
    try:
        os.setxattr(path, ACCESS, value)
    except OSError as error:
        pytest.skip(f"no access lists here: {error.strerror}")
    path.chmod(mode)
    there = os.getxattr(path, ACCESS) if ACCESS.decode() in os.listxattr(path) else None
    assert kept_value(ACCESS, value, mode) == there


@pytest.mark.parametrize(
    "value",
    [_list((1, 6, 0), (4, 4, 7), (32, 0, 0)), _list((1, 6, 0), (2, 7, 9), (4, 5, 0), (16, 7, 0), (32, 4, 0)), _list()],
)
def test_access_lists_for_what_a_folder_will_hold(value, tmp_path):
    """The mode of the directory does not change a default ACL, and one that is equivalent to a mode stays."""
    try:
        os.setxattr(tmp_path, DEFAULT, value)
    except OSError as error:
        pytest.skip(f"no access lists here: {error.strerror}")
    tmp_path.chmod(0o701)
    there = os.getxattr(tmp_path, DEFAULT) if DEFAULT.decode() in os.listxattr(tmp_path) else None
    assert kept_value(DEFAULT, value, 0o701) == there


@pytest.mark.root
@pytest.mark.parametrize("magic", [2 << 24, 2 << 24 | 1, 3 << 24, 3 << 24 | 1])
@pytest.mark.parametrize("root", [0, 100_000])
def test_capabilities_are_what_the_kernel_makes_of_them(magic, root, tmp_path):
    """A capability of a user namespace whose root is uid 0 comes back as one of no namespace."""
    value = struct.pack("<I16s", magic, b"\0\4".ljust(16, b"\0"))
    value += struct.pack("<I", root) if magic >> 24 == 3 else b""
    path = tmp_path / "file"
    path.touch()
    os.setxattr(path, CAPABILITY, value)
    assert kept_value(CAPABILITY, value, 0o644) == os.getxattr(path, CAPABILITY)


@pytest.mark.parametrize("value", [b"", b"\2\0\0", _list((1, 6, 0))[:-1], b"\3" + _list((1, 6, 0))[1:]])
def test_what_is_no_access_list_is_left(value):
    """A short, truncated or unknown ACL stays as it is, and so does any other attribute."""
    assert kept_value(CAPABILITY, value, 0o644) == value
    assert kept_value(ACCESS, value, 0o644) == value
    assert kept_value(b"user.note", _list(), 0o644) == _list()
