"""Changes of a container by the rules of docker diff, compared with two real mounts."""

import os
import shutil
import stat

import pytest
from tests.support.mounted import Layers

from drydock.evidence.containerd.snapshot_layers import Stack
from drydock.export.changes import find_changes
from drydock.model.exports import ChangeKind
from drydock.model.names import RawPath

pytestmark = pytest.mark.root


@pytest.fixture
def layers(tmp_path):
    """An empty stack of layers."""
    return Layers(tmp_path / "layers")


def stack(layers, top):
    """The stack whose uppermost layer is ``top``."""
    parts = tuple((b"snapshots", b"%d" % number, b"fs") for number in range(top, 0, -1))
    return Stack(RawPath(os.fsencode(layers.path)), parts, tuple(str(number) for number in range(top, 0, -1)))


def changes(layers):
    """The changes of the last layer against all others, as text."""
    notes = []
    found = find_changes(stack(layers, layers.count), stack(layers, layers.count - 1), notes.append)
    listed = [f"{change.kind.value} {os.fsdecode(change.path)}" for change in found]
    assert not notes
    return listed


def walked(new, old, path="/"):
    """The changes between two mounted trees, by walking both: moby's addChanges in a few lines."""
    said = []
    here = {name: os.lstat(new + path + name) for name in os.listdir(new + path)}
    before = {}
    if old is not None and stat.S_ISDIR(os.lstat(old + path).st_mode):
        before = {name: os.lstat(old + path + name) for name in os.listdir(old + path)}
    for name in sorted({*here, *before}):
        if name not in here:
            said.append(f"D {path}{name}")
            continue
        below = []
        if stat.S_ISDIR(here[name].st_mode):
            is_folder = name in before and stat.S_ISDIR(before[name].st_mode)
            below = walked(new, old if is_folder else None, f"{path}{name}/")
        if name not in before:
            said.append(f"A {path}{name}")
        elif below or _facts(here[name], new + path + name) != _facts(before[name], old + path + name):
            said.append(f"C {path}{name}")
        said += below
    return said


def _facts(info, path):
    try:
        capability = os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        capability = b""
    plain = () if stat.S_ISDIR(info.st_mode) else (info.st_mtime_ns, info.st_size)
    return info.st_mode, info.st_uid, info.st_gid, info.st_rdev, plain, capability


def test_like_two_mounts(layers):
    """Every kind of change, compared with walks of mounts with and without the layer."""
    with layers.new() as top:
        for folder in ("same/in", "gone/in", "again/in/deep", "mode", "moved/in", "inner/a/b/c", "swap"):
            (top / folder).mkdir(parents=True)
            for name in ("one", "two"):
                (top / folder / name).write_bytes(name.encode())
        for name in ("touched", "written", "capable", "back", "linked", "chmodded"):
            (top / name).write_bytes(name.encode())
        os.mknod(top / "node", 0o020600, os.makedev(1, 3))
        os.symlink("old", top / "link")
    with layers.new() as top:
        pass
    with layers.new() as top:
        shutil.rmtree(top / "gone")
        shutil.rmtree(top / "again")
        (top / "again/in").mkdir(parents=True)
        (top / "again/in/new").write_bytes(b"new")
        (top / "mode").chmod(0o700)
        (top / "moved").rename(top / "to")
        (top / "inner/a/b/c/one").unlink()
        shutil.rmtree(top / "swap")
        (top / "swap").write_bytes(b"file")
        (top / "touched").unlink()
        (top / "touched").mkdir()
        (top / "touched/in").mkdir()
        (top / "written").write_bytes(b"WRITTEN")
        os.setxattr(top / "capable", "security.capability", bytes.fromhex("0100000200200000" + "00" * 12))
        before = os.stat(top / "back")
        (top / "back").chmod(0o600)
        (top / "back").chmod(stat.S_IMODE(before.st_mode))
        (top / "chmodded").chmod(0o777)
        os.link(top / "linked", top / "linked2")
        (top / "node").unlink()
        os.mknod(top / "node", 0o020600, os.makedev(1, 5))
        (top / "link").unlink()
        os.symlink("new", top / "link")
        (top / "new dir/x").mkdir(parents=True)
    with layers.mounted() as new:
        lower = Layers(layers.path)
        lower.count = 2
        with lower.mounted() as old:
            wanted = walked(str(new), str(old))
    found = changes(layers)
    assert sorted(found) == sorted(wanted)
    assert "C /back" not in found
    assert {"D /gone", "C /again", "D /again/in/deep", "C /inner/a/b/c", "D /inner/a/b/c/one"} <= set(found)
    # A folder comes before what is in it.
    assert found.index("C /inner") < found.index("C /inner/a") < found.index("D /inner/a/b/c/one")


def test_nothing_below(layers):
    """In a container without an image, everything was added."""
    with layers.new() as top:
        (top / "a/b").mkdir(parents=True)
    nothing = Stack(RawPath(os.fsencode(layers.path)), (), ())
    found = list(find_changes(stack(layers, 1), nothing, pytest.fail))
    assert [(change.kind, change.path) for change in found] == [
        (ChangeKind.ADDED, b"/a"),
        (ChangeKind.ADDED, b"/a/b"),
    ]


def test_nothing_changed(layers):
    """An empty layer changes nothing."""
    with layers.new() as top:
        (top / "a/b").mkdir(parents=True)
    with layers.new() as top:
        pass
    assert changes(layers) == []
