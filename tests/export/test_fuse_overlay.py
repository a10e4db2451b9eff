"""Containers of the fuse-overlayfs snapshotter: the export equals a real mount of fuse-overlayfs."""

import os
import shutil
import stat

import pytest
from tests.support.exported import export, fill, same_as_mount
from tests.support.mounted import FuseLayers

from drydock.evidence.containerd.overlay_xattrs import FUSE

pytestmark = pytest.mark.root

FORMS = {"devices": (False, False), "files": (True, False), "user": (False, True), "user, files": (True, True)}


SECOND = f"""
rm -r gone again; mkdir again; echo new >again/new
rm -r folder; echo 'a file now' >folder
rm empty; mkdir empty
mv moved moved2; mkdir moved; echo other >moved/other
chmod 600 plain; rm deep/er/est/file restored inner/a/b/c
echo long >{"n" * 200}
rm inner/one; echo 'no longer linked' >inner/one; ln inner/two inner/four
"""
# No file that keeps other names in a layer below is changed here: fuse-overlayfs (v1.10) gives both the number and the
# attributes of one inode, though they are two.
THIRD = """
mv moved2 deep/er/moved3; mkdir shallow; mv plain inner/plain2
mkdir gone; echo back >gone/back; echo new >restored
rm inner/d; mkdir inner/a/b/c; chmod 400 deep/er/moved3/in/it/file
ln -s x link; rm loop; mkfifo pipe2; touch -d '1969-12-31 23:59:58.25Z' again/new
"""


@pytest.fixture(params=list(FORMS))
def layers(request, tmp_path):
    """An empty stack of layers, with one of the ways that fuse-overlayfs marks them."""
    files, user = FORMS[request.param]
    made = FuseLayers(tmp_path / "layers", files=files, user=user)
    made.form = request.param
    return made


def _marked(layers):
    """The marks in the layers."""
    found = set()
    for folder, folders, files in os.walk(layers.path / "snapshots"):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            found |= {key for key in os.listxattr(path, follow_symlinks=False) if "overlay" in key}
            info = os.lstat(path)
            if stat.S_ISCHR(info.st_mode) and not info.st_rdev:
                found.add("device")
            elif name.startswith(".wh."):
                found.add(".wh..wh..opq" if name == ".wh..wh..opq" else ".wh.")
    return found


def test_what_fuse_overlayfs_records(layers, tmp_path):
    """Three layers: deletions, replacements, renamed directories, metacopies, links, entries that come back."""
    with layers.new() as top:
        fill(top)
        (top / "restored").write_bytes(b"old")
        (top / "inner/a/b").mkdir(parents=True)
        (top / "inner/a/b/c").write_bytes(b"c")
        (top / "inner/d").write_bytes(b"d")
        (top / "inner/one").write_bytes(b"linked")
        os.link(top / "inner/one", top / "inner/two")
    layers.change(SECOND)
    layers.change(THIRD)
    exported = same_as_mount(layers, tmp_path, FUSE)
    assert not exported.damage
    marks = _marked(layers)
    assert (".wh." in marks, "device" in marks) == ("files" in layers.form, "files" not in layers.form)
    opaque = "user.fuseoverlayfs.opaque" if "user" in layers.form else "trusted.overlay.opaque"
    assert {opaque, "user.fuseoverlayfs.origin", ".wh..wh..opq"} <= marks


def test_marks_by_hand(tmp_path):
    """Each mark by itself, as other versions write them, and marks of the kernel that fuse-overlayfs ignores."""
    layers = FuseLayers(tmp_path / "layers")
    with layers.new() as top:
        for name in ("sentinel", "overlay", "fuse", "trusted", "whited", "both", "redirected", "target"):
            (top / name).mkdir()
            (top / name / "below").write_bytes(b"below")
        (top / "copied").write_bytes(b"data")
        (top / "marked").write_bytes(b"data")
    second = layers.path / "snapshots/2/fs"
    for name in ("sentinel", "overlay", "fuse", "trusted", "redirected"):
        (second / name).mkdir(parents=True)
        (second / name / "new").write_bytes(b"new")
    (second / "sentinel/.wh..wh..opq").touch()
    os.setxattr(second / "overlay", "user.overlay.opaque", b"y")
    os.setxattr(second / "fuse", "user.fuseoverlayfs.opaque", b"y")
    os.setxattr(second / "trusted", "trusted.overlay.opaque", b"y")
    os.setxattr(second / "redirected", "trusted.overlay.redirect", b"/target")
    (second / ".wh.whited").touch()
    (second / ".wh.never-there").touch()
    (second / "copied").touch()
    os.setxattr(second / "copied", "trusted.overlay.metacopy", b"")
    (second / "marked").touch()
    os.setxattr(second / "marked", "trusted.overlay.whiteout", b"")
    # Both in one layer: the mark wins.
    (second / ".wh.both").mkdir()
    (second / "both").mkdir()
    (second / "both/hidden").write_bytes(b"hidden")
    layers.count = 2
    exported = same_as_mount(layers, tmp_path, FUSE)
    assert not exported.damage
    out = tmp_path / "out"
    for name in ("sentinel", "overlay", "fuse", "trusted"):
        assert os.listdir(out / name) == ["new"]
    assert sorted(os.listdir(out / "redirected")) == ["below", "new"]
    assert not (out / "whited").exists()
    assert not (out / "both").exists()
    assert (out / "marked").read_bytes() == (out / "copied").read_bytes() == b""


def test_an_opaque_root(tmp_path):
    """A layer with an opaque root hides all layers below it."""
    layers = FuseLayers(tmp_path / "layers")
    with layers.new() as top:
        (top / "below").write_bytes(b"below")
    second = layers.path / "snapshots/2/fs"
    second.mkdir(parents=True)
    (second / "new").write_bytes(b"new")
    os.setxattr(second, "user.fuseoverlayfs.opaque", b"y")
    layers.count = 2
    same_as_mount(layers, tmp_path, FUSE)
    assert os.listdir(tmp_path / "out") == ["new"]


def test_what_cannot_be_read(tmp_path):
    """A missing layer ends the export, as for overlay."""
    from drydock.model.errors import EvidenceUnreadable

    layers = FuseLayers(tmp_path / "layers")
    with layers.new() as top:
        (top / "x").write_bytes(b"x")
    layers.change("rm x")
    shutil.rmtree(layers.path / "snapshots/1")
    with pytest.raises(EvidenceUnreadable, match="snapshot 1"):
        export(layers, tmp_path / "out", FUSE)
