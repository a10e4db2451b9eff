"""Docker's classic image store, on a host that Docker 28.5 made and was killed on, beside the engine's own words."""

import json
import re

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
        said = docker.docker("inspect", "web", f"{registry.address}/shop:1")
        (work / "inspected.json").write_text(said)
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
    data = host / "var/lib/docker"
    written = data / "overlay2" / (data / "image/overlay2/layerdb/mounts" / row["id"] / "mount-id").read_text()
    used = sum(each.lstat().st_blocks * 512 for each in (written, *written.rglob("*")))
    assert (row["name"], row["snapshotter"], row["state"], row["bytes"]) == ("web", "overlay2", "classic", used)
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


def _named(inspected):
    """The directories of overlay2 that the engine says it uses: docker inspect, GraphDriver."""
    data = [each["GraphDriver"]["Data"] for each in json.loads(inspected.read_text())]
    return set(re.findall(r"/overlay2/([^/:]+)/", json.dumps(data)))


def test_what_the_engine_uses_is_live(host):
    """The directories that docker inspect names, and no other; the rest are what the killed pull unpacked."""
    document = json.loads(run("scan", "--format", "json", host))
    objects = [each for root in document["roots"] for each in root["objects"]]
    directories = {each["id"]: each for each in objects if each["kind"] == "layer-directory"}
    overlay2 = host / "var/lib/docker/overlay2"
    assert set(directories) == {each.name for each in overlay2.iterdir()} - {"l"}
    live = {name for name, each in directories.items() if each["state"] == "live"}
    assert live == _named(host.parent / "inspected.json")
    assert {each["state"] for name, each in directories.items() if name not in live} <= {"orphaned", "unreachable"}
    held = {(ref["kind"], ref["id"]) for each in directories.values() for ref in each["held_by"]}
    (container,) = [each.name for each in (host / "var/lib/docker/containers").iterdir()]
    assert held == {("container", container), ("image", f"127.0.0.1:{PORT}/shop:1")}
    assert {
        each["code"] for root in document["roots"] for each in root["findings"] if each["severity"] != "note"
    } == set()


def test_explain_leads_from_the_image_to_its_directories(host):
    """Each layer with the directory that layerdb says; and from a directory back to the image and the container."""
    data = host / "var/lib/docker"
    (explained,) = json.loads(run("explain", f"127.0.0.1:{PORT}/shop:1", "--format", "json", host))["explanations"]
    directories = [line.rpartition("/")[2] for line in explained["refers_to"]]
    records = {each.read_text() for each in (data / "image/overlay2/layerdb/sha256").glob("*/cache-id")}
    assert directories
    assert set(directories) <= records
    said = run("explain", directories[0], host)
    assert f"image 127.0.0.1:{PORT}/shop:1" in said
    assert "container web" in said


def test_layers_give_their_diff_ids(host, tmp_path):
    """Read from the files and dockerd's own tar-split: nothing is damaged; one byte more, and the layer differs."""
    options = ("--unpacked=content", "--no-second-reading", "--state", tmp_path / "state")
    said = run("verify", *options, host, status=0)
    layers = len(list((host / "var/lib/docker/image/overlay2/layerdb/sha256").iterdir()))
    assert f"unpacked layers: {layers} checked" in said
    (busybox, *_) = [
        each for each in (host / "var/lib/docker/overlay2").glob("*/diff/bin/busybox") if not each.is_symlink()
    ]
    before = busybox.read_bytes()
    busybox.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        said = run("verify", *options, host, status=2)
    finally:
        busybox.write_bytes(before)
    assert "layer-differs" in said
    assert f"affects image 127.0.0.1:{PORT}/shop:1" in said
    assert "affects container web" in said


def test_dockerd_deletes_what_came(host, tmp_path):
    """As the text says: it is gone when dockerd is up, and the container is whole. Meanwhile only --live reads."""
    data = host / "var/lib/docker"
    assert _downloaded(data)
    with Sandbox(tmp_path, rootfs(Suite.FORKY), data) as sandbox, Docker(sandbox, classic=True) as docker:
        wait_for(lambda: not _downloaded(data), 20, "an empty tmp")
        run("scan", host, status=32)
        document = json.loads(run("scan", "--live", "--format", "json", host))
        assert docker.docker("start", "-a", "web")
    objects = [each for root in document["roots"] for each in root["objects"] if each["kind"] == "layer-directory"]
    assert {each["id"] for each in objects if each["state"] == "live"} == _named(host.parent / "inspected.json")
    assert not [each for root in document["roots"] for each in root["findings"] if each["severity"] != "note"]


def test_what_is_called_damage_stops_dockerd_or_loses_an_image(host, tmp_path):
    """Both are tried: with such a repositories.json dockerd does not start, with such a record it lists no image."""
    image = host / "var/lib/docker/image/overlay2"
    references = image / "repositories.json"
    whole = references.read_text()
    identity = json.loads(whole)["Repositories"][f"127.0.0.1:{PORT}/shop"][f"127.0.0.1:{PORT}/shop:1"]
    (config,) = (image / "imagedb/content").rglob(identity.removeprefix("sha256:"))
    chain = json.loads(config.read_text())["rootfs"]["diff_ids"][0]
    record = image / "layerdb/sha256" / chain.removeprefix("sha256:") / "size"
    with Sandbox(tmp_path, rootfs(Suite.FORKY), host / "var/lib/docker") as sandbox:
        references.write_text(whole[:-3])
        assert "dockerd does not start" in run("scan", host)
        with pytest.raises(TimeoutError, match=r"repositories|unexpected end of JSON|unexpected EOF"):
            Docker(sandbox, classic=True).start()
        references.write_text(whole)
        size = record.read_text()
        record.write_text("many")
        said = run("scan", host)
        assert f"image 127.0.0.1:{PORT}/shop:1: its layer {chain} cannot be loaded" in said
        with Docker(sandbox, classic=True) as docker:
            assert docker.docker("images", "-q") == ""
        record.write_text(size)
        with Docker(sandbox, classic=True) as docker:
            assert docker.docker("images", "-q")
