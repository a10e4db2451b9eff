"""A Docker 29 host: the engine that made the capture said what it keeps, item by item, and drydock agrees."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from fixtures.recipes.docker_interrupted_pull import PORT, images, start_pull
from tests.engines.hosts import containerd_on, docker_on
from tests.engines.images import busybox_layer
from tests.engines.listing import dropped, listed
from tests.engines.registry import Registry
from tests.support.captures import capture, clock
from tests.support.documents import run, scan

from drydock.cli import main
from drydock.evidence.host.processes import users
from drydock.evidence.host.roots import discover
from drydock.model.names import RawPath

pytestmark = pytest.mark.root

HOST = capture("docker-29-interrupted")
KEPT, LEASED = set(HOST.facts["kept"]["kept"]), set(HOST.facts["kept"]["kept_leased"])
"""What was left on disk after its leases with an end were removed, and before."""
IMAGE_MOUNT = "bca79e12b37009a94e2ae7e53b6d4e97e439055f20614b144fbbc813e049b909"
_BUILD = b"""\
FROM 127.0.0.1:5000/demo:v1
RUN ["/bin/sh", "-c", "echo built >/built"]
"""
_PRINT = "find /m/data -type f -exec sha256sum {} +"
_OVERLAYFS = "io.containerd.snapshotter.v1.overlayfs/snapshots"


def _item(found):
    """An object as the engine's lists call it."""
    if found["kind"] == "ingest":
        return f"ingest {found['namespaces'][0]}/{found['id']}"
    name = found["path"].rpartition("/")[2]
    return f"{found['kind']} {name}"


def _items(root):
    """What lies below a containerd root, as the engine's lists call it."""
    content = root / "io.containerd.content.v1.content"
    # Of an ingest's ref the first two parts are its namespace and a number (containerd core/metadata/content.go).
    refs = [(each / "ref").read_text().split("/", 2) for each in (content / "ingest").iterdir()]
    return {
        *(f"blob {each.name}" for each in (content / "blobs/sha256").iterdir()),
        *(f"snapshot {each.name}" for each in (root / _OVERLAYFS).iterdir()),
        *(f"ingest {namespace}/{ref}" for namespace, _, ref in refs),
    }


def test_states_are_what_the_engine_kept(unpacked):
    """Live is what it kept without its leases with an end, leased what it kept with them; nothing else is there."""
    found = scan(HOST, unpacked(HOST), status=0)
    by_state = {}
    for each in found["objects"]:
        by_state.setdefault(each["state"], set()).add(_item(each))
    assert by_state == {"live": KEPT, "leased": LEASED - KEPT}
    assert found["findings"] == []


def test_the_image_mount_has_its_owner(unpacked):
    """Its lease is the container's, and is not ended, whatever ends."""
    found = scan(HOST, unpacked(HOST))
    (lease,) = [each for each in found["leases"] if each["id"] == IMAGE_MOUNT]
    assert (lease["class"], lease["owner"]) == ("container", "container imgmount")
    text = run("clean", "--now", HOST.taken_at, "--end-leases", "ownerless", unpacked(HOST), status=1)
    assert IMAGE_MOUNT not in text
    run("clean", "--now", HOST.taken_at, "--end-lease", IMAGE_MOUNT, unpacked(HOST), status=32)


@pytest.mark.parametrize("name", ["imgmount", "imgm", "53ff5c83f4f6"])
def test_a_container_is_explained_with_its_image_mount(unpacked, name):
    """By its name, its id, or the beginning of either; another's is not."""
    command = ("explain", "--now", HOST.taken_at)
    assert f"\nlease {IMAGE_MOUNT} (namespace moby): container lease" in run(*command, name, unpacked(HOST), status=0)
    assert IMAGE_MOUNT not in run(*command, "exited", unpacked(HOST), status=0)


@pytest.mark.parametrize(("leases", "left"), [("expired", LEASED), ("temporary", KEPT), ("ownerless", KEPT)])
def test_the_cleaned_root_is_what_the_engine_kept(unpacked_anew, tmp_path, leases, left):
    """On disk is what the engine left on disk, no more and no less; and nothing is left to do."""
    host = unpacked_anew(HOST)
    root = host / HOST.root
    assert _items(root) == LEASED
    command = ("clean", "--now", HOST.taken_at, "--end-leases", leases)
    run(*command, "--apply", "--yes", "--state", tmp_path / "state", host, status=0)
    assert _items(root) == left
    run(*command, host, status=0)


COMMANDS = [
    *(("scan", "--format", each) for each in ("table", "json", "jsonl", "tree", "csv", "markdown", "prometheus")),
    ("scan", "--measure", "disk", "--verify", "digest"),
    *(("ls", each) for each in ("images", "containers", "snapshots", "leases", "content", "ingests")),
    *(("explain", each) for each in (IMAGE_MOUNT, "801889353-2q1v", "imgmount", "127.0.0.1:5000/demo:v2")),
    ("pulls",),
    *(("clean", "--end-leases", each) for each in ("expired", "temporary", "ownerless")),
    ("verify", "--data", "--unpacked"),
    ("repair",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_that_judges_works(unpacked, command, tmp_path):
    """Nothing of a healthy host is damage, unreadable or refused."""
    state = ("--state", tmp_path / "state") if command[0] == "verify" else ()
    run(*command, *state, "--now", HOST.taken_at, unpacked(HOST), status=(0, 1))


def test_the_commands_that_take_out_work(unpacked, tmp_path):
    """Images and containers are exported and compared, and the databases read."""
    host = unpacked(HOST)
    run("export", "image", "127.0.0.1:5000/demo:v2", host, "-o", tmp_path / "image.tar", status=0)
    for container in ("exited", "imgmount", "killed", "created"):
        run("export", "container", container, host, "-o", tmp_path / f"{container}.tar", status=0)
        run("diff", "container", container, host, status=0)
    for database in (host / HOST.docker).rglob("*.db"):
        for command in ("info", "check", "pages"):
            run("bolt", command, database, status=0)


def test_a_plan_is_applied_and_undone(unpacked_anew, tmp_path):
    """What was moved comes back, with the records."""
    host = unpacked_anew(HOST)
    before = _items(host / HOST.root)
    (host / "apart").mkdir(mode=0o700)
    plan = tmp_path / "plan.json"
    run("plan", "--now", HOST.taken_at, "--end-leases", "temporary", "-o", plan, host, status=1)
    run("apply", plan, "--state", tmp_path / "state", "--quarantine", host / "apart", status=0)
    assert _items(host / HOST.root) == KEPT
    (journal,) = (tmp_path / "state").glob("*/journal.jsonl")
    run("undo", journal, status=0)
    assert _items(host / HOST.root) == before
    assert {lease["id"] for lease in scan(HOST, host, status=0)["leases"]} >= {IMAGE_MOUNT, "801889353-2q1v"}


def test_the_engines_own_lists_are_those_of_the_newest():
    """The engines of today list the same images and containers as the one that made the capture."""
    said = HOST.facts["dockerd"]
    images = {f"{each['id']} {' '.join(each['name'].rsplit(':', 1))}" for each in said["images"]}
    assert images == set(HOST.facts["kept"]["images"])
    containers = {f"{each['id']} {each['image']} {each['name']}" for each in said["containers"]}
    assert containers == set(HOST.facts["kept"]["containers"])


@pytest.mark.engine
@pytest.mark.slow
def test_docker_goes_on(unpacked_anew, tmp_path):
    """Docker 29 has all it had on the cleaned root, runs and starts it, builds, and its collector finds nothing more.

    A pull that is interrupted there is freed, and then pulled to its end.
    """
    host = unpacked_anew(HOST)
    _have_it_print_its_mount(host)
    said = HOST.facts["dockerd"]
    clean = ("clean", "--now", clock(HOST), "--end-leases", "temporary", "--apply", "--yes")
    run(*clean, "--state", tmp_path / "state", host, status=0)
    served = images(busybox_layer())
    tools = served["tools:2"]
    with docker_on(HOST, host, tmp_path / "docker") as docker:
        assert _listed(docker) == {key: _names(said[key]) for key in ("images", "containers")}
        for image in said["images"]:
            assert _run(docker, image["name"], "echo", "runs") == "runs\n"
        mounted = _sums(_run(docker, "127.0.0.1:5000/demo:v2", "/bin/sh", "-c", _PRINT.replace("/m", "")))
        assert mounted
        for container in said["containers"]:
            if container["name"] != "imgmount":
                assert docker.docker("start", container["name"]) == f"{container['name']}\n"
        docker.docker("kill", "killed")  # as it was told to sleep
        assert _mounted(docker) == mounted
        with Registry(docker.sandbox.listen(PORT), served) as registry:
            start_pull(docker, registry, "tools:2", tools, held=3).interrupt()
    (pull,) = json.loads(run("pulls", "--format", "json", host))["roots"][0]["pulls"]
    assert [layer["state"] for layer in pull["layers"]] == ["whole", "whole", "whole", "partial", "whole"]
    before = _items(host / HOST.root)
    run("clean", "--end-leases", "temporary", "--apply", "--yes", "--state", tmp_path / "state", host, status=0)
    after = _items(host / HOST.root)
    assert after < before
    assert not {f"blob {blob.digest[7:]}" for blob in tools.blobs} & after
    with docker_on(HOST, host, tmp_path / "again") as docker:
        with Registry(docker.sandbox.listen(PORT), served) as registry:
            docker.docker("pull", "-q", f"{registry.address}/tools:2")
            docker.docker("build", "-q", "--network", "none", "-t", "built:1", "-", stdin=_BUILD)
        assert _run(docker, f"{registry.address}/tools:2", "/bin/busybox", "ls", "/opt").split() == [
            "one",
            "three",
            "two",
        ]
        assert _run(docker, "built:1", "cat", "/built") == "built\n"
        assert _mounted(docker) == mounted
    with containerd_on(HOST, host, tmp_path / "first", collect=False) as engine:
        there = listed(engine)
    assert all(row["intact"] for lists in there.values() for row in lists["content"])
    with containerd_on(HOST, host, tmp_path / "second", collect=True) as engine:
        engine.collect("moby")
        assert dropped(there, listed(engine)) == {}


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize(("moved", "embedded"), [(False, True), (True, False), (True, True)])
def test_a_dockerd_that_holds_its_containerd_is_seen(unpacked_anew, tmp_path, moved, embedded):
    """Wherever it works, and whether it is a process of its own: while it runs the root is refused, and then judged."""
    host = unpacked_anew(HOST)
    root = host / HOST.root
    (host / "etc/systemd/system").mkdir(parents=True)
    unit = "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n"
    if moved:
        root = root.rename(host / HOST.docker / "elsewhere")
        unit += "Environment=DOCKER_CONTAINERD_ROOT=/var/lib/docker/elsewhere\n"
    (host / "etc/systemd/system/docker.service").write_text(unit)
    place = "/var/lib/docker/elsewhere" if moved else ""
    with docker_on(HOST, host, tmp_path / "docker", containerd_root=place, embedded=embedded) as docker:
        assert _listed(docker)["images"] == _names(HOST.facts["dockerd"]["images"])
        for where in (host, root):
            result = CliRunner().invoke(main, ["scan", str(where)])
            assert result.exit_code == 32
            assert f"is locked by {'dockerd' if embedded else 'containerd'} (pid" in result.output
        (seen,) = discover(RawPath(bytes(host)))
        assert docker.daemon.process.pid in {each.pid for each in users(seen)}
        live = CliRunner().invoke(main, ["scan", "--live", "--format", "json", str(host)])
        assert [each["path"] for each in json.loads(live.stdout)["roots"]] == [str(root)]
    found = json.loads(run("scan", "--format", "json", host))["roots"]
    assert [each["path"] for each in found] == [str(root)]
    (lease,) = [each for each in found[0]["leases"] if each["id"] == IMAGE_MOUNT]
    assert lease["owner"] == "container imgmount"


def _listed(docker):
    """What dockerd lists now, by name."""
    rows = {
        "images": docker.docker("images", "--all", "--no-trunc", "--format", "json"),
        "containers": docker.docker("ps", "--all", "--no-trunc", "--format", "json"),
    }
    found = {kind: [json.loads(line) for line in text.splitlines()] for kind, text in rows.items()}
    return {
        "images": {(f"{row['Repository']}:{row['Tag']}", row["ID"]) for row in found["images"]},
        "containers": {(row["Names"], row["ID"]) for row in found["containers"]},
    }


def _names(rows):
    return {(row["name"], row["id"]) for row in rows}


def _run(docker, image, *command):
    return docker.docker("run", "--rm", "--network", "none", image, *command)


def _have_it_print_its_mount(host):
    """Change the command of the container that mounts an image to one that prints what it sees there."""
    (path,) = (host / HOST.docker / "containers").glob("53ff5c83f4f6*/config.v2.json")
    config = json.loads(path.read_text())
    config["Args"][1] = config["Config"]["Cmd"][2] = _PRINT
    path.write_text(json.dumps(config))


def _mounted(docker):
    """The files of the image that the container mounts.

    dockerd mounts it once, when it makes the container (moby daemon/volumes.go, v29.7): after a restart of the host, as
    here, it is mounted by hand from the snapshot.
    """
    commands = docker.ctr("snapshots", "mounts", f"/var/lib/docker/rootfs/overlayfs/{IMAGE_MOUNT}", IMAGE_MOUNT)
    # The newer mount(2) calls take 256 bytes an option.
    docker.sandbox.run("sh", "-c", f"export LIBMOUNT_FORCE_MOUNT2=always; {commands}")
    return {name.removeprefix("/m"): value for name, value in _sums(docker.docker("start", "-a", "imgmount")).items()}


def _sums(text):
    return {name: value for value, name in (line.split() for line in text.splitlines())}
