"""A damaged layer and its unpacked files: neither proves the other, and only compared files are called intact."""

import json
import os
import shutil

import pytest
from tests.engines.images import Image, layer, noise
from tests.support.adoptable import NAME, NOW, blob_path
from tests.support.documents import run
from tests.support.erofs_images import FROM_TAR, make_image
from tests.support.trees import tree
from tests.support.unpacked import OVERLAYFS, lay_out_unpacked

BASE = layer({"etc/": b"", "etc/base": noise(1, 20)})
OWN = layer({"srv/": b"", "srv/one": noise(2, 30), "srv/two": noise(3, 30), "srv/three": noise(4, 30)})
IMAGE = Image((BASE, OWN))


@pytest.fixture
def root(tmp_path):
    """Make a root with the image, pulled and unpacked."""
    return lay_out_unpacked(tmp_path / "root", IMAGE, pulled=IMAGE.blobs)


def repair(root, *options, status):
    """Apply a repair without confirmation."""
    state = ("--now", NOW, "--state", root.parent / "state")
    return run("repair", "--apply", "--yes", *state, *options, root, status=status)


def verify(root, *options, status):
    """The findings, and the text for a person."""
    state = ("--now", NOW, "--state", root.parent / "verified")
    said = run("verify", *options, *state, "--format", "json", root, status=status)
    found = json.loads(said)["roots"][0]["findings"]
    return {(each["code"], each["severity"]) for each in found if each["code"] != "no-owners"}


def files(root, number):
    """The unpacked files of a layer."""
    return sorted(path for path in (root / OVERLAYFS / f"snapshots/{number}/fs").rglob("*") if path.is_file())


def empty(root, number, *names):
    """Empty the files of an unpacked layer, by default all."""
    for path in files(root, number):
        if not names or path.name in names:
            os.truncate(path, 0)


def truncate(root):
    """Empty the blob."""
    blob_path(root, OWN).write_bytes(b"")


def flip(root):
    """Change bytes of the blob, not its size."""
    data = bytearray(OWN.data)
    data[600] ^= 1
    blob_path(root, OWN).write_bytes(data)


def unlink(root):
    """Remove the blob."""
    blob_path(root, OWN).unlink()


def unfold(root):
    """Remove all files of the unpacked layer."""
    shutil.rmtree(root / OVERLAYFS / "snapshots/2/fs/srv")


def as_image(layer, folder):
    """The image that mkfs.erofs makes of a layer."""
    (folder.parent / ".erofslayer").touch()
    make_image(folder.parent / "layer.erofs", layer.data, FROM_TAR)


@pytest.mark.engine
def test_layers_of_erofs(tmp_path):
    """Images are not compared, so they are neither damaged nor intact; an emptied one is far from its recorded size."""
    root = lay_out_unpacked(tmp_path / "root", IMAGE, pulled=IMAGE.blobs, unpack=as_image, snapshotter="erofs")
    assert verify(root, "--data", "--unpacked=content", status=0) == set()
    truncate(root)
    repair(root, status=2)
    assert ("snapshot-unproved", "damage") in verify(root, "--unpacked", "--data", status=2)
    os.truncate(root / "io.containerd.snapshotter.v1.erofs/snapshots/2/layer.erofs", 0)
    assert ("snapshot-size", "damage") in verify(root, "--unpacked", "--data", status=2)
    said = repair(root, status=0)
    assert NAME.decode() in said.partition("pull again afterwards:")[2]
    assert not (root / "io.containerd.snapshotter.v1.erofs/snapshots/2").exists()


@pytest.mark.parametrize("spoil", [lambda root: empty(root, 2), unfold], ids=["empty files", "no files"])
@pytest.mark.parametrize("damage", [truncate, flip, unlink])
def test_both_go_where_the_recorded_size_is_contradicted(damage, spoil, root):
    """Whatever state the blob is in: emptied files are not what was committed, so a pull fetches both."""
    damage(root)
    spoil(root)
    said = repair(root, *(("--data",) if damage is flip else ()), status=0)
    assert NAME.decode() in said.partition("pull again afterwards:")[2]
    assert not (root / OVERLAYFS / "snapshots/2").exists()
    assert not blob_path(root, OWN).exists()
    assert files(root, 1)
    assert verify(root, "--data", "--unpacked=content", status=0) == set()


def test_several_layers(root):
    """Each layer is judged, and snapshots go with all their children."""
    for number, blob in ((1, BASE), (2, OWN)):
        blob_path(root, blob).write_bytes(b"")
        empty(root, number)
    repair(root, status=0)
    assert not list((root / OVERLAYFS / "snapshots").iterdir())
    assert not blob_path(root, BASE).exists()


def zero(root):
    """Change bytes of the unpacked files, not their sizes."""
    for path in files(root, 2):
        path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("spoil", [files, lambda root, number: empty(root, number, "one"), lambda root, _: zero(root)],
                         ids=["whole", "one of three", "zeros"])  # fmt: skip
@pytest.mark.parametrize("damage", [truncate, flip, unlink])
def test_what_nothing_proves_stays_until_it_is_given_up(damage, spoil, root):
    """The recorded size is no proof: nothing is changed or called usable, and the status stays 2."""
    damage(root)
    spoil(root, 2)
    data = ("--data",) if damage is flip else ()
    before = tree(root)
    said = repair(root, *data, status=2)
    assert tree(root) == before
    assert NAME.decode() in said.partition("cannot be proved")[2]
    assert "usable" not in said
    assert "pull again" not in said
    found = verify(root, *data, status=2)
    assert found <= {("corrupt-blob", "damage"), ("missing-blob", "damage")}
    assert ("snapshot-unproved", "damage") in verify(root, "--unpacked", *data, status=2)
    said = repair(root, "--drop-unproved", *data, status=0)
    assert NAME.decode() in said.partition("pull again afterwards:")[2]
    assert not (root / OVERLAYFS / "snapshots/2").exists()
    assert files(root, 1)


def test_an_image_that_no_registry_has(tmp_path):
    """--drop-unproved keeps an unproved snapshot as well, if no record names a registry."""
    root = lay_out_unpacked(tmp_path / "root", IMAGE)
    truncate(root)
    before = tree(root)
    assert f"image {NAME.decode()}" in repair(root, "--drop-unproved", status=2).partition("WOULD BE LOST")[2]
    assert tree(root) == before


def test_the_document(root):
    """The JSON names the image that stays, with the finding."""
    truncate(root)
    said = run("repair", "--format", "json", "--now", NOW, "--state", root.parent / "state", root, status=2)
    (found,) = json.loads(said)["roots"]
    assert found["unproved"] == [NAME.decode()]
    assert {each["code"] for each in found["left"]} == {"corrupt-blob", "snapshot-unproved"}


def test_a_snapshot_whose_layer_was_never_kept(tmp_path):
    """Without a blob, emptied files are found by the recorded size, and a pull fetches them."""
    root = lay_out_unpacked(tmp_path / "root", IMAGE, pulled=(IMAGE.manifest,), unrecorded=(OWN,))
    unlink(root)
    empty(root, 2)
    assert verify(root, status=0) == set()
    assert verify(root, "--unpacked", status=2) == {("snapshot-size", "damage")}
    said = run("verify", "--unpacked", "--now", NOW, "--state", tmp_path / "s", root, status=2)
    assert f"affects image {NAME.decode()}" in said
    said = repair(root, "--unpacked", status=0)
    assert NAME.decode() in said.partition("pull again afterwards:")[2]
    assert not (root / OVERLAYFS / "snapshots/2").exists()


def test_a_verification_is_remembered_by_repair(tmp_path):
    """A repair with the same state measures again what verify --unpacked measured wrong."""
    root = lay_out_unpacked(tmp_path / "root", IMAGE, pulled=(IMAGE.manifest,), unrecorded=(OWN,))
    unlink(root)
    empty(root, 2)
    assert "nothing to repair" in run("repair", "--now", NOW, "--state", tmp_path / "verified", root, status=0)
    verify(root, "--unpacked", status=2)
    said = run("repair", "--now", NOW, "--state", tmp_path / "verified", root, status=2)
    assert "snapshots/2" in said
