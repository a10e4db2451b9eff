"""Docker's classic image store, on a host that Docker 28.5 made: what is not in containerd is called by its name."""

import json

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT, images
from tests.engines.docker import Docker
from tests.engines.images import busybox_layer
from tests.engines.registry import Registry
from tests.engines.sandbox import Sandbox, wait_for
from tests.engines.suite import Suite, rootfs
from tests.support.documents import run

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

_HELD_AFTER = 1_500_000


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A host with a container, whose dockerd was killed in a pull."""
    work = tmp_path_factory.mktemp("classic")
    data = work / "host/var/lib/docker"
    data.mkdir(parents=True)
    served = images(busybox_layer())
    with (
        Sandbox(work, rootfs(Suite.FORKY), data) as sandbox,
        Docker(sandbox, classic=True) as docker,
        Registry(sandbox.listen(PORT), served) as registry,
    ):
        docker.docker("run", "--name", "web", "--network", "none", f"{registry.address}/shop:1")
        registry.hold(served["tools:2"].layers[3], _HELD_AFTER)
        client = docker.begin("pull", f"{registry.address}/tools:2")
        wait_for(registry.held.is_set, 30, "a request for the layer", lambda: client.running)
        wait_for(lambda: _downloaded(data) >= _HELD_AFTER, 30, "the part of the layer", lambda: client.running)
        docker.kill()
    return work / "host"


def _downloaded(data):
    return sum(each.stat().st_size for each in (data / "tmp").glob("GetImageBlob*"))


def test_a_container_is_of_the_classic_store(host):
    """Its layer is whole, and in overlay2: it is not missing."""
    (root,) = json.loads(run("ls", "containers", "--format", "json", host))["roots"]
    (row,) = root["containers"]
    assert (row["name"], row["snapshotter"], row["state"], row["bytes"]) == ("web", "overlay2", "classic", None)
    assert " classic" in run("ls", "containers", host)


def test_a_pull_is_of_the_classic_store(host):
    """What came of it lies in tmp, with its bytes; it is not called absent, nor to be resumed."""
    (root,) = json.loads(run("pulls", "--format", "json", host, status=0))["roots"]
    (pull,) = root["pulls"]
    assert {layer["state"] for layer in pull["layers"]} == {"classic"}
    data = host / "var/lib/docker"
    files = list((data / "tmp").glob("GetImageBlob*"))
    used = sum(each.stat().st_blocks * 512 for each in files)
    assert pull["downloads"] == {"folders": [str(data / "tmp")], "files": len(files), "bytes": used}
    text = run("pulls", host, status=0)
    assert "classic image store" in text
    assert "absent" not in text
    assert "--keep" not in text
    assert "--end-lease " in text


def test_scan_says_what_it_does_not_judge(host):
    """How many images, layers and directories there are; with exit status 0, since none of them is damaged."""
    data = host / "var/lib/docker"
    layers = len(list((data / "image/overlay2/layerdb/sha256").iterdir()))
    directories = len([each for each in (data / "overlay2").iterdir() if each.name != "l"])
    assert (layers, directories) >= (2, 4)
    said = run("scan", host, status=0)
    assert f"classic image store, with images: 1, layers: {layers}, directories: {directories};" in said
    assert "docker image prune" not in said


def test_dockerd_deletes_what_came(host, tmp_path):
    """As the text says: it is gone when dockerd is up, and the container is whole."""
    data = host / "var/lib/docker"
    assert _downloaded(data)
    with Sandbox(tmp_path, rootfs(Suite.FORKY), data) as sandbox, Docker(sandbox, classic=True) as docker:
        wait_for(lambda: not _downloaded(data), 20, "an empty tmp")
        assert docker.docker("start", "-a", "web")
