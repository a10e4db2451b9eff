"""Images that real engines cannot pull any more: after ``drydock repair --apply`` they can, and run."""

import hashlib
import json
import os

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT, images
from tests.engines.containerd import Containerd
from tests.engines.hosts import docker_on
from tests.engines.images import Image, base_of, busybox_layer, layer, noise
from tests.engines.registry import Registry
from tests.engines.sandbox import Sandbox
from tests.support import gobbolt
from tests.support.captures import capture, clock, unpack
from tests.support.documents import run
from tests.support.records import CONTENT, METADATA
from tests.support.spoiled import Spoiled

pytestmark = [
    pytest.mark.root,
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

# What is broken, and what repair has to be told.
ALL = "DRYDOCK_TEST_LONG" in os.environ
"""Whether both engines have every kind of damage; else each kind has one of them."""
PULL = ("unlink_layer", "truncate_layer", "flip_layer")
USE = {
    "unlink_config": (),
    "empty_manifest": (),
    "remove_folder": ("--accept-loss", "web"),
    "remove_base": ("--accept-loss", "web"),
    "empty_files": ("--unpacked", "--accept-loss", "web"),
    "empty_both": ("--accept-loss", "web"),
    "zero_both": ("--data", "--drop-unproved", "--accept-loss", "web"),
}
OPTIONS = {"flip_layer": ("--data",), "empty_files": ("--unpacked",), "zero_both": ("--data", "--drop-unproved")}
"""What repair has to be told where no container stands on it."""


def copies(tmp_path, taken):
    """The capture twice: to be shown broken, and to be mended."""
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        unpack(taken, tmp_path / name)
        _prolong(taken, tmp_path / name)
        yield tmp_path / name


def _prolong(taken, host):
    """Leases that had not ended when the capture was taken never end: today's engine would collect what they hold."""
    meta = host / taken.root / METADATA
    data = meta.read_bytes()
    for lists in taken.namespaces.values():
        for lease in lists["leases"]:
            ends = lease["labels"].get("containerd.io/gc.expire", "")
            if ends > taken.taken_at:
                # bbolt has no sums of its pages; as many bytes as before are in the same places.
                assert ends.encode() in data
                data = data.replace(ends.encode(), b"2999" + ends[4:].encode())
    meta.write_bytes(data)


@pytest.mark.parametrize("what", PULL if ALL else PULL[::2])
def test_docker_resumes_a_pull_that_failed_for_ever(what, tmp_path):
    """The pull of tools:2 fails on a whole layer that is damaged; once its record is dropped it ends, and runs."""
    taken = capture("docker-28.5-interrupted-pull")
    data = () if what != "flip_layer" else ("--data",)
    for host in copies(tmp_path, taken):
        base = base_of(host / taken.root / CONTENT, taken.facts["dockerd"]["images"][0]["id"])
        served = images(base)
        getattr(Spoiled(host / taken.root, served["tools:2"]), what)()
        if host.name == "after":
            _repair(host, tmp_path, *data, now=clock(taken))
        with docker_on(taken, host, tmp_path / f"docker {host.name}") as docker:
            with Registry(docker.sandbox.listen(PORT), served):
                if host.name == "before":
                    with pytest.raises(RuntimeError):
                        docker.docker("pull", "-q", "127.0.0.1:5000/tools:2")
                    continue
                docker.docker("pull", "-q", "127.0.0.1:5000/tools:2")
            for path, *made in (("/opt/one", 2, 120), ("/opt/three", 5, 100)):
                assert _hash_in(docker, "127.0.0.1:5000/tools:2", path) == _sha256(*made)


@pytest.mark.parametrize("what", USE if ALL else [*USE][::2])
def test_docker_uses_an_image_again(what, tmp_path):
    """shop:1 does not run, and a pull does not help; after repair it pulls and runs; what was to be lost was named."""
    taken = capture("docker-28.5-interrupted-pull")
    for host in copies(tmp_path, taken):
        base = base_of(host / taken.root / CONTENT, taken.facts["dockerd"]["images"][0]["id"])
        served = images(base)
        getattr(Spoiled(host / taken.root, served["shop:1"]), what)()
        if host.name == "after":
            if "web" in USE[what] and "--drop-unproved" not in USE[what]:
                found = USE[what][:-2]
                said = run("repair", *found, "--now", clock(taken), "--state", tmp_path / "state", host, status=2)
                assert "container web (namespace moby)" in said.partition("WOULD BE LOST")[2].partition("kept:")[0]
            _repair(host, tmp_path, *USE[what], now=clock(taken))
        with docker_on(taken, host, tmp_path / f"docker {host.name}") as docker:
            with Registry(docker.sandbox.listen(PORT), served):
                if host.name == "before":
                    with pytest.raises((RuntimeError, AssertionError)):
                        assert _pull_and_hash(docker) == _sha256(1, 60)
                    continue
                assert _pull_and_hash(docker) == _sha256(1, 60)
            # dockerd does not load a container whose snapshot is gone (moby daemon/daemon.go load, v28.5).
            assert docker.docker("ps", "-a", "--format", "{{.Names}}").split() == (
                [] if "web" in USE[what] else ["web"]
            )
            assert json.loads(docker.system_df("--format", "json").splitlines()[0])["TotalCount"] == "1"


def test_a_container_stays_while_its_layer_is_fetched_and_proved(tmp_path):
    """Docker's container web stands on a layer whose blob is damaged: only the blob goes, and nothing is called whole.

    dockerd 28.5 starts with web, ``ctr content fetch`` brings the layer that its pull passes over, and then what is
    unpacked is found to be as in it.
    """
    taken = capture("docker-28.5-interrupted-pull")
    host = tmp_path / "host"
    host.mkdir()
    unpack(taken, host)
    _prolong(taken, host)
    served = images(base_of(host / taken.root / CONTENT, taken.facts["dockerd"]["images"][0]["id"]))
    Spoiled(host / taken.root, served["shop:1"]).flip_layer()
    options = ("--data", "--drop-unproved", "--now", clock(taken), "--state", tmp_path / "state")
    said = run("repair", "--apply", "--yes", *options, host, status=2)
    assert "127.0.0.1:5000/shop:1" in said.partition("cannot be proved")[2]
    assert "WOULD BE LOST" not in said
    with docker_on(taken, host, tmp_path / "docker") as docker:
        with Registry(docker.sandbox.listen(PORT), served):
            docker.docker("pull", "-q", "127.0.0.1:5000/shop:1")
            layer_ = served["shop:1"].layers[-1].digest
            assert layer_ not in docker.ctr("content", "ls", "-q").split()
            docker.ctr("content", "fetch", "--plain-http", "127.0.0.1:5000/shop:1")
            assert layer_ in docker.ctr("content", "ls", "-q").split()
        assert docker.docker("ps", "-a", "--format", "{{.Names}}").split() == ["web"]
    verified = ("--data", "--unpacked=content", "--state", tmp_path / "verified")
    assert "No damage found" in run("verify", *verified, host, status=0)


@pytest.mark.parametrize("what", [*PULL, *USE] if ALL else [PULL[1], *[*USE][1::2]])
def test_containerd_pulls_again(what, tmp_path):
    """Containerd 1.6 pulls an image, is stopped, loses data, and cannot use or pull it; after repair it can."""
    made = Image((busybox_layer(), layer({"srv/": b"", "srv/shop": noise(1, 60)})))
    root = tmp_path / "var/lib/containerd"
    root.mkdir(parents=True)
    options = OPTIONS.get(what, ())
    with Sandbox(tmp_path) as sandbox, Registry(sandbox.listen(PORT), {"shop:1": made}) as registry:
        name = f"{registry.address}/shop:1"
        with Containerd(sandbox, root, collect=True) as engine:
            if engine.version()[:4] != "1.6.":
                pytest.skip(f"this machine's containerd is {engine.version()}, not 1.6")
            _use(engine, name)
            if what in PULL:
                # So that the layer is wanted: it is unpacked again, as after a change of snapshotter.
                engine.ctr("snapshots", "rm", made.chain_id())
        broken = Spoiled(root, made)
        getattr(broken, what)()
        with Containerd(sandbox, root, collect=True) as engine, pytest.raises(RuntimeError):
            _use(engine, name)
        said = _repair(tmp_path, tmp_path, *options)
        assert name in said
        with Containerd(sandbox, root, collect=True) as engine:
            _use(engine, name)
    assert "No damage found" in run("verify", "--data", "--unpacked=content", "--state", tmp_path / "s", tmp_path)


def _repair(host, tmp_path, *options, now=None):
    times = () if now is None else ("--now", now)
    said = run("repair", "--apply", "--yes", *options, *times, "--state", tmp_path / "state", host, status=0)
    for database in host.rglob("*.db"):
        if database.name in {"meta.db", "metadata.db"}:
            assert gobbolt.check(database) == (0, "")
    return said


def _hash_in(docker, image, path):
    return docker.docker("run", "--rm", "--network", "none", image, "/bin/busybox", "sha256sum", path).split()[0]


def _pull_and_hash(docker):
    docker.docker("pull", "-q", "127.0.0.1:5000/shop:1")
    return _hash_in(docker, "127.0.0.1:5000/shop:1", "/srv/shop")


def _use(engine, name):
    """Pull, and check a file in a container: ctr's status is the container's, where its output may be cut short."""
    engine.ctr("images", "pull", "--plain-http", name)
    check = f"echo '{_sha256(1, 60)}  /srv/shop' | /bin/busybox sha256sum -c"
    try:
        engine.ctr("run", "--rm", "--cgroup", "", name, "one", "/bin/busybox", "sh", "-c", check)
    finally:
        engine.ctr("containers", "rm", "one", check=False)


def _sha256(seed, kib):
    return hashlib.sha256(noise(seed, kib)).hexdigest()
