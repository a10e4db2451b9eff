"""A Docker host that was switched to the image store: what is said, listed, exported and dropped of each store."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.captures import capture
from tests.support.documents import run
from tests.support.mounted import facts, mount, unpack_tar
from tests.support.switched import HOST, SAID, settle, use, without_container

from drydock.cli import main
from drydock.reclaim import knife

pytestmark = pytest.mark.root

NOW = ("--now", HOST.taken_at)


@pytest.fixture
def host(unpacked_anew):
    """The host, with the settings of the image store."""
    found = unpacked_anew(HOST)
    settle(found, classic=False)
    return found


def _store(host):
    (found,) = json.loads(run("scan", "--format", "json", *NOW, host))["stores"]
    return found


def _listed(kind, store, host):
    (root,) = json.loads(run("ls", kind, "--store", store, "--format", "json", *NOW, host, status=0))["roots"]
    return root[kind]


def test_it_is_said_which_store_is_used(host):
    """By the newest records and by daemon.json; without a daemon.json that depends on the version."""
    found = _store(host)
    assert (found["last"], found["next"]) == ("image-store", "image-store")
    assert found["next_reason"] == "Docker 5:28.5.2-1: features.containerd-snapshotter is true"
    (host / "etc/docker/daemon.json").unlink()
    found = _store(host)
    assert (found["next"], found["next_reason"]) == (
        "classic",
        "Docker 5:28.5.2-1: features.containerd-snapshotter is not set",
    )
    (host / "var/lib/dpkg/status").unlink()
    assert _store(host)["next"] == "classic"
    (host / "etc/docker/daemon.json").write_text('{"storage-driver": "overlayfs"}')
    assert _store(host)["next"] is None


def test_a_host_of_docker_29(unpacked_anew):
    """It uses the image store; anything in overlay2 would make its next start choose the classic one."""
    found = unpacked_anew(capture("docker-29-interrupted"))
    settle(found, classic=False, version="29.7.2")
    (found / "etc/docker/daemon.json").write_text("{}")
    store = _store(found)
    assert (store["last"], store["next"], store["idle"]) == ("image-store", "image-store", None)
    (found / "var/lib/docker/overlay2/l").mkdir(parents=True)
    store = _store(found)
    assert (store["last"], store["next"]) == ("image-store", "classic")
    assert store["next_reason"] == "Docker 5:29.7.2-1: the folder overlay2 is not empty"


def test_the_idle_store_is_named(host):
    """With what is in it: the finding idle-store, and the same in the document. The bytes are those of du."""
    data = host / HOST.docker
    idle = json.loads(run("scan", "--format", "json", "--measure", "disk", *NOW, host))["stores"][0]["idle"]
    paths = [data / "overlay2", data / "image/overlay2/layerdb"]
    used = subprocess.run(["du", "-x", "-B1", "-sc", *paths], check=True, capture_output=True, text=True).stdout
    folders = [*paths, *(paths[1] / each for each in ("sha256", "mounts", "tmp")), paths[0] / "l"]
    own = sum(each.stat().st_blocks * 512 for each in folders if each.exists())
    assert (idle["store"], idle["images"], idle["containers"]) == ("classic", 2, 1)
    assert idle["bytes"] == int(used.split()[-2]) - own
    text = run("scan", *NOW, host)
    assert "idle classic store in" in text
    assert "run drydock clean --drop-store classic" in text
    # No command of Docker frees what is in it.
    (row,) = [line for line in text.splitlines() if "idle store: images" in line]
    assert row.endswith("drydock clean --drop-store classic")
    settle(host, classic=True)
    use(host, classic=True)
    (root,) = json.loads(run("scan", "--format", "json", *NOW, host))["roots"]
    (found,) = [each for each in root["findings"] if each["code"] == "idle-store"]
    assert found["message"].startswith("idle image store in")
    assert ", with images: 2, containers: 1, bytes: " in found["message"]


def test_the_volume_of_a_hidden_container_is_named(host):
    """The anonymous volume of the classic container; not that of the container that dockerd sees."""
    (root,) = json.loads(run("scan", "--format", "json", *NOW, host))["roots"]
    found = [each for each in root["findings"] if each["code"] == "hidden-volume"]
    assert len(found) == 1
    assert "of container web: its files are in the classic store" in found[0]["message"]
    assert (host / HOST.docker / "volumes" / found[0]["subject"] / "_data/orders").read_text() == "web\n"


@pytest.mark.parametrize("store", ["classic", "image-store"])
def test_each_store_is_listed_as_its_engine_listed_it(host, store):
    """The same ids and names of images and containers; sizes are there."""
    images = _listed("images", store, host)
    if store == "classic":
        assert sorted(f"{each['digest']} {each['name']}" for each in images) == SAID["classic images"]
        assert {each["platforms"][0] for each in images} == {"linux/amd64"}
    else:
        named = {f"{each['digest']} {each['name'].removeprefix('docker.io/library/')}" for each in images}
        assert named >= set(SAID["image-store images"])
    assert all(each["bytes"] > 1_000_000 for each in images)
    containers = _listed("containers", store, host)
    assert sorted(f"{each['id']} {each['name']}" for each in containers) == SAID[f"{store} containers"]
    assert all(each["bytes"] > 0 for each in containers)


def test_an_image_of_the_classic_store_is_exported(host, tmp_path):
    """With the config that is its id, and layers that are the diff ids which docker inspect printed."""
    output = tmp_path / "old.tar"
    run("export", "image", "old:1", host, "-o", output, status=0)
    with tarfile.open(output) as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))
        assert entry["RepoTags"] == ["old:1"]
        assert f"sha256:{_sha256(archive, entry['Config'])} old:1" in SAID["classic images"]
        layers = [f"sha256:{_sha256(archive, name)}" for name in entry["Layers"]]
        assert layers == json.loads(SAID["classic layers of old:1"][0])
        index = json.load(archive.extractfile("index.json"))
        (named,) = index["manifests"]
        assert hashlib.sha256(archive.extractfile(_member(named["digest"])).read()).hexdigest() in named["digest"]


def test_a_layer_that_was_changed_is_not_exported(host, tmp_path):
    """The layer is named, and no file is left."""
    (changed,) = (host / HOST.docker / "overlay2").glob("*/diff/srv/old")
    changed.write_text("OLD\n")
    run("export", "image", "old:1", "--store", "classic", host, "-o", tmp_path / "old.tar", status=8)
    assert not (tmp_path / "old.tar").exists()
    run("export", "image", "old:1", "--store", "image-store", host, "-o", tmp_path / "old.tar", status=8)


def test_the_files_of_a_classic_container_are_exported(host, tmp_path):
    """The tar has what a mount of its layers shows, and diff says what docker diff would."""
    output = tmp_path / "web.tar"
    run("export", "container", "web", host, "-o", output, status=0)
    unpack_tar(output, tmp_path / "out")
    (identity,) = (line.partition(" ")[0] for line in SAID["classic containers"])
    overlay2 = host / HOST.docker / "overlay2"
    top = overlay2 / (host / HOST.docker / "image/overlay2/layerdb/mounts" / identity / "mount-id").read_text()
    lower = ":".join(str((overlay2 / each).resolve()) for each in (top / "lower").read_text().split(":"))
    with mount(f"lowerdir={top / 'diff'}:{lower}", tmp_path) as point:
        assert facts(tmp_path / "out") == facts(point)
    assert not (tmp_path / "out/srv/shop").exists()
    changes = run("diff", "container", "web", host, status=0).splitlines()
    assert {"A /srv/d", "A /srv/orders", "D /srv/shop", "C /srv"} <= set(changes)
    assert not any("resolv.conf" in change for change in changes)


def _sha256(archive, name):
    return hashlib.sha256(archive.extractfile(name).read()).hexdigest()


def _member(digest):
    return "blobs/" + digest.replace(":", "/")


@pytest.mark.parametrize(("store", "said"), [("classic", "web"), ("image-store", "fresh")])
def test_a_store_with_a_container_is_not_dropped(host, store, said):
    """The container is named, and nothing is planned."""
    assert f"are or may be in it: {said};" in _refusal("plan", "--drop-store", store, *NOW, host)


def test_a_store_that_may_be_in_use_is_not_dropped(host):
    """The one that was used last, the one that comes next, and each if that is not known."""
    without_container(host, "web")
    run("plan", "--drop-store", "classic", *NOW, host, status=1)
    use(host, classic=True)
    assert "the classic store was used last" in _refusal("plan", "--drop-store", "classic", *NOW, host)
    use(host, classic=False)
    settle(host, classic=True)
    assert "the next start of dockerd chooses the classic store" in _refusal(
        "plan", "--drop-store", "classic", *NOW, host
    )
    (host / "etc/docker/daemon.json").write_text('{"features": {"containerd-snapshotter": tru')
    assert "is not dropped, because" in _refusal("plan", "--drop-store", "classic", *NOW, host)


def test_options_that_exclude_each_other(host):
    """--keep would leave half of a store, and --no-edit all of the image store."""
    without_container(host, "web")
    assert "leave out --keep" in _refusal("plan", "--drop-store", "classic", "--keep", "old:1", host, status=16)
    assert "leave out --no-edit" in _refusal("plan", "--drop-store", "classic", "--no-edit", host, status=16)


def test_the_plan_names_what_only_the_classic_store_has(host):
    """old:1 is there alone; shop:1 is in the image store too, by its config. The plan says which mode comes next."""
    without_container(host, "web")
    text = run("clean", "--drop-store", "classic", *NOW, host, status=1)
    lost = [line for line in text.splitlines() if "WOULD BE LOST" in line]
    assert len(lost) == 1
    assert lost[0].endswith(": old:1")
    assert "the next start of dockerd chooses the image store, as before" in text


def test_the_plan_names_what_only_the_image_store_has(host):
    """new:1 is there alone."""
    settle(host, classic=True)
    use(host, classic=True)
    fresh = SAID["image-store containers"][0].partition(" ")[0]
    (host / HOST.docker / "containers" / fresh / "config.v2.json").unlink()
    Path(host / HOST.docker / "containers" / fresh).rename(host / "aside")
    text = run("clean", "--drop-store", "image-store", *NOW, host, status=1)
    lost = [line for line in text.splitlines() if "WOULD BE LOST" in line]
    assert len(lost) == 1
    assert "new:1" in lost[0]
    assert "the next start of dockerd chooses the classic store, as before" in text


@pytest.mark.parametrize("store", ["classic", "image-store"])
def test_undo_brings_a_store_back(host, store):
    """Its images and containers are listed as before, and every file is in its place."""
    other = "image-store" if store == "classic" else "classic"
    settle(host, classic=other == "classic")
    use(host, classic=other == "classic")
    without_container(host, "web" if store == "classic" else "fresh")
    (host / "aside").mkdir(mode=0o700)
    data = host / HOST.docker
    before = {path: path.lstat().st_size for path in data.rglob("*") if not path.is_dir() and path.suffix != ".db"}
    images = {each: _listed("images", each, host) for each in (store, other)}
    drop = ("clean", "--drop-store", store, "--apply", "--yes", *NOW, "--state", host / "state")
    run(*drop, "--quarantine", host / "aside", host, status=0)
    assert _listed("images", store, host) == []
    assert _listed("images", other, host) == images[other]
    (journal,) = (host / "state").glob("*/journal.jsonl")
    run("undo", journal, status=0)
    assert {path: path.lstat().st_size for path in before if path.is_symlink() or path.exists()} == before
    assert {each: _listed("images", each, host) for each in (store, other)} == images


def test_a_record_of_builds_that_stays_keeps_the_image_store(host, monkeypatch):
    """BuildKit's records go first: if one cannot be removed, no database is edited and no image goes."""
    settle(host, classic=True)
    use(host, classic=True)
    without_container(host, "fresh")
    images = _listed("images", "image-store", host)
    unlink = knife.unlink

    def refuse(name, *, dir_fd):
        if name == b"history_c8d.db":
            raise PermissionError(1, "Operation not permitted")
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(knife, "unlink", refuse)
    drop = ("clean", "--drop-store", "image-store", "--apply", "--yes", *NOW, "--state", host / "state")
    text = run(*drop, host, status=4)
    assert "history_c8d.db: failed: Operation not permitted" in text
    assert "not tried" in text
    assert _listed("images", "image-store", host) == images


def _refusal(*arguments, status=32):
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == status, result.output
    return result.output
