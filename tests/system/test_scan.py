"""Scanning changes nothing, works where nothing can be written, and ends with one clear line where it cannot go on."""

import fcntl
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from tests.engines.containerd import Containerd
from tests.engines.images import Image, layer, noise
from tests.engines.sandbox import Sandbox
from tests.engines.unavailable import EngineUnavailable
from tests.support.adoptable import NOW
from tests.support.boltwriter import write
from tests.support.captures import capture
from tests.support.documents import run, scan
from tests.support.program import DRYDOCK
from tests.support.records import METADATA
from tests.support.trees import tree
from tests.support.unpacked import OVERLAYFS, lay_out_unpacked

NAMESPACES = "containerd-1.6-namespaces"
PLANTED = "containerd-1.6-planted-orphans"

_GUARD = """
import os, sys
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink",
           "os.truncate", "os.utime", "os.setxattr", "os.removexattr", "shutil.rmtree", "shutil.move"}
def watch(event, arguments):
    if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES):
        if event == "open" and (str(arguments[0]) == os.devnull or isinstance(arguments[0], int)):
            return  # a number is a file that was opened before: a pipe to the parent
        print("CHANGED", event, arguments, file=sys.stderr)
        os._exit(99)
sys.dont_write_bytecode = True
from drydock.cli import main
sys.addaudithook(watch)
main(sys.argv[1:])
"""


def _process(*arguments):
    return subprocess.run([*DRYDOCK, *map(str, arguments)], capture_output=True, text=True, check=False)


def _refusal(*arguments, status):
    """The one line on stderr of a command that cannot go on."""
    done = _process(*arguments)
    assert done.returncode == status, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("drydock: ")
    return lines[0]


@pytest.mark.root
def test_what_only_looks_changes_nothing(unpacked_anew, tmp_path_factory):
    """Not a byte, an mtime, a ctime or an atime of a file, whatever is measured, verified and planned."""
    of = capture(PLANTED)
    host, elsewhere = unpacked_anew(of), tmp_path_factory.mktemp("elsewhere")
    before = tree(host)
    scan(of, host, "--measure", "disk", "--verify", "digest")
    run("explain", "--now", of.taken_at, "shop", host, status=None)
    run("pulls", "--now", of.taken_at, host)
    run("plan", "--now", of.taken_at, "--end-leases", "ownerless", "-o", elsewhere / "plan", host)
    run("clean", "--now", of.taken_at, host)
    run("verify", "--now", of.taken_at, "--data", "--unpacked=content", "--state", elsewhere, host)
    run("repair", "--now", of.taken_at, "--state", elsewhere, host)
    assert tree(host) == before


@pytest.mark.interpreter
@pytest.mark.root
@pytest.mark.parametrize(
    "command", [("scan",), ("scan", "--measure", "disk", "--verify", "digest"), ("plan",), ("pulls",), ("clean",)]
)
def test_nothing_is_opened_for_writing(command, unpacked):
    """An audit hook ends the process, or a child, at the first call that could change a file."""
    of = capture(PLANTED)
    done = subprocess.run(
        [sys.executable, "-c", _GUARD, *command, "--now", of.taken_at, str(unpacked(of))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in ((0,) if command == ("pulls",) else (1, 3)), done.stderr
    assert "CHANGED" not in done.stderr


@pytest.mark.root
def test_it_works_on_a_read_only_mount(unpacked, tmp_path):
    """A host mounted read-only is scanned as any other."""
    of = capture(PLANTED)
    point = tmp_path / "mounted"
    point.mkdir()
    subprocess.run(["mount", "--bind", str(unpacked(of)), str(point)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(point)], check=True)
        assert scan(of, point)["totals"] == scan(of, unpacked(of))["totals"]
    finally:
        subprocess.run(["umount", str(point)], check=True)


@pytest.mark.root
def test_measured_bytes_are_what_du_counts(unpacked):
    """--measure disk: every snapshot's bytes are du's; --measure recorded says that it is not measured."""
    of = capture(PLANTED)
    host = unpacked(of)
    root = scan(of, host, "--measure", "disk")
    assert root["measured"] == "disk"
    paths = [
        each for each in root["objects"] if each["kind"] == "snapshot" and each["path"] and each["state"] != "foreign"
    ]
    assert paths
    for each in paths:
        if each["path"].isascii() and "\\" not in each["path"]:
            said = subprocess.run(
                ["du", "-s", "--block-size=1", host / of.root / each["path"]], capture_output=True, check=True
            )
            assert each["bytes"] == int(said.stdout.split()[0]), each["path"]


@pytest.mark.root
def test_not_a_store(tmp_path):
    """A folder that is no store, and one that is not there."""
    assert str(tmp_path) in _refusal("scan", tmp_path, status=8)
    assert "no such folder" in _refusal("scan", tmp_path / "gone", status=8)


@pytest.mark.root
@pytest.mark.parametrize("damage", ["random", "half", "empty", "zeros"])
def test_a_meta_db_that_cannot_be_read(damage, unpacked_anew):
    """Random bytes, half the file, no byte, zeros: one line on stderr, status 8 with damage, and nothing may go."""
    of = capture(NAMESPACES)
    host = unpacked_anew(of)
    database = host / of.root / METADATA
    size = database.stat().st_size
    if damage == "half":
        os.truncate(database, size // 2)
    else:
        database.write_bytes({"random": os.urandom(size), "empty": b"", "zeros": bytes(size)}[damage])
    before = tree(host)
    for command in (("scan",), ("clean",)):
        line = _refusal(*command, "--now", of.taken_at, host, status=8 | 2)
        assert METADATA in line
    _refusal("clean", "--apply", "--yes", "--now", of.taken_at, host, status=8)
    assert tree(host) == before


@pytest.mark.root
def test_a_newer_schema(unpacked_anew):
    """A schema version of the future: everything is withheld."""
    host = unpacked_anew(of := capture(NAMESPACES))
    write(host / of.root / METADATA, {b"v1": {b"version": b"\x0a", b"moby": {}}})
    line = _refusal("scan", host, status=8)
    assert "newer" in line
    before = tree(host)
    _refusal("clean", "--apply", "--yes", host, status=8)
    assert tree(host) == before


@pytest.mark.root
def test_a_held_lock(unpacked):
    """Somebody has the database open, as bbolt has: refused, with who and how to stop it."""
    of = capture(NAMESPACES)
    host = unpacked(of)
    with (host / of.root / METADATA).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for command in (("scan",), ("clean", "--apply", "--yes")):
            line = _refusal(*command, "--now", of.taken_at, host, status=32)
            assert str(os.getpid()) in line
            assert "stop it" in line


@pytest.mark.root
@pytest.mark.engine
def test_a_running_engine(unpacked_anew, tmp_path):
    """Containerd 1.6.20 runs on the root: refused, and the line names it."""
    of = capture(NAMESPACES)
    host = unpacked_anew(of)
    work = tmp_path / "engine"
    work.mkdir()
    try:
        with Sandbox(work) as sandbox, Containerd(sandbox, host / of.root, collect=False):
            before = (host / of.root / METADATA).stat().st_mtime_ns
            for command in (("scan",), ("clean", "--apply", "--yes")):
                assert "containerd" in _refusal(*command, host, status=32)
            assert (host / of.root / METADATA).stat().st_mtime_ns == before
    except EngineUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.root
def test_a_clock_that_is_wrong(unpacked):
    """A time earlier than the newest record is refused: expiries would be judged wrongly."""
    of = capture(NAMESPACES)
    assert "carry a later time" in _refusal("scan", "--now", "2020-01-01T00:00:00Z", unpacked(of), status=32)


@pytest.mark.interpreter
@pytest.mark.root
def test_without_rights(unpacked):
    """A user who may not read the store is told so in one line."""
    of = capture(NAMESPACES)
    host = unpacked(of)
    os.chmod(host / of.root, 0o700)
    # Everything is imported first: the user may not be able to read the interpreter's own folder.
    code = (
        "import os, sys, drydock.cli.scan, drydock.report.table, drydock.report.document\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); drydock.cli.main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "scan", str(host / of.root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 8, done.stderr
    assert "permission denied" in done.stderr.lower()
    assert len(done.stderr.splitlines()) == 1


def test_usage(tmp_path):
    """Words that do not fit: status 16."""
    assert _process("scan", "--format", "nonsense").returncode == 16
    assert _process("scan", "--now", "yesterday", tmp_path).returncode == 16
    assert _process("clean", "--yes", tmp_path).returncode == 16
    assert _process("nonsense").returncode == 16


@pytest.mark.interpreter
def test_version_and_help_start_without_the_heavy_libraries():
    """Drydock must start fast on a sick host: no rich, psutil, tqdm, construct or msgspec for a version or help."""
    heavy = {"rich", "psutil", "tqdm", "construct", "msgspec", "bbolt_reader"}
    code = (
        "import sys; from drydock.cli import main\n"
        "try: main([sys.argv[1]])\n"
        f"except SystemExit: print(sorted({heavy} & set(sys.modules)))"
    )
    for option in ("--version", "--help"):
        done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.interpreter
@pytest.mark.root
def test_a_scan_loads_nothing_that_cuts(unpacked):
    """No knife, no psutil, no threads in a process that only looks."""
    of = capture(NAMESPACES)
    code = (
        "import sys; from drydock.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "scan", "--format", "json", "--now", of.taken_at, str(unpacked(of))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stderr.split())
    assert "drydock.session" in loaded
    cutting = {f"drydock.reclaim.{name}" for name in ("knife", "removals", "remove_tree", "execute")}
    assert all(map(importlib.util.find_spec, cutting)), "a module was renamed: this test would prove nothing"
    assert not loaded & {*cutting, "bbolt_surgery", "psutil", "rich", "tqdm", "concurrent.futures"}


@pytest.mark.interpreter
@pytest.mark.root
def test_a_table_loads_no_documents(unpacked):
    """Only what writes or reads a document loads msgspec."""
    of = capture(NAMESPACES)
    code = (
        "import sys; from drydock.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    for form, is_loaded in (("table", False), ("json", True)):
        done = subprocess.run(
            [sys.executable, "-c", code, "scan", "--format", form, "--now", of.taken_at, str(unpacked(of))],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert ("msgspec" in done.stderr.split()) is is_loaded


def test_a_reader_that_leaves_is_no_error(tmp_path):
    """Piped into head: no traceback, and the status that the signal would give."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "var/lib").mkdir(parents=True)
    done = subprocess.Popen(
        [*DRYDOCK, "scan", "--format", "json", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    done.stdout.close()
    time.sleep(0.1)
    assert done.stderr.read() == b""
    assert done.wait() == 128 + signal.SIGPIPE


def test_a_snapshot_that_lost_its_bytes_is_found_by_measuring(tmp_path):
    """Emptied files of a committed snapshot: nothing with recorded sizes, damage with those on disk; none else."""
    image = Image((layer({"etc/": b"", "etc/base": noise(1, 40)}), layer({"srv/": b"", "srv/one": noise(2, 40)})))
    root = lay_out_unpacked(tmp_path / "root", image)

    def sizes(*options, status):
        said = run("scan", "--format", "json", "--now", NOW, *options, root, status=status)
        found = json.loads(said)["roots"][0]["findings"]
        return [(each["severity"], each["subject"]) for each in found if each["code"] == "snapshot-size"]

    assert sizes("--measure", "disk", status=0) == []
    os.truncate(root / OVERLAYFS / "snapshots/2/fs/srv/one", 0)
    assert sizes(status=0) == []
    assert sizes("--measure", "disk", status=2) == [("damage", image.chain_id())]
