"""Snapshots of containerd's erofs: states, what is freed, immutable flags, what uses them."""

import errno
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.engines.images import layer as layer_of
from tests.support.adoptable import NOW
from tests.support.documents import run
from tests.support.erofs_images import FROM_TAR, make_image
from tests.support.erofs_root import EROFS, lay_out_erofs, lay_out_snapshot

from drydock.cli import main
from drydock.evidence.files import kernel_mount

pytestmark = pytest.mark.xdist_group("host")
ROWS = {"base": (1, "committed", ""), "app": (2, "committed", "base"), "box": (3, "active", "app")}


@pytest.fixture
def root(tmp_path):
    """A container on two layers."""
    return lay_out_erofs(tmp_path / "root", ROWS)


def _scan(root, status=None):
    (found,) = json.loads(run("scan", "--now", NOW, "--format", "json", root, status=status))["roots"]
    found["findings"] = [each for each in found["findings"] if each["code"] != "no-owners"]
    return found


def _states(root, **options):
    return {each["path"].rpartition("/")[2]: each["state"] for each in _scan(root, **options)["objects"]}


def _clean(root, tmp_path, *options, status=0):
    return run("clean", "--now", NOW, "--apply", "--yes", "--state", tmp_path / "state", *options, root, status=status)


def _left(root):
    return sorted(each.name for each in (root / EROFS / "snapshots").iterdir())


def _flag(path, sign="+"):
    subprocess.run(["chattr", f"{sign}i", path], check=True)


def _is_flagged(path):
    return "i" in subprocess.run(["lsattr", "-d", path], check=True, capture_output=True, text=True).stdout.split()[0]


def test_states(root):
    """Layers and the container's own are live; a number without a row and what a crash left are orphaned."""
    lay_out_snapshot(root / EROFS / "snapshots/7", "committed", b"lost" * 2048)
    (root / EROFS / "snapshots/new-123456789/fs").mkdir(parents=True)
    assert _states(root, status=1) == {
        "1": "live", "2": "live", "3": "live", "7": "orphaned", "new-123456789": "orphaned",
    }  # fmt: skip


def test_what_is_freed(root, tmp_path):
    """A number without a row, an unfinished folder, and a row without a record with its folder; no more."""
    lay_out_snapshot(root / EROFS / "snapshots/7", "committed", b"lost" * 2048)
    (root / EROFS / "snapshots/new-123456789/fs").mkdir(parents=True)
    before = {path: path.read_bytes() for path in root.glob(f"{EROFS}/snapshots/[123]/layer.erofs")}
    _clean(root, tmp_path)
    assert _left(root) == ["1", "2", "3"]
    assert {path: path.read_bytes() for path in before} == before
    assert _states(root, status=0) == {"1": "live", "2": "live", "3": "live"}


def test_a_row_that_containerd_cannot_remove(tmp_path):
    """A committed row without its layer is damage, with what it does; clean removes the row, and then the folder."""
    root = lay_out_erofs(tmp_path / "root", {**ROWS, "lost": (5, "committed", "")}, unrecorded=("lost",))
    (root / EROFS / "snapshots/5/layer.erofs").unlink()
    (found,) = [each for each in _scan(root, status=3)["findings"] if each["code"] == "no-erofs-layer"]
    assert "GC of snapshotter erofs stops there" in found["message"]
    _clean(root, tmp_path)
    assert _left(root) == ["1", "2", "3"]
    assert _scan(root, status=0)["findings"] == []


def test_a_recorded_layer_that_is_lost(root):
    """It is damaged, and so is what stands on it."""
    (root / EROFS / "snapshots/1/layer.erofs").unlink()
    found = _scan(root, status=2)
    assert {each["code"] for each in found["findings"]} == {"corrupt-snapshot", "no-erofs-layer"}
    assert {each["id"]: each["state"] for each in found["objects"]}["base"] == "corrupt"


def test_btrfs_is_only_reported(tmp_path):
    """A subvolume without a row, and one that was left when another was committed, are named; nothing is removed."""
    rows = {"base": (1, "committed", ""), "box": (2, "active", "base")}
    root = lay_out_erofs(tmp_path / "root", rows, snapshotter="btrfs")
    top = root / "io.containerd.snapshotter.v1.btrfs"
    for number in (1, 2, 9):
        (top / f"active/{number}").mkdir(parents=True)
    (top / "snapshots/2/fs").rmdir()
    (top / "snapshots/2/work").rmdir()
    (top / "snapshots/2/.erofslayer").unlink()
    (top / "snapshots/2").rmdir()
    found = {each["path"].rpartition(".v1.")[2]: each["state"] for each in _scan(root, status=0)["objects"]}
    assert found == {
        "btrfs/snapshots/1": "live", "btrfs/active/2": "live", "btrfs/active/1": "foreign", "btrfs/active/9": "foreign",
    }  # fmt: skip
    _clean(root, tmp_path)
    assert sorted(each.name for each in (top / "active").iterdir()) == ["1", "2", "9"]


@pytest.mark.root
def test_an_immutable_layer(root, tmp_path):
    """The flag that set_immutable gives is cleared where the folder is an orphan, and nowhere else."""
    lay_out_snapshot(root / EROFS / "snapshots/7", "committed", b"lost" * 2048)
    layers = [root / EROFS / f"snapshots/{number}/layer.erofs" for number in (1, 7)]
    try:
        for layer in layers:
            _flag(layer)
        _clean(root, tmp_path)
        assert _left(root) == ["1", "2", "3"]
        assert _is_flagged(layers[0])
    finally:
        for layer in layers:
            if layer.exists():
                _flag(layer, "-")


@pytest.mark.root
def test_a_link_to_an_immutable_layer(root, tmp_path):
    """An operator's cache keeps its flag and its bytes; the link goes."""
    lay_out_snapshot(root / EROFS / "snapshots/7", "active", b"")
    cached = tmp_path / "cached.erofs"
    cached.write_bytes(b"shared")
    (root / EROFS / "snapshots/7/layer.erofs").symlink_to(cached)
    _flag(cached)
    try:
        _clean(root, tmp_path)
        assert _left(root) == ["1", "2", "3"]
        assert _is_flagged(cached)
    finally:
        _flag(cached, "-")
    assert cached.read_bytes() == b"shared"


@pytest.mark.root
def test_a_flag_that_cannot_be_cleared(root, tmp_path):
    """Without the capability that takes, the folder stays as it is; the reason is said, and the status has a 4."""
    orphan = root / EROFS / "snapshots/7"
    lay_out_snapshot(orphan, "committed", b"lost" * 2048)
    _flag(orphan / "layer.erofs")
    command = [
        "setpriv", "--bounding-set=-linux_immutable", "--inh-caps=-linux_immutable",
        sys.executable, "-m", "drydock", "clean", "--now", NOW, "--apply", "--yes", "--state", tmp_path / "state", root,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 4, done
        assert "layer.erofs in it is immutable, and the flag cannot be cleared" in done.stdout + done.stderr
        assert sorted(os.listdir(orphan)) == [".erofslayer", "fs", "layer.erofs", "work"]
    finally:
        _flag(orphan / "layer.erofs", "-")


@pytest.mark.root
def test_a_loop_device_of_a_layer(root, tmp_path):
    """Whoever has a layer open through one uses the store: refused, with what detaches it."""
    layer = root / EROFS / "snapshots/1/layer.erofs"
    device = subprocess.run(
        ["losetup", "--read-only", "--find", "--show", layer], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        assert f"detach it: losetup -d {device}" in _refused(root, tmp_path)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
    _clean(root, tmp_path)


@pytest.mark.root
@pytest.mark.engine
@pytest.mark.parametrize("how", [["-i"], ["-o", "loop"]], ids=["file", "loop"])
def test_a_mount_of_a_layer(how, root, tmp_path):
    """Through a loop device, and of the file itself (Linux 6.12): the mount is named."""
    layer = root / EROFS / "snapshots/1/layer.erofs"
    layer.unlink()
    make_image(layer, layer_of({"file": b"file"}).data, FROM_TAR)
    point = tmp_path / "point"
    point.mkdir()
    subprocess.run(["mount", "-t", "erofs", *how, "-r", layer, point], check=True)
    try:
        assert f"is a mount of {layer}; unmount it: umount {point}" in _refused(root, tmp_path)
    finally:
        subprocess.run(["umount", point], check=True)


def _refused(root, tmp_path):
    command = [
        sys.executable,
        "-m",
        "drydock",
        "clean",
        "--now",
        NOW,
        "--apply",
        "--yes",
        "--state",
        tmp_path / "state",
    ]
    said = subprocess.run([*command, root], capture_output=True, text=True, check=False)
    assert said.returncode == 32, said
    return said.stderr


IMAGES = {1: {"etc/": b"", "etc/one": b"1" * 5000, "gone": b"x"}, 2: {"etc/": b"", "etc/two": b"22", ".wh.gone": b""}}


@pytest.fixture
def images(tmp_path):
    """The same root, of two real layers."""
    root = lay_out_erofs(tmp_path / "root", ROWS)
    for number, files in IMAGES.items():
        image = root / EROFS / f"snapshots/{number}/layer.erofs"
        image.unlink()
        make_image(image, layer_of(files).data, FROM_TAR)
    (root / EROFS / "snapshots/3/fs/mine").write_bytes(b"mine")
    return root


@pytest.mark.root
@pytest.mark.engine
def test_export_and_diff(images, tmp_path):
    """What a container wrote stands on the images, and what a layer removes is not there."""
    run("export", "container", "box", "-o", tmp_path / "box.tar", images, status=0)
    with tarfile.open(tmp_path / "box.tar") as tar:
        found = {each.name: tar.extractfile(each).read() for each in tar if each.isfile()}
    assert found == {"./etc/one": b"1" * 5000, "./etc/two": b"22", "./mine": b"mine"}
    assert run("diff", "container", "box", images, status=0).splitlines() == ["A /mine"]
    run("export", "container", "app", "-o", tmp_path / "app.tar", images, status=0)


@pytest.mark.root
@pytest.mark.engine
@pytest.mark.parametrize("number", [1, 3])
def test_what_is_not_exported(number, images, tmp_path):
    """A layer that is a link out of the store, and a container's own ext4 image: each is named, and nothing written."""
    folder = images / EROFS / f"snapshots/{number}"
    if number == 1:
        (folder / "layer.erofs").rename(tmp_path / "cached")
        (folder / "layer.erofs").symlink_to(tmp_path / "cached")
    else:
        (folder / "rwlayer.img").write_bytes(bytes(4096))
    command = [sys.executable, "-m", "drydock", "export", "container", "box", "-o", tmp_path / "box.tar", images]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert (f"{tmp_path}/cached, outside" if number == 1 else "rwlayer.img, an ext4 image") in done.stderr
    assert not (tmp_path / "box.tar").exists()


def _exported(tmp_path, images, *options):
    target = tmp_path / "with.tar"
    target.unlink(missing_ok=True)
    run("export", "container", "box", "-o", target, *options, images, status=0)
    with tarfile.open(target) as tar:
        return {
            each.name: (
                each.type,
                each.mode,
                each.uid,
                each.mtime,
                tar.extractfile(each).read() if each.isfile() else b"",
            )
            for each in tar
        }


@pytest.mark.root
@pytest.mark.engine
@pytest.mark.parametrize("by_loop", [False, True], ids=["file", "loop"])
def test_layers_that_the_kernel_mounts(by_loop, images, tmp_path, monkeypatch):
    """With --mount the same comes of the same images, and of compressed ones too; no mount or loop device is left."""
    if by_loop:
        # As before Linux 6.12.
        mounted = kernel_mount._mount

        def only_devices(source, kind, flags):
            if not source.startswith(b"/dev/"):
                raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK))
            return mounted(source, kind, flags)

        monkeypatch.setattr(kernel_mount, "_mount", only_devices)
    before = Path("/proc/self/mountinfo").read_text()
    wanted = _exported(tmp_path, images)
    assert _exported(tmp_path, images, "--mount") == wanted
    image = images / EROFS / "snapshots/1/layer.erofs"
    image.unlink()
    make_image(image, layer_of(IMAGES[1]).data, ("-zlz4", *FROM_TAR[:2]))
    refused = CliRunner().invoke(main, ["export", "container", "box", "-o", str(tmp_path / "no.tar"), str(images)])
    assert refused.exit_code == 8
    assert "it is compressed, which is not supported; with --mount the kernel reads it" in refused.stderr
    assert _exported(tmp_path, images, "--mount") == wanted
    assert run("diff", "container", "box", "--mount", images, status=0).splitlines() == ["A /mine"]
    assert Path("/proc/self/mountinfo").read_text() == before
    assert str(images) not in subprocess.run(["losetup", "-a"], check=True, capture_output=True, text=True).stdout


@pytest.mark.root
@pytest.mark.engine
def test_what_a_container_wrote_to_an_image_of_its_own(images, tmp_path):
    """default_size: with --mount the ext4 image is read as well."""
    folder = images / EROFS / "snapshots/3"
    upper = tmp_path / "ext4/upper"
    upper.mkdir(parents=True)
    (upper / "written").write_bytes(b"to ext4")
    (upper / "etc").mkdir()
    os.mknod(upper / "etc/two", 0o020000, 0)
    (folder / "rwlayer.img").write_bytes(b"")
    os.truncate(folder / "rwlayer.img", 8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-d", upper.parent, folder / "rwlayer.img"], check=True)
    found = {name for name, (kind, *_) in _exported(tmp_path, images, "--mount").items() if kind == tarfile.REGTYPE}
    assert found == {"./etc/one", "./written"}
    assert run("diff", "container", "box", "--mount", images, status=0).splitlines() == [
        "C /etc", "D /etc/two", "A /written",
    ]  # fmt: skip


@pytest.mark.root
def test_what_the_kernel_does_not_mount(root, tmp_path):
    """A layer that is no image: its error is told, and there is no file."""
    command = ["export", "container", "box", "--mount", "-o", str(tmp_path / "box.tar"), str(root)]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 8
    assert "layer.erofs: the kernel cannot mount it" in refused.stderr
    assert not (tmp_path / "box.tar").exists()
