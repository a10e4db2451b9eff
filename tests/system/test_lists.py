"""Lists of captures and of live stores, item by item what the real ctr and docker listed."""

import json
import re

import pytest
from tests.engines.containerd import Containerd
from tests.engines.hosts import docker_on
from tests.engines.sandbox import Sandbox
from tests.support.captures import capture, captures
from tests.support.documents import run

pytestmark = pytest.mark.root

LISTED = [pytest.param(each, id=each.name) for each in captures() if each.facts.get("namespaces")]
KILLED = "docker-28.5-killed"


def _rows(kind, of, host):
    document = json.loads(run("ls", kind, host, "--now", of.taken_at, "--format", "json"))
    assert document["schema"] == "drydock.ls/1"
    [root] = document["roots"]
    return [row for row in root[kind] if row["namespace"] is not None]


@pytest.mark.parametrize("of", LISTED)
def test_lists_are_the_engines(of, unpacked):
    """Item by item what ctr listed: images, containers, snapshots, leases, content, ingests of every namespace."""
    host = unpacked(of)
    found = {
        kind: _rows(kind, of, host) for kind in ("images", "containers", "snapshots", "leases", "content", "ingests")
    }

    def rows(kind, namespace):
        return [row for row in found[kind] if row["namespace"] == namespace]

    dockers = {row["id"]: row["name"] for row in (of.facts["dockerd"] or {}).get("containers", [])}
    for namespace, lists in of.namespaces.items():
        assert [
            (row["name"], row["media_type"], row["digest"], row["labels"]) for row in rows("images", namespace)
        ] == [(row["name"], row["type"], row["digest"], row["labels"]) for row in lists["images"]]
        containers = [row for row in rows("containers", namespace) if row["engine"] == "containerd"]
        assert [[row[key] for key in ("id", "image", "runtime", "snapshotter", "snapshot")] for row in containers] == [
            [row[key] for key in ("id", "image", "runtime", "snapshotter", "snapshot")]
            for row in lists["containers"]
            # containerd has a record of one that ran as well.
            if row["id"] not in dockers
        ]
        said = {row["digest"]: row for row in lists["content"]}
        assert {row["digest"]: row["labels"] for row in rows("content", namespace)} == {
            digest: row["labels"] for digest, row in said.items()
        }
        for row in rows("content", namespace):
            assert row["size"] == said[row["digest"]]["size"]
            assert (row["state"] in ("missing", "corrupt")) <= (not said[row["digest"]]["intact"])
        assert {row["id"]: (row["created"], row["labels"]) for row in rows("leases", namespace)} == {
            row["id"]: (row["created"], row["labels"]) for row in lists["leases"]
        }
        # ctr does not list those whose folder is gone, and Docker's captures have one.
        there = sorted(row["ref"] for row in rows("ingests", namespace) if row["path"] is not None)
        assert there == sorted(row["ref"] for row in lists["ingests"])
        _same_snapshots(of, rows("snapshots", namespace), lists["snapshots"])
    docker = [row for row in found["containers"] if row["engine"] == "docker"]
    assert {row["id"]: row["name"] for row in docker} == dockers
    assert len(docker) == len(dockers)


def _same_snapshots(of, rows, lists):
    for snapshotter, said in lists.items():
        mine = {row["key"]: row for row in rows if row["snapshotter"] == snapshotter}
        # Where a row is gone, ctr lists nothing.
        there = {key: row for key, row in mine.items() if row["kind"] is not None}
        assert {key: (row["parent"], row["kind"]) for key, row in there.items()} == {
            row["key"]: (row["parent"], row["kind"]) for row in said
        }
        for row in said:
            if row["bytes"] is not None and there[row["key"]]["path"] is not None:
                assert there[row["key"]]["bytes"] == row["bytes"]


def test_lists_as_tables(unpacked):
    """Every list as a table: a title, a head, and a line for each row of the document."""
    of = capture(KILLED)
    host = unpacked(of)
    for kind in ("images", "containers", "snapshots", "leases", "content", "ingests"):
        lines = run("ls", kind, host, "--now", of.taken_at, status=0).splitlines()
        assert len(lines) == 2 + len(_rows(kind, of, host))
        assert lines[1].startswith("NAMESPACE  ")


DOCKERS = [pytest.param(each, id=each.name) for each in captures() if each.docker is not None and each.facts["dockerd"]]


@pytest.mark.parametrize("of", DOCKERS)
def test_dockers_own_lists(of, unpacked):
    """What docker ps -a and docker images said when the capture was taken: names, ids, images, what runs."""
    host = unpacked(of)
    said = of.facts["dockerd"]
    rows = [row for row in _rows("containers", of, host) if row["engine"] == "docker"]
    assert [(row["id"], row["name"], row["image"]) for row in rows] == sorted(
        (row["id"], row["name"], row["image"]) for row in said["containers"]
    )
    assert all(row["image_digest"] in {image["id"] for image in said["images"]} for row in rows)
    images = {row["digest"]: row["name"] for row in _rows("images", of, host) if row["namespace"] == "moby"}
    assert images == {row["id"]: row["name"] for row in said["images"]}


@pytest.mark.parametrize("of", LISTED)
def test_ingests_have_what_lies_in_their_folders(of, unpacked):
    """Bytes that came and bytes that were to come, as the files said, and rounded as ctr content active says it."""
    host = unpacked(of)
    rows = [row for row in _rows("ingests", of, host) if row["path"] is not None]
    files = of.facts.get("ingest_files") or {}
    for row in rows:
        known = files.get(row["path"].rpartition("/")[2])
        if known is not None:
            assert (row["received"], row["total"] or None) == (known["bytes"], known["total"] or None)
    for namespace, lists in of.namespaces.items():
        mine = {row["ref"]: row["received"] for row in rows if row["namespace"] == namespace}
        for said in lists["ingests"]:
            number, unit = re.fullmatch(r"([\d.]+) ?([kMG]?B)", said["size"]).groups()
            scale = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}[unit]
            assert abs(mine[said["ref"]] - float(number) * scale) <= 0.001 * scale + 1


@pytest.mark.engine
@pytest.mark.slow
def test_what_docker_lists_now(unpacked_anew, tmp_path):
    """Docker 28.5, with containers that run, stopped, were never started and have no tag any more: ps -a and images."""
    of = capture(KILLED)
    host = unpacked_anew(of)
    with docker_on(of, host, tmp_path / "docker") as docker:
        image = "127.0.0.1:5000/shop:1"
        docker.docker("tag", image, "second/name:2")
        docker.docker("tag", image, "third")
        docker.docker("create", "--name", "never", "third", "/bin/busybox", "true")
        docker.docker("run", "--network", "none", "--name", "ended", "second/name:2", "/bin/busybox", "true")
        docker.docker("rmi", "third")
        ps = docker.docker("ps", "-a", "--no-trunc", "--format", "json").splitlines()
        images = docker.docker("images", "--no-trunc", "--format", "json").splitlines()
        spaces = {name: docker.ctr("images", "ls", "-q", namespace=name).split() for name in ("moby",)}
    rows = json.loads(run("ls", "containers", host, "--format", "json"))["roots"][0]["containers"]
    # Of an image that has lost its name docker shows the digest; drydock has both.
    untagged = [row["image_digest"] if row["name"] == "never" else row["image"] for row in rows]
    assert {(row["id"], row["name"], image) for row, image in zip(rows, untagged, strict=True)} == {
        (row["ID"], row["Names"], row["Image"]) for row in map(json.loads, ps)
    }
    assert next(row["image"] for row in rows if row["name"] == "never") == "third"
    assert not any(row["running"] for row in rows)
    assert {row["state"] for row in rows} == {"live"}
    listed = json.loads(run("ls", "images", host, "--format", "json"))["roots"][0]["images"]
    assert {(row["name"].removeprefix("docker.io/"), row["digest"]) for row in listed} == {
        (f"{row['Repository']}:{row['Tag']}", row["ID"]) for row in map(json.loads, images)
    }
    assert sorted(row["name"] for row in listed) == sorted(spaces["moby"])


@pytest.mark.engine
@pytest.mark.slow
def test_what_ctr_lists_now(unpacked_anew, tmp_path):
    """Containerd 1.6: sizes and platforms of images, usage of snapshots with their parents, sizes of content."""
    of = capture("containerd-1.6-namespaces")
    host = unpacked_anew(of)
    said, usage, sizes = {}, {}, {}
    with Sandbox(tmp_path) as sandbox, Containerd(sandbox, host / of.root, collect=False) as engine:
        for namespace in of.namespaces:
            for line in engine.ctr_text("images", "ls", namespace=namespace).splitlines()[1:]:
                name, _, _, number, unit, platforms = line.split()[:6]
                said[namespace, name] = (float(number), unit, platforms)
            for line in engine.ctr_text("content", "ls", namespace=namespace).splitlines()[1:]:
                digest, size = re.split(r"\t+", line)[:2]
                sizes[namespace, digest] = size
            for line in engine.ctr_text("snapshots", "usage", "-b", namespace=namespace).splitlines()[1:]:
                key, size, _ = line.rsplit(maxsplit=2)
                usage[namespace, key.strip()] = int(size)
    listed = json.loads(run("ls", "images", host, "--format", "json"))["roots"][0]["images"]
    assert {(row["namespace"], row["name"]) for row in listed} == set(said)
    for row in listed:
        number, unit, platforms = said[row["namespace"], row["name"]]
        assert abs(row["bytes"] / 1024 ** ["B", "KiB", "MiB"].index(unit) - number) < 0.06
        assert ",".join(row["platforms"]) == platforms
    content = json.loads(run("ls", "content", host, "--format", "json"))["roots"][0]["content"]
    assert {(row["namespace"], row["digest"]) for row in content if row["namespace"]} == set(sizes)
    snapshots = json.loads(run("ls", "snapshots", host, "--format", "json"))["roots"][0]["snapshots"]
    committed = {
        (row["namespace"], row["key"]): row["bytes"]
        for row in snapshots
        if row["kind"] == "Committed" and row["snapshotter"] == "overlayfs" and row["namespace"]
    }
    assert committed
    assert {key: usage[key] for key in committed} == committed
