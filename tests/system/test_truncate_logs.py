"""``--truncate-logs`` as a whole: shown, planned, applied, killed, undone; and what real engines make of the logs."""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from tests.engines.docker import Docker
from tests.engines.images import busybox_layer
from tests.engines.sandbox import Sandbox
from tests.engines.suite import Suite, rootfs
from tests.support.captures import capture, unpack
from tests.support.classic_root import ClassicRoot
from tests.support.data_roots import add_container, add_json_log, json_line
from tests.support.documents import listed_runs, run
from tests.support.faults import run_counted

pytestmark = pytest.mark.root

ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ
OF = capture("docker-28.5-killed")
LINE = len(json_line(1500))
LINES = range(1000, 3000)
ROTATED = [range(500, 1000), range(500)]
NOW = ("--now", OF.taken_at)
KEPT = b"".join(map(json_line, range(2900, 3000)))
SIZE = str(100 * LINE + 5)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A host on which nothing but a log can be freed."""
    host = unpack(OF, tmp_path_factory.mktemp("planted"))
    run("clean", "--end-leases", "temporary", "--apply", "--yes", *NOW, "--state", host / "before", host, status=0)
    log_of(host, write=True)
    return host


@pytest.fixture
def host(planted, tmp_path):
    """The same, for a test that changes it."""
    return copied(planted, tmp_path / "host")


def copied(host, to):
    """A copy of a host, with its device nodes and times."""
    subprocess.run(["cp", "-a", host, to], check=True)
    return to


def log_of(host, *, write=False):
    """The log of the container."""
    (folder,) = (host / OF.docker / "containers").iterdir()
    return add_json_log(folder, LINES, rotated=ROTATED) if write else folder / f"{folder.name}-json.log"


def logs(host):
    """The files beside the log, by what they have."""
    return {path.name: path.read_bytes() for path in log_of(host).parent.iterdir() if "-json.log" in path.name}


def clean(host, *options, status=0):
    """Clean a host."""
    return run("clean", *NOW, "--state", host / "state", *options, host, status=status)


def test_explain_names_the_log_and_its_volume(planted):
    """By the path of one of its files, or by its container; a volume by its name, or by a path in it."""
    log = log_of(planted)
    volume = planted / OF.docker / "volumes/pgdata/_data"
    volume.mkdir(parents=True, exist_ok=True)

    def titles(word):
        said = json.loads(run("explain", *NOW, "--format", "json", word, planted))
        return [each["title"] for each in said["explanations"]]

    assert titles(f"{log}.1") == titles(log.parent) == ["log of container web"]
    assert "log of container web" in titles("web")
    assert titles(volume / "base/1") == titles("pgdata") == ["volume pgdata"]
    text = run("explain", *NOW, f"{log}.2", planted, status=0)
    assert '"log-opts": {"max-size": "10m", "max-file": "3"}' in text
    assert "since: 2026-05-28T20:26:40Z" in text


def test_no_log_is_cut_unless_asked_for(host):
    """Neither by clean nor by a plan."""
    before = logs(host)
    clean(host, "--apply", "--yes", "--end-leases", "ownerless")
    assert logs(host) == before
    assert "logs" not in json.loads(run("plan", *NOW, host))["plans"][0]


def test_clean_shows_and_cuts(host):
    """First whose log it is, what goes and what stays; then the newest lines are there, and the journal tells."""
    before = logs(host)
    said = clean(host, "--truncate-logs", SIZE, status=1)
    assert "log of container web: its newest" in said
    assert "what is before 2026-05-28T21:15:00Z goes" in said
    assert logs(host) == before
    said = clean(host, "--truncate-logs", SIZE, "--apply", "--yes")
    assert "files of logs: 3 done" in said
    assert logs(host) == {log_of(host).name: KEPT}
    (journal,) = host.glob("state/*/journal.jsonl")
    cuts = [each for each in map(json.loads, journal.read_text().splitlines()) if each.get("do") == "cut"]
    assert [cut["keep"] for cut in cuts] == [0, 0, len(KEPT)]
    assert "nothing to remove" in clean(host, "--truncate-logs", SIZE)


def test_a_kept_container_keeps_its_log(host):
    """By its name, or by the path of a log; nothing else keeps it."""
    before = logs(host)
    for word in ("web", str(log_of(host))):
        said = clean(host, "--truncate-logs", "0", "--apply", "--yes", "--keep", word)
        assert "its log is kept by --keep" in said
        assert logs(host) == before
    run("clean", *NOW, "--truncate-logs", "0", "--keep", "no-such-thing", host, status=16)


def test_a_plan_file(host):
    """It has each cut; apply does the same; a log that was written to makes it stale."""
    plan = host / "plan.json"
    run("plan", *NOW, "--truncate-logs", SIZE, "-o", plan, host, status=1)
    document = json.loads(plan.read_text())
    (part,) = document["plans"]
    assert part["policy"]["truncate_logs"] == int(SIZE)
    assert [each["keep"] for each in part["logs"]] == [0, 0, len(KEPT)]
    assert part["bytes"] == sum(each["bytes"] for each in part["logs"])
    grown = copied(host, host.parent / "grown")
    run("apply", plan, "--state", host / "state", status=0)
    assert logs(host) == {log_of(host).name: KEPT}
    run("plan", *NOW, "--truncate-logs", SIZE, "-o", plan, grown, status=1)
    with log_of(grown).open("ab") as file:
        file.write(json_line(9))
    before = logs(grown)
    run("apply", plan, "--state", grown / "state", status=32)
    assert logs(grown) == before


@pytest.mark.parametrize("size", ["0", SIZE])
def test_quarantine_and_undo(host, size):
    """What is cut off is in the quarantine; runs says that undo is possible, and undo puts every byte back."""
    before = logs(host)
    apart = host / "apart"
    apart.mkdir()
    clean(host, "--truncate-logs", size, "--apply", "--yes", "--quarantine", apart)
    assert logs(host) == {log_of(host).name: KEPT if size == SIZE else b""}
    moved = {path.name: path.read_bytes() for path in apart.rglob("*") if path.is_file()}
    assert moved == before
    (journal,) = host.glob("state/*/journal.jsonl")
    assert [each["undo"] for each in listed_runs(host / "state")] == ["yes"]
    with log_of(host).open("ab") as file:
        file.write(json_line(3000))
    run("undo", journal, status=0)
    assert logs(host) == {**before, log_of(host).name: before[log_of(host).name] + json_line(3000)}
    assert [each["undo"] for each in listed_runs(host / "state")] == ["undone"]
    assert list(apart.iterdir()) == []


def test_without_a_quarantine_undo_says_that_it_cannot(host):
    """What was deleted stays deleted."""
    clean(host, "--truncate-logs", SIZE, "--apply", "--yes")
    (journal,) = host.glob("state/*/journal.jsonl")
    assert [each["undo"] for each in listed_runs(host / "state")] == ["no"]
    run("undo", journal, status=4)
    assert logs(host) == {log_of(host).name: KEPT}


def test_a_data_root_without_a_containerd_root(tmp_path):
    """Its logs are cut into a quarantine in the data root itself, and put back."""
    data = tmp_path / "docker"
    ClassicRoot(data)
    log = add_json_log(add_container(data, 1, "web"), LINES, rotated=ROTATED)
    whole = log.read_bytes()
    (data / "aside").mkdir(mode=0o700)
    options = (
        "--truncate-logs",
        SIZE,
        "--apply",
        "--yes",
        "--quarantine",
        data / "aside",
        "--state",
        tmp_path / "state",
    )
    run("clean", *options, data, status=0)
    assert log.read_bytes() == KEPT
    (journal,) = tmp_path.glob("state/*/journal.jsonl")
    run("undo", journal, status=0)
    assert log.read_bytes() == whole
    assert list((data / "aside").iterdir()) == []


@pytest.mark.slow
def test_a_kill_after_any_call(planted, tmp_path):
    """The log is whole or cut; the next clean ends the same, finishes the journal, and leaves no other file."""
    options = ("--truncate-logs", SIZE, "--apply", "--yes")
    command = ("clean", *NOW, "--state")
    whole = copied(planted, tmp_path / "whole")
    calls = run_counted(*command, whole / "state", *options, whole).calls
    assert {"renameat2_exchange", "unlink", "fsync"} <= set(calls)
    before = logs(planted)
    for number in range(1, len(calls) + 1, 1 if ALL else 5):
        host = copied(planted, tmp_path / str(number))
        assert run_counted(*command, host / "state", *options, host, kill_after=number).signal == signal.SIGKILL
        assert logs(host)[log_of(host).name] in (before[log_of(host).name], KEPT)
        clean(host, *options)
        assert logs(host) == {log_of(host).name: KEPT}
        findings = json.loads(run("scan", *NOW, "--state", host / "state", "--format", "json", host))["roots"][0]
        assert not [each for each in findings["findings"] if each["code"] == "unfinished-run"]
        shutil.rmtree(host)


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("suite", [Suite.FORKY, *([Suite.TRIXIE] if ALL else [])])
def test_a_real_docker_prints_exactly_what_stays(suite, tmp_path):
    """Docker 28.5 and 26.1, drivers json-file and local: cut, read, written to again; emptied, and put back by undo."""
    data = tmp_path / "host/var/lib/docker"
    data.mkdir(parents=True)
    rotation = ("--log-opt", "max-size=60k", "--log-opt", "max-file=3")
    kinds = {"plain": (), "rotated": rotation, "frames": ("--log-driver", "local", *rotation)}
    host, most = tmp_path / "host", 12 << 10
    with Sandbox(tmp_path, rootfs(suite), data) as sandbox, Docker(sandbox) as docker:
        docker.docker("import", "-", "lines", stdin=busybox_layer().data)
        for name, options in kinds.items():
            docker.docker(
                "run", "--name", name, "--network", "none", *options, "lines", "/bin/busybox", "sh", "-c", SAY
            )
        before = {name: docker.docker("logs", name).splitlines() for name in kinds}
        assert before["plain"] == SAID
        volumes = make_volumes(docker)
        files = {name: log_files(docker, data, name) for name in kinds}
        assert [len(each) for each in files.values()] == [1, 3, 2]
        docker.stop()
        listed = json.loads(run("ls", "logs", "--format", "json", host, status=0))["roots"][0]["logs"]
        assert {row["name"]: (row["driver"], row["files"], row["rotated"], row["max_size"]) for row in listed} == {
            "plain": ("json-file", 1, False, None), "rotated": ("json-file", 3, True, "60k"),
            "frames": ("local", 2, True, "60k"),
        }  # fmt: skip
        check_volumes(host, volumes)
        apply(host, most)
        kept = {
            "plain": last_lines(files["plain"], most),
            "rotated": last_lines(files["rotated"], most),
            "frames": last_frames(files["frames"], most),
        }
        assert all(0 < count < len(before[name]) for name, count in kept.items()), kept
        docker.start()
        for name, count in kept.items():
            assert docker.docker("logs", name).splitlines() == before[name][-count:], name
            docker.docker("start", "--attach", name)
            assert docker.docker("logs", name).splitlines()[-len(SAID) :][-100:] == SAID[-100:]
        assert docker.docker("logs", "plain").splitlines() == before["plain"][-kept["plain"] :] + SAID
        after = {name: docker.docker("logs", name) for name in kinds}
        docker.stop()
        apart = data / "aside"
        apart.mkdir()
        apply(host, 0, "--quarantine", apart)
        docker.start()
        for name in kinds:
            assert docker.docker("logs", name) == ""
        docker.docker("start", "--attach", "plain")
        docker.stop()
        (journal,) = [each for each in host.glob("state/*/journal.jsonl") if str(apart) in each.read_text()]
        run("undo", journal, status=0)
        docker.start()
        assert {name: docker.docker("logs", name) for name in kinds} == {
            **after, "plain": after["plain"] + "".join(f"{line}\n" for line in SAID),
        }  # fmt: skip
        # As a log is in the middle of being written over: dockerd passes over the blanks.
        (log,) = data.glob(f"containers/{docker.docker('inspect', '--format', '{{.Id}}', 'plain').strip()}/*-json.log")
        said, lines = docker.docker("logs", "plain").splitlines(), log.read_bytes().splitlines(keepends=True)
        blank = b" " * (len(lines[2]) - 1) + b"\n"
        log.write_bytes(b"".join([*lines[:2], blank, *lines[3:]]))
        assert docker.docker("logs", "plain").splitlines() == said[:2] + said[3:]
        assert docker.docker("logs", "--tail", str(len(said) - 1), "plain").splitlines()[-9:] == said[-9:]
        docker.stop()
        check_options(docker, host)


SAY = "i=0; while [ $i -lt 1500 ]; do echo this is line $i; i=$((i+1)); done"
SAID = [f"this is line {number}" for number in range(1500)]


def make_volumes(docker):
    """Volumes of every kind, with what docker says of each."""
    docker.docker("volume", "create", "data")
    docker.docker("volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "memory")
    docker.docker("volume", "create", "free")
    mounts = ("-v", "data:/data", "-v", "/anonymous", "-v", "memory:/memory", "--network", "none")
    mounts += ("--log-driver", "none")
    docker.docker("run", "--name", "volumes", *mounts, "lines", "/bin/busybox", "sh", "-c", FILL)
    names = docker.docker("volume", "ls", "-q").split()
    dangling = docker.docker("volume", "ls", "-q", "--filter", "dangling=true").split()
    anonymous = docker.docker("volume", "ls", "-q", "--filter", "label=com.docker.volume.anonymous").split()
    created = {name: docker.docker("volume", "inspect", "--format", "{{.CreatedAt}}", name)[:19] for name in names}
    return names, dangling, anonymous, created


FILL = "echo some > /data/file; mkdir /data/folder; ln -s /etc/passwd /data/link; mkfifo /data/pipe; echo x > /memory/x"


def check_volumes(host, volumes):
    """The list and the archive are as docker said."""
    names, dangling, anonymous, created = volumes
    rows = json.loads(run("ls", "volumes", "--format", "json", host, status=0))["roots"][0]["volumes"]
    assert sorted(row["name"] for row in rows) == sorted(names)
    assert [row["name"] for row in rows if row["anonymous"]] == anonymous
    assert [row["name"] for row in rows if not row["mounted_by"]] == dangling
    assert {row["name"]: row["created"][:19] for row in rows} == created
    assert {row["name"]: row["device"] for row in rows if row["device"]} == {"memory": "tmpfs tmpfs"}
    archive = host / "data.tar"
    run("export", "volume", "data", host, "-o", archive, status=0)
    done = subprocess.run(["tar", "-df", archive, "-C", host / "var/lib/docker/volumes/data/_data"], check=False)
    assert done.returncode == 0
    listed = subprocess.run(["tar", "-tf", archive], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(listed) == ["./", "./file", "./folder/", "./link", "./pipe"]
    run("export", "volume", "memory", host, "-o", host / "memory.tar", status=8)


def check_options(docker, host):
    """With options that it cannot decode dockerd does not start, as the finding says; without the file it does."""
    options = host / "var/lib/docker/volumes/free/opts.json"
    options.write_text("{")
    with pytest.raises(TimeoutError, match="error while unmarshaling volume options"):
        docker.start()
    docker.stop()
    found = json.loads(run("scan", "--format", "json", host))["roots"][0]["findings"]
    assert [each["file"] for each in found if each["code"] == "volume-options"] == [str(options)]
    options.unlink()
    docker.start()


def apply(host, most, *options):
    """Cut all logs."""
    run("clean", "--truncate-logs", str(most), "--apply", "--yes", "--state", host / "state", *options, host, status=0)


def log_files(docker, data, name):
    """The files of a container's log, the newest first: the bytes on disk of each, and what is in it."""
    folder = data / "containers" / docker.docker("inspect", "--format", "{{.Id}}", name).strip()
    paths = [*folder.glob("*-json.log*"), *folder.glob("local-logs/container.log*")]
    paths.sort(key=lambda path: int("".join(re.findall(r"\.log\.(\d+)", path.name)) or 0))
    raw = [(path.read_bytes(), path.suffix == ".gz") for path in paths]
    return [(len(data), gzip.decompress(data) if is_packed else data) for data, is_packed in raw]


def last_lines(files, most):
    """How many of the last lines of all files fit into as many bytes."""
    count = 0
    for line in reversed(b"".join(data for _, data in reversed(files)).splitlines(keepends=True)):
        most -= len(line)
        if most < 0:
            break
        count += 1
    return count


def last_frames(files, most):
    """How many frames the last files have that fit whole."""
    count = 0
    for size, log in files:
        most -= size
        if most < 0:
            break
        at = 0
        while at < len(log):
            at += int.from_bytes(log[at : at + 4], "big") + 8
            count += 1
    return count
