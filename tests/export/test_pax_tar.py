"""Archives as other programs read them: Go's archive/tar, GNU tar and Python's tarfile."""

import hashlib
import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.support import gotar

from drydock.export.pax_tar import Archive

needs_go = pytest.mark.skipif(bool(gotar.why_not()), reason=gotar.why_not() or "Go is there")


@pytest.mark.parametrize("size", [0, (8 << 30) - 1, 8 << 30, 300 << 30])
def test_the_size_of_a_blob(size, tmp_path):
    """A header has room for 8 GiB; layers are larger. Python and GNU tar read what is written."""
    written = io.BytesIO()
    archive = Archive(written, pytest.fail)
    archive.begin_file(b"blobs/sha256/" + b"0" * 64, size)
    (tmp_path / "head.tar").write_bytes(written.getvalue())
    with tarfile.open(tmp_path / "head.tar") as tar:
        member = tar.next()
        assert member is not None
        assert (member.name, member.size) == ("blobs/sha256/" + "0" * 64, size)
    # Its data is not there, which it says after the list.
    said = subprocess.run(["tar", "-tvf", tmp_path / "head.tar"], capture_output=True, check=False, text=True).stdout
    assert said.split()[2] == str(size)


class _Data:
    """A file with data at two places."""

    size, allocated = 30_000, 1536
    whole = bytes(4096) + b"a" * 512 + bytes(15_872) + b"b" * 1024 + bytes(8496)

    def segments(self):
        yield 4096, 512
        yield 20_480, 1024
        yield self.size, 0

    def read(self, length, at):
        return self.whole[at : at + length]

    def close(self):
        pass


def _info(mode, *, owner=(0, 0), device=0, mtime_ns=0):
    values = (mode, 1, 1, 1, *owner, 0, 0, 0, 0)
    return os.stat_result(values, {"st_mtime_ns": mtime_ns, "st_rdev": device})


def _written(*steps):
    """An archive, finished."""
    output = io.BytesIO()
    archive = Archive(output, pytest.fail)
    for step in steps:
        step(archive)
    archive.finish()
    return output.getvalue()


ODD = b"\xff\xfe" + "\u00fc".encode()
XATTRS = {
    b"user.n\xffme": b"a name that is not UTF-8",
    b"user.a=b%": b"=",
    b"security.capability": b"\1\0\0\2\xff\0\0\0",
    b"user.empty": b"",
    b"user.long": bytes(70_000),
}
RECORDS = {b"SCHILY.xattr." + key.replace(b"%", b"%25").replace(b"=", b"%3D"): value for key, value in XATTRS.items()}


@needs_go
@pytest.mark.parametrize("name", [b"plain", ODD, b"d/" * 300 + b"long", "\u00fc".encode() * 60, b"n" * 100, b"n" * 101])
def test_names_and_attributes(name):
    """Any name and any attribute are the bytes that Go reads, whatever this process's locale is."""
    directory = _info(stat.S_IFDIR | 0o7755, owner=(2**32 - 2, 3_000_000))
    link = _info(stat.S_IFLNK | 0o777)
    raw = _written(
        lambda archive: archive.add(name + b"/", directory, xattrs=XATTRS),
        lambda archive: archive.add(b"link", link, target=name),
        lambda archive: archive.add_link(name, _info(stat.S_IFREG | 0o644), b"first-" + name),
    )
    listed = gotar.list_tar(raw)
    assert not listed.error
    first, second, third = listed.entries
    assert (first["name"], first["kind"], first["mode"]) == (name + b"/", b"5", 0o7755)
    assert (first["uid"], first["gid"]) == (2**32 - 2, 3_000_000)
    assert {key: value for key, value in first["records"].items() if key.startswith(b"SCHILY.")} == RECORDS
    assert (second["name"], second["link"], second["kind"]) == (b"link", name, b"2")
    assert (third["name"], third["link"], third["kind"]) == (name, b"first-" + name, b"1")
    with tarfile.open(fileobj=io.BytesIO(raw), errors="surrogateescape") as tar:
        assert [os.fsencode(member.name) for member in tar] == [name, b"link", name]


@needs_go
@pytest.mark.parametrize(
    ("mtime_ns", "shown"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (-1_500_000_000, "1969-12-31T23:59:58.5Z"),
        (8**11 * 10**9, "2242-03-16T12:56:32Z"),
    ],
)
def test_times(mtime_ns, shown):
    """Nanoseconds, times before 1970 and after 2242 are exact."""
    raw = _written(lambda archive: archive.add(b"pipe", _info(stat.S_IFIFO | 0o600, mtime_ns=mtime_ns)))
    (entry,) = gotar.list_tar(raw).entries
    assert (entry["kind"], entry["mtime"]) == (b"6", shown)


@needs_go
def test_devices():
    """The largest numbers that Linux has; other entries have none."""
    number = os.makedev(4095, 2**20 - 1)
    raw = _written(
        lambda archive: archive.add(b"node", _info(stat.S_IFCHR | 0o600, device=number)),
        lambda archive: archive.add(b"pipe", _info(stat.S_IFIFO | 0o600, device=number)),
    )
    node, pipe = gotar.list_tar(raw).entries
    assert (node["kind"], node["major"], node["minor"]) == (b"3", 4095, 2**20 - 1)
    assert (pipe["major"], pipe["minor"]) == (0, 0)


@needs_go
@pytest.mark.parametrize("name", [b"sparse", ODD])
def test_a_file_with_holes(name, tmp_path):
    """Go and GNU tar put the data at their places, and give the file its name and attributes."""
    info = _info(stat.S_IFREG | 0o600, mtime_ns=1)
    raw = _written(lambda archive: archive.add_file(name, info, _Data(), "sparse", {b"user.note": b"\0\xff"}))
    (entry,) = gotar.list_tar(raw).entries
    assert (entry["name"], entry["size"], entry["kind"]) == (name, 30_000, b"0")
    assert entry["records"][b"SCHILY.xattr.user.note"] == b"\0\xff"
    assert entry["sha256"] == hashlib.sha256(_Data.whole).digest()
    call = ["tar", "-xf", "-", "-C", tmp_path]
    said = subprocess.run(call, input=raw, check=True, capture_output=True).stderr
    assert (b"hdrcharset" in said) == (name == ODD)
    assert Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).read_bytes() == _Data.whole
