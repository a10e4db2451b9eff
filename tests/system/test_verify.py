"""Verifying what real engines unpacked: nothing is said of it, whatever a layer holds; and long runs are resumed."""

import json
import os

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT
from tests.engines.containerd import Containerd
from tests.engines.images import Blob, Image, busybox_layer, noise, write_archive
from tests.engines.registry import Registry
from tests.engines.sandbox import Sandbox
from tests.support.captures import capture
from tests.support.documents import run
from tests.support.records import CONTENT
from tests.support.rich import GZIP, rich

pytestmark = [pytest.mark.root, pytest.mark.slow]

_INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def root(tmp_path):
    """A root into which containerd unpacked the image, with overlayfs and with native."""
    made = tmp_path / "var/lib/containerd"
    made.mkdir(parents=True)
    archive = tmp_path / "rich.tar"
    write_archive(archive, {"docker.io/library/rich:1": rich(GZIP)})
    with Sandbox(tmp_path) as sandbox, Containerd(sandbox, made, collect=False) as engine:
        for snapshotter in ("overlayfs", "native"):
            engine.ctr("images", "import", "--snapshotter", snapshotter, archive)
    return made


def _verify(where, tmp_path, *options, status=None):
    said = run("verify", *options, "--format", "json", "--state", tmp_path / "state", where, status=status)
    (found,) = json.loads(said)["roots"]
    found["findings"] = [each for each in found["findings"] if each["severity"] != "note"]
    return found


@pytest.mark.engine
def test_what_an_engine_unpacked_is_as_in_its_layers(root, tmp_path):
    """Owners, modes, links, devices, attributes, whiteouts, opaque folders, odd names: no difference is seen."""
    found = _verify(root, tmp_path, "--data", "--unpacked=content", status=0)
    assert found["findings"] == []
    assert found["unpacked"]["done"] == 6
    assert found["unpacked"]["not_comparable"] == 0
    (image,) = found["images"]
    (platform,) = image["platforms"]
    assert (platform["state"], platform["unpacked"]) == ("complete", ["native", "overlayfs"])


def _copy(path):
    """A file of its own, in place of a hard link to one like it."""
    path.unlink()
    path.write_bytes(noise(1, 3))
    os.chown(path, 1000, 77777)
    path.chmod(0o4711)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("path", "damage"),
    [
        ("all/cap", lambda path: os.removexattr(path, "security.capability")),
        ("all/second", _copy),
        ("lib", lambda path: (path.unlink(), path.symlink_to("usr/lib64"))),
        ("all/dev", lambda path: (path.unlink(), os.mknod(path, 0o020666, os.makedev(1, 5)))),
        ("usr/lib/behind", lambda path: path.write_bytes(b"")),
        ("all/empty", lambda path: path.write_bytes(b"no more")),
    ],
    ids=["attribute", "hard link", "link", "device", "empty", "full"],
)  # fmt: skip
def test_each_kind_of_difference_is_seen(path, damage, root, tmp_path):
    """One path of the second layer is changed behind the engine's back, in overlayfs."""
    (fs,) = [each.parent for each in root.glob("io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/twice")]
    damage(fs / path)
    found = _verify(root, tmp_path, "--unpacked", status=2)["findings"]
    assert [each["code"] for each in found] == ["snapshot-differs"]
    assert "in 1 of its entries" in found[0]["message"]
    assert os.path.basename(path) in found[0]["message"]


@pytest.mark.engine
@pytest.mark.parametrize("name", ["all/gone", "hidden"])
def test_a_lost_whiteout_is_seen(name, root, tmp_path):
    """What the upper layer removes would come back: the mark is gone, in overlayfs."""
    (fs,) = [
        each.parent.parent for each in root.glob("io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/hidden/three")
    ]
    if name == "hidden":
        os.removexattr(fs / name, "trusted.overlay.opaque")
    else:
        (fs / name).unlink()
    found = _verify(root, tmp_path, "--unpacked", status=2)["findings"]
    assert [each["code"] for each in found] == ["snapshot-differs"]


@pytest.mark.engine
def test_marks_of_fuse_overlayfs(root, tmp_path):
    """Where the mark is a file, as fuse-overlayfs makes it where it may make no device, nothing is missing."""
    (fs,) = [
        each.parent.parent for each in root.glob("io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/hidden/three")
    ]
    os.removexattr(fs / "hidden", "trusted.overlay.opaque")
    (fs / "hidden/.wh..wh..opq").touch()
    (fs / "all/gone").unlink()
    (fs / "all/.wh.gone").touch()
    assert _verify(root, tmp_path, "--unpacked", status=0)["findings"] == []
    (fs / "hidden/.wh..wh..opq").unlink()
    os.setxattr(fs / "hidden", "user.fuseoverlayfs.opaque", b"y")
    assert _verify(root, tmp_path, "--unpacked", status=0)["findings"] == []


@pytest.mark.engine
def test_a_damaged_layer_does_not_damn_what_was_unpacked_from_it(root, tmp_path):
    """Without --data nobody knows yet that the layer's bytes are wrong: the snapshot is not compared with them."""
    blob = root / CONTENT / "blobs" / rich(GZIP).layers[1].digest.replace(":", "/")
    data = bytearray(blob.read_bytes())
    data[-1] ^= 0xFF
    blob.write_bytes(data)
    found = _verify(root, tmp_path, "--unpacked", status=8)["findings"]
    assert {each["code"] for each in found} == {"unreadable-layer"}
    assert "snapshot" not in run("repair", "--unpacked", "--state", tmp_path / "state", root)


def test_a_run_that_was_stopped_goes_on(unpacked, tmp_path):
    """With no time at all nothing is read and the status says so; what a run has read the next does not read again."""
    taken = capture("docker-28.5-interrupted-pull")
    host = unpacked(taken)
    now = ("--now", taken.taken_at)
    first = _verify(host, tmp_path, "--data", "--max-duration", "0s", *now, status=4)
    assert (first["data"]["done"], first["data"]["left"]) == (0, 17)
    whole = _verify(host, tmp_path, "--data", *now, status=0)
    assert (whole["data"]["done"], whole["data"]["left"], whole["data"]["resumed"]) == (17, 0, 0)
    (memory,) = (tmp_path / "state").iterdir()
    # As if it had been stopped in the middle.
    memory.write_bytes(b'["blob", "x", 1, 1, true]\n')
    from drydock.verification.checkpoint import open_checkpoint

    told = open_checkpoint(os.fsencode(host / taken.root), [os.fsencode(tmp_path / "state")], write=True)
    for path in sorted((host / taken.root / CONTENT / "blobs/sha256").iterdir())[:5]:
        info = path.stat()
        told.tell(("blob", f"sha256:{path.name}", info.st_ino, info.st_mtime_ns), True)
    told.close()
    rest = _verify(host, tmp_path, "--data", *now, status=0)
    assert (rest["data"]["done"], rest["data"]["resumed"]) == (17, 5)


def test_what_no_place_takes_is_said(unpacked, tmp_path):
    """The repair that is shown reads it again, the status has a 4, and no next run is said to go on."""
    taken = capture("docker-28.5-interrupted-pull")
    host = unpacked(taken)
    blob = max((host / taken.root / CONTENT / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 0xFF
    blob.write_bytes(data)
    (tmp_path / "file").touch()
    options = ("--data", "--state", tmp_path / "file/below", "--now", taken.taken_at)
    said = run("verify", *options, host, status=2 | 4)
    assert "cannot be kept for the next run" in said
    assert f"drydock repair --data {host} " in said
    assert "goes on" not in run("verify", "--max-duration", "0s", *options, host, status=4)


@pytest.mark.engine
def test_a_platform_that_was_never_fetched_is_no_damage(tmp_path):
    """Of an index for two platforms one is pulled: the other is absent, and nothing is found wrong."""
    here = Image((busybox_layer(),))
    other = Image((busybox_layer(),), ("/bin/busybox", "false"))
    index = {
        "schemaVersion": 2,
        "mediaType": _INDEX,
        "manifests": [
            here.manifest.descriptor(platform={"os": "linux", "architecture": "amd64"}),
            other.manifest.descriptor(platform={"os": "linux", "architecture": "s390x"}),
        ],
    }

    class Several(Image):
        @property
        def manifest(self):
            return Blob(_INDEX, json.dumps(index).encode())

        @property
        def blobs(self):
            return (self.manifest, *here.blobs, *other.blobs)

    root = tmp_path / "var/lib/containerd"
    root.mkdir(parents=True)
    served = {"two:1": Several(here.layers)}
    with (
        Sandbox(tmp_path) as sandbox,
        Registry(sandbox.listen(PORT), served),
        Containerd(sandbox, root, collect=True) as engine,
    ):
        engine.ctr("images", "pull", "--plain-http", "--platform", "linux/amd64", f"127.0.0.1:{PORT}/two:1")
    found = _verify(root, tmp_path, "--data", status=0)
    assert found["findings"] == []
    platforms = {each["platform"]: each["state"] for each in found["images"][0]["platforms"]}
    assert platforms == {"linux/amd64": "complete", "linux/s390x": "absent"}
