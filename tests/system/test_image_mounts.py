"""Image mounts that Docker 28.5 and 29 make (``docker run --mount type=image``): their leases are a container's."""

import json
from typing import NamedTuple

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT, images
from tests.engines.docker import Docker
from tests.engines.hosts import NEWEST
from tests.engines.images import busybox_layer
from tests.engines.modules import built
from tests.engines.registry import Registry
from tests.engines.sandbox import Sandbox
from tests.engines.suite import Suite, rootfs
from tests.support.documents import run

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]


class Made(NamedTuple):
    """A host, and what its engine said of the container that mounts an image."""

    version: str
    host: object
    container: str
    leases: set[str]
    """Of the namespace ``moby``, without those that end."""


@pytest.fixture(scope="module", params=["28.5", "29"])
def made(request, tmp_path_factory):
    """A host of each version, with one container that mounts an image twice."""
    work = tmp_path_factory.mktemp("mounts")
    data = work / "host/var/lib/docker"
    data.mkdir(parents=True)
    programs = [built(each) for each in NEWEST] if request.param == "29" else []
    with (
        Sandbox(work, rootfs(Suite.FORKY), data, programs) as sandbox,
        Docker(sandbox) as docker,
        Registry(sandbox.listen(PORT), images(busybox_layer())) as registry,
    ):
        docker.docker("pull", "-q", f"{registry.address}/tools:2")
        targets = ["/one", "/two"] if request.param == "29" else ["/one"]  # 28.5 takes an image once
        mounts = [f"--mount=type=image,source={registry.address}/tools:2,target={each}" for each in targets]
        made = docker.docker("create", "--name", "user", "--network", "none", *mounts, f"{registry.address}/shop:1")
        listed = docker.ctr("leases", "ls").splitlines()[1:]
    leases = {line.split()[0] for line in listed if "gc.expire" not in line}
    assert len(leases) == 1 + len(targets)
    return Made(request.param, work / "host", made.strip(), leases)


def _leases(host):
    (root,) = json.loads(run("scan", "--format", "json", host))["roots"]
    return {each["id"]: each for each in root["leases"] if each["namespace"] == "moby" and each["expires"] is None}


def test_they_are_the_containers(made):
    """Each has the container as its owner, whatever its name is made of."""
    found = _leases(made.host)
    assert set(found) == made.leases
    assert {(each["class"], each["owner"]) for each in found.values()} == {("container", "container user")}
    names = made.leases - {made.container}
    if made.version == "28.5":
        assert names == {f"{made.container}-127.0.0.1:{PORT}/tools:2"}
    else:
        assert all(len(name) == 64 for name in names)


def test_they_do_not_end(made):
    """Neither with all that have no owner nor by name."""
    run("clean", "--end-leases", "ownerless", made.host, status=0)
    for lease in made.leases:
        run("clean", "--end-lease", lease, made.host, status=32)


def test_they_stay_where_the_configuration_cannot_be_read(made):
    """Then the name of a mount of 29 tells nothing, and it is not ownerless."""
    config = made.host / "var/lib/docker/containers" / made.container / "config.v2.json"
    whole = config.read_bytes()
    config.write_bytes(whole[: len(whole) // 2])
    try:
        classes = {lease: each["class"] for lease, each in _leases(made.host).items()}
        run("clean", "--end-leases", "ownerless", made.host, status=8)
    finally:
        config.write_bytes(whole)
    named = {lease for lease in made.leases if lease.startswith(made.container)}
    assert classes == dict.fromkeys(made.leases, "unknown") | dict.fromkeys(named, "container")
