"""Every entry of a Docker data root has its category, and the sum is what du counts."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from drydock.evidence.buildkit.root_usage import measure_builder
from drydock.evidence.docker.data_root import DataRootRecords, measure_data_root
from drydock.evidence.docker.layer_store import read_layer_store
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
    f"containers/{CID}/mounts/shm/left": 40_000,
    f"containers/{OTHER}/local-logs/container.log": 300_000,
    f"containers/{OTHER}/.tmp-config.v2.json123": 10,
    "image/overlay2/layerdb/sha256/x/size": 5,
    "image/overlay2/repositories.json": 5,
    "image/identity-cache.db": 32_768,
    f"overlay2/{'d' * 64}/diff/bin": 2_000_000,
    f"overlay2/{'d' * 64}-init/diff/bin": 10,
    f"overlay2/{'e' * 25}/diff/bin": 400_000,
    "buildkit/cache.db": 32_768,
    "buildkit/history.db": 16_384,
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
    entries = measured(data, records=DataRootRecords({CID.encode(): b"web"}))
    assert named(entries, Category.NAMED_VOLUMES) == {b"pgdata": du(data / "volumes/pgdata")}
    assert named(entries, Category.ANONYMOUS_VOLUMES) == {ANONYMOUS.encode(): du(data / "volumes" / ANONYMOUS)}
    logs = sum(du(path) for path in (data / "containers" / CID).glob("*.log*"))
    assert named(entries, Category.LOGS) == {b"web": logs, OTHER.encode(): du(data / f"containers/{OTHER}/local-logs")}
    assert below(data, entries, Category.LOGS) == {
        f"containers/{CID}/{CID}-json.log",
        f"containers/{OTHER}/local-logs",
    }
    build = du(data / f"overlay2/{'e' * 25}")
    assert named(entries, Category.CLASSIC_LAYERS) == {b"overlay2": du(data / "overlay2") - build}
    assert sum(entry.bytes for entry in entries if entry.category is Category.BUILD_CACHE) == build + du(
        data / "buildkit/content"
    )
    assert named(entries, Category.BUILD_HISTORY) == {b"default": du(data / "buildkit/history.db")}
    assert named(entries, Category.CLASSIC_METADATA) == {b"overlay2": du(data / "image/overlay2")}
    assert below(data, entries, Category.BUILDKIT) == {"buildkit", "buildkit/cache.db"}
    assert below(data, entries, Category.TMP) == {"tmp", "tmp-old"}
    assert below(data, entries, Category.CONTAINER_FILES) == {f"containers/{CID}", "rootfs"}
    checkpoints = du(data / f"containers/{CID}/checkpoints")
    assert named(entries, Category.CONTAINER_FILES)[b"web"] == checkpoints
    assert named(entries, Category.CONTAINER_SHM) == {b"web": du(data / f"containers/{CID}/mounts")}
    for category in (Category.PLUGINS, Category.SWARM, Category.NETWORK, Category.TRUST):
        assert below(data, entries, category) == {category.value}
    known = {"", "engine-id", "volumes", "image", "image/identity-cache.db", "runtimes"}
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
    """What lies directly in the data root and each volume, without bytes; of logs alone the files are looked at."""
    (data / "found").mkdir()
    meter = UsageMeter(None)
    measure_data_root(RawPath(bytes(data)), meter)
    entries = meter.entries()
    assert {entry.category for entry in entries if entry.bytes is not None} == {Category.LOGS}
    logs = [*(data / "containers" / CID).glob("*.log*"), data / f"containers/{OTHER}/local-logs"]
    assert sum(named(entries, Category.LOGS).values()) == sum(map(du, logs))
    assert below(data, entries, Category.UNKNOWN) == {"found"}
    assert below(data, entries, Category.NAMED_VOLUMES) == {"volumes/pgdata"}
    assert below(data, entries, Category.ANONYMOUS_VOLUMES) == {f"volumes/{ANONYMOUS}"}
    tops = {os.fsdecode(entry.path[len(bytes(data)) + 1 :]).partition("/")[0] for entry in entries}
    assert tops == set(os.listdir(data))


def test_what_a_container_wrote_is_apart_from_layers(data):
    """By dockerd's records: the layer of a container with its init layer; a build's directory that a layer uses."""
    layerdb, overlay2 = data / "image/overlay2/layerdb", data / "overlay2"
    mount, used = "d" * 64, "e" * 25
    for number, (name, value) in enumerate({"mount-id": mount, "init-id": f"{mount}-init", "parent": ""}.items()):
        file = layerdb / "mounts" / CID / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value or f"sha256:{number:064}")
    chain = layerdb / "sha256" / ("1" * 64)
    chain.mkdir(parents=True)
    for name, value in (("cache-id", used), ("size", "12345"), ("diff", f"sha256:{'1' * 64}")):
        (chain / name).write_text(value)
    layer = overlay2 / ("f" * 64) / "diff"
    layer.mkdir(parents=True)
    (layer / "file").write_bytes(b"x" * 70_000)
    (overlay2 / ("b" * 25)).mkdir()
    path = RawPath(bytes(data))
    records = DataRootRecords({CID.encode(): b"web"}, layers={path: read_layer_store(path, {})})
    entries = measured(data, records=records)
    assert sum(entry.bytes for entry in entries) == du(data)
    written = du(overlay2 / mount) + du(overlay2 / f"{mount}-init")
    assert named(entries, Category.CLASSIC_CONTAINERS) == {b"web": written}
    own = overlay2.stat().st_blocks * 512
    assert named(entries, Category.CLASSIC_LAYERS) == {
        b"overlay2": own + du(overlay2 / used) + du(overlay2 / ("f" * 64))
    }
    content = du(data / "buildkit/content")
    cache = [entry.bytes for entry in entries if entry.category is Category.BUILD_CACHE]
    assert sorted(cache) == sorted((content, du(overlay2 / ("b" * 25))))
    meter = UsageMeter(None)
    measure_data_root(path, meter, records=records)
    assert named(meter.entries(), Category.CLASSIC_LAYERS) == {b"overlay2": 12345}
    assert named(meter.entries(), Category.CLASSIC_CONTAINERS) == {b"web": None}


def test_a_volume_that_dockerd_named_by_its_label(data):
    """Its name need not be 64 digits."""
    entries = measured(data, records=DataRootRecords(anonymous={b"pgdata"}))
    assert set(named(entries, Category.ANONYMOUS_VOLUMES)) == {b"pgdata", ANONYMOUS.encode()}
    assert named(entries, Category.NAMED_VOLUMES) == {}


def test_the_volume_of_a_builder_is_read_as_its_buildkit(data):
    """Cache, history and databases by the name of the builder's node; what BuildKit does not make is the volume's."""
    inside = data / "volumes/buildx_buildkit_mine0_state/_data"
    files = {
        "runc-overlayfs/snapshots/snapshots/1/fs/bin": 800_000,
        "runc-overlayfs/snapshots/metadata.db": 65_536,
        "runc-overlayfs/content/blobs/sha256/x": 300_000,
        "runc-overlayfs/containerdmeta.db": 131_072,
        "runc-overlayfs/workerid": 25,
        "runc-overlayfs/executor/hosts": 100,
        "runc-overlayfs/mine": 50_000,
        "history.db": 32_768,
        "cache.db": 16_384,
        "buildkitd.lock": 0,
        "backup/dump": 90_000,
    }
    for name, size in files.items():
        file = inside / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    (inside.parent / "opts.json").write_text("{}")
    entries = measured(data, builder=measure_builder)
    assert sum(entry.bytes for entry in entries) == du(data)
    assert not named(entries, Category.UNKNOWN)

    def of(category):
        return {
            os.fsdecode(entry.path[len(bytes(inside)) + 1 :]): entry.bytes
            for entry in entries
            if entry.category is category and entry.name == b"mine0"
        }

    worker = inside / "runc-overlayfs"
    cache = ("runc-overlayfs/content", "runc-overlayfs/snapshots")
    assert of(Category.BUILD_CACHE) == {name: du(inside / name) for name in cache}
    assert of(Category.BUILD_HISTORY) == {"history.db": du(inside / "history.db")}
    parts = [du(worker / name) for name in ("containerdmeta.db", "workerid", "executor")]
    assert of(Category.BUILDKIT) == {
        "cache.db": du(inside / "cache.db"),
        "buildkitd.lock": 0,
        "runc-overlayfs": worker.stat().st_blocks * 512 + sum(parts),
    }
    own = [inside.parent, inside]
    rest = [inside / "backup", worker / "mine", inside.parent / "opts.json"]
    assert named(entries, Category.NAMED_VOLUMES)[b"buildx_buildkit_mine0_state"] == sum(map(du, rest)) + sum(
        path.stat().st_blocks * 512 for path in own
    )


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
