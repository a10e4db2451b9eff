"""A clean of Docker's classic store, on hosts of Docker 26.1 and 28.5 that were killed, judged by dockerd.

The captures have what the engine itself said before: images, containers, where their layers lie, what is used.
"""

import json
import os
import shutil
import signal
import subprocess

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT, images
from tests.engines.hosts import docker_on
from tests.engines.images import busybox_layer
from tests.engines.registry import Registry
from tests.support import gobbolt
from tests.support.captures import classic_captures, unpack
from tests.support.classic_reading import Reading
from tests.support.documents import run
from tests.support.faults import run_counted
from tests.support.full_disk import disk, fill
from tests.support.trees import tree

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

HOSTS = [pytest.param(each, id=each.name) for each in classic_captures()]
OWNERLESS = ("--end-leases", "ownerless")
ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ
"""Whether all kill points are tried; ./run prove does that."""


def clean(of, host, *options, status=0):
    """Clean a host."""
    return run(
        "clean", *options, "--apply", "--yes", "--now", of.taken_at, "--state", host / "state", host, status=status
    )


def planned(of, host, folder, *options):
    """The paths of the classic store in a plan, below the data root."""
    run("plan", "-o", folder / "plan.json", "--now", of.taken_at, *options, host)
    (plan,) = json.loads((folder / "plan.json").read_text())["plans"]
    data = str(host / of.docker)
    return {each["path"] for each in plan["removals"] if each.get("data_root") == data}


def store(host, of):
    """The classic store's files and folders, without times and numbers of links."""
    found = {}
    for top in ("overlay2", "image"):
        for path, (mode, uid, gid, size, _, what, _) in tree(host / of.docker / top, times=False).items():
            found[top.encode() + b"/" + path] = (mode, uid, gid, None if what is None else size, what)
    return found


def builders(host, of):
    """The databases of dockerd's builder, by Go's reader; they are sound."""
    databases = [host / of.docker / "buildkit" / name for name in ("containerdmeta.db", "snapshots.db")]
    assert [gobbolt.check(each) for each in databases] == [(0, "")] * 2
    return [gobbolt.dump(each) for each in databases]


@pytest.mark.parametrize("of", HOSTS)
def test_what_goes_is_what_nobody_uses(of, tmp_path):
    """A second reading of the layout finds the same; nothing of it is what dockerd says that something stands on."""
    host = unpack(of, tmp_path)
    data = host / of.docker
    said = of.facts["dockerd"]["graph"]
    used = {name for names in said.values() for name in names}
    for options, spare in (((), True), (OWNERLESS, False)):
        going = planned(of, host, tmp_path, *options)
        assert going == Reading(data, spare_ownerless=spare).unused()
        assert {path.rpartition("/")[2] for path in going}.isdisjoint(used)
    kinds = {"-removing", "-init", "write-set-"}
    assert all(any(kind in path for path in going) for kind in kinds)
    for planted in of.planted:
        path = planted["path"].removeprefix("../../")
        if path.startswith("overlay2/"):
            assert (path in going) == planted["what"].startswith("orphaned"), path


@pytest.mark.parametrize("of", HOSTS)
def test_a_written_layer_is_named_first(of, tmp_path):
    """With its bytes, as du counts them; without the option it stays."""
    host = unpack(of, tmp_path)
    (written,) = [each["path"].rpartition("/")[2] for each in of.planted if each["what"].startswith("missing")]
    mount = (host / of.docker / "image/overlay2/layerdb/mounts" / written / "mount-id").read_text()
    assert f"overlay2/{mount}" not in planned(of, host, tmp_path)
    lines = run("clean", "--now", of.taken_at, *OWNERLESS, host).splitlines()
    counted = subprocess.run(
        ["du", "-s", "--block-size=1024", host / of.docker / "overlay2" / mount], capture_output=True, check=True
    )
    assert f"removes what container {written} wrote, {int(counted.stdout.split()[0])}.0 KiB" in lines[1]
    assert lines[1].endswith(f"overlay2/{mount}")


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("of", HOSTS)
def test_dockerd_is_as_before(of, tmp_path):
    """Same images, containers, layers and figures; all containers run; the interrupted pull and a build work."""
    host = unpack(of, tmp_path)
    data = host / of.docker
    clean(of, host, *OWNERLESS)
    assert Reading(data, spare_ownerless=False).unused() == set()
    for folder in ("overlay2", "overlay2/l", "image/overlay2"):
        assert (data / folder).is_dir()
    said = of.facts["dockerd"]
    with docker_on(of, host, tmp_path / "engine") as docker:
        check_lists(docker, said)
        # The first question drops the record of the build step that was killed; the recipe asked twice as well.
        docker.system_df()
        used = json.loads(docker.system_df("--verbose", "--format", "{{json .}}"))
        assert figures(used) == figures(said["df"])
        for each in said["containers"]:
            starts = said["starts"][each["name"]]
            if starts is None:
                docker.docker("start", "--attach", each["id"])
        with Registry(docker.sandbox.listen(PORT), images(busybox_layer())) as registry:
            tools = f"{registry.address}/tools:2"
            docker.docker("pull", "-q", tools)
            docker.docker("run", "--rm", "--network", "none", tools, "/bin/busybox", "ls", "/opt/three")
        build = b'FROM kept:1\nRUN ["/bin/busybox", "cat", "/srv/kept"]\n'
        docker.docker("build", "-q", "--network", "none", "-t", "after:1", "-", stdin=build)
        docker.docker("save", "-o", "/run/saved.tar", "kept:1", "after:1")
        clean(of, host, *OWNERLESS, status=32)


def check_lists(docker, said):
    """The images, the containers, and where the layers of each lie are those that dockerd listed before."""
    names = docker.docker("images", "--all", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
    assert sorted(names.splitlines()) == sorted(f"{each['name']} {each['id']}" for each in said["images"])
    listed = docker.docker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}}").splitlines()
    assert sorted(listed) == sorted(f"{each['id']} {each['name']}" for each in said["containers"])
    for identity, directories in said["graph"].items():
        graph = json.loads(docker.docker("inspect", "--format", "{{json .GraphDriver.Data}}", identity))
        paths = [path for key in ("LowerDir", "UpperDir") for path in graph.get(key, "").split(":") if path]
        assert sorted({path.split("/")[-2] for path in paths}) == directories


def figures(used):
    """What docker system df says, without what is said in relation to now, or of this question."""
    # The order of these is Go's of a map.
    for row in used["Containers"]:
        row["Mounts"] = ",".join(sorted(row["Mounts"].split(",")))
    passing = ("CreatedSince", "LastUsedAt", "LastUsedSince", "RunningFor", "Status")
    return {
        kind: sorted(
            json.dumps({key: value for key, value in row.items() if key not in passing}, sort_keys=True)
            for row in used[kind]
        )
        for kind in ("Images", "Containers", "Volumes", "BuildCache")
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The newest host, what a clean of it leaves, and the calls that the clean makes."""
    of, whole = classic_captures()[-1], tmp_path_factory.mktemp("whole")
    unpack(of, whole)
    before = store(whole, of)
    ended = run_counted(*command(of, whole))
    assert (ended.signal, ended.status) == (0, 0), ended.output
    kept, left = store(whole, of), builders(whole, of)
    assert {path: before.get(path) for path in kept} == kept
    shutil.rmtree(whole)
    return of, kept, left, ended.calls


def command(of, host):
    """The clean."""
    return "clean", *OWNERLESS, "--apply", "--yes", "--now", of.taken_at, "--state", host / "state", host


def kill_points(calls):
    """After which calls: of thousands of files that are removed in a row the first, and some more."""
    numbers = range(1, len(calls) + 1)
    return [each for each in numbers if calls[each - 1 : each] != calls[each - 2 : each - 1] or each % 500 == 0]


def edits(calls):
    """After which calls the leases of the builder, and then its snapshots, have just gone."""
    found = [number for number, call in enumerate(calls, 1) if call == "utime"]
    assert len(found) == len(("containerdmeta.db", "snapshots.db"))
    return found


def killed_host(of, folder, number):
    """A host whose clean was killed after a call."""
    folder.mkdir()
    unpack(of, folder)
    killed = run_counted(*command(of, folder), kill_after=number)
    assert killed.signal == signal.SIGKILL, killed.output
    return folder


@pytest.mark.slow
def test_a_kill_after_any_call_is_ended_by_the_next_clean(undisturbed, tmp_path):
    """What is kept is whole, the next clean ends as an undisturbed one, and the kill is no longer reported."""
    of, kept, builder, calls = undisturbed
    for number in kill_points(calls) if ALL else sorted({*kill_points(calls)[::60], *edits(calls)}):
        host = killed_host(of, tmp_path / str(number), number)
        left = store(host, of)
        assert {path: left.get(path) for path in kept} == kept, number
        builders(host, of)
        clean(of, host, *OWNERLESS)
        assert (store(host, of), builders(host, of)) == (kept, builder), number
        said = run("scan", "--format", "json", "--now", of.taken_at, "--state", host / "state", host)
        assert "unfinished-run" not in said
        shutil.rmtree(host)


@pytest.mark.engine
@pytest.mark.slow
def test_dockerd_starts_on_what_a_kill_leaves(undisturbed, tmp_path):
    """Same images and containers, which run, wherever the clean was killed; here once records are gone."""
    of, _, _, calls = undisturbed
    last = max(number for number, call in enumerate(calls, 1) if call == "renameat2_noreplace")
    for number in sorted({*kill_points(calls)[::10], *edits(calls)}) if ALL else [last + 12]:
        host = killed_host(of, tmp_path / str(number), number)
        with docker_on(of, host, tmp_path / f"{number} engine") as docker:
            check_lists(docker, of.facts["dockerd"])
            docker.docker("start", "--attach", "web")
        shutil.rmtree(host)


@pytest.mark.parametrize("of", HOSTS)
def test_a_quarantine_gives_the_same_tree_back(of, tmp_path):
    """Everything in the classic store, by contents, modes, owners and times of files, and the builder's databases."""
    host = unpack(of, tmp_path)
    before = store(host, of), builders(host, of)
    (host / "aside").mkdir(mode=0o700)
    said = clean(of, host, *OWNERLESS, "--quarantine", host / "aside")
    assert Reading(host / of.docker, spare_ownerless=False).unused() == set()
    journal = next(line for line in said.splitlines() if "journal: " in line).split("journal: ")[1].split(" (")[0]
    assert " yes " in run("runs", "--state", host / "state")
    assert builders(host, of) != before[1]
    run("undo", journal, status=0)
    assert (store(host, of), builders(host, of)) == before
    assert list((host / "aside").iterdir()) == []
    assert " undone " in run("runs", "--state", host / "state")


def test_a_plan_file_is_carried_out_unless_something_changed(tmp_path):
    """A directory that changed after the plan makes it stale: nothing goes then. A new plan does what it says."""
    of = classic_captures()[0]
    host = unpack(of, tmp_path)
    data, before = host / of.docker, store(host, of)
    going = planned(of, host, tmp_path, *OWNERLESS)
    (data / "overlay2" / ("ab" * 32) / "new").touch()
    run("apply", tmp_path / "plan.json", "--state", tmp_path / "state", status=32)
    (data / "overlay2" / ("ab" * 32) / "new").unlink()
    assert store(host, of) == before
    assert planned(of, host, tmp_path, *OWNERLESS) == going
    run("apply", tmp_path / "plan.json", "--state", tmp_path / "state", status=0)
    assert not any(os.path.lexists(data / path) for path in going)
    assert Reading(data, spare_ownerless=False).unused() == set()


def test_a_full_disk_is_freed(tmp_path):
    """With 0 bytes free, and the journal elsewhere: the same is left as on a disk with room."""
    of = classic_captures()[0]
    (tmp_path / "disk").mkdir()
    with disk(tmp_path / "image", tmp_path / "disk", 64 << 20) as point:
        host = unpack(of, point)
        # ext4 gives blocks to many small files later, and would have room again.
        subprocess.run(["sync", "-f", point], check=True)
        fill(point)
        run(
            "clean", *OWNERLESS, "--apply", "--yes", "--now", of.taken_at, "--state", tmp_path / "state", host, status=0
        )
        assert os.statvfs(point).f_bavail > 1000
        assert Reading(host / of.docker, spare_ownerless=False).unused() == set()
