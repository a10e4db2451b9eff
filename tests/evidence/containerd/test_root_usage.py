"""The usage of real data roots and containerd roots: the sum of the categories is what du counts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest
from tests.support.captures import capture, captures
from tests.support.documents import run

import drydock
from drydock.evidence.containerd.root_usage import find_entry
from drydock.evidence.files.sizes import Measure
from drydock.evidence.files.walk_pool import WalkPool
from drydock.model.disk_usage import UsageCategory as Category
from drydock.model.names import RawPath
from drydock.model.objects import ObjectKind

pytestmark = pytest.mark.root
CAPTURES = pytest.mark.parametrize("each", captures(), ids=lambda each: each.name)
DOCKER = "docker-28.5-killed"
STORE = (Category.CONTENT, Category.INGESTS, Category.SNAPSHOTS, Category.UNPACK_LEFTOVERS, Category.DATABASES)
BUILDS = (Category.BUILD_CACHE, Category.BUILD_HISTORY, Category.BUILDKIT)


def du(path):
    """What du counts below a path, in bytes."""
    said = subprocess.run(["du", "-xs", "--block-size=1", path], capture_output=True, check=True)
    return int(said.stdout.split()[0])


def places(where, measure="disk", **options):
    """Every place that a scan measures."""
    return [place for scan in drydock.scan(where, measure=measure, **options) for place in scan.places]


def totals(place):
    """Bytes by category."""
    found = Counter()
    for entry in place.entries:
        found[entry.category] += entry.bytes or 0
    return found


def unknown(place):
    """What is of no known kind, relative to the place."""
    return {
        os.fsdecode(entry.path[len(place.path) + 1 :]) for entry in place.entries if entry.category is Category.UNKNOWN
    }


@CAPTURES
def test_the_sum_is_what_du_counts(each, unpacked):
    """Of every capture, by the categories of one place, where nothing is unknown or unmeasured."""
    host = unpacked(each)
    (place,) = places(host)
    top = host / (each.docker or each.root)
    assert place.path == bytes(top)
    assert sum(entry.bytes for entry in place.entries) == du(top)
    assert len({entry[:3] for entry in place.entries}) == len(place.entries)
    assert unknown(place) == set()
    assert {entry.note for entry in place.entries} == {""}


@CAPTURES
def test_a_part_is_what_du_counts_of_it(each, unpacked):
    """Content, snapshots and databases against du of their folders."""
    host = unpacked(each)
    (place,) = places(host)
    root, found = host / each.root, totals(place)
    content = root / "io.containerd.content.v1.content"
    if content.exists():
        assert found[Category.CONTENT] + found[Category.INGESTS] == du(content)
    snapshots = [du(path) for path in root.glob("io.containerd.snapshotter.v1.*/snapshots")]
    left = [
        du(path) for path in root.glob("io.containerd.snapshotter.v1.*/snapshots/*") if path.name[:3] in ("new", "rm-")
    ]
    mounts = [du(path) for path in root.glob("tmpmounts")]
    assert found[Category.SNAPSHOTS] == sum(snapshots) - sum(left)
    assert found[Category.UNPACK_LEFTOVERS] == sum(left) + sum(mounts)
    if each.docker is not None:
        assert found[Category.NETWORK] == du(host / each.docker / "network")
        directories = [du(path) for path in (host / each.docker).glob("overlay2/" + "[0-9a-z]" * 25)]
        assert sum(found[category] for category in BUILDS) == du(host / each.docker / "buildkit") + sum(directories)


@CAPTURES
def test_without_measuring_nothing_is_0_that_was_not_read(each, unpacked):
    """Containerd's stores have the sizes of the report, and whatever else there is has none."""
    (scan,) = drydock.scan(unpacked(each))
    (place,) = scan.places
    known = {*STORE, Category.LOGS, Category.CLASSIC_LAYERS}
    assert {entry.category for entry in place.entries if entry.bytes is not None} <= known
    assert {entry.bytes for entry in place.entries if entry.category not in known} <= {None}
    found = totals(place)
    kinds = (ObjectKind.BLOB, ObjectKind.INGEST, ObjectKind.SNAPSHOT)
    objects = sum(each.allocated for each in scan.verdict.objects if each.kind in kinds)
    assert sum(found[category] for category in STORE[:4]) == objects
    assert found[Category.DATABASES] == scan.verdict.store.database_bytes


@pytest.mark.parametrize("live", [False, True])
def test_planted_folders_are_unknown(unpacked_anew, live):
    """In every folder of the stores and beside them; volumes and logs are no such folders."""
    taken = capture(DOCKER)
    host = unpacked_anew(taken)
    data, root = host / taken.docker, host / taken.root
    planted = [
        data / "planted",
        data / "containerd/planted",
        data / "containers/planted",
        data / "buildkit/planted",
        root / "planted",
        root / "io.containerd.content.v1.content/planted",
        root / "io.containerd.snapshotter.v1.overlayfs/planted",
    ]
    for number, folder in enumerate(planted):
        folder.mkdir()
        (folder / "file").write_bytes(b"x" * 100_000 * (number + 1))
    (data / "volumes/pgdata/_data").mkdir(parents=True)
    (log,) = list((data / "containers").glob("*/*-json.log"))
    log.write_bytes(b"x" * 1_000_000)
    (place,) = places(host, live=live)
    assert unknown(place) == {str(folder.relative_to(data)) for folder in planted}
    assert sum(entry.bytes for entry in place.entries) == du(data)
    assert totals(place)[Category.LOGS] == du(log)
    (entry,) = [entry for entry in place.entries if entry.category is Category.LOGS]
    assert (entry.name, entry.path) == (b"web", bytes(log))


@pytest.mark.parametrize("damaged", [False, True])
def test_a_volume_names_the_containers_that_mount_it(unpacked_anew, damaged):
    """None where no container does; and nothing is told if a container's configuration cannot be read."""
    taken = capture(DOCKER)
    host = unpacked_anew(taken)
    data = host / taken.docker
    for name in ("mounted", "free"):
        (data / "volumes" / name / "_data").mkdir(parents=True)
    (file,) = data.glob("containers/*/config.v2.json")
    config = json.loads(file.read_text())
    config["MountPoints"] = {
        "/data": {"Type": "volume", "Name": "mounted", "Driver": "local", "Destination": "/data"},
        "/free": {"Type": "bind", "Source": "free", "Destination": "/free"},
    }
    file.write_text("" if damaged else json.dumps(config))
    (place,) = places(host)
    users = {entry.name: entry.used_by for entry in place.entries if entry.category is Category.NAMED_VOLUMES}
    assert users == ({b"mounted": None, b"free": None} if damaged else {b"mounted": (b"web",), b"free": ()})
    assert {entry.used_by for entry in place.entries if entry.name not in users} == {None}


def test_a_volume_whose_data_is_elsewhere(unpacked_anew):
    """The entry says where, without what may be a password; what lies in the folder itself is all that counts."""
    taken = capture(DOCKER)
    host = unpacked_anew(taken)
    volume = host / taken.docker / "volumes/share"
    (volume / "_data").mkdir(parents=True)
    options = {"MountType": "nfs", "MountDevice": "user:secret@host:/export", "MountOpts": "password=secret"}
    (volume / "opts.json").write_text(json.dumps(options))
    (place,) = places(host)
    (entry,) = [entry for entry in place.entries if entry.category is Category.NAMED_VOLUMES]
    assert (entry.name, entry.bytes, entry.note) == (b"share", du(volume), "its data is elsewhere: nfs host:/export")


def test_a_hard_link_of_a_snapshot_counts_once(unpacked_anew):
    """A file of a layer with another link in a volume, and a blob with one beside the stores."""
    taken = capture(DOCKER)
    host = unpacked_anew(taken)
    data, root = host / taken.docker, host / taken.root
    file = max(root.glob("io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/**/*"), key=_size)
    blob = max(root.glob("io.containerd.content.v1.content/blobs/sha256/*"), key=_size)
    (data / "volumes/v/_data").mkdir(parents=True)
    (data / "planted").mkdir()
    os.link(file, data / "volumes/v/_data/again")
    os.link(blob, data / "planted/again")
    (place,) = places(host)
    assert min(_size(file), _size(blob)) > 4096
    assert sum(entry.bytes for entry in place.entries) == du(data)


def _size(path):
    return path.lstat().st_size if path.is_file() and not path.is_symlink() else 0


def test_directories_of_snapshots_are_walked_once(unpacked, monkeypatch):
    """What reading the store has measured is not measured again for the usage."""
    walked = Counter()
    walk = Measure.walk

    def count(self, name, parent):
        walked[os.readlink(f"/proc/self/fd/{parent}"), name] += 1
        return walk(self, name, parent)

    monkeypatch.setattr(Measure, "walk", count)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # no worker walks
    places(unpacked(capture(DOCKER)))
    snapshots = {key: times for key, times in walked.items() if key[0].endswith("/snapshots")}
    assert len(snapshots) > 3
    assert set(snapshots.values()) == {1}


@pytest.mark.parametrize("named", ["host", "data root"])
def test_one_pool_measures_a_whole_data_root(unpacked_anew, monkeypatch, named):
    """Snapshots, volumes and the rest: nothing waits for what one process has of a part; entries are as without it."""
    taken = capture(DOCKER)
    host = unpacked_anew(taken)
    volumes = host / taken.docker / "volumes"
    for number in range(20):
        for deep in range(6):
            (volumes / f"{number}/_data/{deep}/{deep}").mkdir(parents=True)
            (volumes / f"{number}/_data/{deep}/{deep}/file").write_bytes(b"x" * 5000 * number)
    (volumes / "buildx_buildkit_one0_state/_data/runc-overlayfs").mkdir(parents=True)
    (volumes / "link").symlink_to("/usr")
    os.link(volumes / "7/_data/3/3/file", volumes / "8/_data/again")
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # tests before it may have left some
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    where = host if named == "host" else host / taken.docker
    expected = [place.entries for place in places(where)]
    pools = []
    start = WalkPool.__init__

    def count(self, shares):
        start(self, shares)
        pools.extend([self] if self.is_at_work else [])

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(WalkPool, "__init__", count)
    (place,) = places(where)
    assert [place.entries] == expected
    assert sum(entry.bytes for entry in place.entries) == du(host / taken.docker)
    assert len(pools) == 1


def test_a_data_root_of_a_system_containerd_is_a_place(unpacked_anew):
    """Containerd's root lies elsewhere: both are places, each with what du counts of it."""
    taken = capture(DOCKER)
    host = unpacked_anew(taken)
    moved = host / "var/lib/containerd"
    shutil.move(host / taken.root, moved)
    found = {place.path: place for place in places(host)}
    assert set(found) == {bytes(host / taken.docker), bytes(moved)}
    for path, place in found.items():
        assert sum(entry.bytes for entry in place.entries) == du(path)
    assert not totals(found[RawPath(bytes(host / taken.docker))])[Category.CONTENT]


@pytest.mark.parametrize("name", ["store", "stores/one"])
def test_a_containerd_root_of_any_name_in_a_data_root(unpacked_anew, name):
    """Nothing of it is lost, and it is part of the place."""
    taken = capture(DOCKER)
    host = unpacked_anew(taken)
    data = host / taken.docker
    moved = data / name
    moved.parent.mkdir(exist_ok=True)
    shutil.move(host / taken.root, moved)
    config = host / "etc/containerd/config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f'version = 2\nroot = "/{moved.relative_to(host)}"\n')
    for measure in ("disk", "recorded"):
        (scan,) = drydock.scan(host, measure=measure)
        (place,) = scan.places
        assert scan.verdict.store.root.path == bytes(moved)
        assert place.path == bytes(data)
        assert totals(place)[Category.CONTENT]
        if measure == "disk":
            assert sum(entry.bytes for entry in place.entries) == du(data)


def test_a_containerd_root_alone_is_the_place(unpacked):
    """The data root above it was not asked for, and is not walked."""
    taken = capture(DOCKER)
    root = unpacked(taken) / taken.root
    (place,) = places(root)
    assert place.path == bytes(root)
    assert sum(entry.bytes for entry in place.entries) == du(root)
    (place,) = places(root.parent.parent)
    assert place.path == bytes(root.parent.parent)


@pytest.mark.parametrize("inside", ["", "var/lib/docker"])
def test_a_data_root_without_containerd_is_measured(unpacked_anew, inside):
    """Its containerd has its root elsewhere, or none: from the host and by its path the sum is what du counts."""
    taken = capture(DOCKER)
    host = unpacked_anew(taken)
    data = host / taken.docker
    shutil.rmtree(data / "containerd")
    (scan,) = drydock.scan(host / inside, measure="disk")
    (place,) = scan.places
    assert (scan.verdict.store.root.path, place.path, scan.exit_code()) == (bytes(data), bytes(data), 0)
    assert sum(entry.bytes for entry in place.entries) == du(data)
    assert unknown(place) == set()
    assert {name for (name,) in [entry[1:2] for entry in place.entries if entry.category is Category.LOGS]} == {b"web"}


def test_a_quarantine_is_drydocks_own(unpacked_anew):
    """A real one, in the data root: measured or not; a folder that has other names beside its runs is unknown."""
    taken = capture(DOCKER)
    host = unpacked_anew(taken)
    data = host / taken.docker
    options = ["--apply", "--yes", "--state", host / "state", "--quarantine", data / "aside"]
    (data / "aside").mkdir(mode=0o700)
    run("clean", *options, host, status=0)
    subprocess.run(["cp", "-a", data / "aside", data / "mixed"], check=True)
    (data / "mixed/other").mkdir()
    (data / "mixed/other/file").write_bytes(b"x")
    for measure in ("disk", "recorded"):
        (place,) = places(host, measure)
        own = {entry.path: entry.bytes for entry in place.entries if entry.category is Category.DRYDOCK}
        assert own == {bytes(data / "aside"): du(data / "aside") if measure == "disk" else None}
        assert unknown(place) == {"mixed"}


def test_a_root_in_a_volume_is_part_of_the_volume(unpacked_anew):
    """A Docker that runs in a container has its data root in a volume, whose bytes count there only."""
    taken = capture(DOCKER)
    host = unpacked_anew(taken)
    data = host / taken.docker
    inner = data / "volumes/dind/_data"
    inner.mkdir(parents=True)
    subprocess.run(["cp", "-a", data / "containerd", data / "containers", inner], check=True)
    scans = drydock.scan(host, measure="disk")
    assert len(scans) == 2
    (place,) = [place for scan in scans for place in scan.places]
    assert sum(entry.bytes for entry in place.entries) == du(data)
    assert totals(place)[Category.NAMED_VOLUMES] == du(data / "volumes/dind")


def test_a_builder_in_a_volume_is_read_as_its_buildkit(unpacked_anew, unpacked):
    """A real BuildKit root in the volume of a buildx builder is a root too; its bytes are the builder's, once."""
    taken, buildkit = capture(DOCKER), capture("buildkit-0.34-killed")
    host = unpacked_anew(taken)
    data = host / taken.docker
    volume = data / "volumes/buildx_buildkit_mine0_state"
    volume.mkdir(parents=True)
    subprocess.run(["cp", "-a", (unpacked(buildkit) / buildkit.root).parent, volume / "_data"], check=True)
    scans = drydock.scan(host, measure="disk")
    assert [each.verdict.store.root.engine.value for each in scans] == ["docker", "buildkit"]
    (place,) = [place for scan in scans for place in scan.places]
    assert sum(entry.bytes for entry in place.entries) == du(data)
    assert unknown(place) == set()
    own = Counter()
    for entry in place.entries:
        if entry.path.startswith(bytes(volume)):
            assert entry.name == (b"mine0" if entry.category in BUILDS else b"buildx_buildkit_mine0_state")
            own[entry.category] += entry.bytes
    worker = volume / "_data/runc-overlayfs"
    assert own[Category.BUILD_CACHE] == du(worker / "content") + du(worker / "snapshots")
    assert own[Category.BUILD_HISTORY] == du(volume / "_data/history.db")
    assert sum(own.values()) == du(volume)


def _rootless(host, data):
    """The data root in a user's home, as dockerd-rootless.sh has it."""
    home = host / "home/ann"
    (home / ".local/share").mkdir(parents=True)
    moved = shutil.move(data, home / ".local/share/docker")
    os.chown(home, 1000, 1000)
    for part in ("", "containerd", "containerd/daemon"):
        os.chown(f"{moved}/{part}", 1000, 1000)
    (host / "etc").mkdir(exist_ok=True)
    (host / "etc/passwd").write_text("ann:x:1000:1000::/home/ann:/bin/sh\n")
    return moved


def _remapped(host, data):
    """All of it in <uid>.<gid>, as with userns-remap."""
    inner = data.parent / "inner"
    data.rename(inner)
    data.mkdir()
    inner.rename(data / "100000.100000")
    (data / "runtimes").mkdir()
    return data


def _moved(host, data):
    """Where daemon.json says, and the old one with its volumes at the default place."""
    (host / "srv").mkdir()
    (host / "etc/docker").mkdir(parents=True)
    (host / "etc/docker/daemon.json").write_text('{"data-root": "/srv/docker"}')
    moved = shutil.move(data, host / "srv/docker")
    (data / "volumes/old/_data").mkdir(parents=True)
    (data / "volumes/old/_data/file").write_bytes(b"x" * 50_000)
    return moved


@pytest.mark.parametrize("move", [_rootless, _remapped, _moved])
def test_data_roots_at_other_places(unpacked_anew, move):
    """A capture moved there: the sum is du's, the log has the container's name, and nothing is unknown."""
    taken = capture(DOCKER)
    host = unpacked_anew(taken)
    where = move(host, host / taken.docker)
    found = {place.path: place for place in places(host)}
    place = found[RawPath(os.fsencode(where))]
    assert sum(entry.bytes for entry in place.entries) == du(where)
    assert {entry.name for entry in place.entries if entry.category is Category.LOGS} == {b"web"}
    for path, each in found.items():
        assert unknown(each) == set(), path
        assert sum(entry.bytes for entry in each.entries) == du(path)
    old = [entry.name for each in found.values() for entry in each.entries if entry.name == b"old"]
    assert old == ([b"old"] if move is _moved else [])


@pytest.mark.parametrize("engine", ["k3s", "rke2"])
def test_the_containerd_of_a_distribution(unpacked_anew, engine):
    """A containerd root alone is the place, with the leftovers of unpacking and what stargz keeps apart from layers."""
    taken = capture("containerd-1.6-namespaces")
    host = unpacked_anew(taken)
    root = host / "var/lib/rancher" / engine / "agent/containerd"
    root.parent.mkdir(parents=True)
    shutil.move(host / taken.root, root)
    cache = root / "io.containerd.snapshotter.v1.stargz/stargz/httpcache/00"
    cache.mkdir(parents=True)
    (cache / "chunk").write_bytes(b"x" * 300_000)
    new = root / "io.containerd.snapshotter.v1.overlayfs/snapshots/new-123456789/fs"
    new.mkdir(parents=True)
    (new / "half").write_bytes(b"x" * 90_000)
    for measure in ("disk", "recorded"):
        (place,) = places(host, measure)
        assert place.path == bytes(root)
        assert unknown(place) == set()
        left = [entry for entry in place.entries if entry.category is Category.UNPACK_LEFTOVERS and entry.name]
        assert [entry.bytes for entry in left if entry.name == b"overlayfs"] == [du(new.parent)]
        if measure == "disk":
            assert sum(entry.bytes for entry in place.entries) == du(root)
            assert totals(place)[Category.SNAPSHOTTER_FILES] == du(cache.parent.parent)


def test_folders_of_a_host_beside_its_engines(unpacked_anew):
    """Caches of snapshotters in processes of their own, and drydock's state; not if a root alone is asked for."""
    taken = capture(DOCKER)
    host = unpacked_anew(taken)
    folders = {
        "var/lib/containerd-stargz-grpc": Category.SNAPSHOTTER_FILES,
        "var/lib/soci-snapshotter-grpc": Category.SNAPSHOTTER_FILES,
        "var/lib/nydus/cache": Category.SNAPSHOTTER_FILES,
        "var/lib/drydock": Category.DRYDOCK,
    }
    for number, folder in enumerate(folders):
        (host / folder / "below").mkdir(parents=True)
        (host / folder / "below/file").write_bytes(b"x" * 10_000 * (number + 1))
    for measure in ("disk", "recorded"):
        found = {place.path: place.entries for place in places(host, measure)}
        for folder, category in folders.items():
            ((is_, _, path, size, *_),) = found[RawPath(bytes(host / folder))]
            assert (is_, path) == (category, bytes(host / folder))
            assert size == (du(host / folder) if measure == "disk" else None)
    assert [place.path for place in places(host / taken.docker)] == [bytes(host / taken.docker)]


def test_the_file_system_is_what_stat_says(unpacked):
    """Blocks and inodes of the file system that the data root lies on."""
    (place,) = places(unpacked(capture(DOCKER)), measure="recorded")
    said = subprocess.run(
        ["stat", "-f", "-c", "%S %b %a %c", place.path], capture_output=True, text=True, check=True
    ).stdout.split()
    block, blocks, _, inodes = map(int, said)
    assert (place.file_system.size, place.file_system.inodes) == (block * blocks, inodes)
    assert 0 < place.file_system.free < place.file_system.size
    assert place.file_system.used + place.file_system.free <= place.file_system.size


def test_nothing_is_changed(unpacked):
    """Not even an access time that the kernel would change, because it is older than the last change."""
    host = unpacked(capture(DOCKER))
    found = [path for path in host.rglob("*") if not path.is_symlink()]
    for path in found:
        os.utime(path, ns=(0, path.lstat().st_mtime_ns))
    before = {path: path.lstat() for path in found}
    places(host)
    assert [path for path in found if path.lstat() != before[path]] == []


@pytest.mark.parametrize("name", ["docker-28.5-classic", "docker-29-interrupted", "containerd-2.4-erofs"])
def test_each_path_is_in_the_category_that_it_is_counted_in(name, unpacked):
    """The blocks of all paths, each asked for alone, are by category what measuring the whole gives."""
    host = unpacked(capture(name))
    scans = drydock.scan(host, measure="disk")
    (place,) = (place for scan in scans for place in scan.places)
    verdicts, found, met = [scan.verdict for scan in scans], Counter(), set()
    for folder, below, files in os.walk(os.fsdecode(place.path)):
        for path in (folder, *(os.path.join(folder, each) for each in files)):
            status = os.lstat(path)
            if (status.st_dev, status.st_ino) in met:
                continue
            met.add((status.st_dev, status.st_ino))
            entry = find_entry(RawPath(os.fsencode(path)), verdicts, RawPath(bytes(host)))
            assert entry.place == place.path
            found[entry.entry.category] += status.st_blocks * 512
        # os.walk lists links to folders as folders.
        links = [each for each in below if os.path.islink(os.path.join(folder, each))]
        for each in links:
            entry = find_entry(RawPath(os.fsencode(os.path.join(folder, each))), verdicts, RawPath(bytes(host)))
            found[entry.entry.category] += os.lstat(os.path.join(folder, each)).st_blocks * 512
    assert +found == +totals(place)
    assert len(met) > 100


def test_a_path_elsewhere_is_in_no_place(unpacked):
    """One that does not exist, one beside the data root, and one behind a symbolic link have no entry or say why."""
    host = unpacked(capture(DOCKER))
    verdicts = [scan.verdict for scan in drydock.scan(host)]
    for path in (host / "var/lib/docker/nothing", host / "etc", Path("/")):
        assert find_entry(RawPath(bytes(path)), verdicts, RawPath(bytes(host))) is None
    assert find_entry(RawPath(bytes(host / "var/lib/docker")), [], RawPath(bytes(host))) is None
