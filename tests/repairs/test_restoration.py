"""Which damaged layers are unpacked again, and which are named instead."""

import io
import json
import tarfile

import pytest
from tests.engines.images import Blob, Image
from tests.support.adoptable import NOW
from tests.support.documents import run
from tests.support.unpacked import lay_out_unpacked

pytestmark = pytest.mark.root


def damaged(tmp_path, snapshotter):
    """A root with one layer whose only file lost its bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("file")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    image = Image((Blob("application/vnd.oci.image.layer.v1.tar", buffer.getvalue()),))
    root = lay_out_unpacked(tmp_path / "root", image, pulled=image.blobs, snapshotter=snapshotter)
    (file,) = root.glob("*/snapshots/*/fs/file")
    file.write_bytes(b"")
    return root, file


def repair(tmp_path, root, *options, status):
    """Repair, or show what that would do."""
    return run(
        "repair", "--unpacked", "--restore-files", *options, "--now", NOW, "--state", tmp_path / "state", root,
        status=status,
    )  # fmt: skip


def test_a_layer_of_overlayfs_is_unpacked_again(tmp_path):
    """Nothing is deleted, and nothing has to be pulled."""
    root, file = damaged(tmp_path, "overlayfs")
    said = repair(tmp_path, root, status=2)
    assert "unpacks again 1 layer" in said
    assert "pull again" not in said
    assert "deletes" not in said
    repair(tmp_path, root, "--apply", "--yes", status=0)
    assert file.read_bytes() == b"abc"


def test_another_snapshotter_is_named(tmp_path):
    """Its layer is given up as without the option, and the output says why it is not unpacked."""
    root, _ = damaged(tmp_path, "fuse-overlayfs")
    said = repair(tmp_path, root, status=2)
    assert "not for fuse-overlayfs" in said.partition("not unpacked again:")[2]
    assert "unpacks again" not in said
    (found,) = json.loads(repair(tmp_path, root, "--format", "json", status=2))["roots"]
    assert len(found["not_restored"]) == 1
    assert "restores" not in found["plan"]


def test_the_way_without_a_loss_is_named_first(tmp_path):
    """Verify and repair name the option where it helps, and the command that they print works."""
    root, file = damaged(tmp_path, "overlayfs")
    common = ("--unpacked", "--now", NOW, "--state", tmp_path / "state", root)
    said = run("verify", *common, status=2)
    advice = [line for line in said.splitlines() if line.startswith("      drydock repair")]
    assert ["--restore-files" in line for line in advice] == [True, False]
    said = run("repair", *common, status=2)
    (command,) = [line.strip().partition("   #")[0] for line in said.splitlines() if "rather unpacks again" in line]
    assert command == f"drydock repair --restore-files {root}"
    assert "rather" not in repair(tmp_path, root, status=2)
    words = [*command.split()[1:], "--apply", "--yes", "--now", NOW, "--state", tmp_path / "state"]
    run(*words, status=0)
    assert file.read_bytes() == b"abc"


def test_a_way_that_is_none_is_not_named(tmp_path):
    """Of another snapshotter nothing is unpacked again."""
    root, _ = damaged(tmp_path, "fuse-overlayfs")
    assert "--restore-files" not in run(
        "repair", "--unpacked", "--now", NOW, "--state", tmp_path / "state", root, status=2
    )
