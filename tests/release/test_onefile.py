"""The one file in a root that holds nothing but it and a capture, compared with this environment's drydock there."""

from __future__ import annotations

import json
import os
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
from tests.support.trees import tree

from drydock.cli.versions import NEEDED

pytestmark = pytest.mark.root

READING = ("docker-29-interrupted", "containerd-2.4-overlayfs", "containerd-1.6-damaged", "containerd-2.4-erofs",
           "containerd-1.6-truncated-metadb")  # fmt: skip
_OF_ONE_RUN = ("expect", "finished", "manifest", "plan", "time")
"""Keys of a journal: times, inodes, and digests of what has these."""


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
    for words in commands:
        assert masked(host.run(*words)) == masked(here(*words)), words


@pytest.mark.parametrize("command", ["", "scan", "clean", "bolt", "export image", "schema", "verify"])
def test_help(command: str, host: BareHost) -> None:
    """Help and usage errors are the same."""
    for words in ((*command.split(), "--help"), (*command.split(), "--no-such-option")):
        assert host.run(*words) == here(*words)


def _changed(run: Callable[..., Ended], of: Capture, folder: Path) -> list[object]:
    """Clean into quarantine, undo it, clean for good, export, repair; what each said, and the tree after it."""
    (folder / "quarantine").mkdir()
    state = folder / "state"
    ended: list[object] = []
    cleaning = ("clean", "--now", of.taken_at, "--end-leases", "temporary", "--apply", "--yes", "--state", state)

    def note(*words: str | Path) -> None:
        ended.extend((masked(run(*words)), _tree(folder)))

    note(*cleaning, "--quarantine", folder / "quarantine", folder)
    (journal,) = state.glob("*/journal.jsonl")
    ended.append(list(map(_entry, journal.read_bytes().splitlines())))
    note("undo", journal)
    shutil.rmtree(state)
    note(*cleaning, folder)
    note("export", "image", "127.0.0.1:5000/demo:v1", folder / "image.tar", folder)
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
    of = capture("docker-29-interrupted")
    seen = []
    for run in (here, host.run):
        unpack(of, host.folder)
        seen.append(_changed(run, of, host.folder))
        for entry in host.folder.iterdir():
            shutil.rmtree(entry)
    for wanted, found in zip(*seen, strict=True):
        assert found == wanted
    assert seen[0][0][0] == 0


def test_repairs_damage(host: BareHost) -> None:
    """What is damaged is repaired with the same words and to the same store."""
    of = capture("containerd-1.6-damaged")
    seen = []
    for run in (here, host.run):
        folder = unpack(of, host.folder)
        words = ("repair", "--now", of.taken_at, "--data", "--apply", "--yes", "--state", folder / "state", folder)
        seen.append((masked(run(*words)), _tree(folder)))
        for entry in host.folder.iterdir():
            shutil.rmtree(entry)
    assert seen[1] == seen[0]


def test_without_proc(host: BareHost) -> None:
    """Where /proc is not mounted everything is read as with it, and nothing is changed: processes cannot be seen."""
    of = capture("docker-29-interrupted")
    folder = unpack(of, host.folder)
    for words in (("scan", "--now", of.taken_at, folder), ("pulls", "--now", of.taken_at, folder)):
        assert host.run(*words, proc=False) == here(*words)
    before = tree(folder)
    refused = host.run("clean", "--apply", "--yes", "--state", folder / "state", folder, proc=False)
    assert refused.status == 32
    assert refused.err == (
        b"drydock: /proc is not mounted: processes that use the storage cannot be seen; mount -t proc proc /proc\n"
    )
    assert tree(folder) == before


_TMPFS = 'mount -t tmpfs -o {} tmpfs "$root/tmp"'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("", 'mount -o remount,bind,ro "$root$folder"', id="read-only storage"),
        pytest.param('mount --bind "$root" "$root"', 'mount -o remount,bind,ro "$root"', id="read-only root"),
        pytest.param(_TMPFS.format("noexec"), "", id="noexec tmp"),
        pytest.param(_TMPFS.format("size=64k"), 'head -c 1M /dev/zero 2>&- >"$root/tmp/x" || true', id="full tmp"),
    ],
)
def test_places_that_cannot_be_used(before: str, after: str, host: BareHost) -> None:
    """It needs no place to unpack itself to: whatever /tmp and / are like, a scan is the same."""
    of = capture("containerd-2.4-overlayfs")
    folder = unpack(of, host.folder)
    (host.root / "tmp").mkdir(exist_ok=True)
    ended = host.run("scan", "--now", of.taken_at, folder, before=before, after=after)
    assert ended == here("scan", "--now", of.taken_at, folder)
    assert ended.status == 1


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
    of = capture("docker-29-interrupted")
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
