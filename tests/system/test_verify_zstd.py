"""Verifying what a real containerd unpacked from layers that zstd's own command compressed."""

import json
import os
import subprocess
import sys

import pytest
from tests.engines.images import Blob
from tests.support.documents import run
from tests.support.imported import imported
from tests.support.peaks import run_measured
from tests.support.records import CONTENT
from tests.support.rich import ZSTD, Rich, rich

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

_OVERLAY = "io.containerd.snapshotter.v1.overlayfs/snapshots"


@pytest.fixture
def root(tmp_path):
    """The same for the image of everything."""
    return imported(tmp_path, rich(ZSTD))


def _findings(root, tmp_path, *options, status):
    said = run(
        "verify", "--unpacked=content", "--format", "json", "--state", tmp_path / "state", *options, root, status=status
    )
    (found,) = json.loads(said)["roots"]
    return found, {each["code"] for each in found["findings"] if each["severity"] != "note"}


def test_what_was_unpacked_from_zstd(root, tmp_path):
    """Every layer is compared, bytes too, and nothing is found; an emptied file is."""
    found, codes = _findings(root, tmp_path, "--data", status=0)
    assert codes == set()
    assert (found["unpacked"]["done"], found["unpacked"]["not_comparable"]) == (3, 0)
    (path,) = root.glob(f"{_OVERLAY}/*/fs/usr/lib/behind")
    path.write_bytes(b"")
    found, codes = _findings(root, tmp_path, status=2)
    assert codes == {"snapshot-differs"}
    assert "empty files that have bytes in the layer: 1" in str(found["findings"])


@pytest.mark.parametrize("damage", ["cut", "flipped", "size"])
def test_a_damaged_layer(damage, root, tmp_path):
    """A cut, a flipped byte, another content size: the blob is named, and the snapshot cannot be proved."""
    blob = root / CONTENT / "blobs" / rich(ZSTD).layers[1].digest.replace(":", "/")
    data = bytearray(blob.read_bytes())
    if damage == "cut":
        # Of the size that is recorded, so that only decoding tells.
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    elif damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    else:
        data[6] ^= 0x01
    blob.write_bytes(data)
    found, codes = _findings(root, tmp_path, status=8)
    assert codes == {"unreadable-layer"}
    assert "drydock verify --data" in run("verify", "--unpacked", "--state", tmp_path / "other", root, status=8)
    assert found["unpacked"]["done"] == 3
    found, codes = _findings(root, tmp_path, "--data", status=2)
    assert codes == {"corrupt-blob", "snapshot-unproved"}
    assert blob.name in str(found["findings"])


def test_without_a_decoder(root, tmp_path):
    """Where no library decodes zstd, each layer that is not compared is named, with the extra; the status is 8."""
    (path,) = root.glob(f"{_OVERLAY}/*/fs/usr/lib/behind")
    path.write_bytes(b"")
    script = (
        "import sys\n"
        "sys.modules['compression.zstd'] = sys.modules['backports.zstd'] = None\n"
        "from drydock.__main__ import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", script, "verify", "--unpacked", "--state", tmp_path / "state", root]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 8, said.stderr
    assert "pip install 'containerd-drydock[zstd]'" in said.stdout
    assert "3 without a layer to compare with" in said.stdout
    assert all(f"was not compared with layer {layer.digest}" in said.stdout for layer in rich(ZSTD).layers)
    assert "No damage found." not in said.stdout


def test_a_bomb(tmp_path):
    """A layer of 512 MiB of zeros in 20 KiB: compared with what was unpacked, in little memory."""
    plain = tmp_path / "plain.tar"
    subprocess.run(
        f"mkdir {tmp_path}/in && truncate -s 512M {tmp_path}/in/zeros && tar -C {tmp_path}/in -cf {plain} zeros",
        shell=True, check=True,
    )  # fmt: skip
    small = subprocess.run(["zstd", "-q", "-c", plain], capture_output=True, check=True).stdout
    assert len(small) < 1 << 16
    digest = subprocess.run(["sha256sum", plain], capture_output=True, check=True, text=True).stdout.split()[0]
    os.unlink(plain)
    image = Rich((Blob("application/vnd.oci.image.layer.v1.tar+zstd", small),), diff_ids=(f"sha256:{digest}",))
    root = imported(tmp_path, image)
    measured = run_measured("verify", "--unpacked", "--state", tmp_path / "state", root)
    assert measured.status == 0, measured
    assert "1 checked" in measured.output
    assert measured.peak < 150 << 20
