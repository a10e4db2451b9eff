"""A plan made of a whole host is carried out on its root as that host knows it, with the owners that it gives."""

import copy
import json
import os
import shutil

import pytest
from fuzz.stores import META_DB, METADATA, METADATA_DB, digest, lay_out, put
from tests.support import boltwriter
from tests.support.documents import run
from tests.support.gowriting import go_time, uvarint

OWNER = b"cd" * 32
pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path):
    """A mounted host with a lease of a container that dockerd has not."""
    host = tmp_path / "host"
    another = host / "var/lib/docker/containers" / ("ab" * 32)
    another.mkdir(parents=True)
    (another / "config.v2.json").write_text('{"MountPoints": {}}')
    root = host / "var/lib/containerd"
    metadata = copy.deepcopy(METADATA)
    metadata[b"v1"][b"moby"][b"leases"][OWNER] = {b"createdat": go_time(1500), b"content": {digest(7): b""}}
    put(root, metadata)
    return host


def planned(place, file):
    """Plan to end what has no owner; the leases that end, and the host that the plan is of."""
    run("plan", "--end-leases", "ownerless", "-o", file, place, status=1)
    (plan,) = json.loads(file.read_text())["plans"]
    return {lease["id"] for lease in plan["leases"]}, plan["host"]


@pytest.mark.parametrize("settings", [True, False])
def test_a_host_with_and_without_settings(host, tmp_path, settings):
    """Nothing changed in between, so it is not stale: also where there is no /etc that tells a host by its root."""
    if settings:
        (host / "etc").mkdir()
    file = tmp_path / "plan.json"
    assert planned(host, file) == ({OWNER.decode(), "pull"}, str(host))
    run("apply", "--state", tmp_path / "state", file, status=0)
    run("plan", "--end-leases", "ownerless", "-o", file, host, status=0)


def test_a_root_below_a_folder_that_only_looks_like_a_host(host, tmp_path):
    """Given by itself, a root is no part of what has no settings: it has no owner, and apply sees the same."""
    file = tmp_path / "plan.json"
    leases, of = planned(host / "var/lib/containerd", file)
    assert OWNER.decode() not in leases
    assert of == "/"
    run("apply", "--state", tmp_path / "state", file, status=0)


def test_a_host_that_went_away(host, tmp_path):
    """The root is not there any more."""
    file = tmp_path / "plan.json"
    planned(host, file)
    host.rename(tmp_path / "elsewhere")
    run("apply", "--state", tmp_path / "state", file, status=8)


LOST, LEASED = b"a1" * 32, b"b2" * 32
"""Containers of dockerd; the lease of the first is lost."""
CACHE, BUILD, FORMER = b"c" * 25, b"d" * 25, b"e" * 25
"""A cache record and a build that BuildKit has, and one of each that it has no more."""
MOUNTED = b"f6" * 32
"""Lease and snapshot of an image that the second container mounts, by its configuration alone."""
BLOBS = {LOST: digest(1), LEASED: digest(2)}
"""What the containers were made of, by digest, with no image any more."""
SNAPSHOTS = {LOST: 1, LEASED: 2, b"cache": 3, b"former": 4, b"nobodys": 5, MOUNTED: 6}
MADE = {b"createdat": go_time(1_500)}
TIMES = {**MADE, b"updatedat": go_time(1_500)}
FLAT = {b"containerd.io/gc.flat": b"x"}
DOCKER = "var/lib/docker"


def held(name, labels=None):
    """A lease of a snapshot."""
    return {**MADE, b"snapshots": {b"overlayfs": {name: b""}}, b"labels": labels or {}}


@pytest.fixture
def docker_host(tmp_path):
    """Makes mounted hosts on which dockerd has two containers, a build and what it cached."""

    def make(name):
        host = tmp_path / name
        docker, root = host / DOCKER, host / "var/lib/containerd"
        (host / "etc/docker").mkdir(parents=True)
        (host / "etc/systemd/system").mkdir(parents=True)
        for cid, manifest in BLOBS.items():
            folder = docker / "containers" / cid.decode()
            folder.mkdir(parents=True)
            config = {"ID": cid.decode(), "Driver": "overlayfs", "ImageManifest": {"digest": manifest.decode()}}
            mounts = {"/tools": {"Type": "image", "ID": MOUNTED.decode()}} if cid == LEASED else {}
            config["MountPoints"] = mounts
            (folder / "config.v2.json").write_text(json.dumps(config))
            (folder / "hostconfig.json").write_text("{}")
        (docker / "buildkit/containerd-overlayfs").mkdir(parents=True)
        boltwriter.write(docker / "buildkit/containerd-overlayfs/metadata_v2.db", {b"_main": {CACHE: {b"x": b"{}"}}})
        boltwriter.write(docker / "buildkit/history_c8d.db", {b"_records": {BUILD: b"x"}})
        (docker / "image/overlay2/imagedb/content/sha256" / ("1" * 64)).mkdir(parents=True)
        moby = {
            b"content": {b"blob": {each: {**TIMES, b"size": uvarint(2)} for each in (*BLOBS.values(), digest(7))}},
            b"snapshots": {
                b"overlayfs": {key: {**TIMES, b"name": b"moby/%d/" % n + key} for key, n in SNAPSHOTS.items()}
            },
            b"leases": {
                LEASED: held(LEASED),
                MOUNTED: held(MOUNTED),
                CACHE: held(b"cache", FLAT),
                FORMER: held(b"former", FLAT),
                b"moby-image-sha256:" + b"1" * 64: MADE,
            },
        }
        history = {b"leases": {b"ref_" + each: MADE for each in (BUILD, FORMER)}}
        rows = {b"moby/%d/" % n + key: {b"id": uvarint(n), b"kind": b"\x02", **TIMES} for key, n in SNAPSHOTS.items()}
        root.mkdir(parents=True)
        lay_out(root)
        boltwriter.write(root / META_DB, {b"v1": {b"version": b"\x06", b"moby": moby, b"moby_history": history}})
        boltwriter.write(root / METADATA_DB, {b"v1": {b"snapshots": rows}}, sequences={(b"v1", b"snapshots"): 9})
        return host

    return make


def outcome(host, file):
    """What the plan of a host lets go: leases, records, rows and paths."""
    run("plan", "--end-leases", "ownerless", "-o", file, host)
    (plan,) = json.loads(file.read_text())["plans"]
    return {
        *(("lease", each["namespace"], each["id"]) for each in plan["leases"]),
        *(("record", each["kind"], each["namespace"], each["id"]) for each in plan["records"]),
        *(("row", each["name"]) for each in plan["rows"]),
        *(("path", each["path"]) for each in plan["removals"]),
    }


def spoil(*names, contents=b""):
    """Damage that puts other contents into files, made where they are not there."""

    def damage(host):
        for name in names:
            (host / name).parent.mkdir(parents=True, exist_ok=True)
            (host / name).write_bytes(contents)

    return damage


def lose(*names):
    """Damage that removes files and folders."""

    def damage(host):
        for name in names:
            if (host / name).is_dir():
                shutil.rmtree(host / name)
            else:
                (host / name).unlink()

    return damage


def both(*damages):
    """One damage after the other."""

    def damage(host):
        for each in damages:
            each(host)

    return damage


CONFIGS = [f"{DOCKER}/containers/{cid.decode()}/config.v2.json" for cid in BLOBS]
RECORDS, HISTORY = f"{DOCKER}/buildkit/containerd-overlayfs/metadata_v2.db", f"{DOCKER}/buildkit/history_c8d.db"
UNIT, SETTINGS = "etc/systemd/system/docker.service", "etc/docker/daemon.json"
DAMAGES = {
    "config.v2.json empty": spoil(*CONFIGS),
    "config.v2.json zeros": spoil(*CONFIGS, contents=bytes(500)),
    "config.v2.json cut short": spoil(*CONFIGS, contents=b'{"ID": "a1a1", "Driver": "overl'),
    "config.v2.json without its digest": spoil(*CONFIGS, contents=b'{"ImageManifest": {"digest": "sha256:1"}}'),
    "config.v2.json of one gone": lose(CONFIGS[0]),
    "config.v2.json gone": lose(*CONFIGS),
    "a container's folder a file": both(lose(os.path.dirname(CONFIGS[0])), spoil(os.path.dirname(CONFIGS[0]))),
    "config.v2.json with other MountPoints": spoil(
        CONFIGS[1], contents=b'{"ImageManifest": {"digest": "%s"}, "MountPoints": [7]}' % digest(2)
    ),
    "containers emptied": lose(*map(os.path.dirname, CONFIGS)),
    "daemon.json cut short": spoil(SETTINGS, contents=b'{"data-root": "/var/lib/docker",'),
    "daemon.json names another": spoil(SETTINGS, contents=b'{"data-root": "/gone"}'),
    "a unit with a variable": spoil(UNIT, contents=b"[Service]\nExecStart=/usr/bin/dockerd --data-root=$D\n"),
    "another data root without containers": both(
        spoil("other/image/x"), spoil("other/network/x"), spoil(SETTINGS, contents=b'{"data-root": "/other"}')
    ),
    "containers gone": lose(f"{DOCKER}/containers"),
    "containers a file": both(lose(f"{DOCKER}/containers"), spoil(f"{DOCKER}/containers")),
    "data root gone": lose(DOCKER),
    "data root empty": both(lose(DOCKER), lambda host: (host / DOCKER).mkdir()),
    "cache records noise": spoil(RECORDS, contents=b"x" * 4096),
    "cache records gone": lose(RECORDS),
    "cache records' folder gone": lose(os.path.dirname(RECORDS)),
    "history empty": spoil(HISTORY),
    "history gone": lose(HISTORY),
    "buildkit gone": lose(f"{DOCKER}/buildkit"),
    "images gone": lose(f"{DOCKER}/image"),
    "images a file": both(lose(f"{DOCKER}/image/overlay2"), spoil(f"{DOCKER}/image/overlay2")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_no_damage_to_what_owns_leases_enlarges_a_plan(docker_host, tmp_path, damage):
    """What cannot be read of dockerd and BuildKit protects no less than what can."""
    whole = outcome(docker_host("whole"), tmp_path / "whole.json")
    assert {("row", "moby/4/former"), ("row", "moby/5/nobodys"), ("record", "blob", "moby", digest(7).decode())} < whole
    assert {name for kind, _, name, *_ in [each for each in whole if each[0] == "lease"]} == {
        FORMER.decode(),
        "ref_" + FORMER.decode(),
    }
    host = docker_host("damaged")
    damage(host)
    assert outcome(host, tmp_path / "damaged.json") - whole == set()


@pytest.mark.parametrize("damage", ["daemon.json cut short", "a unit with a variable", "config.v2.json empty"])
def test_a_lease_whose_owner_was_found_is_not_ended_by_name(docker_host, tmp_path, damage):
    """Neither where everything could be read nor where something else could not."""
    host = docker_host("host")
    run("plan", "--end-lease", MOUNTED.decode(), "-o", tmp_path / "plan.json", host, status=32)
    for _ in ("whole", "damaged"):
        for lease in (LEASED, CACHE, b"ref_" + BUILD, b"moby-image-sha256:" + b"1" * 64):
            run("plan", "--end-lease", lease.decode(), "-o", tmp_path / "plan.json", host, status=32)
        DAMAGES[damage](host)
