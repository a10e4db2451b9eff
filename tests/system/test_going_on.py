"""After reclaiming, real engines go on: they list what they had, run it, resume pulls, build, and collect nothing."""

import hashlib
import json
import os
import re

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT, images
from tests.engines.hosts import containerd_on, docker_on
from tests.engines.images import base_of, noise
from tests.engines.listing import dropped, listed
from tests.engines.registry import Registry
from tests.support import gobbolt
from tests.support.build_cache import left_by_steps
from tests.support.captures import capture, captures, clock, unpack
from tests.support.documents import run
from tests.support.records import CONTENT, METADATA, nested

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

READABLE = [each for each in captures() if "leases_ended" in each.facts]
# Docker 29's was made otherwise (test_docker29.py).
_ELSEWHERE = ("29",) if "DRYDOCK_TEST_LONG" in os.environ else ("29", "restored")
DOCKER = [
    pytest.param(each, id=each.name)
    for each in READABLE
    if each.docker and not any(word in each.name for word in _ELSEWHERE)
]
# test_newest.py has those of containerd 2.4.
CONTAINERD = [pytest.param(each, id=each.name) for each in READABLE if each.name.startswith("containerd-1.6")]
# The build of the captures' recipe, whose cache they have.
_BUILD = b"""\
FROM 127.0.0.1:5000/shop:1
RUN ["/bin/busybox", "sh", "-c", "echo built > /srv/built"]
"""
_CACHE = "buildkit/containerd-overlayfs/metadata_v2.db"
# BuildKit's leases of its cache (buildkit cache/manager.go, refs.go, v0.25).
_CACHE_RECORD = re.compile(rb"([0-9a-z]{25})(?:-variants|-view)?\Z")
# Of containerd's captures: what each image has been unpacked by, and one of its files, by seed and KiB.
_IMAGES = (
    ("default", "base", "overlayfs", 10, 60),
    ("default", "app", "overlayfs", 12, 50),
    ("k8s.io", "base", "overlayfs", 10, 60),
    ("k8s.io", "app", "native", 12, 50),
    ("ci", "base", "native", 10, 60),
)
_CONTAINERS = (("default", "ran"), ("default", "record"), ("ci", "job"))


@pytest.mark.parametrize("taken", DOCKER)
def test_docker_goes_on(taken, unpacked_anew, tmp_path):
    """Docker has all it had; images and containers run; the interrupted pull ends well, and so does a build.

    Only those cache records are gone that its first disk-usage run drops. Afterwards its own collector finds nothing to
    remove.
    """
    host = unpacked_anew(taken)
    left = left_by_steps(host / taken.docker / _CACHE)
    _clean(taken, host, tmp_path, "temporary")
    said = taken.facts["dockerd"]
    with docker_on(taken, host, tmp_path / "docker") as docker:
        state = _state(docker)
        assert (state["images"], state["containers"]) == (said["images"], said["containers"])
        cache = said["build_cache"]
        assert state["build_cache"] == (cache if cache is None else sorted({*cache} - left))
        assert _use(docker, said) == {"127.0.0.1:5000/shop:1": _sha256(1, 60), "web": "C /srv\nA /srv/orders\n"}
        base = base_of(host / taken.root / CONTENT, said["images"][0]["id"])
        with Registry(docker.sandbox.listen(PORT), images(base)) as registry:
            tools = f"{registry.address}/tools:2"
            docker.docker("pull", "-q", tools)
            for path, *made in (("/opt/one", 2, 120), ("/opt/two", 3, 150), ("/opt/three", 5, 100)):
                assert _hash_in(docker, tools, path) == _sha256(*made)
            assert _hash_in(docker, tools, "/var/large4") == hashlib.sha256(noise(4, 64) * 40).hexdigest()
            docker.docker("build", "-q", "--network", "none", "-t", "built:1", "-", stdin=_BUILD)
            assert _run(docker, "built:1", "cat", "/srv/built") == "built\n"
    with containerd_on(taken, host, tmp_path / "first", collect=False) as engine:
        before = listed(engine)
    with containerd_on(taken, host, tmp_path / "second", collect=True) as engine:
        engine.collect("moby")
        assert dropped(before, listed(engine)) == {}


@pytest.mark.parametrize("name", ["docker-28.5-killed", "docker-28.5-restored-backup"])
def test_ending_ownerless_leases_takes_nothing_from_docker(name, tmp_path):
    """Docker lists, runs and starts the same as on a copy that was not cleaned.

    Only ``docker system df`` does better: on the restored host it fails, since leases whose cache records are gone
    hold snapshots whose folders are gone; after their end it works.
    """
    taken = capture(name)
    found = {}
    for copy in ("as it was", "cleaned"):
        host = tmp_path / copy
        host.mkdir()
        unpack(taken, host)
        if copy == "cleaned":
            _clean(taken, host, tmp_path, "ownerless")
        with docker_on(taken, host, tmp_path / f"engine {copy}") as docker:
            if copy == "as it was":
                _settle(docker)
            found[copy] = {**_state(docker), **_use(docker, taken.facts["dockerd"])}
    broken = found["as it was"].pop("build_cache")
    works = found["cleaned"].pop("build_cache")
    assert found["cleaned"] == found["as it was"]
    assert works is not None
    assert works == broken or (broken is None and name == "docker-28.5-restored-backup")


@pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}")
@pytest.mark.parametrize("taken", DOCKER)
def test_what_ends_as_ownerless_has_no_owner(taken, unpacked_anew, tmp_path):
    """Besides the temporary leases, those end that are named for a cache record which Go finds in no BuildKit database.

    So do those of records that BuildKit drops itself. Where every record is there, no other ends; each lease of a
    container is left.
    """
    host = unpacked_anew(taken)
    before = _leases(taken, host)
    database = host / taken.docker / _CACHE
    records = nested(database)[b"_main"].keys()
    owners = {lease: named[1] for lease in before if (named := _CACHE_RECORD.match(lease))}
    lost = {lease for lease, name in owners.items() if name not in records}
    left = {each.encode() for each in left_by_steps(database)}
    dropped_by_buildkit = {lease for lease, name in owners.items() if name in left}
    _clean(taken, host, tmp_path, "ownerless")
    temporary = {lease.encode() for lease in taken.facts["leases_ended"]["moby"]}
    assert before - _leases(taken, host) == temporary | lost | dropped_by_buildkit
    assert bool(lost - temporary) == ("restored" in taken.name)


@pytest.mark.parametrize("taken", CONTAINERD)
def test_containerd_goes_on(taken, tmp_path):
    """Each image runs, and each container starts, as on a copy that was not cleaned; what is not damaged is whole."""
    found = {}
    for copy in ("as it was", "cleaned"):
        host = tmp_path / copy
        host.mkdir()
        unpack(taken, host)
        if copy == "cleaned":
            _clean(taken, host, tmp_path, "temporary")
        with containerd_on(taken, host, tmp_path / f"engine {copy}", collect=False) as engine:
            found[copy] = _run_all(engine)
    assert found["cleaned"] == found["as it was"]
    if "damaged" not in taken.name:
        all_of_them = [*((namespace, image) for namespace, image, *_ in _IMAGES), *_CONTAINERS]
        assert found["cleaned"] == dict.fromkeys(all_of_them, 0)


def _clean(taken, host, tmp_path, classes):
    run(
        "clean", "--end-leases", classes, "--apply", "--yes", "--now", clock(taken),
        "--state", tmp_path / "state", host, status=0,
    )  # fmt: skip


def _settle(docker):
    """Wait for the collection that follows a start where there is something to collect.

    Until then ``docker system df`` may meet folders that just vanish, and on the restored host ``docker run`` fails: an
    orphaned folder has the number that the next snapshot gets ("failed to rename ... snapshots/18: file exists").
    What drydock cleaned works at once.
    """
    docker.ctr("leases", "create", "--id", "drydock-collect")
    docker.ctr("leases", "rm", "--sync", "drydock-collect")


def _leases(taken, host):
    return set(nested(host / taken.root / METADATA)[b"v1"][b"moby"][b"leases"])


def _state(docker):
    """What Docker lists, as the captures' recipe wrote it down; ``build_cache`` is None where that fails.

    It is asked for twice: the first run lists cache records that it drops.
    """

    def rows(*command):
        return [json.loads(line) for line in docker.docker(*command, "--format", "json").splitlines()]

    try:
        for _ in range(2):
            cache = json.loads(docker.system_df("--verbose", "--format", "{{json .BuildCache}}"))
    except RuntimeError:
        cache = None
    return {
        "images": [
            {"name": f"{row['Repository']}:{row['Tag']}", "id": row["ID"]}
            for row in rows("images", "--all", "--no-trunc")
        ],
        "containers": [
            {"id": row["ID"], "name": row["Names"], "image": row["Image"], "state": row["State"]}
            for row in rows("ps", "--all", "--no-trunc")
        ],
        "build_cache": None if cache is None else sorted(row["ID"] for row in cache),
    }


def _use(docker, said):
    """A file's digest from a container of each image, and what each stopped container changed once it is started."""
    found = {row["name"]: _hash_in(docker, row["name"], "/srv/shop") for row in said["images"]}
    for row in said["containers"]:
        docker.docker("start", "--attach", row["name"])
        found[row["name"]] = docker.docker("diff", row["name"])
    return found


def _run(docker, image, *command):
    return docker.docker("run", "--rm", "--network", "none", image, "/bin/busybox", *command)


def _hash_in(docker, image, path):
    return _run(docker, image, "sha256sum", path).split()[0]


def _run_all(engine):
    """Statuses: of each image whether its file is whole, of each container whether it ran; output may be cut short."""
    found = {}
    for namespace, image, snapshotter, *made in _IMAGES:
        check = f"echo '{_sha256(*made)}  /data/{made[0]}' | /bin/busybox sha256sum -c"
        found[namespace, image] = engine.ctr(
            "run", "--rm", "--cgroup", "", "--snapshotter", snapshotter, f"docker.io/library/{image}:1", f"new-{image}",
            "/bin/busybox", "sh", "-c", check, namespace=namespace, check=False,
        ).returncode  # fmt: skip
    for namespace, container in _CONTAINERS:
        done = engine.ctr("tasks", "start", "--null-io", container, namespace=namespace, check=False)
        found[namespace, container] = done.returncode
    return found


def _sha256(seed, kib):
    return hashlib.sha256(noise(seed, kib)).hexdigest()
