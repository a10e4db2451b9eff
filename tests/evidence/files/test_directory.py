"""Folders and files opened by descriptor: nothing followed, nothing waited for, no access time changed."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from tests.support.privilege import needs_root

from drydock.evidence.files.directory import fingerprint, folder, names, open_folder
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.regular import NotRegular, TooLarge, open_regular, read_regular

OLD = 1_000_000_000 * 10**9


def put(path, kind):
    """Something that is no regular file."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        # A path longer than a socket's name may be; bind it from its folder.
        with socket.socket(socket.AF_UNIX) as end:
            here = os.open(".", os.O_RDONLY)
            os.chdir(path.parent)
            try:
                end.bind(path.name)
            finally:
                os.fchdir(here)
                os.close(here)
    else:
        (path.parent / "real").write_bytes(b"secret")
        path.symlink_to("real")


def opened():
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", ["fifo", "folder", "socket", "link"])
def test_only_a_regular_file_is_read(tmp_path, kind):
    """Anything else in its place is refused at once, and no descriptor is left."""
    put(tmp_path / "f", kind)
    before = opened()
    with folder(bytes(tmp_path)) as parent:
        for call in (lambda: open_regular(b"f", parent), lambda: read_regular(b"f", 10, parent)):
            with pytest.raises(NotRegular) as error:
                call()
            assert error.value.strerror
    with pytest.raises(NotRegular):
        open_regular(bytes(tmp_path / "f"))
    assert opened() == before


@needs_root
def test_a_device_is_not_opened(tmp_path):
    """Opening one may act on it (rewind a tape); a node without a driver would give ENXIO if it were opened."""
    os.mknod(tmp_path / "f", 0o020600, os.makedev(240, 250))
    with pytest.raises(NotRegular):
        open_regular(bytes(tmp_path / "f"))


def test_a_file_is_read_up_to_its_bound(tmp_path):
    """At the bound whole, above it refused; also where the size is not known beforehand, as in /proc."""
    (tmp_path / "f").write_bytes(b"x" * 100)
    assert read_regular(bytes(tmp_path / "f"), 100) == b"x" * 100
    with pytest.raises(TooLarge) as error:
        read_regular(bytes(tmp_path / "f"), 99)
    assert error.value.strerror
    assert len(read_regular(b"/proc/self/stat", 10_000)) > 10
    with pytest.raises(TooLarge):
        read_regular(b"/proc/self/stat", 10)


def test_access_times_stay(tmp_path):
    """Neither a file that is read nor a folder that is listed gets a new access time."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"x")
    for path in (tmp_path / "d/f", tmp_path / "d"):
        os.utime(path, ns=(OLD, OLD))
    with folder(bytes(tmp_path), b"d") as descriptor:
        assert names(descriptor) == [b"f"]
        read_regular(b"f", 10, descriptor)
    with folder(bytes(tmp_path)) as parent:
        descriptor = open_directory(parent, b"d", readable=True)
        os.listdir(descriptor)
        os.close(descriptor)
    assert [os.stat(tmp_path / name).st_atime_ns for name in ("d", "d/f")] == [OLD, OLD]


@pytest.mark.parametrize("kind", ["fifo", "link", "folder link", "file"])
def test_a_folder_is_a_folder(tmp_path, kind):
    """A link to a folder is none, at any depth; and no descriptor is left."""
    (tmp_path / "real/below").mkdir(parents=True)
    if kind == "folder link":
        (tmp_path / "f").symlink_to("real")
    elif kind == "file":
        (tmp_path / "f").touch()
    else:
        put(tmp_path / "f", kind) if kind == "fifo" else (tmp_path / "f").symlink_to("gone")
    before = opened()
    with pytest.raises(OSError, match=r"(?i)directory|symbolic"), folder(bytes(tmp_path), b"f", b"below"):
        pass
    with folder(bytes(tmp_path)) as parent, pytest.raises(OSError, match=r"(?i)directory|symbolic"):
        open_folder(b"f", parent)
    assert opened() == before


def test_names_are_raw_and_sorted(tmp_path):
    """Bytes that are no UTF-8, newlines and escape sequences come as they are."""
    raw = [b"\x1b[31m", b"a\nb", b"\xff\xfe", b"\xc3\xa9", b"x" * 255]
    for name in raw:
        (tmp_path / os.fsdecode(name)).touch()
    with folder(bytes(tmp_path)) as descriptor:
        assert names(descriptor) == sorted(raw)


def test_a_fingerprint_has_every_field(tmp_path):
    """What a cut compares is what stat says, times to the nanosecond."""
    (tmp_path / "f").write_bytes(b"abc")
    found = os.stat(tmp_path / "f")
    print_ = fingerprint(found)
    assert (print_.device, print_.inode, print_.mode, print_.size) == (
        found.st_dev, found.st_ino, found.st_mode, 3,
    )  # fmt: skip
    assert (print_.mtime_ns, print_.ctime_ns) == (found.st_mtime_ns, found.st_ctime_ns)


def test_nothing_above_is_reached(tmp_path):
    """``..`` and absolute paths are refused, whatever they lead to."""
    (tmp_path / "d").mkdir()
    with folder(bytes(tmp_path), b"d") as descriptor:
        for path in (b"..", b"/", b"../d"):
            with pytest.raises(OSError) as error:  # noqa: PT011 - the number is what counts
                open_directory(descriptor, path)
            assert error.value.errno == errno.EXDEV
