"""From the symptom to its end: the documents' commands, all of them, in their order, typed beside a real Docker."""

import hashlib
import json
import os
import re
import tarfile
import time

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT, images, start_pull
from tests.engines.hosts import docker_on
from tests.engines.images import Image, base_of, layer, noise
from tests.engines.registry import Registry
from tests.support.browser import browser, opened
from tests.support.captures import capture, unpack
from tests.support.full_disk import disk, fill
from tests.support.newcomer import TOP, Newcomer, blocks, section
from tests.support.records import CONTENT
from tests.support.spoiled import Spoiled

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

TAKEN = "docker-28.5-interrupted-pull"
REGISTRY = f"127.0.0.1:{PORT}"
TOOLS = f"{REGISTRY}/tools:2"


@pytest.fixture
def host(tmp_path, unpacked_anew):
    """The captured host; its containerd has pulled shop, and its user runs out of patience with tools once more."""
    return unpacked_anew(capture(TAKEN))


def served_on(host):
    """What the registry has, on the layer that the captured host has already."""
    of = capture(TAKEN)
    base = base_of(host / of.root / CONTENT, of.facts["dockerd"]["images"][0]["id"])
    return {**images(base), "more:1": Image((base, layer({"srv/": b"", "srv/more": noise(9, 300)})))}


def interrupt_a_pull(docker, served):
    """Ctrl-C in the middle of the fourth layer; what came is held by a lease of eight hours."""
    with Registry(docker.sandbox.listen(PORT), served) as registry:
        start_pull(docker, registry, "tools:2", served["tools:2"], held=3).interrupt()


def lasting_leases(docker):
    """Those that are still there after a second: dockerd takes some for a moment, and what Ctrl-C ended has one."""
    before = docker.ctr("leases", "ls", "-q").split()
    time.sleep(1)
    after = docker.ctr("leases", "ls", "-q").split()
    return [each for each in before if each in after]


def commands(document, *titles):
    """Those of the parts of a document, in order; what the README says first has a link to the document."""
    text = (TOP / "docs" / document).read_text()
    assert f"(docs/{document})" in (TOP / "README.md").read_text()
    parts = [section(text, title) for title in titles] or [section(text)]
    found = [line for part in parts for block in blocks(part) for line in block]
    assert len(found) >= 5
    return found


def runs(docker, image, path, *made):
    """Whether a container of an image has the file that was put in."""
    said = docker.docker("run", "--rm", "--network", "none", image, "/bin/busybox", "sha256sum", path)
    return said.split()[0] == hashlib.sha256(noise(*made)).hexdigest()


def room(point):
    """Bytes free, for root: engines run as root."""
    found = os.statvfs(point)
    return found.f_bfree * found.f_frsize


def test_from_disk_is_full_to_space_is_back(tmp_path):
    """docs/disk-full.md: nothing can be pulled on a disk of 0 bytes; at its end there is room, and the pull works."""
    of = capture(TAKEN)
    host = tmp_path / "host"
    point = host / of.docker
    point.mkdir(parents=True)
    with disk(tmp_path / "disk", point, 96 << 20):
        unpack(of, host)
        served = served_on(host)
        with docker_on(of, host, tmp_path / "engine") as docker:
            interrupt_a_pull(docker, served)
            fill(point)
            with Registry(docker.sandbox.listen(PORT), served), pytest.raises(RuntimeError, match="no space left"):
                docker.docker("pull", "-q", f"{REGISTRY}/more:1")
            fill(point)
            assert room(point) == 0
            work = tmp_path / "work"
            work.mkdir()
            with Newcomer(point, work, {}, docker) as newcomer:
                typed = commands("disk-full.md")
                for line in typed:
                    newcomer.types(line)
            assert typed[0].startswith("systemctl stop")
            assert typed[-1].startswith("systemctl start")
            assert "1 interrupted pull" in newcomer.said["drydock pulls"]
            assert room(point) > 1 << 20
            with Registry(docker.sandbox.listen(PORT), served):
                docker.docker("pull", "-q", f"{REGISTRY}/more:1")
            assert runs(docker, f"{REGISTRY}/more:1", "/srv/more", 9, 300)
            assert runs(docker, f"{REGISTRY}/shop:1", "/srv/shop", 1, 60)
            give_up_what_is_referenced(docker, point, tmp_path / "again")


def cannot_start(docker, point):
    """Whether Docker does not start once the disk is full; it does where ext4 gives blocks back in that moment."""
    fill(point)
    try:
        docker.start()
    except TimeoutError:
        return True
    docker.stop()
    return False


def give_up_what_is_referenced(docker, point, work):
    """The last path of docs/disk-full.md: the files of a container fill the disk, so that Docker does not start.

    At its end Docker lists what ran and its image, and the files that were given up are in the archive.
    """
    shop = (f"{REGISTRY}/shop:1", "/bin/busybox")
    for ballast in point.glob("ballast*"):
        ballast.unlink()
    docker.docker("rm", "web")
    wrote = "dd if=/dev/zero of=/srv/large bs=1M count=24; echo order >/srv/orders"
    docker.docker("run", "--name", "web", "--network", "none", *shop, "sh", "-c", wrote)
    docker.docker("run", "--detach", "--name", "runs", "--stop-timeout", "1", "--network", "none", *shop,
                  "sleep", "600")  # fmt: skip
    docker.stop()
    assert any(cannot_start(docker, point) for _ in range(5))
    fill(point)
    assert room(point) == 0
    work.mkdir()
    with Newcomer(point, work, {}, docker) as newcomer:
        typed = commands("disk-full.md", "The daemon does not start, and nothing is orphaned")
        for line in typed:
            newcomer.types(line)
    said = newcomer.said
    assert "clean --drop stopped-containers" in said["drydock scan --measure disk"]
    assert "nothing to remove" in said["drydock clean"]
    assert f"removes image {REGISTRY}/more:1" in said["drydock clean --drop unused-images"]
    with tarfile.open(work / "web.tar") as archive:
        assert archive.extractfile("./srv/orders").read() == b"order\n"
    assert room(point) > 20 << 20
    assert docker.docker("ps", "--all", "--format", "{{.Names}}").split() == ["runs"]
    assert docker.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split() == [shop[0]]
    assert runs(docker, shop[0], "/srv/shop", 1, 60)


def test_from_what_fills_my_disk_to_a_page(host, tmp_path):
    """docs/what-fills-my-disk.md: beside a running Docker, then with it stopped; the page opens and has its images."""
    of = capture(TAKEN)
    with docker_on(of, host, tmp_path / "engine") as docker:
        interrupt_a_pull(docker, served_on(host))
        names = [f"{REGISTRY}/shop:1", "web"]
        leases, digests = lasting_leases(docker), docker.ctr("content", "ls", "-q").split()
        words = {"IMAGE": names[0], "LEASE": leases[0], "DIGEST": digests[0]}
        work = tmp_path / "work"
        work.mkdir()
        with Newcomer(host / of.docker, work, words, docker) as newcomer:
            for line in commands("what-fills-my-disk.md"):
                newcomer.types(line)
        document = json.loads((work / "report.json").read_text())
        (root,) = document["roots"]
        blobs = [each for each in root["objects"] if each["kind"] == "blob" and "moby" in each["namespaces"]]
        assert {each["id"] for each in blobs} == set(digests)
        assert root["live"]
        assert docker.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split() == [names[0]]
    with browser() as started, opened(started, work / "report.html") as page:
        for name in (*names, *leases, *digests):
            page.locator("#find").fill(name)
            assert page.locator("#list tbody tr").count() > 0, name
        page.locator("#find").fill("")
        page.locator("#kinds button", has_text="Interrupted pulls").click()
        assert page.locator("#list tbody tr").count() == 1
        assert re.search(r"\d MiB used, .* by ending leases", page.locator("h1").inner_text())
        assert page.complaints == []


@pytest.mark.parametrize(
    "what",
    [
        "flip_layer",
        *(["empty_manifest", "unlink_layer", "truncate_layer"] if "DRYDOCK_TEST_LONG" in os.environ else []),
    ],
)
def test_from_my_image_will_not_pull_to_a_pull(what, host, tmp_path):
    """docs/broken-image.md: a pull that fails however often it is tried; at its end it works, and so does the image."""
    of = capture(TAKEN)
    served = served_on(host)
    with docker_on(of, host, tmp_path / "engine") as docker:
        interrupt_a_pull(docker, served)
        docker.stop()
        getattr(Spoiled(host / of.root, served["tools:2"]), what)()
        docker.start()
        with Registry(docker.sandbox.listen(PORT), served):
            for _ in range(2):
                with pytest.raises(RuntimeError):
                    docker.docker("pull", "-q", TOOLS)
            work = tmp_path / "work"
            work.mkdir()
            with Newcomer(host / of.docker, work, {}, docker) as newcomer:
                for line in commands("broken-image.md"):
                    newcomer.types(line)
            docker.docker("pull", "-q", TOOLS)
        for path, *made in (("/opt/one", 2, 120), ("/opt/two", 3, 150), ("/opt/three", 5, 100)):
            assert runs(docker, TOOLS, path, *made)
        assert runs(docker, f"{REGISTRY}/shop:1", "/srv/shop", 1, 60)
        assert docker.docker("ps", "-a", "--format", "{{.Names}}").split() == ["web"]
