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
