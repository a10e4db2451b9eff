"""Docker 28.5, switched back and forth: what a drop of one store leaves is what each mode needs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT, images
from tests.engines.containerd import ctr_command
from tests.engines.docker import Docker
from tests.engines.hosts import NEWEST, docker_on
from tests.engines.images import busybox_layer
from tests.engines.modules import built
from tests.engines.registry import Registry
from tests.engines.sandbox import Sandbox
from tests.engines.suite import Suite, rootfs
from tests.support.captures import unpack
from tests.support.documents import run
from tests.support.faults import run_counted
from tests.support.switched import HOST, SAID, settle, use, without_container

pytestmark = pytest.mark.root

ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ
_BUILD = b"""\
FROM %s
RUN ["/bin/busybox", "sh", "-c", "echo again >/srv/again"]
"""


def _docker(host, work, *, classic):
    work.mkdir(exist_ok=True)
    return docker_on(replace(HOST, classic=classic), host, work / ("classic" if classic else "images"))


def _images(docker):
    rows = docker.docker("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}")
    return sorted(rows.splitlines())


def _containers(docker):
    return sorted(docker.docker("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}").splitlines())


def _runs(docker, image, path):
    return docker.docker("run", "--rm", "--network", "none", image, "/bin/busybox", "cat", path)


def _of_mine(docker, *arguments, stdin=b""):
    """What ctr says about a namespace that is not dockerd's."""
    command = ctr_command("/run/docker/containerd/containerd.sock", "mine")
    return docker.sandbox.run(*command, *arguments, stdin=stdin).stdout.decode()


def _pulls(docker):
    """Pull an image with layers that no store has any more."""
    with Registry(docker.sandbox.listen(PORT), images(busybox_layer())) as registry:
        tools = f"{registry.address}/tools:2"
        docker.docker("pull", "-q", tools)
        listed = docker.docker("run", "--rm", "--network", "none", tools, "/bin/busybox", "ls", "/opt")
        assert listed.split() == ["one", "three", "two"]
        docker.docker("rmi", tools)


def _builds(docker, base):
    docker.docker("build", "-q", "--network", "none", "-t", "again:1", "-", stdin=_BUILD % base.encode())
    assert _runs(docker, "again:1", "/srv/again") == "again\n"
    docker.docker("rmi", "again:1")


def _store(host):
    (found,) = json.loads(run("scan", "--format", "json", host))["stores"]
    return found


def _drop(host, store):
    return run("clean", "--drop-store", store, "--apply", "--yes", "--state", host / "state", host, status=0)


@pytest.mark.engine
@pytest.mark.slow
def test_the_classic_store_is_dropped(unpacked_anew, tmp_path):
    """The image store is as before; a switch back finds an empty store that loads, builds and runs.

    What was exported before is loaded in both modes, with its id in the classic one.
    """
    host = unpacked_anew(HOST)
    settle(host, classic=False)
    old = tmp_path / "old.tar"
    run("export", "image", "old:1", "--store", "classic", host, "-o", old, status=0)
    with _docker(host, tmp_path / "before", classic=True) as docker:
        assert _images(docker) == SAID["classic images"]
        docker.docker("rm", "web")
    assert (_store(host)["last"], _store(host)["next"]) == ("classic", "image-store")
    assert "the classic store was used last" in _refused(host, "classic")
    with _docker(host, tmp_path / "before", classic=False) as docker:
        assert _images(docker) == SAID["image-store images"]
        cache = docker.system_df("--format", "{{.Type}} {{.TotalCount}} {{.Size}}")
    assert _store(host)["last"] == "image-store"
    text = _drop(host, "classic")
    assert text.count("WOULD BE LOST") == 1
    data = host / HOST.docker
    assert [path.name for path in (data / "overlay2").iterdir()] == ["l"]
    assert (_store(host)["last"], _store(host)["next"], _store(host)["idle"]) == ("image-store", "image-store", None)
    with _docker(host, tmp_path / "after", classic=False) as docker:
        assert _images(docker) == SAID["image-store images"]
        assert _containers(docker) == SAID["image-store containers"]
        assert docker.system_df("--format", "{{.Type}} {{.TotalCount}} {{.Size}}") == cache
        assert docker.docker("start", "fresh") == "fresh\n"
        _builds(docker, "new:1")
        _pulls(docker)
        docker.docker("load", "-q", stdin=old.read_bytes())
        assert _runs(docker, "old:1", "/srv/old") == "old\n"
        docker.docker("rmi", "old:1")
    with _docker(host, tmp_path / "after", classic=True) as docker:
        assert _images(docker) == []
        assert _containers(docker) == []
        docker.docker("load", "-q", stdin=old.read_bytes())
        assert _images(docker) == [each for each in SAID["classic images"] if each.endswith(" old:1")]
        _builds(docker, "old:1")
        _pulls(docker)


@pytest.mark.engine
@pytest.mark.slow
def test_the_image_store_is_dropped(unpacked_anew, tmp_path):
    """The classic store is as before; a switch back finds an empty image store that loads, builds and runs."""
    host = unpacked_anew(HOST)
    settle(host, classic=True)
    new = tmp_path / "new.tar"
    run("export", "image", "new:1", "--store", "image-store", host, "-o", new, status=0)
    with _docker(host, tmp_path / "before", classic=False) as docker:
        docker.docker("rm", "fresh")
    shop = tmp_path / "shop.tar"
    run("export", "image", "127.0.0.1:5000/shop:1", "--store", "image-store", host, "-o", shop, status=0)
    with _docker(host, tmp_path / "before", classic=True) as docker:
        assert _images(docker) == SAID["classic images"]
        _of_mine(docker, "images", "import", "-", stdin=shop.read_bytes())
        mine = _of_mine(docker, "images", "check")
    assert "complete" in mine
    assert (_store(host)["last"], _store(host)["next"]) == ("classic", "classic")
    text = _drop(host, "image-store")
    assert text.count("WOULD BE LOST") == 1
    (root,) = json.loads(run("ls", "images", "--store", "image-store", "--format", "json", host))["roots"]
    assert [each["namespace"] for each in root["images"]] == ["mine"]
    assert _store(host)["idle"] is None
    with _docker(host, tmp_path / "after", classic=True) as docker:
        assert _images(docker) == SAID["classic images"]
        assert _containers(docker) == SAID["classic containers"]
        assert docker.docker("start", "web") == "web\n"
        assert _runs(docker, "old:1", "/srv/old") == "old\n"
        # Another namespace has layers of the dropped images: its data stays, unpacked and packed.
        assert _of_mine(docker, "images", "check") == mine
        _builds(docker, "old:1")
        _pulls(docker)
    with _docker(host, tmp_path / "after", classic=False) as docker:
        assert _images(docker) == []
        _pulls(docker)
        docker.docker("load", "-q", stdin=new.read_bytes())
        assert _images(docker) == [each for each in SAID["image-store images"] if each.endswith(" new:1")]
        _builds(docker, "new:1")


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("has_overlay2", [True, False])
def test_docker_29_chooses_as_it_is_said(unpacked_anew, tmp_path, has_overlay2):
    """Without a setting: by whether overlay2 is empty, so a drop of the classic store changes no mode."""
    host = unpacked_anew(HOST)
    settle(host, classic=False, version="29.7.2")
    (host / "etc/docker/daemon.json").write_text("{}")
    if has_overlay2:
        _empty(host / HOST.docker / "overlay2")
    else:
        shutil.rmtree(host / HOST.docker / "overlay2")
    found = _store(host)
    (tmp_path / "work").mkdir()
    newest = [built(each) for each in NEWEST]
    with (
        Sandbox(tmp_path / "work", rootfs(Suite.FORKY), host / HOST.docker, newest) as sandbox,
        Docker(sandbox, classic=None) as docker,
    ):
        driver = docker.docker("info", "--format", "{{.Driver}}").strip()
    assert (found["next"], driver) == (("classic", "overlay2") if has_overlay2 else ("image-store", "overlayfs"))


def _empty(overlay2):
    """What a drop leaves: overlay2 with an empty l."""
    for path in overlay2.iterdir():
        if path.is_dir() and path.name != "l":
            shutil.rmtree(path)
    for link in (overlay2 / "l").iterdir():
        link.unlink()


def _refused(host, store):
    ended = run_counted("clean", "--drop-store", store, host)
    assert ended.status == 32
    return ended.output


def _ready(folder, store):
    """A host whose store may be dropped, by hand."""
    folder.mkdir()
    host = unpack(HOST, folder)
    settle(host, classic=store == "image-store")
    without_container(host, "web" if store == "classic" else "fresh")
    use(host, classic=store == "image-store")
    return host


def _kept(host, store):
    """Every file that the other store and the rest of the data root have, by path."""
    data = host / HOST.docker
    places = {
        "classic": ["containerd", "volumes", "containers", "buildkit/history_c8d.db", "buildkit/cache.db"],
        "image-store": [
            "image/overlay2",
            "overlay2",
            "volumes",
            "containers",
            "buildkit/snapshots.db",
            "buildkit/cache.db",
        ],
    }[store]
    files = [path for place in places for path in [data / place, *(data / place).rglob("*")]]
    return {
        path.relative_to(data): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file() and not path.is_symlink()
    }


def _left(host):
    return {path.relative_to(host) for path in (host / HOST.docker).rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("store", ["classic", "image-store"])
def test_a_kill_hurts_nothing_and_the_next_run_ends_the_same(tmp_path, store):
    """After any call: what stays is whole, and the same command ends as an undisturbed run."""
    whole = _ready(tmp_path / "whole", store)
    command = ("clean", "--drop-store", store, "--apply", "--yes", "--now", HOST.taken_at)
    ended = run_counted(*command, "--state", whole / "state", whole)
    assert ended.status == 0, ended.output
    kept, left = _kept(whole, store), _left(whole)
    databases = {path for path in kept if path.suffix == ".db"}
    step = 1 if ALL else max(1, len(ended.calls) // 6)
    for number in range(1, len(ended.calls) + 1, step):
        host = _ready(tmp_path / str(number), store)
        assert run_counted(*command, "--state", host / "state", host, kill_after=number).signal == signal.SIGKILL
        found = _kept(host, store)
        assert {path: found.get(path) for path in kept if path not in databases} == {
            path: value for path, value in kept.items() if path not in databases
        }
        again = run_counted(*command, "--state", host / "state", host)
        # Some of BuildKit's databases may be gone: then 8 says that they could not be read.
        assert again.status in (0, 8), (number, again.output)
        assert _left(host) == left, number
        shutil.rmtree(host)
