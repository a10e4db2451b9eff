"""Extended attributes, read without opening or following anything."""

import errno
import os

import pytest
import xattr

from drydock.evidence.files.directory import folder
from drydock.evidence.files.xattrs import read_supported_xattrs, read_xattrs
from drydock.model.names import RawPath

pytestmark = pytest.mark.root


def test_every_type_of_file(tmp_path):
    """A file, a folder, a device, a FIFO (which an open would wait at), and the folder itself: each its own."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mknod(tmp_path / "node", 0o020600, os.makedev(1, 3))
    os.mkfifo(tmp_path / "pipe")
    names = ["file", "folder", "node", "pipe", "."]
    for name in names:
        os.setxattr(tmp_path / name, "trusted.name", name.encode() + b"\0\xff")
    with folder(RawPath(os.fsencode(tmp_path))) as parent:
        for name in names:
            found = read_xattrs(name.encode(), parent)
            assert found[b"trusted.name"] == name.encode() + b"\0\xff"
            assert read_supported_xattrs(name.encode(), parent) == found


def test_a_link_is_not_followed(tmp_path):
    """A link's own attributes are read, and not those of what it points to; nor are names that are no UTF-8 lost."""
    (tmp_path / "file").touch()
    os.setxattr(tmp_path / "file", b"user.\xff", b"x")
    os.symlink("file", tmp_path / "link")
    os.setxattr(tmp_path / "link", "trusted.link", b"link", follow_symlinks=False)
    with folder(RawPath(os.fsencode(tmp_path))) as parent:
        assert read_xattrs(b"link", parent) == {b"trusted.link": b"link"}
        assert read_xattrs(b"file", parent) == {b"user.\xff": b"x"}
        with pytest.raises(FileNotFoundError):
            read_xattrs(b"gone", parent)


@pytest.mark.parametrize(("number", "found"), [(errno.ENOTSUP, None), (errno.EACCES, {})])
def test_a_file_system_without_them(tmp_path, monkeypatch, number, found):
    """A comparison is told; a reader gets none. Another error is one for a reader, and no attributes to compare."""

    def refuse(path, *, nofollow):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(xattr, "list", refuse)
    with folder(RawPath(os.fsencode(tmp_path))) as parent:
        assert read_supported_xattrs(b".", parent) == found
        if number == errno.ENOTSUP:
            assert read_xattrs(b".", parent) == {}
        else:
            with pytest.raises(PermissionError):
                read_xattrs(b".", parent)


@pytest.mark.parametrize("read", [read_xattrs, read_supported_xattrs])
def test_an_attribute_without_a_value_hides_no_other(tmp_path, monkeypatch, read):
    """Some file systems list an ACL that has none: what is listed after it counts, such as the mark of overlayfs."""
    for name in (b"trusted.a", b"trusted.overlay.opaque"):
        os.setxattr(tmp_path, name, b"y")
    listed, value_of = xattr.list, xattr.get
    monkeypatch.setattr(xattr, "list", lambda path, *, nofollow: sorted(listed(path, nofollow=nofollow)))

    def get(path, key, *, nofollow):
        if key == b"trusted.a":
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return value_of(path, key, nofollow=nofollow)

    monkeypatch.setattr(xattr, "get", get)
    with folder(RawPath(os.fsencode(tmp_path))) as parent:
        assert read(b".", parent) == {b"trusted.overlay.opaque": b"y"}
