"""``clean --drop`` of images takes what the engine's own prune takes, and the engine goes on with what it leaves."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from tests.engines.hosts import docker_on
from tests.engines.images import layer
from tests.support import gobbolt
from tests.support.captures import capture, unpack
from tests.support.documents import run
from tests.support.faults import run_counted
from tests.support.roots import data, dumps

pytestmark = pytest.mark.root

HOST = "docker-29-interrupted"
KINDS = ("images", "leases", "blob", "overlayfs")
DROP = {"-f": "dangling-images", "-af": "unused-images"}
PRUNED = [
    (name, option)
    for name in ("docker-26.1-interrupted-pull", "docker-28.5-interrupted-pull", "docker-29-interrupted")
    for option in DROP
]
"""What is compared as a whole; all in ./run prove."""
LABELLED = [
    (name, label)
    for name in ("docker-28.5-interrupted-pull", "docker-28.5-classic")
    for label in ("label=tier=test", "label!=tier")
]
"""What is compared by label; each store and each label once, and all in ./run prove."""


def records(root):
    """The image, lease, blob and snapshot records of dockerd's namespace, as Go reads them.

    Without temporary views: BuildKit deletes their leases some time after its start.
    """
    found = set()
    for line in gobbolt.dump(root / "io.containerd.metadata.v1.bolt/meta.db").splitlines():
        kind, path, *_ = line.split(" ")
        names = [bytes.fromhex(part).decode("utf-8", "replace") for part in path.split("/") if part]
        if kind == "bucket" and names[:2] == ["v1", "moby"] and len(names) > 3 and names[-2] in KINDS:
            if names[-1].endswith("-view"):
                continue
            found.add("/".join(names[2:]))
    return found


def told(docker):
    """Images and containers as the engine lists them; BuildKit drops what it drops by itself when it counts first."""
    for _ in range(2):
        docker.system_df()
    # The GC that a deletion asks for may come after the engine's end, unless it is waited for.
    docker.ctr("leases", "create", "--id", "collect")
    docker.ctr("leases", "rm", "--sync", "collect")
    images = docker.docker("image", "ls", "-a", "--digests", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}")
    return sorted(images.splitlines()), sorted(docker.docker("ps", "-a", "--format", "{{.Names}}").splitlines())


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize(("name", "option"), PRUNED if "DRYDOCK_TEST_LONG" in os.environ else PRUNED[1:3] + PRUNED[5:])
def test_it_takes_what_the_engines_prune_takes(name, option, unpacked_anew, tmp_path_factory):
    """On one copy the engine prunes, on the other drydock drops with the engine stopped: the same records stay.

    Both engines list the same images and containers then.
    """
    of = capture(name)
    host = unpacked_anew(of)
    before = records(host / of.root)
    work = tmp_path_factory.mktemp("work")
    copy = work / "copy"
    subprocess.run(["cp", "-a", host, copy], check=True)
    run("clean", "--drop", DROP[option], "--accept-loss", "all", "--apply", "--yes", "--state", _folder(work),
        copy, status=0)  # fmt: skip
    with docker_on(of, host, work / "engine") as docker:
        docker.docker("image", "prune", option)
        pruned = told(docker)
    with docker_on(of, copy, work / "other") as docker:
        dropped = told(docker)
    assert dropped == pruned
    assert records(copy / of.root) == records(host / of.root) < before


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize(("name", "label"), LABELLED if "DRYDOCK_TEST_LONG" in os.environ else LABELLED[1:3])
def test_it_takes_what_the_engines_prune_takes_by_label(name, label, unpacked_anew, tmp_path_factory):
    """Of images with labels in their configs, in either store, the engine lists the same after both."""
    of = capture(name)
    host = unpacked_anew(of)
    work = tmp_path_factory.mktemp("work")
    files = layer({"srv/": b"", "srv/labelled": b"x"}).data
    with docker_on(of, host, work / "make") as docker:
        for tier in ("test", "live"):
            docker.docker("import", "--change", f"LABEL tier={tier}", "-", f"{tier}:1", stdin=files)
        docker.docker("import", "-", "plain:1", stdin=files)
    copy = work / "copy"
    subprocess.run(["cp", "-a", host, copy], check=True)
    run("clean", "--drop", "unused-images", "--filter", label, "--accept-loss", "all", "--apply", "--yes", "--state",
        _folder(work), copy, status=0)  # fmt: skip
    with docker_on(of, host, work / "engine") as docker:
        docker.docker("image", "prune", "-af", "--filter", label)
        pruned = told(docker)
    with docker_on(of, copy, work / "other") as docker:
        dropped = told(docker)
    assert dropped == pruned
    left = {row.partition(":")[0] for row in pruned[0]}.intersection(("test", "live", "plain"))
    assert left == ({"live", "plain"} if label == "label=tier=test" else {"test", "live"})


def command(of, host, *options):
    """The words that drop every unused image of a host."""
    return ("clean", "--now", of.taken_at, "--drop", "unused-images", "--accept-loss", "all", "--apply", "--yes",
            "--state", host / "state", *options, host)  # fmt: skip


ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ


@pytest.mark.parametrize("part", [None] if ALL else [0.2, 0.5, 0.8])
def test_a_kill_after_any_call_loses_nothing_that_stays(part, tmp_path):
    """Wherever it is killed, what stays is whole, and the next run ends as an undisturbed one."""
    of = capture(HOST)
    whole = unpack(of, _folder(tmp_path, "whole"))
    ended = run_counted(*command(of, whole))
    assert (ended.signal, ended.status) == (0, 0), ended.output
    kept, dumped = data(whole / of.root), dumps(whole / of.root)
    calls = len(ended.calls)
    for number in range(1, calls + 1) if part is None else [int(calls * part)]:
        host = unpack(of, _folder(tmp_path, str(number)))
        assert run_counted(*command(of, host), kill_after=number).signal == signal.SIGKILL
        left = data(host / of.root)
        assert {path: left.get(path) for path in kept} == kept
        run(*command(of, host), status=0)
        assert dumps(host / of.root) == dumped
        assert data(host / of.root) == kept
        shutil.rmtree(host)


def test_undo_brings_every_image_back(unpacked_anew):
    """After a drop to quarantine, the same tree and the same dumps."""
    of = capture(HOST)
    host = unpacked_anew(of)
    before = data(host / of.root), dumps(host / of.root)
    run(*command(of, host, "--quarantine", _folder(host, "apart")), status=0)
    assert data(host / of.root) != before[0]
    (journal,) = (host / "state").glob("*/journal.jsonl")
    run("undo", journal, status=0)
    assert (data(host / of.root), dumps(host / of.root)) == before


def test_a_plan_file_has_the_choice(unpacked_anew, tmp_path):
    """Apply carries out what plan wrote, and only that: a changed choice is stale."""
    of = capture(HOST)
    host = unpacked_anew(of)
    plan = tmp_path / "plan.json"
    words = ("--drop", "dangling-images,image=127.0.0.1:5000/base:v1", "--unused-for", "1h", "--accept-loss", "all")
    run("plan", "--now", of.taken_at, *words, "-o", plan, host)
    document = json.loads(plan.read_text())
    (policy,) = [each["policy"] for each in document["plans"]]
    assert policy["drop"] == ["dangling-images", "image=127.0.0.1:5000/base:v1"]
    assert (policy["unused_for"], policy["accept_loss"]) == (3600 * 10**9, ["all"])
    policy["drop"] = ["unused-images"]
    plan.with_name("changed.json").write_text(json.dumps(document))
    run("apply", plan.with_name("changed.json"), "--state", _folder(tmp_path, "first"), status=32)
    run("apply", plan, "--state", _folder(tmp_path, "second"), status=0)
    assert "images/127.0.0.1:5000/base:v1" not in records(host / of.root)


@pytest.mark.parametrize("words", [("--drop", "image=nothing:1"), ("--drop", "everything"), ("--unused-for", "1h")])
def test_what_fits_nothing_is_refused(words, unpacked):
    """A mistyped name, a kind that does not exist, and an option that needs another."""
    run("clean", "--now", capture(HOST).taken_at, *words, unpacked(capture(HOST)), status=16)


def _folder(parent, name="state"):
    made = parent / name
    made.mkdir()
    return made
