"""Images of a classic store that go by choice, from the command line to the disk."""

import json
import os
import shutil
import subprocess

import pytest
from tests.support.captures import classic_captures, unpack
from tests.support.classic_root import ClassicRoot, hexed
from tests.support.documents import run
from tests.support.full_disk import disk, fill

NAMES = "image/overlay2/repositories.json"


@pytest.fixture
def root(tmp_path):
    """A data root: ``base:1`` has a second name, ``used:1`` a container, ``top:1`` a digest and a layer of its own."""
    host = ClassicRoot(tmp_path / "data")
    for word, parent in (("one", None), ("two", "one"), ("three", "two")):
        host.layer(word, parent)
    host.an_image("base:1", "one")
    host.an_image("used:1", "one", "two")
    top = host.an_image("top:1", "one", "two", "three")
    host.names["top"]["top@sha256:" + hexed("manifest")] = top
    host.names["other"] = {"other:1": host.names["base"]["base:1"]}
    host.references()
    config = host.data / "containers" / host.container("web", "two") / "config.v2.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "Image": host.names["used"]["used:1"]}))
    return host


def drop(root, what, *options, status=0):
    """Drop something, and give the words of the run."""
    state = root.data.parent / "state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    return run("clean", "--drop", what, *options, "--apply", "--yes", "--state", state, root.data, status=status)


def named(root):
    """The names that are left."""
    repositories = json.loads((root.data / NAMES).read_text())["Repositories"]
    return {name for each in repositories.values() for name in each}


def test_what_goes_and_what_stays(root):
    """The image with a digest goes, with the layer that only it had; the used one and one without a registry stay."""
    top = root.names["top"]["top:1"].removeprefix("sha256:")
    said = drop(root, "unused-images")
    assert named(root) == {"base:1", "other:1", "used:1"}
    assert not (root.image / "imagedb/content/sha256" / top).exists()
    layers = {"sha256:" + path.name for path in (root.layerdb / "sha256").iterdir()}
    assert layers == {root.chains["one"], root.chains["two"]}
    assert "names of images" in said
    assert "WOULD BE LOST: no registry is known to have it; --accept-loss base:1 drops it" in said
    drop(root, "unused-images", "--accept-loss", "base:1")
    assert named(root) == {"used:1"}
    assert {"sha256:" + path.name for path in (root.layerdb / "sha256").iterdir()} == layers


def test_a_name_alone_goes_and_comes_back(root):
    """An image with another name keeps it and its files; undo needs no quarantine for that."""
    before, images = (root.data / NAMES).read_bytes(), os.listdir(root.image / "imagedb/content/sha256")
    said = drop(root, "image=base:1")
    assert "removes the name base:1 of image" in said
    assert named(root) == {"other:1", "used:1", "top:1", "top@sha256:" + hexed("manifest")}
    assert os.listdir(root.image / "imagedb/content/sha256") == images
    (journal,) = (root.data.parent / "state").glob("*/journal.jsonl")
    assert " yes " in run("runs", "--state", root.data.parent / "state")
    run("undo", journal, status=0)
    assert (root.data / NAMES).read_bytes() == before


@pytest.mark.parametrize(
    ("what", "options", "reason"),
    [
        ("image=used:1", (), "container web uses it"),
        ("image=top:1", ("--keep", "top:1"), "kept by --keep top:1"),
        ("unused-images", ("--keep", "top:1"), "kept by --keep top:1"),
    ],
)
def test_what_stays_is_told(root, what, options, reason):
    """Nothing changes, and the reason is there."""
    before = (root.data / NAMES).read_bytes()
    said = run("clean", "--drop", what, *options, root.data)
    assert reason in said
    drop(root, what, *options)
    assert (root.data / NAMES).read_bytes() == before


def test_a_name_that_nothing_has_is_refused(root):
    """A mistyped one removes nothing."""
    drop(root, "image=nothing:1", status=16)


@pytest.mark.root
def test_names_go_on_a_full_disk(tmp_path):
    """With 0 bytes free the file of names is written all the same, once something else made room."""
    of = classic_captures()[0]
    (tmp_path / "disk").mkdir()
    with disk(tmp_path / "image", tmp_path / "disk", 64 << 20) as point:
        host = unpack(of, point)
        # ext4 gives blocks to many small files later, and would have room again.
        subprocess.run(["sync", "-f", point], check=True)
        fill(point)
        words = ("--drop", "unused-images", "--accept-loss", "all", "--now", of.taken_at, "--state", tmp_path / "state")
        run("clean", *words, "--apply", "--yes", host, status=0)
        assert "kept:1" not in (host / of.docker / NAMES).read_text()
