"""Layers unpacked into a directory: nothing leads out of it, and what containerd refuses is refused."""

import io
import os
import stat
import tarfile
from contextlib import ExitStack

import pytest
from tests.support.layer_facts import layer_facts
from tests.support.rich import GZIP, rich

from drydock.repairs.layer_writer import LayerWriter, SharedFile
from drydock.verification.decompression import UnreadableLayer
from drydock.verification.forward_tar import TarReader

pytestmark = pytest.mark.root


def made(*entries):
    """A tar of entries: name, type, data or target, and further fields."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, more, *fields in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, 0o644, 1_500_000_000
            data = more if kind == tarfile.REGTYPE else b""
            info.size, info.linkname = len(data), "" if kind == tarfile.REGTYPE else more
            for field, value in dict(fields).items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def write(raw, top, lowers=(), former=None):
    """Unpack a layer."""
    top.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:

        def opened(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            return descriptor

        writer = LayerWriter(opened(top), [*map(opened, lowers)], None if former is None else opened(former))
        writer.write(TarReader(io.BytesIO(raw).read))


FILE, LINK, SYMLINK, DIRECTORY = tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "entries",
    [
        [("out", SYMLINK, "/"), ("out/etc/file", FILE, b"x")],
        [("out", SYMLINK, "../../../.."), ("out/etc/file", FILE, b"x")],
        [("../../../etc/file", FILE, b"x")],
        [("a", SYMLINK, "b"), ("b", SYMLINK, "/etc"), ("a/file", FILE, b"x")],
        [("etc", DIRECTORY, ""), ("etc/file", SYMLINK, "/outside"), ("etc/file", FILE, b"x")],
    ],
    ids=["absolute", "relative", "dots", "chain", "replaced"],
)  # fmt: skip
def test_no_entry_leads_out(entries, tmp_path):
    """Links and dots are resolved as if the layer's directory were the root of all, as containerd does."""
    outside = tmp_path / "outside"
    outside.mkdir()
    write(made(*entries), tmp_path / "some/where/top")
    assert (tmp_path / "some/where/top/etc/file").read_bytes() == b"x"
    assert list(outside.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "some"]


@pytest.mark.parametrize(
    "entries",
    [
        [("one", LINK, "gone")],
        [("one", LINK, "../../../../etc/passwd")],
        [("loop", SYMLINK, "loop"), ("loop/file", FILE, b"x")],
        [("file", FILE, b"x"), ("file/below", FILE, b"x")],
        [(".wh..", FILE, b"")],
        [("folder/", DIRECTORY, ""), ("folder/.wh.", FILE, b"")],
    ],
    ids=["no target", "target outside", "loop", "below a file", "no name", "empty name"],
)  # fmt: skip
def test_what_containerd_refuses_is_refused(entries, tmp_path):
    """Such a layer was never unpacked, so nothing of it can be restored."""
    with pytest.raises(UnreadableLayer):
        write(made(*entries), tmp_path / "top")


def test_a_second_whiteout_of_one_name_is_refused(tmp_path):
    """Containerd's mknod fails on it."""
    (tmp_path / "lower").mkdir()
    with pytest.raises(FileExistsError):
        write(made((".wh.one", FILE, b""), (".wh.one", FILE, b"")), tmp_path / "top", [tmp_path / "lower"])


def test_folders_without_an_entry_are_as_below(tmp_path):
    """Owner, mode and attributes are those of the first layer below that has the folder, also behind a link there."""
    lower, lowest = tmp_path / "lower", tmp_path / "lowest"
    (lowest / "usr/lib").mkdir(parents=True)
    (lowest / "lib").symlink_to("/usr/lib")
    (lowest / "usr/lib").chmod(0o1700)
    (lower / "usr").mkdir(parents=True)
    os.chown(lower / "usr", 5, 6)
    os.setxattr(lower / "usr", "user.note", b"kept")
    os.setxattr(lower / "usr", "trusted.overlay.opaque", b"y")
    top = tmp_path / "top"
    write(made(("usr/a/file", FILE, b"x"), ("lib/file", FILE, b"x")), top, [lower, lowest])
    assert (os.stat(top / "usr").st_uid, os.stat(top / "usr").st_gid) == (5, 6)
    assert os.listxattr(top / "usr") == ["user.note"]
    assert stat.S_IMODE((top / "usr/a").stat().st_mode) == 0o755
    assert stat.S_IMODE((top / "lib").lstat().st_mode) == 0o1700


def test_intact_files_are_linked_and_others_written(tmp_path):
    """A file of the former directory is taken over only if its bytes and all the rest are those of the layer."""
    raw = made(*((name, FILE, b"x" * 3_000_000) for name in ("same", "torn", "mode", "time", "note", "linked")))
    former, top = tmp_path / "former", tmp_path / "top"
    write(raw, former)
    with (former / "torn").open("r+b") as file:
        file.seek(2_500_000)
        file.write(b"y")
    os.utime(former / "torn", ns=(0, 1_500_000_000 * 10**9))
    (former / "mode").chmod(0o600)
    os.utime(former / "time", ns=(0, 1))
    os.setxattr(former / "note", "user.note", b"x")
    os.link(former / "linked", former / "other")
    write(raw, top, former=former)
    shared = {path.name for path in top.iterdir() if path.stat().st_ino == (former / path.name).stat().st_ino}
    assert shared == {"same"}
    write(raw, tmp_path / "again")
    assert layer_facts(top) == layer_facts(tmp_path / "again")


def test_a_link_to_a_shared_file_begins_anew(tmp_path):
    """Its header would change the former file too."""
    raw = made(("one", FILE, b"x"), ("two", LINK, "one", ("mode", 0o600)))
    former = tmp_path / "former"
    write(raw, former)
    (former / "two").unlink()
    (former / "one").chmod(0o644)
    with pytest.raises(SharedFile):
        write(raw, tmp_path / "top", former=former)
    assert stat.S_IMODE((former / "one").stat().st_mode) == 0o644


def test_every_layer_of_the_rich_image_is_written_twice_alike(tmp_path):
    """With and without the former directory, the files are the same."""
    layer = rich(GZIP).layers[1].data
    import gzip

    raw = gzip.decompress(layer)
    write(raw, tmp_path / "one")
    write(raw, tmp_path / "two", former=tmp_path / "one")
    assert layer_facts(tmp_path / "one") == layer_facts(tmp_path / "two")
