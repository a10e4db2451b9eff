"""Which images come back after a repair, from blobs here or from a registry; all others are named as losses."""

import errno
import gzip
import json
import os
import shutil

import pytest
from tests.engines.images import Blob, Image, layer
from tests.support.adoptable import NAME, NOW, blob_path
from tests.support.documents import run
from tests.support.unpacked import OVERLAYFS, lay_out_unpacked

from drydock.evidence.containerd import digests

BASE, OWN = layer({"base": b"b", "other": b"o"}), layer({"precious": b"made here, and nowhere else"})
IMAGE = Image((BASE, OWN))
OTHER = Image((layer({"else": b"e"}),))


def _index(*images):
    """An index of images, each for another architecture."""
    manifests = [
        image.manifest.descriptor(platform={"os": "linux", "architecture": name})
        for image, name in zip(images, ("amd64", "arm64"), strict=True)
    ]
    kind = "application/vnd.oci.image.index.v1+json"
    return Blob(kind, json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}).encode())


class Packed(Image):
    """The same image with compressed layers: other blobs, and equal chain ids."""

    @property
    def config(self):
        """As for the layers without compression."""
        return Image(self.layers).config

    @property
    def manifest(self):
        """The manifest of the compressed layers."""
        plain = json.loads(Image(self.layers).manifest.data)
        plain["layers"] = [blob.descriptor() for blob in self.packed]
        return Blob(Image(self.layers).manifest.media_type, json.dumps(plain).encode())

    @property
    def packed(self):
        """The compressed layers."""
        return tuple(Blob(f"{each.media_type}+gzip", gzip.compress(each.data, mtime=0)) for each in self.layers)

    @property
    def blobs(self):
        """Manifest, config and compressed layers."""
        return (self.manifest, self.config, *self.packed)


INDEX = _index(OTHER, IMAGE)
PULLED = (BASE,)
"""An image that was built here on a pulled base."""


def break_snapshot(root):
    """Remove a file of the base, so that all its snapshots must go."""
    (root / OVERLAYFS / "snapshots/1/fs/base").unlink()


def lose_own(root):
    """Remove the upper layer's blob, and keep its record."""
    blob_path(root, OWN).unlink()


def lose_base(root):
    """Remove the base's blob, and keep its record."""
    blob_path(root, BASE).unlink()


def lose_config(root):
    """Remove the config's blob."""
    blob_path(root, IMAGE.config).unlink()


def break_own_snapshot(root):
    """Remove the upper layer's unpacked files."""
    shutil.rmtree(root / OVERLAYFS / "snapshots/2")


def lose_both(root):
    """Remove both blobs: the unpacked files are the only copy."""
    break_snapshot(root)
    lose_own(root)


def corrupt_own(root):
    """Change bytes of the upper layer's blob."""
    path = blob_path(root, OWN)
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)


def repair(root, *options, status):
    """Apply a repair without confirmation."""
    said = run(
        "repair", "--data", "--unpacked", "--apply", "--yes", "--now", NOW, "--state", root.parent / "state",
        *options, root, status=status,
    )  # fmt: skip
    return said, (root / OVERLAYFS / "snapshots/2/fs/precious").exists()


@pytest.mark.parametrize("damage", [lose_own, lose_both, corrupt_own])
def test_what_was_built_on_a_pulled_base_is_a_loss(damage, tmp_path):
    """The label of the base proves nothing for an image on it: nothing of that image goes without consent."""
    root = lay_out_unpacked(tmp_path / "root", IMAGE, pulled=PULLED)
    damage(root)
    said, is_there = repair(root, status=2)
    assert f"image {NAME.decode()}" in said.partition("WOULD BE LOST")[2]
    assert "pull again" not in said.partition("WOULD BE LOST")[2]
    assert is_there
    repair(root, "--accept-loss", NAME.decode(), status=0)
    assert "No damage found" in run("verify", "--data", "--unpacked", "--now", NOW, "--state", tmp_path / "s", root)


PULL, SHORT, UNPROVED = "pull again afterwards:", "lack a layer that save and push need", "cannot be proved: a layer"


@pytest.mark.parametrize(
    ("damages", "groups"),
    [
        ([lose_both], {PULL}),
        ([lose_config], {PULL}),
        ([lose_own], {UNPROVED}),
        ([corrupt_own], {UNPROVED}),
        # Without its config nothing holds what is unpacked: the engine would collect it, and a pull fail at the layer.
        ([lose_own, lose_config], {UNPROVED}),
        ([lose_base, break_own_snapshot], {PULL, UNPROVED}),
        ([lose_own, break_own_snapshot], {PULL}),
    ],
)
def test_what_was_pulled_is_pulled_again(damages, groups, tmp_path):
    """An image whose records all name a registry is repaired by a pull, unless its files are the only copy."""
    root = lay_out_unpacked(tmp_path / "root", IMAGE, pulled=IMAGE.blobs)
    for damage in damages:
        damage(root)
    said, _ = repair(root, status=2 if UNPROVED in groups else 0)
    assert {group for group in (PULL, SHORT, UNPROVED) if group in said} == groups
    assert all(NAME.decode() in said.partition(group)[2] for group in groups)
    assert "WOULD BE LOST" not in said
    said, _ = repair(root, "--drop-unproved", status=0)
    assert (PULL in said) is (UNPROVED in groups)
    assert UNPROVED not in said


@pytest.mark.parametrize("damage", [lose_own, lose_both, corrupt_own])
def test_a_layer_that_no_registry_is_known_to_have_is_a_loss(damage, tmp_path):
    """The label of the manifest is not sufficient if the record of the layer has none."""
    root = lay_out_unpacked(tmp_path / "root", IMAGE, pulled=(IMAGE.manifest, IMAGE.config, BASE))
    damage(root)
    said, is_there = repair(root, status=2)
    assert f"image {NAME.decode()}" in said.partition("WOULD BE LOST")[2]
    assert is_there


@pytest.mark.parametrize(("pulled", "status"), [((IMAGE.manifest,), 0), (PULLED, 2)], ids=["pulled", "built"])
def test_a_layer_that_was_dropped_once_unpacked(pulled, status, tmp_path):
    """For a layer without a record, the label of the manifest decides."""
    root = lay_out_unpacked(tmp_path / "root", IMAGE, pulled=pulled, unrecorded=(OWN,))
    break_snapshot(root)
    said, is_there = repair(root, status=status)
    assert (PULL in said) is (status == 0)
    assert is_there is (status == 2)


@pytest.mark.parametrize(("fetched", "groups"), [(True, {SHORT}), (False, {PULL, SHORT})], ids=["whole", "half"])
def test_an_image_on_the_same_base(fetched, groups, tmp_path):
    """It is not unpacked, and will be on what is there: with its own layer, which a pull fetches where it never was.

    What the lost base was unpacked to is proved by another image, whose base is the same, and compressed.
    """
    other = Image((BASE, layer({"own": b"o"})))
    index = _index(other, IMAGE)
    packed = Packed((BASE,))
    root = lay_out_unpacked(
        tmp_path / "root", IMAGE, named=index, more=(other, packed), pulled=(index, BASE),
        unrecorded=() if fetched else other.layers[1:], names={b"example.org/packed:1": packed.manifest},
    )  # fmt: skip
    lose_base(root)
    said, _ = repair(root, status=0)
    assert {group for group in (PULL, SHORT, UNPROVED) if group in said} == groups
    assert (root / OVERLAYFS / "snapshots/1/fs/base").exists()


def test_snapshots_of_a_platform_that_is_whole(tmp_path):
    """Snapshots are unpacked again, whatever another platform lacks, and with or without a registry."""
    root = lay_out_unpacked(tmp_path / "root", IMAGE, named=INDEX, more=(OTHER,), unrecorded=OTHER.layers)
    break_snapshot(root)
    said, _ = repair(root, status=0)
    assert NAME.decode() in said.partition("unpacked again by the engine")[2]


@pytest.mark.parametrize("options", [(), ("--unpacked",)])
@pytest.mark.parametrize(("pulled", "status"), [(IMAGE.blobs, 0), (PULLED, 2)], ids=["pulled", "built"])
def test_layers_are_read_before_what_they_were_unpacked_to_goes(options, pulled, status, tmp_path):
    """A layer of the right size with wrong bytes is not a source, with or without --data."""
    root = lay_out_unpacked(tmp_path / "root", IMAGE, pulled=pulled)
    corrupt_own(root)
    if options:
        break_snapshot(root)
    else:
        shutil.rmtree(root / OVERLAYFS / "snapshots/1")
    state = ("--now", NOW, "--state", tmp_path / "state")
    said = run("repair", *options, "--apply", "--yes", *state, root, status=status)
    assert "unpacked again" not in said
    assert (PULL in said, "WOULD BE LOST" in said) == (status == 0, status == 2)
    assert (root / OVERLAYFS / "snapshots/2/fs/precious").exists() is (status == 2)
    assert blob_path(root, OWN).exists() is (status == 2)


def test_a_layer_that_cannot_be_read_is_no_source(tmp_path, monkeypatch):
    """After a read error the snapshots of the image stay, with a message."""
    fits = digests._fits

    def fail(root, blob, *more):
        if blob.digest == OWN.digest.encode():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return fits(root, blob, *more)

    monkeypatch.setattr(digests, "_fits", fail)
    root = lay_out_unpacked(tmp_path / "root", IMAGE)
    break_snapshot(root)
    said, is_there = repair(root, status=2)
    assert (said.count("unreadable-blob"), said.count("snapshot-differs")) == (1, 1)
    assert "WOULD BE LOST" in said
    assert is_there


@pytest.mark.parametrize("gone", [None, OWN, IMAGE.config, IMAGE.manifest], ids=["record", "layer", "config", "top"])
def test_snapshots_of_a_platform_that_is_not_whole(gone, tmp_path):
    """Another complete platform does not bring back a platform without the record of a layer, or a blob."""
    unrecorded = (OWN,) if gone is None else ()
    root = lay_out_unpacked(tmp_path / "root", IMAGE, named=INDEX, more=(OTHER,), unrecorded=unrecorded)
    break_snapshot(root)
    blob_path(root, gone or OWN).unlink()
    said, is_there = repair(root, status=2)
    assert f"image {NAME.decode()}" in said.partition("WOULD BE LOST")[2]
    assert is_there
