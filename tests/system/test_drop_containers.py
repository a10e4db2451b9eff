"""``clean --drop`` of containers takes what the engine's own prune takes, except what ran when the engine was stopped.

The engine goes on with what it leaves.
"""

import json
import os
import shutil
import signal
import subprocess

import pytest
from tests.engines.hosts import docker_on
from tests.support.captures import capture, unpack
from tests.support.docker_containers import ENDED, RAN, age, make_containers, records
from tests.support.documents import run
from tests.support.faults import run_counted
from tests.support.roots import databases, dumps
from tests.support.trees import tree

pytestmark = pytest.mark.root

IMAGES = {"docker-29-interrupted": "127.0.0.1:5000/base:v1"}
LONG = "DRYDOCK_TEST_LONG" in os.environ
"""Whether every engine is tried with every filter; ./run prove does that."""
FILTERS = {"label": ("label=tier", "label!=tier=prod"), "all": ()}
NAMES = (
    "docker-26.1-interrupted-pull",
    "docker-28.5-interrupted-pull",
    "docker-29-interrupted",
    "docker-26.1-classic",
    "docker-28.5-classic",
)
ENGINES = [(name, chosen) for name in NAMES for chosen in FILTERS]
FEW = (("docker-28.5-interrupted-pull", "all"), ("docker-26.1-classic", "label"))


def folder(parent, name="state"):
    """A new folder."""
    made = parent / name
    made.mkdir()
    return made


def clean(host, state, *options, status=0):
    """Clean a host with a drop of containers."""
    return run("clean", "--state", state, *options, host, status=status)


def listed(docker):
    """What the engine says of its containers, images and disk usage, without what is of the moment."""
    for _ in range(2):
        docker.system_df()
    docker.ctr("leases", "create", "--id", "collect")
    docker.ctr("leases", "rm", "--sync", "collect")
    used = json.loads(docker.system_df("--verbose", "--format", "{{json .}}"))
    for row in used["Containers"]:
        row["Mounts"] = sorted(row["Mounts"].split(","))  # dockerd has them in any order
    passing = ("CreatedSince", "LastUsedAt", "LastUsedSince", "RunningFor", "Status", "CreatedAt")
    return {
        kind: sorted(
            json.dumps({key: value for key, value in row.items() if key not in passing}, sort_keys=True)
            for row in used[kind]
        )
        for kind in ("Images", "Containers", "Volumes", "BuildCache")
    }


def there(of, host):
    """The containers, the records and directories of the classic store, and the blobs and directories of containerd."""
    data, root = host / of.docker, host / of.root
    parts = (
        "containers/*", "image/overlay2/layerdb/mounts/*", "image/overlay2/layerdb/sha256/*", "overlay2/*", "volumes/*",
    )  # fmt: skip
    found = {path.relative_to(data) for part in parts for path in data.glob(part)}
    parts = ("io.containerd.content.v1.content/blobs/*/*", "io.containerd.snapshotter.v1.overlayfs/snapshots/*")
    return found | {path.relative_to(root) for part in parts for path in root.glob(part)}


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize(("name", "chosen"), [each for each in ENGINES if LONG or each in FEW])
def test_it_takes_what_the_engines_prune_takes(name, chosen, tmp_path):
    """On one copy the engine prunes, on the other drydock drops with the engine stopped: the same stays.

    What ran when the engine was stopped last is named, and goes only by its name, as the engine takes it.
    """
    of = capture(name)
    host = unpack(of, folder(tmp_path, "host"))
    with docker_on(of, host, tmp_path / "made") as docker:
        make_containers(docker, IMAGES.get(name, "127.0.0.1:5000/shop:1"))
    age(host / of.docker)
    # What nothing references goes in any case: only the choice is to be compared.
    clean(host, folder(tmp_path, "first"), "--apply", "--yes")
    configs = [json.loads(path.read_text()) for path in (host / of.docker).glob("containers/*/config.v2.json")]
    mounts = [point["ID"] for each in configs for point in each["MountPoints"].values() if point["Type"] == "image"]
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", host, copy], check=True)
    filters = [word for each in FILTERS[chosen] for word in ("--filter", each)]
    drop = ("--drop", "stopped-containers", *filters, "--accept-loss", "all")
    shown = clean(copy, folder(tmp_path), *drop, status=1)
    going = [each for each in ENDED if f"removes container {each} (Docker)" in shown]
    assert going == ([each for each in ENDED if each != "web" or "29" not in name] if not filters else ["labelled"])
    if chosen == "all":
        assert all(f"container {each} stays: " in shown for each in RAN)
    also = ("--drop", "container=plain") if chosen == "all" else ()
    if chosen == "all" and "29" in name:
        also += ("--drop", "container=killed")  # that start said that it had ended then
    clean(copy, folder(tmp_path, "second"), *drop, *also, "--apply", "--yes")
    with docker_on(of, host, tmp_path / "engine") as docker:
        docker.docker("container", "prune", "--force", *filters)
        pruned = listed(docker)
    with docker_on(of, copy, tmp_path / "other") as docker:
        dropped = listed(docker)
    assert dropped == pruned
    more = records(host / of.root) - records(copy / of.root)
    assert records(copy / of.root) <= records(host / of.root)
    if "29" in name and not filters:
        # Docker 29.7 leaves the image mount of a container that was made before it was started last.
        assert {each.rpartition("/")[2] for each in more} == set(mounts)
        assert there(of, copy) < there(of, host)
    else:
        assert not more
        assert there(of, copy) == there(of, host)


ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ
"""Whether all kill points are tried; ./run prove does that."""
HOSTS = ("docker-29-interrupted", "docker-28.5-classic")


@pytest.fixture(scope="module", params=HOSTS)
def kept(request, tmp_path_factory):
    """A capture without what nothing references, whose containers ended long before its engine was stopped."""
    of = capture(request.param)
    host = unpack(of, tmp_path_factory.mktemp("kept"))
    age(host / of.docker, ended=("exited", "imgmount", "local"), ran=())
    clean(host, folder(host), "--now", of.taken_at, "--apply", "--yes")
    shutil.rmtree(host / "state")
    yield of, host
    shutil.rmtree(host)


def command(of, host, *options):
    """The words that drop containers of a host."""
    named = "killed" if "29" in of.name else "web"
    return ("clean", "--now", of.taken_at, "--drop", f"stopped-containers,container={named}", "--accept-loss", "all",
            "--apply", "--yes", "--state", host / "state", *options, host)  # fmt: skip


def everything(of, host):
    """All data below the data root but the databases, and these as Go dumps them."""
    names = {bytes(path.relative_to(host / of.docker)) for path in databases(host / of.root)}
    left = tree(host / of.docker, times=False).items()
    whole = {
        name: (mode, uid, gid, None if what is None else size, what)
        for name, (mode, uid, gid, size, _, what, _) in left
        if name not in names and name != b"tmp"
    }
    return whole, dumps(host / of.root)


@pytest.mark.parametrize("part", [None] if ALL else [0.4, 0.9])
def test_a_kill_after_any_call_loses_nothing_that_stays(part, kept, tmp_path):
    """Wherever it is killed, what stays is whole, and the next run ends as an undisturbed one."""
    of, before = kept
    whole = tmp_path / "whole"
    subprocess.run(["cp", "-a", before, whole], check=True)
    ended = run_counted(*command(of, whole))
    assert (ended.signal, ended.status) == (0, 0), ended.output
    after = everything(of, whole)
    assert len(list((whole / of.docker).glob("containers/*"))) < len(list((before / of.docker).glob("containers/*")))
    calls = len(ended.calls)
    for number in range(1, calls + 1) if part is None else [int(calls * part)]:
        host = tmp_path / str(number)
        subprocess.run(["cp", "-a", before, host], check=True)
        assert run_counted(*command(of, host), kill_after=number).signal == signal.SIGKILL
        left, _ = everything(of, host)
        assert {path: left.get(path) for path in after[0]} == after[0]
        names = {
            json.loads(path.read_text())["Name"] for path in (host / of.docker).glob("containers/*/config.v2.json")
        }
        drop = command(of, host)
        if f"/{drop[4].rpartition('=')[2]}" not in names:
            drop = [each.partition(",")[0] if "," in str(each) else each for each in drop]
        run(*drop, status=0)
        assert everything(of, host) == after
        shutil.rmtree(host)


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("part", [0.4, 0.6, 0.8, 0.95] if LONG else [0.6])
def test_the_engine_starts_after_a_kill(part, kept, tmp_path):
    """It lists every image and no container but those that there were, and the next run takes the rest."""
    of, before = kept
    host = tmp_path / "host"
    subprocess.run(["cp", "-a", before, host], check=True)
    calls = len(run_counted(*command(of, host)).calls)
    shutil.rmtree(host)
    subprocess.run(["cp", "-a", before, host], check=True)
    was = {json.loads(path.read_text())["Name"] for path in (host / of.docker).glob("containers/*/config.v2.json")}
    assert run_counted(*command(of, host), kill_after=int(calls * part)).signal == signal.SIGKILL
    with docker_on(of, host, tmp_path / "engine") as docker:
        names = {f"/{name}" for name in docker.docker("ps", "--all", "--format", "{{.Names}}").split()}
        assert names <= was
        assert docker.docker("images", "--quiet")
        if "29" in of.name and names:
            docker.docker("rm", *(name[1:] for name in names))
            docker.system_df()
    left = {json.loads(path.read_text())["Name"] for path in (host / of.docker).glob("containers/*/config.v2.json")}
    drop = [word for name in sorted(left) for word in ("--drop", f"container={name[1:]}")]
    if drop:
        clean(host, folder(tmp_path), *drop, "--accept-loss", "all", "--apply", "--yes")
    assert not list((host / of.docker).glob("containers/*/config.v2.json"))


def test_undo_brings_every_container_back(kept, tmp_path):
    """After a drop to quarantine, the same tree and the same dumps."""
    of, before = kept
    host = tmp_path / "host"
    subprocess.run(["cp", "-a", before, host], check=True)
    was = everything(of, host)
    run(*command(of, host, "--quarantine", folder(host, "apart")), status=0)
    assert everything(of, host) != was
    (journal,) = (host / "state").glob("*/journal.jsonl")
    run("undo", journal, status=0)
    assert everything(of, host) == was
    assert list((host / "apart").iterdir()) == []


def test_a_plan_file_has_the_choice(kept, tmp_path):
    """Apply carries out what plan wrote; the loss is listed, and a changed filter is stale."""
    of, before = kept
    host = tmp_path / "host"
    subprocess.run(["cp", "-a", before, host], check=True)
    plan = tmp_path / "plan.json"
    words = ("--drop", "stopped-containers", "--filter", "label!=none", "--accept-loss", "all", "--unused-for", "1h")
    run("plan", "--now", of.taken_at, *words, "-o", plan, host)
    document = json.loads(plan.read_text())
    (made,) = [each for each in document["plans"] if "containers" in each]
    assert made["policy"]["filter"] == ["label!=none"]
    names = {each["name"] for each in made["containers"]}
    assert names
    assert all(each["written"] for each in made["containers"])
    made["policy"]["filter"] = ["label=none"]
    plan.with_name("changed.json").write_text(json.dumps(document))
    run("apply", plan.with_name("changed.json"), "--state", folder(tmp_path, "one"), status=32)
    run("apply", plan, "--state", folder(tmp_path, "two"), status=0)
    left = {json.loads(path.read_text())["Name"] for path in (host / of.docker).glob("containers/*/config.v2.json")}
    assert left.isdisjoint(f"/{name}" for name in names)


@pytest.mark.parametrize(
    "words",
    [
        ("--drop", "container=nothing"),
        ("--drop", "container"),
        ("--filter", "label=a"),
        ("--drop", "build-cache", "--filter", "label=a"),
        ("--drop", "stopped-containers", "--filter", "until=1h"),
    ],
)
def test_what_fits_nothing_is_refused(words, kept):
    """A mistyped name, a kind without its name, a filter of another kind, and one that is none."""
    of, host = kept
    run("clean", "--now", of.taken_at, *words, host, status=16)
