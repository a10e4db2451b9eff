"""The numbers of drydock beside those of ``docker system df -v`` at the same moment; each difference has its reason.

The reasons are in docs/what-fills-my-disk.md. Docker's numbers come from the API that this command prints.
"""

import json
import os
import stat
import subprocess
from collections import Counter

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT, images
from tests.engines.docker import Docker
from tests.engines.images import busybox_layer
from tests.engines.registry import Registry
from tests.engines.sandbox import Sandbox
from tests.engines.suite import Suite, rootfs
from tests.support.documents import run

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

_BUILD = b"""\
FROM 127.0.0.1:5000/shop:1
RUN ["/bin/busybox", "dd", "if=/dev/zero", "of=/srv/built", "bs=1000", "count=700"]
"""
_WRITE = "dd if=/dev/zero of=/data/file bs=1000 count={} 2>/dev/null; echo logged"


def du(*paths):
    """What du counts below paths, in bytes."""
    said = subprocess.run(["du", "-xsc", "--block-size=1", *paths], capture_output=True, check=True)
    return int(said.stdout.splitlines()[-1].split()[0])


def lengths(path):
    """Bytes of the regular files below a path, each inode once: what Docker counts of a volume."""
    found = {}
    for folder, _, names in os.walk(path):
        for name in names:
            each = os.lstat(os.path.join(folder, name))
            if stat.S_ISREG(each.st_mode):
                found[each.st_ino] = each.st_size
    return sum(found.values())


def prepare(docker, registry):
    """Images, a stopped and a running container, volumes of both kinds, logs of both drivers, a build, a plugin."""
    image = f"{registry.address}/shop:1"
    busybox = ("--network", "none", image, "/bin/busybox", "sh", "-c")
    docker.docker("volume", "create", "pgdata")
    docker.docker("run", "--name", "web", "-v", "pgdata:/data", *busybox, _WRITE.format(900))
    docker.docker("run", "--name", "files", *busybox, "mkdir /data; " + _WRITE.format(500))
    docker.docker("run", "--name", "db", "-v", "/data", "--log-driver", "local", *busybox, _WRITE.format(300))
    docker.docker("run", "-d", "--name", "now", *busybox, "echo up; trap exit TERM; sleep 600 & wait")
    docker.docker("build", "-q", "--network", "none", "-t", "built:1", "-", stdin=_BUILD)
    docker.sandbox.run("mkdir", "-p", "/root/plugin/rootfs/bin")
    config = {"entrypoint": ["/bin/x"], "interface": {"types": ["docker.logdriver/1.0"], "socket": "x.sock"}}
    docker.sandbox.run("sh", "-c", "cat >/root/plugin/config.json", stdin=json.dumps(config).encode())
    docker.sandbox.run("cp", "/bin/cat", "/root/plugin/rootfs/bin/x")
    docker.docker("plugin", "create", "local/plugin", "/root/plugin")


def scanned(host, *options):
    """The usage that a scan finds, and that it has no unknown data."""
    usage = json.loads(run("scan", *options, "--format", "json", host))["usage"]
    assert [each["path"] for each in usage if each["category"] == "unknown"] == []
    return usage


def sizes(usage, *categories):
    """Bytes by name of the entries of categories."""
    found = Counter()
    for each in usage:
        if each["category"] in categories:
            found[each["name"]] += each["bytes"] or 0
    return found


@pytest.mark.parametrize("classic", [True, False], ids=["classic store", "image store"])
def test_each_category_beside_docker_system_df(classic, tmp_path):
    """Volumes, containers, images and build cache; then, stopped, the sum of all categories is what du counts."""
    host, data = tmp_path / "host", tmp_path / "host/var/lib/docker"
    data.mkdir(parents=True)
    with (
        Sandbox(tmp_path, rootfs(Suite.FORKY), data) as sandbox,
        Docker(sandbox, classic=classic) as docker,
        Registry(sandbox.listen(PORT), images(busybox_layer())) as registry,
    ):
        prepare(docker, registry)
        said = docker.disk_usage()
        printed = docker.system_df("-v")
        live = scanned(host, "--live", "--measure", "disk")
        recorded = scanned(host, "--live")
        assert all(volume["Name"] in printed for volume in said["Volumes"])
        compare_volumes(said, live, data)
        compare_containers(said, live, data, classic=classic)
        (compare_classic_images if classic else compare_images)(said, live, recorded, data)
    # What no line of docker system df has.
    assert set(sizes(live, "logs")) == {"web", "files", "db", "now"}
    assert sum(sizes(live, "plugins").values()) == du(data / "plugins") > 30_000
    usage = scanned(host, "--measure", "disk")
    assert sum(each["bytes"] for each in usage) == du(data)
    assert len({(each["category"], each["name"], each["path"]) for each in usage}) == len(usage)
    assert {each["driver"] for each in usage if each["category"] == "logs"} == {"json-file", "local"}


def compare_volumes(said, live, data):
    """Docker adds the lengths of the files, drydock the blocks of files and folders."""
    found = sizes(live, "named-volumes", "anonymous-volumes")
    assert {each["Name"] for each in said["Volumes"]} == set(found)
    for each in said["Volumes"]:
        volume = data / "volumes" / each["Name"]
        assert each["UsageData"]["Size"] == lengths(volume / "_data") > 0
        assert found[each["Name"]] == du(volume)
    assert set(sizes(live, "named-volumes")) == {"pgdata"}
    users = {each["name"]: each["used_by"] for each in live if each["category"].endswith("volumes")}
    assert {each["Name"]: each["UsageData"]["RefCount"] for each in said["Volumes"]} == {
        name: len(names) for name, names in users.items()
    }


def compare_containers(said, live, data, *, classic):
    """Docker counts what a container changed; drydock also folders, and in the classic store the init layer."""
    for each in said["Containers"]:
        (name,) = each["Names"]
        written = each.get("SizeRw", 0)
        if classic:
            record = data / "image/overlay2/layerdb/mounts" / each["Id"]
            layers = [data / "overlay2" / (record / part).read_text() for part in ("mount-id", "init-id")]
            assert written == lengths(layers[0] / "diff")
            assert sizes(live, "classic-containers")[name[1:]] == du(*layers)
        assert (written >= 500_000) is (name == "/files")


def compare_classic_images(said, live, recorded, data):
    """Docker has the recorded sizes of the layers of images; build cache that is no layer has an amount of its own."""
    assert said["LayersSize"] == sum(sizes(recorded, "classic-layers").values())
    layers = {path.read_text() for path in (data / "image/overlay2/layerdb/sha256").glob("*/cache-id")}
    own = [path for path in (data / "overlay2").iterdir() if len(path.name) == 25 and path.name not in layers]
    cache = [each["Size"] for each in said["BuildCache"] if not each["Shared"]]
    assert sum(cache) == sum(lengths(path / "diff") for path in own) > 0
    assert sum(sizes(live, "build-cache").values()) == du(*own, data / "buildkit/content")


def compare_images(said, live, recorded, data):
    """Docker 28 adds all snapshots, those of containers and builds too, and all blobs; drydock counts their blocks."""
    root = data / "containerd/daemon"
    blobs = list((root / "io.containerd.content.v1.content/blobs/sha256").iterdir())
    snapshots = list((root / "io.containerd.snapshotter.v1.overlayfs/snapshots").iterdir())
    for usage in (live, recorded):
        more = sum(sizes(usage, "content", "snapshots").values()) - said["LayersSize"]
        # A blob ends in a block, and a snapshot has up to four folders that containerd does not count.
        assert 0 <= more <= 4096 * (len(blobs) + 4 * len(snapshots) + 8)
    assert sum(each["Size"] for each in said["BuildCache"]) > 700_000
    assert sizes(live, "build-cache") == {}  # it is among the snapshots and blobs
