"""``clean --drop`` of images in Docker's classic store takes what dockerd's own commands take, and dockerd goes on."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT, images
from tests.engines.hosts import docker_on
from tests.engines.images import Image, busybox_layer, layer
from tests.engines.registry import Registry
from tests.support.captures import classic_captures, unpack
from tests.support.documents import run
from tests.support.faults import run_counted
from tests.system.test_clean_classic import OWNERLESS, figures, store
from tests.system.test_drop_images import records

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ
"""Whether every command is compared on every engine, and all kill points are tried; ./run prove does that."""
OLD, NEW = classic_captures()
KILLED = [pytest.param(each, id=each.name) for each in ((OLD, NEW) if ALL else (NEW,))]
"""The hosts on which drops are killed."""
REGISTRY = f"127.0.0.1:{PORT}"
COMMANDS = {
    "dangling-images": [("image", "prune", "-f")],
    "unused-images": [("image", "prune", "-a", "-f")],
    f"image={REGISTRY}/tools:2,image=steps:1": [("rmi", f"{REGISTRY}/tools:2"), ("rmi", "steps:1")],
}
COMPARED = [(of, drop) for of in (OLD, NEW) for drop in COMMANDS]
SAMPLE = [COMPARED[1], COMPARED[5]]


def make(host, of, work):
    """Give a host images of each kind; what a killed engine left is cleaned before, as dockerd would not do it."""
    unpack(of, host)
    run(
        "clean", *OWNERLESS, "--apply", "--yes", "--now", of.taken_at, "--state", _folder(work, "state"), host, status=0
    )
    served = images(busybox_layer())
    moved = [Image((busybox_layer(), layer({"opt/": b"", "opt/moved": each}))) for each in (b"first", b"second")]
    with docker_on(of, host, work / "make") as docker:
        # BuildKit drops what the kill left.
        docker.system_df()
        listening = docker.sandbox.listen(PORT)
        with Registry(listening, {**served, "moved:1": moved[0], "more:1": moved[1]}):
            docker.docker("pull", "-q", f"{REGISTRY}/tools:2")
            docker.docker("tag", f"{REGISTRY}/tools:2", "spare:1")
            docker.docker("pull", "-q", f"{REGISTRY}/moved:1")
            # Only its digest is left of the name.
            docker.docker("tag", "kept:1", f"{REGISTRY}/moved:1")
        for text in ("one", "two"):
            # The first one loses its name to the second.
            script = f'FROM {REGISTRY}/shop:1\nRUN ["/bin/busybox", "sh", "-c", "echo {text} >/srv/{text}"]\n'
            docker.docker("build", "-q", "--network", "none", "-t", "again:1", "-", stdin=script.encode())
            steps = f"{script}ENV STEP={text}\nENV LAST={text}\n"
            docker.sandbox.run(
                "env", "DOCKER_BUILDKIT=0", "docker", "build", "-q", "--network", "none", "-t", "steps:1", "-",
                stdin=steps.encode(), timeout=120,
            )  # fmt: skip
        docker.docker("create", "--name", "user", "--network", "none", "again:1", "/bin/busybox", "true")
        return listed(docker)


def listed(docker):
    """Images and containers as the engine lists them, and what it says of the disk."""
    for _ in range(2):
        docker.system_df()
    names = docker.docker("images", "--all", "--digests", "--no-trunc",
                          "--format", "{{.Repository}}:{{.Tag}} {{.Digest}} {{.ID}}")  # fmt: skip
    containers = docker.docker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Image}}")
    used = figures(json.loads(docker.system_df("--verbose", "--format", "{{json .}}")))
    # The GC that a deletion asks for may come after the engine's end, unless it is waited for.
    docker.ctr("leases", "create", "--id", "collect")
    docker.ctr("leases", "rm", "--sync", "collect")
    return sorted(names.splitlines()), sorted(containers.splitlines()), used


def command(of, host, drop):
    """The drop."""
    return ("clean", "--drop", drop, "--accept-loss", "all", "--apply", "--yes", "--state", host / "state", host)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Gives a copy of a host with images of each kind."""
    hosts = {}

    def copy(of):
        if of.name not in hosts:
            work = tmp_path_factory.mktemp("made")
            host = _folder(work, "host")
            make(host, of, work)
            hosts[of.name] = host
        host = tmp_path_factory.mktemp("copy") / "host"
        subprocess.run(["cp", "-a", hosts[of.name], host], check=True)
        return host

    return copy


@pytest.mark.parametrize(("of", "drop"), [pytest.param(*each, id=f"{each[0].name} {each[1]}")
                                          for each in (COMPARED if ALL else SAMPLE)])  # fmt: skip
def test_it_takes_what_dockerd_takes(of, drop, made, tmp_path):
    """On one copy dockerd is told, on the other drydock drops with dockerd stopped: the same files stay.

    dockerd lists the same images, containers and figures then, containers run, and a pull and a build work.
    """
    theirs, ours = made(of), made(of)
    before = store(theirs, of)
    run(
        "clean",
        "--drop",
        drop,
        "--accept-loss",
        "all",
        "--apply",
        "--yes",
        "--state",
        _folder(tmp_path),
        ours,
        status=0,
    )
    taken = before.keys() - store(ours, of).keys()
    with docker_on(of, theirs, tmp_path / "theirs") as docker:
        for command in COMMANDS[drop]:
            docker.docker(*command)
        said = listed(docker)
    with docker_on(of, ours, tmp_path / "ours") as docker:
        assert listed(docker) == said
        docker.stop()
        assert store(ours, of) == store(theirs, of)
        assert records(ours / of.root) == records(theirs / of.root)
        docker.start()
        docker.docker("start", "--attach", "web")
        docker.docker("start", "--attach", "user")
        with Registry(docker.sandbox.listen(PORT), images(busybox_layer())):
            docker.docker("pull", "-q", f"{REGISTRY}/tools:2")
            docker.docker("run", "--rm", "--network", "none", f"{REGISTRY}/tools:2", "/bin/busybox", "ls", "/opt/three")
            script = f'FROM {REGISTRY}/shop:1\nRUN ["/bin/busybox", "touch", "/srv/after"]\n'
            docker.docker("build", "-q", "--network", "none", "-t", "after:1", "-", stdin=script.encode())
    assert taken
    assert taken <= before.keys() - store(theirs, of).keys()


@pytest.mark.parametrize("drop", COMMANDS if ALL else list(COMMANDS)[1:])
@pytest.mark.parametrize("of", KILLED)
def test_a_kill_after_any_call_is_ended_by_the_next_drop(of, drop, made, tmp_path):
    """What stays is whole, the same command ends as an undisturbed one, and the kill is no longer reported."""
    whole = made(of)
    before = store(whole, of)
    ended = run_counted(*command(of, whole, drop))
    assert (ended.signal, ended.status) == (0, 0), ended.output
    kept, calls = store(whole, of), ended.calls
    names = b"image/overlay2/repositories.json"
    points = [each for each in range(1, len(calls) + 1) if calls[each - 1 : each] != calls[each - 2 : each - 1]]
    for number in points if ALL else points[::37]:
        host = made(of)
        assert run_counted(*command(of, host, drop), kill_after=number).signal == signal.SIGKILL
        left = store(host, of)
        assert {path: left.get(path) for path in kept if path != names} == {
            path: what for path, what in kept.items() if path != names
        }, number
        assert left[names] in (before[names], kept[names])
        # Once its name is gone, an image cannot be named: what is left of it is what nothing uses.
        is_unknown = drop.startswith("image=") and left[names] == kept[names]
        words = command(of, host, drop)
        run(*(words[:1] + words[5:] if is_unknown else words), status=0)
        assert store(host, of) == kept, number
        assert "unfinished-run" not in run("scan", "--format", "json", "--state", host / "state", host)
        shutil.rmtree(host)


@pytest.mark.parametrize("of", KILLED)
def test_dockerd_starts_on_what_a_kill_leaves(of, made, tmp_path):
    """The same containers, of which one runs, wherever the drop was killed."""
    drop = "unused-images"
    calls = run_counted(*command(of, made(of), drop)).calls
    first = calls.index("unlink")
    for number in range(first + 1, len(calls), len(calls) // 12) if ALL else [first + 1]:
        host = made(of)
        assert run_counted(*command(of, host, drop), kill_after=number).signal == signal.SIGKILL
        with docker_on(of, host, tmp_path / str(number)) as docker:
            assert len(listed(docker)[1]) == 3, number
            docker.docker("start", "--attach", "web")
        shutil.rmtree(host)


@pytest.mark.parametrize("of", KILLED)
def test_dockerd_goes_on_between_the_images_and_their_names(of, made, tmp_path):
    """The worst that a kill leaves are names of images that are gone: the same containers run, and a pull heals it."""
    host = made(of)
    drop = "unused-images"
    calls = run_counted(*command(of, made(of), drop)).calls
    number = max(each for each in range(1, len(calls)) if calls[each - 1] == "replace")
    assert run_counted(*command(of, host, drop), kill_after=number - 1).signal == signal.SIGKILL
    image = host / of.docker / "image/overlay2"
    named = {each for its in json.loads((image / "repositories.json").read_text())["Repositories"].values()
             for each in its.values()}  # fmt: skip
    gone = {each for each in named if not (image / "imagedb/content/sha256" / each.removeprefix("sha256:")).exists()}
    assert gone
    with docker_on(of, host, tmp_path / "engine") as docker:
        images_now, containers, _ = listed(docker)
        assert len(containers) == 3
        assert not any(each in line for each in gone for line in images_now)
        docker.docker("start", "--attach", "web")
        with Registry(docker.sandbox.listen(PORT), images(busybox_layer())):
            docker.docker("pull", "-q", f"{REGISTRY}/tools:2")
            docker.docker("run", "--rm", "--network", "none", f"{REGISTRY}/tools:2", "/bin/busybox", "ls", "/opt/three")
    run(*command(of, host, drop), status=0)
    assert "tools" not in (image / "repositories.json").read_text()


@pytest.mark.parametrize("drop", COMMANDS)
@pytest.mark.parametrize("of", KILLED)
def test_a_quarantine_gives_the_same_tree_back(of, drop, made, tmp_path):
    """Everything of the classic store, by contents, modes and owners; also the names."""
    host = made(of)
    before = store(host, of)
    run(*command(of, host, drop)[:-1], "--quarantine", _folder(tmp_path, "aside"), host, status=0)
    assert store(host, of) != before
    (journal,) = (host / "state").glob("*/journal.jsonl")
    assert " yes " in run("runs", "--state", host / "state")
    run("undo", journal, status=0)
    assert store(host, of) == before
    assert list((tmp_path / "aside").iterdir()) == []
    assert " undone " in run("runs", "--state", host / "state")


@pytest.mark.parametrize("before", [1, 0])
@pytest.mark.parametrize("of", KILLED)
def test_undo_of_a_killed_run_gives_the_same_tree_back(of, before, made, tmp_path):
    """Killed just before and just after the names went: undo brings images and names back, and no file is left."""
    drop = "unused-images"
    first, host = made(of), made(of)
    whole = store(host, of)
    words = (*command(of, first, drop)[:-1], "--quarantine", _folder(tmp_path, "first"), first)
    number = run_counted(*words).calls.index("replace") + 1 - before
    words = (*command(of, host, drop)[:-1], "--quarantine", _folder(tmp_path, "aside"), host)
    assert run_counted(*words, kill_after=number).signal == signal.SIGKILL
    assert store(host, of) != whole
    (journal,) = (host / "state").glob("*/journal.jsonl")
    run("undo", journal, status=0)
    assert store(host, of) == whole


def _folder(parent: Path, name: str = "state") -> Path:
    made = parent / name
    made.mkdir()
    return made
