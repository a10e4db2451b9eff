"""Dropping the classic store of a data root made by hand: what goes, what stays, and what a failure leaves."""

from __future__ import annotations

import json
import os
import time

import pytest
from tests.support.boltwriter import write
from tests.support.classic_root import ClassicRoot, hexed
from tests.support.documents import run

from drydock.reclaim import knife

HISTORY = {b"_records": {}}


@pytest.fixture
def host(tmp_path):
    """A host whose dockerd uses the image store, with two images, build cache and hints in the classic store."""
    root = ClassicRoot(tmp_path / "var/lib/docker")
    root.layer("a")
    root.layer("b", "a")
    root.layer("c", "a", directory="c" * 25)
    root.an_image("one:1", "a", "b")
    root.an_image(None, "a", "c")
    root.builds({b"d" * 25: {}}, {b"lease": [b"d" * 25]})
    root.directory("d" * 25)
    (root.data / "buildkit/content/blobs").mkdir(parents=True)
    write(root.data / "buildkit/cache.db", {b"_result": {}})
    write(root.data / "buildkit/history.db", HISTORY)
    (root.image / "distribution/diffid-by-digest/sha256").mkdir(parents=True)
    (root.overlay / "mine").mkdir()
    (root.layerdb / "tmp/write-set-1").mkdir()
    _use_image_store(tmp_path, root)
    return tmp_path, root


def _use_image_store(top, root):
    (top / "etc/docker").mkdir(parents=True)
    (top / "etc/docker/daemon.json").write_text('{"features": {"containerd-snapshotter": true}}')
    (top / "var/lib/dpkg").mkdir(parents=True)
    (top / "var/lib/dpkg/status").write_text("Package: docker-ce\nStatus: install ok installed\nVersion: 5:28.5.2-1\n")
    write(root.data / "buildkit/history_c8d.db", HISTORY)
    (root.data / "buildkit/containerd-overlayfs").mkdir()
    write(root.data / "buildkit/containerd-overlayfs/metadata_v2.db", {b"_main": {}})
    _used(root)


def _used(root):
    """Let the records of the image store be the newest."""
    at = time.time_ns() + 10**9
    os.utime(root.data / "buildkit/history_c8d.db", ns=(at, at))


def _paths(data):
    return {str(path.relative_to(data)) for path in data.rglob("*")}


STAYS = {
    "overlay2", "overlay2/l", "overlay2/mine", "image", "image/overlay2", "image/overlay2/layerdb",
    "image/overlay2/layerdb/sha256", "image/overlay2/layerdb/mounts", "image/overlay2/layerdb/tmp",
    "image/overlay2/imagedb", "image/overlay2/imagedb/content", "image/overlay2/imagedb/content/sha256",
    "image/overlay2/imagedb/metadata", "image/overlay2/imagedb/metadata/sha256", "image/overlay2/distribution",
    "buildkit", "buildkit/cache.db", "buildkit/history_c8d.db", "buildkit/containerd-overlayfs",
    "buildkit/containerd-overlayfs/metadata_v2.db", "containers", "volumes",
}  # fmt: skip


def _clean(top, *options, status=0):
    return run("clean", "--drop-store", "classic", *options, "--state", top / "state", top, status=status)


def test_the_store_goes_and_its_folders_stay(host):
    """Docker 29 chooses its mode by whether overlay2 is empty; what both modes use, and what is foreign, stays."""
    top, root = host
    text = _clean(top, "--apply", "--yes")
    assert text.count("WOULD BE LOST") == 2
    assert "one:1" in text
    assert _paths(root.data) == STAYS
    assert "nothing to remove" in _clean(top, status=0)


def test_undo_brings_it_back(host):
    """Everything that was moved is in its place, byte for byte."""
    top, root = host
    before = {path: path.read_bytes() for path in root.data.rglob("*") if path.is_file() and not path.is_symlink()}
    paths = _paths(root.data)
    (top / "aside").mkdir(mode=0o700)
    _clean(top, "--apply", "--yes", "--quarantine", top / "aside")
    assert _paths(root.data) == STAYS
    (journal,) = (top / "state").glob("*/journal.jsonl")
    run("undo", journal, status=0)
    assert _paths(root.data) == paths
    assert {path: path.read_bytes() for path in before} == before


def test_a_plan_is_applied_as_it_was_written(host, tmp_path):
    """The document names the store, the next mode and what is lost; apply compares it with the store."""
    top, root = host
    plan = top / "plan.json"
    run("plan", "--drop-store", "classic", "-o", plan, top, status=1)
    (document,) = json.loads(plan.read_text())["plans"]
    assert document["policy"]["drop_store"] == "classic"
    (drop,) = document["drops"]
    assert (drop["data_root"], drop["store"], drop["next_start"]) == (str(root.data), "classic", "image-store")
    assert sorted((each["kind"], each["names"]) for each in drop["lost"]) == [("image", []), ("image", ["one:1"])]
    root.an_image("two:1", "a")
    _used(root)
    run("apply", plan, "--state", top / "state", status=32)
    run("plan", "--drop-store", "classic", "-o", plan, top, status=1)
    run("apply", plan, "--state", top / "state", status=0)
    assert _paths(root.data) == STAYS


def test_a_database_that_stays_keeps_the_layers(host, monkeypatch):
    """BuildKit's databases go first: if one cannot be removed, no layer that it may name goes."""
    top, root = host
    unlink = knife.unlink

    def refuse(name, *, dir_fd):
        if name == b"snapshots.db":
            raise PermissionError(1, "Operation not permitted")
        return unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(knife, "unlink", refuse)
    text = _clean(top, "--apply", "--yes", status=4)
    assert "snapshots.db: failed" in text
    assert {each for each in _paths(root.data) if each.startswith("overlay2")} >= {f"overlay2/{'c' * 25}/diff/file"}
    assert len(list((root.layerdb / "sha256").iterdir())) == 3


def test_a_written_layer_without_container_is_named(host):
    """It is lost with the store, and the plan says how much."""
    top, root = host
    root.mount(hexed("gone"), "b", hexed("written gone"))
    _used(root)
    assert f"written-layer {hexed('gone')}: what a container wrote whose folder is gone" in _clean(top, status=1)
    _clean(top, "--apply", "--yes")
    assert _paths(root.data) == STAYS


@pytest.mark.parametrize("spoil", ["container", "layerdb"])
def test_what_cannot_be_read_keeps_the_store(host, spoil):
    """A container's configuration, or a folder of records: then nothing of it is dropped."""
    top, root = host
    if spoil == "container":
        (root.data / "containers" / hexed("x")).mkdir()
        (root.data / "containers" / hexed("x") / "config.v2.json").write_text("{")
    else:
        (root.layerdb / "mounts").rmdir()
        (root.layerdb / "mounts").symlink_to(top)
    _used(root)
    paths = _paths(root.data)
    _clean(top, "--apply", "--yes", status=32)
    assert _paths(root.data) == paths
