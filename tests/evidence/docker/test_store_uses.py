"""The signs of use of a data root, and the graph drivers that dockerd takes for used before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drydock.evidence.docker.store_uses import read_store_records
from drydock.model.names import RawPath
from drydock.model.roots import DockerContainer
from drydock.model.store_modes import StoreMode

ID = b"a" * 64


def _file(top: Path, name: str, second: int) -> None:
    path = top / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (second, second))


def _uses(top: Path, *containers: DockerContainer) -> dict[StoreMode, tuple[int, str]]:
    found = read_store_records(RawPath(os.fsencode(top)), {each.id: each for each in containers}, None)
    prefix = os.fspath(top) + "/"
    return {use.mode: (use.at // 10**9, os.fsdecode(use.path).removeprefix(prefix)) for use in found.uses}


def test_the_newest_file_of_each_mode(tmp_path):
    """BuildKit's databases and the names of images; times of folders, which drydock's removals change, do not count."""
    _file(tmp_path, "buildkit/snapshots.db", 10)
    _file(tmp_path, "buildkit/containerdmeta.db", 20)
    _file(tmp_path, "buildkit/history.db", 99)
    _file(tmp_path, "image/overlay2/repositories.json", 15)
    _file(tmp_path, "buildkit/containerd-overlayfs/metadata_v2.db", 30)
    _file(tmp_path, "buildkit/history_c8d.db", 25)
    (tmp_path / "image/overlay2/layerdb/sha256").mkdir(parents=True)
    assert _uses(tmp_path) == {
        StoreMode.CLASSIC: (20, "buildkit/containerdmeta.db"),
        StoreMode.IMAGE_STORE: (30, "buildkit/containerd-overlayfs/metadata_v2.db"),
    }


@pytest.mark.parametrize(
    ("container", "mode"),
    [
        (DockerContainer(ID, driver=b"overlay2"), StoreMode.CLASSIC),
        (DockerContainer(ID, driver=b"overlayfs"), StoreMode.IMAGE_STORE),
        (DockerContainer(ID, driver=b"btrfs", is_classic=True), StoreMode.CLASSIC),
        (DockerContainer(ID, driver=b"btrfs"), None),
        (DockerContainer(ID), None),
    ],
)
def test_the_store_of_a_container(tmp_path, container, mode):
    """By its driver, and by its layer where graph drivers and snapshotters have the same name."""
    _file(tmp_path, f"containers/{ID.decode()}/config.v2.json", 40)
    assert container.mode is mode
    assert {each: use[0] for each, use in _uses(tmp_path, container).items()} == ({} if mode is None else {mode: 40})


def test_prior_drivers(tmp_path):
    """Folders that are not empty, or that are something else; vfs never counts, and an empty folder does not."""
    for name in ("overlay2/l", "vfs/dir", "btrfs", "overlayfs/x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "zfs").touch()
    found = read_store_records(RawPath(os.fsencode(tmp_path)), {}, None)
    assert found.prior == (b"overlay2", b"zfs")
