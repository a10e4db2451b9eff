"""Every entry of a Docker data root has its category, and the sum is what du counts."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from drydock.evidence.docker.data_root import measure_data_root
from drydock.evidence.files.sizes import Measure
from drydock.evidence.files.usage_meter import UsageMeter
from drydock.model.disk_usage import UsageCategory as Category
from drydock.model.names import RawPath

CID, OTHER, ANONYMOUS = "a" * 64, "b" * 64, "c" * 64
HOSTILE = b"\x1b[31m\n\xff<b>"
PLANTED = (
    "found", "containers/found", "image/found", "image/overlay2/found", "buildkit/found", "volumes/found",
    "overlay2/found", "plugins/found", "containerd/found",
)  # fmt: skip
FILES = {
    "engine-id": 36,
    "volumes/metadata.db": 32_768,
    "volumes/pgdata/_data/base": 3_000_000,
    f"volumes/{ANONYMOUS}/_data/file": 200_000,
    f"containers/{CID}/{CID}-json.log": 700_000,
    f"containers/{CID}/{CID}-json.log.1": 500_000,
    f"containers/{CID}/config.v2.json": 3000,
    f"containers/{CID}/checkpoints/one/dump": 90_000,
    f"containers/{OTHER}/local-logs/container.log": 300_000,
    f"containers/{OTHER}/.tmp-config.v2.json123": 10,
    "image/overlay2/layerdb/sha256/x/size": 5,
    "image/overlay2/repositories.json": 5,
    "image/identity-cache.db": 32_768,
    f"overlay2/{'d' * 64}/diff/bin": 2_000_000,
    f"overlay2/{'d' * 64}-init/diff/bin": 10,
    f"overlay2/{'e' * 25}/diff/bin": 400_000,
    "buildkit/cache.db": 32_768,
    "buildkit/content/blobs/sha256/x": 1_000_000,
    "plugins/storage/blobs/x": 50_000,
    "network/files/local-kv.db": 65_536,
    "swarm/docker-state.json": 10,
    "tmp/GetImageBlob1": 600_000,
    "tmp-old/GetImageBlob0": 60_000,
    "runtimes/runc": 10,
    "trust/key": 10,
    "rootfs/overlayfs/x/y": 10,
}


def du(path):
    """What du counts below a path, in bytes."""
    said = subprocess.run(["du", "-xs", "--block-size=1", path], capture_output=True, check=True)
    return int(said.stdout.split()[0])


@pytest.fixture
def data(tmp_path):
    """A data root made by hand, with what dockerd keeps there, and folders of no kind that it has."""
    data = tmp_path / "docker"
    for name, size in FILES.items():
        file = data / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    return data


def measured(data, **options):
    """The entries of a data root that is measured."""
    meter = UsageMeter(Measure())
    measure_data_root(RawPath(bytes(data)), meter, **options)
    return meter.entries()


def named(entries, category):
    """The names of the entries of a category, by what they take."""
    return {entry.name: entry.bytes for entry in entries if entry.category is category}


def below(data, entries, category):
    """The paths of the entries of a category, relative to the data root."""
    start = len(bytes(data)) + 1
    return {os.fsdecode(entry.path[start:]) for entry in entries if entry.category is category}


def test_every_block_is_in_one_entry(data):
    """The sum is du's; no path is in two entries of a category, and nothing is unknown."""
    entries = measured(data)
    assert sum(entry.bytes for entry in entries) == du(data)
    assert not [entry for entry in entries if entry.category is Category.UNKNOWN or entry.note]
    assert len({entry[:3] for entry in entries}) == len(entries)


def test_each_entry_has_its_category(data):
    """Volumes by name, logs by the name of the container, the classic store by driver, BuildKit by part."""
    entries = measured(data, containers={CID.encode(): b"web"})
    assert named(entries, Category.NAMED_VOLUMES) == {b"pgdata": du(data / "volumes/pgdata")}
    assert named(entries, Category.ANONYMOUS_VOLUMES) == {ANONYMOUS.encode(): du(data / "volumes" / ANONYMOUS)}
    logs = sum(du(path) for path in (data / "containers" / CID).glob("*.log*"))
    assert named(entries, Category.LOGS) == {b"web": logs, OTHER.encode(): du(data / f"containers/{OTHER}/local-logs")}
    assert below(data, entries, Category.LOGS) == {f"containers/{CID}", f"containers/{OTHER}/local-logs"}
    assert named(entries, Category.CLASSIC_LAYERS) == {b"overlay2": du(data / "overlay2")}
    assert named(entries, Category.CLASSIC_METADATA) == {b"overlay2": du(data / "image/overlay2")}
    assert below(data, entries, Category.BUILDKIT) == {"buildkit", "buildkit/cache.db", "buildkit/content"}
    assert below(data, entries, Category.TMP) == {"tmp", "tmp-old"}
    assert below(data, entries, Category.CONTAINER_FILES) == {f"containers/{CID}", "rootfs"}
    checkpoints = du(data / f"containers/{CID}/checkpoints")
    assert named(entries, Category.CONTAINER_FILES)[b"web"] == checkpoints
    for category, part in ((Category.PLUGINS, "plugins"), (Category.SWARM, "swarm"), (Category.NETWORK, "network")):
        assert below(data, entries, category) == {part}
    known = {"", "engine-id", "volumes", "image", "image/identity-cache.db", "runtimes", "trust"}
    assert below(data, entries, Category.DOCKERD) == known


def test_what_is_of_no_known_kind_is_unknown(data):
    """Wherever it was put, by its path, the largest first; a folder in volumes is a volume, as dockerd takes it."""
    for number, place in enumerate(PLANTED):
        (data / place).mkdir(parents=True)
        (data / place / "file").write_bytes(b"x" * 10_000 * (number + 1))
    os.mkdir(os.fsencode(data) + b"/" + HOSTILE)
    (data / "volumes/stray").write_bytes(b"x" * 9_000_000)
    entries = measured(data, containerd={RawPath(bytes(data) + b"/containerd/daemon"): None})
    places = {place for place in PLANTED if place != "volumes/found"}
    assert below(data, entries, Category.UNKNOWN) == {*places, os.fsdecode(HOSTILE), "volumes/stray"}
    assert b"found" in named(entries, Category.NAMED_VOLUMES)
    sizes = [entry.bytes for entry in entries if entry.category is Category.UNKNOWN]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(entry.bytes for entry in entries) == du(data)


def test_holes_and_hard_links(data):
    """A sparse file takes its blocks; a file that a volume and a folder of no known kind share counts once."""
    with (data / "volumes/pgdata/_data/sparse").open("wb") as file:
        file.truncate(1 << 40)
    (data / "found").mkdir()
    os.link(data / "volumes/pgdata/_data/base", data / "found/again")
    entries = measured(data)
    assert sum(entry.bytes for entry in entries) == du(data)
    assert sum(entry.bytes for entry in entries) < 20_000_000


@pytest.mark.root
def test_a_mount_is_not_entered(data):
    """Of a mount on a volume's data the volume counts without it; of one in the place of a folder nothing does."""
    points = [data / "volumes/pgdata/_data", data / "network", data / "volumes/elsewhere", data / "buildkit"]
    for point in points:
        point.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", point], check=True)
        (point / "file").write_bytes(b"x" * 5_000_000)
    try:
        entries = measured(data)
        whole = du(data)
    finally:
        for point in points:
            subprocess.run(["umount", point], check=True)
    notes = {entry.name: (entry.bytes, entry.note) for entry in entries if entry.note}
    unentered = (None, "a mount, which is not entered")
    own = (data / "volumes/pgdata").stat().st_blocks * 512
    assert notes == {
        b"pgdata": (own, "a mount was not entered"),
        b"network": unentered,
        b"elsewhere": unentered,
        b"buildkit": unentered,
    }
    assert sum(entry.bytes or 0 for entry in entries) == whole


def test_without_measuring_each_part_is_named(data):
    """What lies directly in the data root, in each category that it may hold, and no byte of it."""
    (data / "found").mkdir()
    meter = UsageMeter(None)
    measure_data_root(RawPath(bytes(data)), meter)
    entries = meter.entries()
    assert {entry.bytes for entry in entries} == {None}
    assert below(data, entries, Category.UNKNOWN) == {"found"}
    for category in (Category.NAMED_VOLUMES, Category.ANONYMOUS_VOLUMES):
        assert below(data, entries, category) == {"volumes"}
    assert below(data, entries, Category.LOGS) == {"containers"}
    assert {os.fsdecode(entry.path[len(bytes(data)) + 1 :]) for entry in entries} == set(os.listdir(data))


def test_a_remapped_data_root_is_one_too(data, tmp_path):
    """What userns-remap keeps in <uid>.<gid> has its categories; without it in the roots, it is unknown."""
    inner = data / "100000.100000"
    (inner / "volumes/mapped/_data").mkdir(parents=True)
    entries = measured(data, remapped=[RawPath(bytes(inner))])
    assert b"mapped" in named(entries, Category.NAMED_VOLUMES)
    assert not named(entries, Category.UNKNOWN)
    assert sum(entry.bytes for entry in entries) == du(data)
    assert below(data, measured(data), Category.UNKNOWN) == {"100000.100000"}


def test_a_volume_that_goes_meanwhile(data, monkeypatch):
    """Everything else of the data root is measured."""

    def gone(name, parent):
        if name == b"pgdata":
            shutil.rmtree(data / "volumes/pgdata")
        os.stat(name, dir_fd=parent)
        return True

    monkeypatch.setattr("drydock.evidence.docker.data_root.may_be_folder", gone)
    entries = measured(data)
    assert sum(entry.bytes for entry in entries) == du(data)
    assert set(named(entries, Category.ANONYMOUS_VOLUMES)) == {ANONYMOUS.encode()}
    assert named(entries, Category.NAMED_VOLUMES) == {}


def test_a_large_folder_is_not_listed_without_measuring(data, monkeypatch):
    """To see that a folder is no quarantine, a few of its names are enough."""
    (data / "mail").mkdir()
    for number in range(1000):
        (data / "mail" / str(number)).touch()
    meter = UsageMeter(None)
    seen = []
    encode = os.fsencode
    monkeypatch.setattr(os, "fsencode", lambda name: seen.append(name) or encode(name))
    measure_data_root(RawPath(bytes(data)), meter)
    assert below(data, meter.entries(), Category.UNKNOWN) == {"mail"}
    assert len(seen) < 100
