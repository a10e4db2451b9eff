"""The one file in a root that holds nothing but it and a capture, compared with this environment's drydock there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from release.sources import FIXES, PACKAGES, PYTHON
from tests.release.host import RUN_NAME, BareHost, Ended, bare_host, here, masked
from tests.support.captures import Capture, capture, unpack
from tests.support.imported import imported
from tests.support.rich import ZSTD, rich
from tests.support.tmux import terminal
from tests.support.trees import tree

from drydock.cli.versions import NEEDED

pytestmark = pytest.mark.root

DEMO, DEMO_IMAGE = "docker-29-interrupted", "127.0.0.1:5000/demo:v1"
READING = [DEMO, "containerd-1.6-damaged", "containerd-2.4-erofs"]
if "DRYDOCK_TEST_LONG" in os.environ:
    READING += ["containerd-2.4-overlayfs", "containerd-1.6-truncated-metadb"]
_OF_ONE_RUN = ("expect", "finished", "manifest", "plan", "time")
"""Keys of a journal: times, inodes, and digests of what has these."""
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def host(program: Path, emulator: Path | None, own_disk: Path, tmp_path: Path) -> BareHost:
    """A bare host with an empty folder."""
    root = tmp_path / "root"
    root.mkdir()
    return bare_host(program, root, own_disk, emulator)


@pytest.mark.parametrize("name", READING)
def test_what_only_reads(name: str, host: BareHost) -> None:
    """Every command that changes nothing writes the same bytes to stdout and stderr, and ends with the same status."""
    of = capture(name)
    folder = unpack(of, host.folder)
    database = next(folder.rglob("meta.db"))
    at, on = ("--now", of.taken_at), ("--host", "node-1")
    commands: list[tuple[str | Path, ...]] = [
        ("scan", *at, folder),
        ("scan", *at, *on, "--format", "json", folder),
        ("scan", *at, *on, "--format", "html", folder),
        ("scan", *at, *on, "--format", "prometheus", folder),
        ("scan", *at, *on, "--format", "markdown", folder),
        ("pulls", *at, folder),
        ("clean", *at, "--end-leases", "temporary", folder),
        ("verify", "--data", "--unpacked", folder),
        ("repair", *at, folder),
        ("ls", "images", folder),
        ("ls", "snapshots", folder),
        ("bolt", "info", database),
        ("bolt", "buckets", database),
        ("bolt", "check", database),
        ("bolt", "salvage", database),
        ("explain", *at, "nothing-of-this-name", folder),
        ("schema", "scan"),
    ]
    if name == DEMO:
        commands += [
            ("scan", *at, *on, "--holders", "--format", "json", folder),
            ("scan", *at, "--measure", "disk", "--verify", "digest", "--format", "tree", folder),
            ("scan", *at, *on, "--format", "csv", folder),
            ("scan", *at, *on, "--format", "jsonl", folder),
            ("pulls", *at, "--format", "json", folder),
            ("explain", *at, DEMO_IMAGE, folder),
            ("ls", "leases", *at, folder),
            ("ls", "containers", *at, "--format", "json", folder),
            ("diff", "container", "exited", folder),
            ("bolt", "pages", database),
            ("bolt", "dump", database),
        ]
    for words in commands:
        assert masked(host.run(*words)) == masked(host.beside(*words)), words


def test_files_that_it_writes(host: BareHost) -> None:
    """A page, a plan, an image, a container's files: the same bytes in the file that -o names."""
    of = capture(DEMO)
    folder = unpack(of, host.folder)
    at = ("--now", of.taken_at)
    for words in (
        ("scan", *at, "--host", "node-1", "--format", "html", folder),
        ("plan", *at, "--end-leases", "temporary", folder),
        ("export", "image", DEMO_IMAGE, folder),
        ("export", "container", "exited", folder),
    ):
        written = []
        for run in (host.beside, host.run):
            ended = run(*words, "-o", host.folder / "written")
            written.append((ended, (host.folder / "written").read_bytes()))
            (host.folder / "written").unlink()
        assert written[1] == written[0], words
        assert len(written[0][1]) > 1000, words


@pytest.mark.engine
@pytest.mark.slow
def test_zstd(host: BareHost) -> None:
    """What a real containerd unpacked of layers that zstd's own command compressed is read the same, damage too."""
    root = imported(host.folder, rich(ZSTD))
    words = ("verify", "--data", "--unpacked=content", "--format", "json", "--state", host.folder / "state", root)
    for status in (0, 2):
        ended = host.run(*words)
        assert ended.status == status, ended
        found, wanted = json.loads(ended.out), here(*words)
        assert {**found, "now": ""} == {**json.loads(wanted.out), "now": ""}
        assert (ended.status, ended.err) == (wanted.status, wanted.err)
        assert found["roots"][0]["unpacked"]["not_comparable"] == 0
        (path,) = root.glob("io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/usr/lib/behind")
        path.write_bytes(b"")


@pytest.mark.parametrize("command", ["", "scan", "clean", "bolt", "export image", "schema", "verify"])
def test_help(command: str, host: BareHost) -> None:
    """Help and usage errors are the same."""
    for words in ((*command.split(), "--help"), (*command.split(), "--no-such-option")):
        assert host.run(*words) == here(*words)


def _changed(run: Callable[..., Ended], of: Capture, folder: Path) -> list[object]:
    """Clean into quarantine, undo it, clean for good, export, repair; what each said, the tree after it, and runs."""
    (folder / "quarantine").mkdir()
    state = folder / "state"
    ended: list[object] = []
    cleaning = ("clean", "--now", of.taken_at, "--end-leases", "temporary", "--apply", "--yes", "--state", state)

    def note(*words: str | Path) -> None:
        ended.extend((masked(run(*words)), _tree(folder)))

    def note_runs() -> None:
        ended.append(_TIME.sub(b"TIME", masked(run("runs", "--state", state))[1]))

    note(*cleaning, "--quarantine", folder / "quarantine", folder)
    note_runs()
    (journal,) = state.glob("*/journal.jsonl")
    ended.append(list(map(_entry, journal.read_bytes().splitlines())))
    note("undo", journal)
    note_runs()
    shutil.rmtree(state)
    note(*cleaning, folder)
    note("export", "image", DEMO_IMAGE, folder / "image.tar", folder)
    note("repair", "--now", of.taken_at, "--apply", "--yes", "--state", folder / "repairs", folder)
    return ended


def _entry(line: bytes) -> dict[str, object]:
    """A line of a journal without times and inodes, and without digests of what has these."""
    entry = json.loads(RUN_NAME.sub(b"RUN", line))
    return {key: value for key, value in entry.items() if key not in _OF_ONE_RUN}


def _tree(folder: Path) -> dict[bytes, object]:
    """What is below a folder, without journals and other files that hold times and inodes."""
    found: dict[bytes, object] = {}
    for path, what in tree(folder, times=False).items():
        if not path.endswith((b".jsonl", b"manifests.gz")):
            found[RUN_NAME.sub(b"RUN", path)] = what
    return found


def test_what_changes(host: BareHost) -> None:
    """A store that the one file cleaned, brought back, exported and repaired is as the other drydock leaves it."""
    of = capture(DEMO)
    seen = []
    for run in (host.beside, host.run):
        unpack(of, host.folder)
        seen.append(_changed(run, of, host.folder))
        for entry in host.folder.iterdir():
            shutil.rmtree(entry)
    for wanted, found in zip(*seen, strict=True):
        assert found == wanted
    assert seen[0][0][0] == 0
    assert b"\nTIME  finished " in seen[0][2]


def test_repairs_damage(host: BareHost) -> None:
    """What is damaged is repaired with the same words and to the same store."""
    of = capture("containerd-1.6-damaged")
    seen = []
    for run in (host.beside, host.run):
        folder = unpack(of, host.folder)
        words = ("repair", "--now", of.taken_at, "--data", "--apply", "--yes", "--state", folder / "state", folder)
        seen.append((masked(run(*words)), _tree(folder)))
        for entry in host.folder.iterdir():
            shutil.rmtree(entry)
    assert seen[1] == seen[0]


def test_without_proc(host: BareHost) -> None:
    """Where /proc is not mounted everything is read as with it, and nothing is changed: processes cannot be seen."""
    of = capture(DEMO)
    folder = unpack(of, host.folder)
    for words in (("scan", "--now", of.taken_at, folder), ("pulls", "--now", of.taken_at, folder)):
        assert host.run(*words, proc=False) == host.beside(*words)
    before = tree(folder)
    refused = host.run("clean", "--apply", "--yes", "--state", folder / "state", folder, proc=False)
    assert refused.status == 32
    assert refused.err == (
        b"drydock: /proc is not mounted: processes that use the storage cannot be seen; mount -t proc proc /proc\n"
    )
    assert tree(folder) == before


_TMPFS = 'mount -t tmpfs -o {} tmpfs "$root/tmp"'
_FILLED = 'head -c 1M /dev/zero 2>&- >"$root{}/x" || true'
_FULL_ROOT = """
mount -t tmpfs -o size=$(($(du -skx "$root" | cut -f 1) + 64))k tmpfs "$root/tmp"
cp -ax "$root/." "$root/tmp"
mount --move "$root/tmp" "$root"
"""


@pytest.mark.parametrize(
    ("before", "after", "place", "writable"),
    [
        pytest.param("", 'mount -o remount,bind,ro "$root$folder"', True, False, id="read-only storage"),
        pytest.param(
            'mount --bind "$root" "$root"', 'mount -o remount,bind,ro "$root"', False, True, id="read-only root"
        ),
        pytest.param(_FULL_ROOT, _FILLED.format(""), False, True, id="full root"),
        pytest.param(_TMPFS.format("noexec"), "", True, True, id="noexec tmp"),
        pytest.param(_TMPFS.format("size=64k"), _FILLED.format("/tmp"), True, True, id="full tmp"),
        pytest.param("", 'test ! -e "$root/dev" -a ! -e "$root/run"', True, True, id="no /dev/shm, /run, HOME"),
    ],
)
def test_places_that_cannot_be_used(before: str, after: str, place: bool, writable: bool, host: BareHost) -> None:
    """It needs no place to unpack itself to: whatever /tmp and / are like, a scan and a clean are the same.

    Without a place for the journal nothing is changed, and one line says what it needs.
    """
    of = capture("containerd-2.4-overlayfs")
    folder = unpack(of, host.folder)
    for name in ("tmp", "var/lib"):
        (host.root / name).mkdir(parents=True, exist_ok=True)
    scan, clean = ("scan", "--now", of.taken_at), ("clean", "--now", of.taken_at, "--apply", "--yes")
    ended = host.run(*scan, folder, before=before, after=after, environment={})
    assert ended == host.beside(*scan, folder)
    assert ended.status == 1
    if not place:
        stored = tree(folder)
        refused = host.run(*clean, folder, before=before, after=after, environment={})
        assert (refused.status, refused.out.count(b"journal:")) == (32, 0)
        assert re.fullmatch(rb"drydock: no place for the journal \(.*\): name one with --state\n", refused.err)
        assert tree(folder) == stored
    if writable:
        state = ("--state", host.folder / "state")
        ended = host.run(*clean, *state, folder, before=before, after=after, environment={})
        assert (ended.status, ended.err) == (0, b"")
        assert host.beside(*scan, folder).status == 0


def test_too_little_memory(native_program: Path, unpacked: Callable[[Capture], Path]) -> None:
    """It says so in one line with status 8, at its start and later; with a little more it ends as with all."""
    of = capture(DEMO)
    folder = unpacked(of)
    whole = here("scan", "--now", of.taken_at, folder)
    ends = []
    for limit in range(20_000, 41_000, 500):
        done = subprocess.run(
            ["sh", "-c", f'ulimit -v {limit}; exec "$@"', "sh", native_program, "scan", "--now", of.taken_at, folder],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, env={},
        )  # fmt: skip
        ends.append(done.returncode)
        if done.returncode == whole.status:
            continue
        assert done.returncode == 8, (limit, done)
        assert re.fullmatch(rb"drydock: (not enough memory|Python cannot start).*\n", done.stderr), (limit, done)
    assert 8 in ends
    assert ends[-1] == whole.status


def test_on_a_terminal(command: list[Path], unpacked: Callable[[Capture], Path], tmp_path: Path) -> None:
    """Where stderr is a terminal, progress is drawn, and browse opens: what both load is inside."""
    of = capture(DEMO)
    words = ["--now", of.taken_at, unpacked(of)]
    with terminal([*command, "scan", *words], lines=60) as screen:
        screen.sees("ended with 0")
    with terminal([*command, "browse", "--state", tmp_path, *words]) as screen:
        screen.sees("nothing is marked")
        screen.presses("f", "found by: .*|has: ")
        screen.presses("Escape", "nothing is marked")
        screen.presses("/", "Enter takes it")
        screen.presses("Escape", "x export  p plan")
        screen.presses("q", "ended with 0")


def test_nothing_is_left_behind(host: BareHost, command: list[Path]) -> None:
    """A run writes nothing to its root, and is one process: when it is killed, nothing of it is left."""
    of = capture("containerd-2.4-overlayfs")
    folder = unpack(of, host.folder)
    before = tree(host.root, times=False)
    assert host.run("verify", "--data", "--unpacked", "--state", folder / "state", folder).status == 0
    assert tree(host.root, times=False) == before
    with subprocess.Popen([*command, "bolt", "dump", "/dev/stdin"], stdin=subprocess.PIPE) as process:
        assert _family(process.pid) == [process.pid]
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_runs_from_memory(program: Path, emulator: Path | None) -> None:
    """It runs from a file that has no name on any disk."""
    memory = os.memfd_create("drydock")
    os.write(memory, program.read_bytes())
    words = [*filter(None, [emulator]), f"/proc/self/fd/{memory}", "schema", "scan"]
    done = subprocess.run(words, pass_fds=[memory], capture_output=True, check=True)
    os.close(memory)
    assert done.stdout == here("schema", "scan").out


def test_versions(command: list[Path]) -> None:
    """It lists what it is pinned to, and what it leaves out."""
    done = subprocess.run([*command, "--version", "--verbose"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    how = f"inside this file, with the fixes of Debian's {FIXES.version}"
    assert lines[1] == f"Python {PYTHON.version} (CPython, {how})"
    pins = {each.name: each.version for each in PACKAGES}
    assert {f"{name} {pins[name]}" for name in (*NEEDED, "backports.zstd")} <= set(lines)
    assert "pyarrow not installed (for drydock fleet and Parquet)" in lines


def test_interrupted(command: list[Path], unpacked: Callable[[Capture], Path], tmp_path: Path) -> None:
    """SIGINT ends it with 130, and with the words of the other."""
    of = capture(DEMO)
    words = ("clean", "--now", of.taken_at, "--end-leases", "temporary", "--apply", "--state", tmp_path, unpacked(of))
    ended = []
    for program in (command, [sys.executable, "-m", "drydock"]):
        leader, follower = os.openpty()
        with subprocess.Popen(
            [*program, *words], stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout is not None
            said = b""
            while b"[y/N]" not in said and (part := process.stdout.read1()):
                said += part
            # A signal that comes before Python waits for the answer is seen only after it.
            while Path(f"/proc/{process.pid}/wchan").read_text() != "wait_woken":
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            try:
                said += process.communicate(timeout=60)[0]
            finally:
                process.kill()
        os.close(leader)
        os.close(follower)
        ended.append((process.returncode, said))
    assert ended[0] == ended[1]
    assert ended[0][0] == 130


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]
