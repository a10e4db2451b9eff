"""What is measured before its readers ask for it: only what they will ask for, and nothing that they may not enter."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading

import psutil
import pytest
from tests.support.boltwriter import write
from tests.support.classic_root import ClassicRoot
from tests.support.privilege import needs_root

import drydock
from drydock.evidence.containerd.early_walk import guess_walk
from drydock.evidence.files.directory import folder
from drydock.evidence.files.walk_pool import WalkAhead
from drydock.model.names import RawPath

MANAGED = "containerd/daemon"
SNAPSHOTS = f"{MANAGED}/io.containerd.snapshotter.v1.overlayfs/snapshots"
FOREIGN = f"{MANAGED}/io.containerd.snapshotter.v1.stargz/snapshots"
CONTENT = f"{MANAGED}/io.containerd.content.v1.content"


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    """One worker, also on a machine with one core, and whatever threads tests before have left."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(threading, "active_count", lambda: 1)


@pytest.fixture
def data(tmp_path):
    """A data root with layers, and with volumes that have folders."""
    made = ClassicRoot(tmp_path / "docker")
    made.layer("layer", None)
    for number in range(20):
        for deep in range(6):
            (made.data / f"volumes/{number}/_data/{deep}/{deep}").mkdir(parents=True)
    (made.data / "volumes/buildx_buildkit_one0_state/_data").mkdir(parents=True)
    return made.data


def ahead_in(ahead, path):
    """The names in a folder that are measured ahead."""
    with folder(RawPath(bytes(path))) as descriptor:
        return {os.fsdecode(name) for name in ahead.take(os.listdir(bytes(path)), descriptor)}


def guessed(where, *folders):
    """The names in some folders that are measured ahead if ``where`` was named."""
    with WalkAhead() as ahead:
        guess_walk(ahead, RawPath(bytes(where)))
        return [ahead_in(ahead, path) for path in folders]


def test_a_data_root_is_guessed_by_its_folders(data):
    """Layers, records of images, volumes, and the containerd inside; a builder's volume has entries of its own."""
    for part in (f"{SNAPSHOTS}/1", f"{FOREIGN}/1", f"{CONTENT}/blobs/sha256", f"{CONTENT}/ingest"):
        (data / part).mkdir(parents=True)
    volumes = {str(number) for number in range(20)}
    places = [data / each for each in ("overlay2", "image/overlay2", "volumes", SNAPSHOTS, FOREIGN, CONTENT)]
    classic = [set(os.listdir(each)) for each in places[:2]]
    assert guessed(data, *places) == [*classic, volumes, {"1"}, set(), {"blobs", "ingest"}]
    assert guessed(data / "../docker", data / "volumes") == [volumes]


def test_nothing_else_is_measured(data):
    """Neither what has not all folders of a data root, nor what a host has, nor a folder that is not there."""
    assert guessed(data.parent, data / "volumes", data / "overlay2") == [set(), set()]
    assert guessed(data / "missing", data / "volumes") == [set()]
    (data / "containers").rename(data / "others")
    assert guessed(data, data / "volumes", data / "overlay2") == [set(), set()]


def test_no_link_leads_out(data, tmp_path):
    """A folder of a data root that is a link is left to its reader."""
    (data / "overlay2").rename(tmp_path / "moved")
    (data / "overlay2").symlink_to(tmp_path / "moved")
    assert guessed(data, tmp_path / "moved", data / "image/overlay2")[0] == set()


@needs_root
def test_a_mount_is_not_entered(data, tmp_path):
    """In place of the folder of volumes nothing is measured; in place of a volume its entry says so, as without."""
    (tmp_path / "other/inside").mkdir(parents=True)
    (tmp_path / "other/inside/file").write_bytes(b"x" * 1_000_000)
    for point in (data / "volumes/7", data / "volumes"):
        subprocess.run(["mount", "--bind", tmp_path / "other", point], check=True)
        try:
            ahead = guessed(data, point)
            (scan,) = drydock.scan(data, measure="disk")
        finally:
            subprocess.run(["umount", point], check=True)
        assert ahead == [set()]
        (place,) = scan.places
        noted = {entry.path: (entry.bytes, entry.note) for entry in place.entries if entry.note}
        assert noted == {bytes(point): (None, "a mount, which is not entered")}


def test_a_store_in_use_is_refused_as_ever(data):
    """And the workers end."""
    write(data / "volumes/metadata.db", {b"volumes": {}})
    before = psutil.Process().children()
    with (data / "volumes/metadata.db").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(drydock.InUse):
            drydock.scan(data, measure="disk")
    assert psutil.Process().children() == before


@pytest.mark.parametrize("way", [{"measure": "disk", "live": True}, {"measure": "recorded"}])
def test_nothing_is_forked_beside_an_engine_or_without_measuring(data, monkeypatch, way):
    """One process is kinder to the host; and what is not asked for is not measured."""
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    assert drydock.scan(data, **way)
