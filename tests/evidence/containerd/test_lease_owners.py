"""Who owns leases: dockerd's folders and BuildKit's databases, whole, missing and damaged."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys

import pytest
from tests.support.boltwriter import write

from drydock.evidence.containerd.lease_owners import read_owners
from drydock.model.findings import Severity
from drydock.model.names import RawPath
from drydock.model.roots import Engine, Root, worker_layout

CID = "c1" * 32
KINDS = ("containers", "images", "build_records", "build_history")
IMAGE = "a0" * 32
MANIFEST = "sha256:" + "b1" * 32


def root(*data, known=True):
    """A containerd root with these data roots."""
    docker = tuple(RawPath(os.fsencode(each)) for each in data)
    return Root(RawPath(b"/x"), Engine.DOCKER, docker=docker, docker_known=known)


def value(what):
    """A value as BuildKit writes it."""
    return json.dumps({"value": what}).encode()


def known(owners):
    """The kinds of which everything was read."""
    return [kind for kind in KINDS if getattr(owners, f"{kind}_changed") is not None]


def told(owners):
    """The findings but for the one that the images of these data roots are of the classic store."""
    return [finding for finding in owners.findings if finding.code != "classic-store"]


@pytest.fixture
def data(tmp_path):
    """A data root with one of each owner."""
    top = tmp_path / "docker"
    (top / "containers" / CID).mkdir(parents=True)
    (top / "containers" / CID / "hostname").write_text("web\n")
    (top / "containers" / CID / "config.v2.json").write_text(
        json.dumps(
            {
                "ID": CID,
                "Name": "/web",
                "Driver": "overlayfs",
                "Image": "sha256:" + IMAGE,
                "ImageManifest": {"digest": MANIFEST},
                "State": {"Running": True},
                "MountPoints": {},
            }
        )
    )
    (top / "image/overlay2/imagedb/content/sha256").mkdir(parents=True)
    (top / "image/overlay2/imagedb/content/sha256" / IMAGE).touch()
    (top / "image/overlayfs").mkdir()
    (top / "buildkit/containerd-overlayfs").mkdir(parents=True)
    write(
        top / "buildkit/containerd-overlayfs/metadata_v2.db",
        {
            b"_main": {
                b"kept": {b"cache.snapshot": value("x")},
                b"gone": {b"cache.deleted": value(True)},
                b"odd": {b"cache.deleted": b"{"},
                b"undeleted": {b"cache.deleted": value(False), b"cache.blobonly": value(False)},
                b"packed": {b"cache.blobonly": value(True)},
            },
            b"_index": {b"chainid::kept": b""},
        },
    )
    write(top / "buildkit/history_c8d.db", {b"_records": {b"build1": b"\x0a\x00"}, b"_version": {b"version": b"2"}})
    return top


def test_every_owner(data):
    """All kinds are read; only a record that says it is deleted owns nothing."""
    owners = read_owners(root(data))
    container = owners.containers[CID.encode()]
    assert (container.name, container.driver, container.running) == (b"web", b"overlayfs", True)
    assert (container.image, container.manifest) == (b"sha256:" + IMAGE.encode(), MANIFEST.encode())
    assert owners.images == {b"sha256:" + IMAGE.encode()}
    assert owners.build_records == {b"kept", b"odd", b"undeleted", b"packed"}
    assert owners.build_blobs_only == {b"packed"}
    assert owners.build_history == {b"build1"}
    assert known(owners) == list(KINDS)
    assert owners.containers_known
    assert owners.findings == []
    (data / "image/overlay2").rename(data / "image/vfs")
    owners = read_owners(root(data))
    assert [(each.code, each.severity) for each in owners.findings] == [("classic-store", Severity.NOTE)]


def test_no_data_root():
    """Without a data root nothing is known, which is no damage."""
    owners = read_owners(root())
    assert known(owners) == []
    assert not owners.containers_known
    assert [finding.severity for finding in owners.findings] == [Severity.NOTE]


def test_unknown_data_root(data):
    """When one more data root may exist, nothing is provably gone, and what was found is there all the same."""
    owners, whole = read_owners(root(data, known=False)), read_owners(root(data))
    assert known(owners) == []
    assert [getattr(owners, kind) for kind in KINDS] == [getattr(whole, kind) for kind in KINDS]


def test_empty_is_not_missing(data):
    """An empty containers folder proves that there are none; a missing one, or a link, proves nothing."""
    (data / "containers" / CID / "config.v2.json").unlink()
    (data / "containers" / CID / "hostname").unlink()
    (data / "containers" / CID).rmdir()
    owners = read_owners(root(data))
    assert (owners.containers, owners.containers_known) == ({}, True)
    (data / "containers").rmdir()
    owners = read_owners(root(data))
    assert known(owners) == list(KINDS[1:])
    assert [finding.code for finding in told(owners)] == ["owners-unknown"]
    (data / "elsewhere").mkdir()
    (data / "containers").symlink_to("elsewhere")
    assert not read_owners(root(data)).containers_known


def test_several_data_roots(data, tmp_path):
    """Owners of all data roots count together; one that cannot be read hides others, not those that were found."""
    other = tmp_path / "other"
    (other / "containers/abc").mkdir(parents=True)
    owners = read_owners(root(data, other))
    assert set(owners.containers) == {CID.encode(), b"abc"}
    assert owners.build_records == {b"kept", b"odd", b"undeleted", b"packed"}
    assert known(owners) == ["containers"]
    (other / "containers").rename(other / "elsewhere")
    owners = read_owners(root(data, other))
    assert set(owners.containers) == {CID.encode()}
    assert known(owners) == []


def test_when_what_was_read_last_changed(data, tmp_path):
    """The newest place in one data root, as engines leave older ones there; over several data roots the oldest."""
    history, older = data / "buildkit/history_c8d.db", data / "buildkit/history.db"
    write(older, {b"_records": {}})
    imagedb, former = (data / f"image/{driver}/imagedb/content/sha256" for driver in ("overlay2", "aufs"))
    former.mkdir(parents=True)
    places = (data / "containers", imagedb, data / "buildkit/containerd-overlayfs/metadata_v2.db", history)
    for time, place in enumerate(places, start=1000):
        os.utime(place, ns=(0, time))
    os.utime(older, ns=(0, 900))
    os.utime(former, ns=(0, 900))
    owners = read_owners(root(data))
    assert (owners.containers_changed, owners.images_changed) == (1000, 1001)
    assert (owners.build_records_changed, owners.build_history_changed) == (1002, 1003)
    other = tmp_path / "other/containers"
    other.mkdir(parents=True)
    os.utime(other, ns=(0, 5))
    assert read_owners(root(data, tmp_path / "other")).containers_changed == 5


@pytest.mark.parametrize("kind", ["broken", "fifo", "link", "huge", "list", "deep", "missing"])
def test_unreadable_container(data, tmp_path, kind):
    """A container whose configuration cannot be read still owns its lease, and any manifest may be its."""
    path = data / "containers" / CID / "config.v2.json"
    secret = tmp_path / "secret.json"
    path.rename(secret)
    if kind == "broken":
        path.write_bytes(b'{"ID": "\xff')
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(secret)
    elif kind == "huge":
        os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 30)
    elif kind == "list":
        path.write_text("[]")
    elif kind == "deep":
        path.write_text("[" * 100_000)
    owners = read_owners(root(data))
    container = owners.containers[CID.encode()]
    assert (container.name, container.manifest_known) == (None, False)
    assert [(each.code, each.severity) for each in told(owners)] == [("container-unreadable", Severity.BLIND)]


def test_a_container_of_the_classic_store(data):
    """The record of its layer is in the layer store of its graphdriver, and not in that of another."""
    assert not read_owners(root(data)).containers[CID.encode()].is_classic
    (data / "image/overlay2/layerdb/mounts" / CID).mkdir(parents=True)
    assert not read_owners(root(data)).containers[CID.encode()].is_classic
    (data / "containers" / CID / "config.v2.json").write_text(json.dumps({"Driver": "overlay2", "MountPoints": {}}))
    assert read_owners(root(data)).containers[CID.encode()].is_classic
    for driver in ("../image/overlay2", "..", "x\x00"):
        (data / "containers" / CID / "config.v2.json").write_text(json.dumps({"Driver": driver, "MountPoints": {}}))
        assert not read_owners(root(data)).containers[CID.encode()].is_classic


def mount(**fields):
    """The configuration of a container with one mount point."""
    return json.dumps({"ID": CID, "Driver": "overlayfs", "MountPoints": {"/m": fields}})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"Type": "image", "ID": "e" * 64}, {b"e" * 64}),
        # What the layer is called in Docker 28, in 29.0 and since 29.1.4 (the last by sha256sum), where the ID is lost.
        (
            {"Type": "image", "Name": "tools:2", "Destination": "/t"},
            {
                CID.encode() + b"-tools:2",
                (CID + ",src=tools:2,dst=/t").encode().hex().encode(),
                b"3ac64b3eceab0f06d0aa4758f51a481eb2f9154c7e8a9406db3df97cb9ea74ce",
            },
        ),
        ({"Type": "bind", "Source": "/srv", "Destination": "/t"}, set()),
        ({"Type": "volume", "Name": "v", "Destination": "/t", "ID": "f" * 64}, {b"f" * 64}),
    ],
)
def test_image_mounts(data, fields, expected):
    """The ids of a container's image mounts, from its configuration."""
    (data / "containers" / CID / "config.v2.json").write_text(mount(**fields))
    owners = read_owners(root(data))
    assert owners.containers[CID.encode()].mounts == expected
    assert set(owners.image_mounts) == expected
    assert (owners.mounts_known, told(owners)) == (True, [])


@pytest.mark.parametrize(
    "text",
    ["{}", '{"MountPoints": []}', '{"MountPoints": {"/m": 3}}', mount(Type="image"), "{", mount(Type="image", ID=3)],
)
def test_mounts_that_cannot_be_understood(data, text):
    """Any id may be that of an image mount then, which is no proof of anything."""
    (data / "containers" / CID / "config.v2.json").write_text(text)
    owners = read_owners(root(data))
    assert not owners.mounts_known
    assert [(each.code, each.severity) for each in told(owners)] == [("container-unreadable", Severity.BLIND)]


@pytest.mark.parametrize("others", [[], ["mounts/shm"]])
def test_a_create_that_was_killed(data, others):
    """Dockerd passes over a folder with an unfinished configuration alone, for good: a leftover, and no blind spot."""
    place = data / "containers" / CID
    (place / "config.v2.json").rename(place / ".tmp-config.v2.json2819357")
    (place / "hostname").unlink()
    for each in others:
        (place / each).mkdir(parents=True)
    owners = read_owners(root(data))
    assert owners.containers[CID.encode()].manifest_known
    assert owners.mounts_known
    assert [(each.code, each.severity) for each in told(owners)] == [("container-unreadable", Severity.NOTE)]
    (place / "hostconfig.json").write_text("{}")
    assert [each.severity for each in told(read_owners(root(data)))] == [Severity.BLIND]


@pytest.mark.parametrize("kind", ["file", "socket", pytest.param("device", marks=pytest.mark.root)])
def test_what_is_no_folder_among_the_image_drivers(data, kind):
    """Docker 29 keeps a database of its own there; nothing of it is an image of the classic store."""
    place = data / "image/identity-cache.db"
    if kind == "file":
        place.write_bytes(bytes(16384))
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
    else:
        os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(0, 0))
    owners = read_owners(root(data))
    assert (owners.images, told(owners)) == ({b"sha256:" + IMAGE.encode()}, [])
    assert known(owners) == list(KINDS)


@pytest.mark.parametrize("kind", ["link", "damaged"])
def test_image_drivers_that_hide_something(data, tmp_path, kind):
    """A link may lead to a driver's folder, and what cannot be read may hold images."""
    place = data / "image/zfs"
    if kind == "link":
        place.symlink_to(tmp_path)
    else:
        (place / "imagedb").mkdir(parents=True)
        (place / "imagedb/content").touch()
    owners = read_owners(root(data))
    assert [(each.code, each.severity) for each in told(owners)] == [("owners-unknown", Severity.BLIND)]
    assert owners.images_changed is None


def test_what_is_left_of_a_removed_container(data):
    """Folders alone, as a mounts/shm that was busy: its lease counts, and there is no manifest to keep."""
    (data / "containers" / CID / "config.v2.json").unlink()
    (data / "containers" / CID / "hostname").unlink()
    (data / "containers" / CID / "mounts/shm").mkdir(parents=True)
    owners = read_owners(root(data))
    assert owners.containers[CID.encode()].manifest_known
    assert [(each.code, each.severity) for each in told(owners)] == [("container-unreadable", Severity.NOTE)]


def test_a_container_that_is_being_made(data):
    """Beside a running dockerd its folder is there before its configuration, which is worth a note."""
    (data / "containers" / CID / "config.v2.json").unlink()
    owners = read_owners(root(data), live=True)
    assert not owners.containers[CID.encode()].manifest_known
    assert [(each.code, each.severity) for each in told(owners)] == [("container-unreadable", Severity.NOTE)]


def test_what_is_no_container_hides_no_manifest(data):
    """A folder of another name than containers have, as on a disk of its own, is worth a note."""
    (data / "containers/lost+found").mkdir()
    owners = read_owners(root(data))
    assert all(container.manifest_known for container in owners.containers.values())
    assert [(each.code, each.severity) for each in told(owners)] == [("container-unreadable", Severity.NOTE)]


def test_a_container_without_a_manifest(data):
    """As with a graphdriver: it was made of none, which is no damage."""
    (data / "containers" / CID / "config.v2.json").write_text(
        json.dumps({"ID": CID, "Driver": "overlay2", "MountPoints": None})
    )
    owners = read_owners(root(data))
    assert owners.containers[CID.encode()].manifest_known
    assert told(owners) == []


def test_hostile_values(data):
    """Values of the wrong type, and names that are no text, are survived."""
    (data / "containers" / CID / "config.v2.json").write_text(
        '{"Name": ["x"], "Image": "sha256:../..", "State": 3, "ImageManifest": {"digest": {}}, "Driver": "\\ud800"}'
    )
    os.mkdir(os.fsencode(data) + b"/containers/\xff\n")
    owners = read_owners(root(data))
    container = owners.containers[CID.encode()]
    assert (container.name, container.image, container.running, container.manifest) == (None, None, None, None)
    assert not container.manifest_known
    assert b"\xff\n" in owners.containers
    assert all("\n" not in finding.message for finding in owners.findings)


@pytest.mark.parametrize(
    "kind", ["missing", "emptied", "truncated", "one meta", "random", "unknown bucket", "flat record", "locked"]
)
def test_build_records_unknown(data, kind):
    """No database, or one that cannot be read or understood, keeps every build lease; history is judged apart."""
    path = data / "buildkit/containerd-overlayfs/metadata_v2.db"
    child = None
    if kind == "missing":
        path.unlink()
    elif kind == "emptied":
        path.write_bytes(b"")
    elif kind == "truncated":
        os.truncate(path, 5000)
    elif kind == "one meta":
        with path.open("r+b") as file:
            file.write(bytes(4096))
    elif kind == "random":
        path.write_bytes(os.urandom(1 << 16))
    elif kind == "unknown bucket":
        write(path, {b"_main": {}, b"_new": {}})
    elif kind == "flat record":
        write(path, {b"_main": {b"x": b"y"}})
    else:
        program = (
            "import fcntl,sys,time; f=open(sys.argv[1],'rb'); fcntl.flock(f,2); print(1,flush=True); time.sleep(60)"
        )
        child = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
        child.stdout.readline()
    try:
        owners = read_owners(root(data))
    finally:
        if child:
            child.kill()
            child.wait()
            child.stdout.close()
    assert owners.build_history == {b"build1"}
    assert known(owners) == [kind for kind in KINDS if kind != "build_records"]
    assert [finding.code for finding in told(owners)] == ["owners-unknown"]


@pytest.mark.parametrize("name", ["history.db", "history_z.db"])
def test_one_of_several_databases_is_damaged(data, name):
    """What the others have still has its owner."""
    (data / "buildkit" / name).write_bytes(b"x" * 4096)
    owners = read_owners(root(data))
    assert owners.build_history == {b"build1"}
    assert known(owners) == [kind for kind in KINDS if kind != "build_history"]


def test_buildkit_removed(data):
    """A buildkit folder that is gone is not taken as proof that its leases are ownerless."""
    (data / "buildkit").rename(data / "was-buildkit")
    owners = read_owners(root(data))
    assert known(owners) == ["containers", "images"]
    assert [finding.severity for finding in told(owners)] == [Severity.NOTE, Severity.NOTE]


@pytest.mark.parametrize("kind", ["worker gone", "worker without", "second without", "newer", "newer graphdriver"])
def test_the_graphdrivers_build_records_say_nothing_of_containerds(data, kind):
    """Only what each containerd worker wrote, in a version that is known, tells which records are gone."""
    worker = data / "buildkit/containerd-overlayfs"
    write(data / "buildkit/metadata_v2.db", {b"_main": {b"other": {}}})
    os.utime(data / "buildkit/metadata_v2.db", ns=(0, 7))
    owners = read_owners(root(data))
    assert owners.build_records == {b"kept", b"odd", b"undeleted", b"packed", b"other"}
    assert owners.build_records_changed == (worker / "metadata_v2.db").stat().st_mtime_ns
    if kind == "worker gone":
        worker.rename(data / "buildkit/hidden")
    elif kind == "worker without":
        (worker / "metadata_v2.db").unlink()
    elif kind == "second without":
        (data / "buildkit/containerd-native").mkdir()
    elif kind == "newer":
        write(worker / "metadata_v3.db", {b"_main": {}})
    else:
        write(data / "buildkit/metadata_v10.db", {b"_main": {}})
    owners = read_owners(root(data))
    assert owners.build_records_changed is None
    assert owners.build_history == {b"build1"}
    assert [finding.code for finding in told(owners)] == ["owners-unknown"]


def test_no_record_yet(data):
    """A database without records proves that there are none."""
    write(data / "buildkit/containerd-overlayfs/metadata_v2.db", {})
    owners = read_owners(root(data))
    assert (owners.build_records, known(owners)) == (frozenset(), list(KINDS))


@pytest.fixture
def buildkitd(tmp_path):
    """The root of a buildkitd with a worker of its own, and one that works in a containerd."""
    top = tmp_path / "buildkit"
    for worker, letter in (("runc-overlayfs", b"a"), ("containerd-native", b"b")):
        (top / worker).mkdir(parents=True)
        records = {
            letter * 25: {b"snapshot.size": value(-1), b"cache.cachePolicy": value(1), b"cache.parent": value("p")},
            letter * 24 + b"d": {b"cache.deleted": value(True)},
            letter * 24 + b"o": {b"cache.blobonly": value(True), b"cache.equalMutable": b""},
        }
        write(top / worker / "metadata_v2.db", {b"_main": records})
    write(top / "history.db", {b"_records": {b"build2": b"\x0a\x00"}})
    return top


def own(top, worker=""):
    """A containerd's root, or that of a worker; its builds are those of a buildkitd."""
    buildkit = (RawPath(os.fsencode(top)),)
    if not worker:
        return Root(RawPath(b"/x"), Engine.CONTAINERD, buildkit=buildkit)
    path = RawPath(os.fsencode(top / worker))
    return Root(path, Engine.BUILDKIT, layout=worker_layout(b"overlayfs"), buildkit=buildkit)


@pytest.mark.parametrize(("worker", "letter"), [("runc-overlayfs", b"a"), ("", b"b")])
def test_the_records_of_a_buildkitd(buildkitd, worker, letter):
    """A worker's root has that worker's, and a containerd those of its workers; the history is of both."""
    owners = read_owners(own(buildkitd, worker))
    builds = owners.buildkitd
    assert builds.records == {letter * 25, letter * 24 + b"o"}
    assert (builds.blobs_only, builds.history) == ({letter * 24 + b"o"}, {b"build2"})
    assert None not in (builds.records_changed, builds.history_changed)
    assert owners.build_records == frozenset()
    (cache,) = owners.caches
    assert (cache.snapshotter, cache.is_dockers, cache.is_clear) == (b"overlayfs" if worker else b"native", False, True)
    record = cache.records[letter * 25]
    assert (record.size, record.retain, record.parent, record.is_mutable) == (None, True, b"p", True)
    codes = [each.code for each in owners.findings]
    assert codes == ([] if worker else ["no-owners"])


@pytest.mark.parametrize("kind", ["gone", "damaged", "odd"])
def test_records_of_a_buildkitd_that_are_not_clear(buildkitd, kind):
    """A database that is gone or damaged proves nothing; in one with odd values nothing counts as dropped."""
    path = buildkitd / "runc-overlayfs/metadata_v2.db"
    if kind == "gone":
        path.unlink()
    elif kind == "damaged":
        os.truncate(path, 5000)
    else:
        write(path, {b"_main": {b"a" * 25: {b"snapshot.committed": value("yes")}}})
    owners = read_owners(own(buildkitd, "runc-overlayfs"))
    assert (owners.buildkitd.records_changed is None) == (kind != "odd")
    assert [cache.is_clear for cache in owners.caches] == ([False] if kind == "odd" else [])
    assert owners.buildkitd.history == {b"build2"}
