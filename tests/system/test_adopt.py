"""Records that were lost, on real engines: after ``drydock repair --adopt`` the image is whole and runs, unpulled."""

import hashlib
import json
import re
import subprocess

import pytest
from fixtures.breakages import BREAKAGES, Broken
from tests.engines.containerd import Containerd
from tests.engines.hosts import docker_on
from tests.engines.images import Image, busybox_layer, layer, noise
from tests.engines.registry import Registry
from tests.engines.sandbox import Sandbox
from tests.engines.unavailable import EngineUnavailable
from tests.support import gobbolt
from tests.support.captures import capture, clock, unpack
from tests.support.documents import run
from tests.support.records import METADATA
from tests.support.roots import data, dumps

pytestmark = [
    pytest.mark.root,
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

IMAGE = Image((busybox_layer(), layer({"srv/": b"", "srv/shop": noise(1, 60)})))
PORT = 5000
NAMES = {"manifest": IMAGE.manifest, "config": IMAGE.config, "layer": IMAGE.layers[1]}
GONE = [("layer",), ("config",), ("manifest",), ("manifest", "config", "layer")]


LEFT_OUT = ("containerd.io/distribution.source.", "containerd.io/uncompressed")
"""Labels that nothing on disk proves."""


def content(engine):
    """What ``ctr content ls`` says of each blob: its size, and its labels but for two."""
    found = {}
    for line in engine.ctr_text("content", "ls").splitlines()[1:]:
        digest, size, *_, labels = re.split(r"\t+", line.strip())
        marks = set() if labels == "-" else set(labels.split(","))
        found[digest] = size, {mark for mark in marks if not mark.startswith(LEFT_OUT)}
    return found


def is_whole(checked, name):
    """Whether ``ctr images check`` calls an image complete."""
    (line,) = [line for line in checked.splitlines() if line.startswith(name)]
    (word,) = re.findall(r"\s(complete|incomplete|unavailable) \(", line)
    return word == "complete"


def check(engine):
    """What ``ctr images check`` prints; it fails where a manifest is not there."""
    return engine.ctr("images", "check", check=False).stdout.decode()


def runs(engine, name):
    """Whether a container of it finds its file; from the layers, unpacked anew."""
    check = f"echo '{hashlib.sha256(noise(1, 60)).hexdigest()}  /srv/shop' | /bin/busybox sha256sum -c"
    try:
        engine.ctr("run", "--rm", "--cgroup", "", name, "one", "/bin/busybox", "sh", "-c", check)
    finally:
        engine.ctr("containers", "rm", "one", check=False)


@pytest.fixture
def stopped(tmp_path):
    """A containerd 1.6 root with an image that was pulled, not unpacked; how to start it; what it listed; its name."""
    root = tmp_path / "var/lib/containerd"
    root.mkdir(parents=True)
    try:
        with Sandbox(tmp_path) as sandbox:
            with Registry(sandbox.listen(PORT), {"shop:1": IMAGE}) as registry:
                name = f"{registry.address}/shop:1"
                with Containerd(sandbox, root, collect=True) as engine:
                    if engine.version()[:4] != "1.6.":
                        pytest.skip(f"this machine's containerd is {engine.version()}, not 1.6")
                    engine.ctr("content", "fetch", "--plain-http", name)
                    before = content(engine)
            # The registry is gone: whatever is needed from here on is on disk.
            yield root, lambda collect=True: Containerd(sandbox, root, collect=collect), before, name
    except EngineUnavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("gone", GONE, ids="-".join)
def test_containerd_uses_it_again_without_a_pull(gone, stopped, tmp_path):
    """Go's bbolt deletes records; the engine calls the image incomplete and cannot unpack it.

    After the repair it lists what it listed before, calls it complete, collects nothing of it, exports it whole,
    unpacks and runs it. And before the engine was started, undo had brought every key back.
    """
    root, start, before, name = stopped
    for each in gone:
        gobbolt.drop(root / METADATA, (b"v1", b"default", b"content", b"blob", NAMES[each].digest.encode()))
    with start(collect=False) as engine:
        assert NAMES[gone[0]].digest not in content(engine)
        assert not is_whole(check(engine), name)
        with pytest.raises(RuntimeError):
            engine.ctr("images", "mount", name, tmp_path / "nowhere")
    files, broken = data(root), dumps(root)
    options = ("--adopt", "--apply", "--yes", "--state", tmp_path / "state", tmp_path)
    said = run("repair", *options, status=0)
    assert data(root) == files
    (journal,) = re.findall(r"journal: (\S+\.jsonl)", said)
    run("undo", journal, status=0)
    assert dumps(root) == broken
    assert name in run("repair", *options, status=0).partition("complete again")[2]
    assert gobbolt.check(root / METADATA) == (0, "")
    with start() as engine:
        engine.collect()
        assert content(engine) == before
        assert is_whole(check(engine), name)
        engine.ctr("images", "export", tmp_path / "out.tar", name)
        engine.ctr("images", "rm", "--sync", name)
        assert content(engine) == {}
        engine.ctr("images", "import", tmp_path / "out.tar")
        runs(engine, name)
        engine.collect()
        runs(engine, name)


def test_containerd_writes_to_the_database_that_was_put_into(stopped, tmp_path):
    """Unpacked from the adopted blobs themselves, labelled, and removed: every operation on the records works."""
    root, start, before, name = stopped
    blobs = [(b"v1", b"default", b"content", b"blob", blob.digest.encode()) for blob in IMAGE.blobs]
    gobbolt.drop(root / METADATA, *blobs)
    run("repair", "--adopt", "--apply", "--yes", "--state", tmp_path / "state", tmp_path, status=0)
    with start() as engine:
        engine.ctr("content", "label", IMAGE.layers[0].digest, "drydock.test=yes")
        (tmp_path / "mounted").mkdir()
        engine.ctr("images", "mount", name, tmp_path / "mounted")
        engine.ctr("images", "unmount", "--rm", tmp_path / "mounted", check=False)
        engine.collect()
        assert content(engine).keys() == before.keys()
        assert "drydock.test=yes" in content(engine)[IMAGE.layers[0].digest][1]
        runs(engine, name)
    assert gobbolt.check(root / METADATA) == (0, "")
    assert "No damage found" in run("verify", "--data", "--unpacked=content", "--state", tmp_path / "s", tmp_path)


@pytest.mark.parametrize("kind", ["blob_without_record", "target_without_record"])
def test_docker_has_it_whole_again_without_a_pull(kind, tmp_path):
    """Docker 28.5 saves an archive without what lost its record; after the repair with it, and runs it, unpulled."""
    taken = capture("docker-28.5-interrupted-pull")
    for word in ("before", "after"):
        host = tmp_path / word
        host.mkdir()
        unpack(taken, host)
        broken = Broken(host / taken.root)
        BREAKAGES[kind](broken)
        (digest,) = broken.orphaned
        if word == "after":
            options = ("--now", clock(taken), "--state", tmp_path / "state")
            run("repair", "--adopt", "--apply", "--yes", *options, host, status=0)
        try:
            with docker_on(taken, host, tmp_path / f"docker {word}") as docker:
                assert (digest in saved(docker, broken.image)) is (word == "after")
                if word == "before":
                    continue
                assert is_whole(docker.ctr("images", "check"), broken.image)
                assert docker.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split() == [broken.image]
                command = ("run", "--rm", "--network", "none", broken.image, "/bin/busybox", "sha256sum", "/srv/shop")
                assert docker.docker(*command).split()[0] == hashlib.sha256(noise(1, 60)).hexdigest()
                assert json.loads(docker.docker("inspect", "web"))[0]["Name"] == "/web"
        except EngineUnavailable as reason:
            pytest.skip(str(reason))


@pytest.mark.parametrize("image", ["shop:1", "later:1"])
def test_docker_has_a_container_again_that_its_older_database_does_not_know(image, tmp_path):
    """Docker 28.5 makes a container, then meta.db is put back from before: without a repair the container is gone.

    After ``repair --adopt`` dockerd lists it, starts it, and its file is there; also where its image was pulled since,
    of which meta.db knows neither name nor layers. The collector takes nothing of it.
    """
    taken = capture("docker-28.5-interrupted-pull")
    later = Image((busybox_layer(), layer({"opt/": b"", "opt/later": noise(40, 90)})))
    try:
        made = tmp_path / "made"
        made.mkdir()
        unpack(taken, made)
        meta = made / taken.root / METADATA
        with docker_on(taken, made, tmp_path / "docker before") as docker:
            docker.stop()
            older = meta.read_bytes()
            docker.start()
            with Registry(docker.sandbox.listen(PORT), {"later:1": later}):
                if image == "later:1":
                    docker.docker("pull", "-q", "127.0.0.1:5000/later:1")
                docker.docker(
                    "run", "--name", "newer", "--network", "none", f"127.0.0.1:5000/{image}",
                    "/bin/busybox", "sh", "-c", "test -e /kept && exec cat /kept; echo written >/kept",
                )  # fmt: skip
        meta.write_bytes(older)
        for word in ("without", "with"):
            host = tmp_path / word
            subprocess.run(["cp", "-a", made, host], check=True)
            if word == "with":
                state = ("--state", tmp_path / "state")
                said = run("repair", "--adopt", "--apply", "--yes", *state, host)
                assert "container newer" in said.partition("so that the engine has again")[2]
                assert "WOULD BE LOST" not in said
                assert gobbolt.check(host / taken.root / METADATA) == (0, "")
            with docker_on(taken, host, tmp_path / f"docker {word}") as docker:
                names = docker.docker("ps", "-a", "--format", "{{.Names}}").split()
                assert ("newer" in names) is (word == "with")
                assert "web" in names
                if word == "with":
                    assert docker.docker("start", "-a", "newer") == "written\n"
                    docker.ctr("leases", "create", "--id", "drydock-test")
                    docker.ctr("leases", "rm", "--sync", "drydock-test")
                    assert docker.docker("start", "-a", "newer") == "written\n"
                    docker.docker("rm", "newer")
                    assert docker.docker("ps", "-a", "--format", "{{.Names}}").split() == ["web"]
    except EngineUnavailable as reason:
        pytest.skip(str(reason))


def saved(docker, name):
    """The blobs of the archive that ``docker save`` makes; none where it fails."""
    docker.sandbox.run("docker", "save", "-o", "/tmp/out.tar", name, check=False)
    said = docker.sandbox.run("tar", "-tf", "/tmp/out.tar", check=False).stdout.decode()
    return {f"sha256:{line.rpartition('/')[2]}" for line in said.splitlines() if line.startswith("blobs/sha256/")}
