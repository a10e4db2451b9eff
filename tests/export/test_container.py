"""A container's exported files, unpacked by GNU tar, equal a real overlay mount of the same layers."""

import os
import shutil
import subprocess

import pytest
from tests.support.exported import export, fill, same_as_mount, stack
from tests.support.mounted import Layers, facts

from drydock.evidence.containerd.overlay_xattrs import USER
from drydock.export import layer_dirs
from drydock.export.container import write_tree
from drydock.export.new_file import ExportFile
from drydock.model.errors import EvidenceUnreadable
from drydock.model.exports import Exported
from drydock.model.names import RawPath

pytestmark = pytest.mark.root


@pytest.fixture
def layers(tmp_path):
    """An empty stack of layers."""
    return Layers(tmp_path / "layers")


def test_one_layer(layers, tmp_path):
    """Every type, odd names, owners and times, xattrs, hard links, holes; a remark tells of the socket."""
    with layers.new() as top:
        fill(top)
    exported = same_as_mount(layers, tmp_path)
    assert exported.remarks == ["1 sockets are left out: tar has no type for them"]
    assert not exported.damage
    assert (tmp_path / "out/sparse").stat().st_blocks < 200


def test_a_file_of_nine_gigabytes(layers, tmp_path):
    """A size with too many digits for a header, nearly all holes: size and end are right, and it takes no space."""
    with layers.new() as top, (top / "long").open("wb") as file:
        file.seek(9 << 30)
        file.write(b"the end")
    assert not export(layers, tmp_path / "out").damage
    with (tmp_path / "out/long").open("rb") as file:
        file.seek(9 << 30)
        assert file.read() == b"the end"
    assert (tmp_path / "out/long").stat().st_blocks < 200


def test_what_overlay_records(layers, tmp_path):
    """Three layers written through real mounts: deletions, replacements, renamed directories, metacopies, links."""
    with layers.new() as top:
        fill(top)
    with layers.new() as top:
        shutil.rmtree(top / "gone")
        shutil.rmtree(top / "again")
        (top / "again").mkdir()
        (top / "again/new").write_bytes(b"new")
        shutil.rmtree(top / "folder")
        (top / "folder").write_bytes(b"a file now")
        (top / "empty").unlink()
        (top / "empty").mkdir()
        (top / "moved").rename(top / "moved2")
        (top / "moved").mkdir()
        (top / "moved/other").write_bytes(b"other")
        (top / "plain").chmod(0o600)
        (top / "kept/one").write_bytes(b"no longer linked")
        (top / "deep/er/est/file").unlink()
        os.link(top / "etc/tool", top / "etc/tool2")
    with layers.new() as top:
        (top / "moved2").rename(top / "deep/er/moved3")
        (top / "deep").rename(top / "shallow")
        (top / "shallow/er/moved3/in/it/file").chmod(0o400)
        os.setxattr(top / "plain", "user.more", b"more")
        (top / "plain").rename(top / "kept/plain2")
        os.chown(top / "kept/two", 5, 6)
        (top / "null").unlink()
        (top / "gone").mkdir()
        (top / "gone/back").write_bytes(b"back")
        os.mknod(top / "pipe2", 0o010644)
    exported = same_as_mount(layers, tmp_path)
    assert not exported.damage
    # The layers have what this test is about.
    marks = {
        mark
        for _, _, _, folder in os.fwalk(layers.path)
        for name in os.listdir(folder)
        for mark in os.listxattr(f"/proc/self/fd/{folder}/{name}", follow_symlinks=False)
        if mark.startswith("trusted.overlay.")
    }
    assert {f"trusted.overlay.{mark}" for mark in ("opaque", "redirect", "metacopy", "origin")} <= marks


def test_marks_by_hand(layers, tmp_path):
    """Marks that the kernel's mount follows: absolute redirects, one on a path, xattr whiteouts, escaped marks."""
    with layers.new() as top:
        for path in ("a/b/c", "x/b/c", "h"):
            (top / path).mkdir(parents=True)
            (top / path / "file").write_bytes(path.encode())
        (top / "h/hidden").write_bytes(b"hidden")
        (top / "h/seen").write_bytes(b"seen")
    second, third = layers.path / "snapshots/2/fs", layers.path / "snapshots/3/fs"
    for path in (second / "a2", second / "h", third / "t/b", third / "n"):
        path.mkdir(parents=True)
    os.setxattr(second / "a2", "trusted.overlay.redirect", b"/a")
    os.setxattr(second / "h", "trusted.overlay.opaque", b"x")
    # A renamed folder leaves a whiteout; without, its files would be there twice.
    os.mknod(second / "a", 0o020000, 0)
    os.mknod(third / "a2", 0o020000, 0)
    (second / "h/hidden").touch()
    os.setxattr(second / "h/hidden", "trusted.overlay.whiteout", b"")
    os.setxattr(third / "t", "trusted.overlay.redirect", b"/a2")
    os.setxattr(third / "n", "trusted.overlay.overlay.opaque", b"y")
    layers.count = 3
    exported = same_as_mount(layers, tmp_path)
    assert not exported.damage
    assert (tmp_path / "out/t/b/c/file").read_bytes() == b"a/b/c"
    assert not (tmp_path / "out/h/hidden").exists()
    assert os.getxattr(tmp_path / "out/n", "trusted.overlay.opaque") == b"y"


def test_marks_of_user_namespaces(tmp_path):
    """Overlay mounted with userxattr: its marks are user.overlay.*, and trusted ones are ignored."""
    layers = Layers(tmp_path / "layers", "index=off,userxattr")
    with layers.new() as top:
        fill(top)
    with layers.new() as top:
        shutil.rmtree(top / "again")
        (top / "again").mkdir()
        (top / "again/new").write_bytes(b"new")
        (top / "plain").unlink()
        (top / "kept/one").write_bytes(b"changed")
    exported = export(layers, tmp_path / "out", USER)
    with layers.mounted() as point:
        assert facts(tmp_path / "out") == facts(point)
    assert not exported.damage
    assert os.getxattr(layers.path / "snapshots/2/fs/again", "user.overlay.opaque") == b"y"


def test_a_container_cannot_redirect_with_its_own_xattrs(tmp_path):
    """user.overlay.redirect and metacopy, which any container can write, are not followed, and a note tells of them."""
    layers = Layers(tmp_path / "layers")
    with layers.new() as top:
        (top / "secret").mkdir()
        (top / "secret/file").write_bytes(b"secret")
    upper = layers.path / "snapshots/2/fs"
    (upper / "mine").mkdir(parents=True)
    (upper / "file").write_bytes(b"own")
    os.setxattr(upper / "mine", "user.overlay.redirect", b"/secret")
    os.setxattr(upper / "file", "user.overlay.redirect", b"/secret/file")
    os.setxattr(upper / "file", "user.overlay.metacopy", b"")
    layers.count = 2
    exported = export(layers, tmp_path / "out", USER)
    assert os.listdir(tmp_path / "out/mine") == []
    assert (tmp_path / "out/file").read_bytes() == b"own"
    assert exported.damages == 2
    # In a store of root's they are attributes like any other.
    export(layers, tmp_path / "plain")
    assert os.getxattr(tmp_path / "plain/mine", "user.overlay.redirect") == b"/secret"


@pytest.mark.parametrize("target", [b"/../../etc", b"..", b"/", b"", b"a/b", b"//a", b"/a/../a", b"/a/.", b"/a\0"])
def test_redirects_that_leave_their_layer(layers, tmp_path, target):
    """They are not followed, a note tells of them, and nothing outside the layers is read."""
    with layers.new() as top:
        (top / "a").mkdir()
        (top / "a/file").write_bytes(b"a")
    upper = layers.path / "snapshots/2/fs/b"
    upper.mkdir(parents=True)
    os.setxattr(upper, "trusted.overlay.redirect", target)
    layers.count = 2
    exported = export(layers, tmp_path / "out")
    assert exported.damages == 1
    assert os.listdir(tmp_path / "out/b") == []


def test_redirects_that_would_multiply(layers, tmp_path):
    """If two directories are redirected to one in each layer, the second is not merged, as n would become 2**n."""
    with layers.new() as top:
        (top / "d").mkdir()
        for number in range(30):
            (top / "d" / str(number)).mkdir()
    for number in range(2, 8):
        for name in "ab":
            folder = layers.path / f"snapshots/{number}/fs/{name}"
            folder.mkdir(parents=True)
            os.setxattr(folder, "trusted.overlay.redirect", b"/d" if number == 2 else b"/a")
    layers.count = 7
    exported = export(layers, tmp_path / "out")
    # The root, a, b, and d twice: by its own name and as what a is.
    assert exported.count == 1 + 2 + 2 * 30 + 1
    assert exported.damages == 1


def test_data_that_is_not_below(layers, tmp_path):
    """A note tells of a file without data; nothing else is lost."""
    with layers.new() as top:
        (top / "file").write_bytes(b"data")
    with layers.new() as top:
        (top / "file").chmod(0o600)
    (layers.path / "snapshots/1/fs/file").unlink()
    (layers.path / "snapshots/1/fs/other").write_bytes(b"other")
    exported = export(layers, tmp_path / "out")
    assert exported.damages == 1
    assert (tmp_path / "out/other").read_bytes() == b"other"


def test_a_layer_that_is_gone(layers, tmp_path):
    """Without one of its layers a file system is not exported, as deleted files would come back."""
    with layers.new() as top:
        (top / "file").write_bytes(b"data")
    with layers.new() as top:
        (top / "file").unlink()
    shutil.rmtree(layers.path / "snapshots/1")
    with pytest.raises(EvidenceUnreadable, match="snapshot 1"):
        export(layers, tmp_path / "out")
    os.symlink("/etc", layers.path / "snapshots/1")
    with pytest.raises(EvidenceUnreadable, match="snapshot 1"):
        export(layers, tmp_path / "out")


@pytest.mark.slow
def test_three_thousand_levels_with_few_descriptors(layers, tmp_path, monkeypatch):
    """Two layers deeper than any path: every level is exported, with few descriptors."""
    depth, most = 3_000, 0
    for number in (1, 2):
        top = layers.path / f"snapshots/{number}/fs"
        top.mkdir(parents=True)
        here = os.open(top, os.O_RDONLY)
        for level in range(depth):
            os.mkdir("d", dir_fd=here)
            if not level % 300:
                os.close(os.open(f"file{number}", os.O_CREAT | os.O_WRONLY, dir_fd=here))
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
    layers.count = 2
    opened = layer_dirs.open_directory

    def counted(*arguments, **options):
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))
        return opened(*arguments, **options)

    monkeypatch.setattr(layer_dirs, "open_directory", counted)
    before = len(os.listdir("/proc/self/fd"))
    exported = Exported(RawPath(b"/"), "x")
    names = []
    try:
        with (tmp_path / "deep.tar").open("wb") as file:
            write_tree(stack(layers), ExportFile(file, "x"), exported)
        assert exported.damage == []
        # Python's reader of tar is another one than this writer.
        import tarfile

        with tarfile.open(tmp_path / "deep.tar") as archive:
            names = [len(member.name.split("/")) for member in archive]
    finally:
        subprocess.run(["rm", "-rf", layers.path], check=True)
    assert len(names) == depth + 20 + 1
    assert max(names) == depth + 1
    assert most <= before + layer_dirs._OPEN + 10
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_mount_inside_is_not_entered(layers, tmp_path):
    """A mount inside a layer is not entered: a note tells that its directory is missing."""
    with layers.new() as top:
        (top / "inner").mkdir()
        (top / "file").write_bytes(b"data")
    inner = layers.path / "snapshots/1/fs/inner"
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", inner], check=True)
    try:
        (inner / "outside").write_bytes(b"outside")
        exported = export(layers, tmp_path / "out")
    finally:
        subprocess.run(["umount", inner], check=True)
    assert exported.damages == 1
    assert os.listdir(tmp_path / "out/inner") == []
