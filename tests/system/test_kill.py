"""A clean that is killed, after every system call that changes something: nothing kept is hurt, the next finishes."""

import json
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter

import pytest
from tests.engines.containerd import Containerd
from tests.engines.listing import listed
from tests.engines.sandbox import Sandbox
from tests.engines.unavailable import EngineUnavailable
from tests.support import gobbolt
from tests.support.captures import unpack
from tests.support.documents import run, scan
from tests.support.faults import CALLS, places, run_counted
from tests.support.removal_runs import let_others_help
from tests.support.roots import data, databases, dumps
from tests.support.undisturbed import command, strange

from bbolt_reader import Database
from bbolt_reader.verify import verify

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ
# By capture: of how many kill points one is tried. All of all takes half an hour; ./run prove does that.
EACH = {
    "docker-28.5-interrupted-pull": 1 if ALL else 29,
    "docker-28.5-killed": 1 if ALL else 71,
    "docker-26.1-interrupted-pull": 1 if ALL else 61,
    "containerd-1.6-namespaces": 1 if ALL else 79,
    "containerd-1.6-planted-orphans": 1 if ALL else 211,
}
BATCH = 20


def killed(whole, number, folder):
    """A host on which the run was killed after its ``number``-th call."""
    folder.mkdir()
    host = unpack(whole.capture, folder)
    ended = run_counted(*command(whole.capture, host), kill_after=number)
    assert ended.signal == signal.SIGKILL, ended.output
    return host


def is_unfinished(host):
    """Whether the journal, as JSON and nothing more, has an intention and no end."""
    journals = [path.read_bytes().split(b"\n")[:-1] for path in host.glob("state/*/journal.jsonl")]
    lines = [json.loads(line) for journal in journals for line in journal]
    return any("n" in line for line in lines) and not any("finished" in line for line in lines)


def says_unfinished(of, host):
    """Whether scan says that a run was stopped."""
    found = scan(of, host, "--state", host / "state")
    return any(finding["code"] == "unfinished-run" for finding in found["findings"])


def check_sound(root):
    """Go's Tx.Check and our own verify find nothing in any database."""
    for path in databases(root):
        assert gobbolt.check(path) == (0, "")
        with Database.open(path) as database:
            assert [damage for damage in verify(database) if damage.severe] == []


def check_point(whole, number, folder):
    """Everything that must hold after a kill at one call."""
    host = killed(whole, number, folder)
    check_left(whole, host, f"after {number}")
    shutil.rmtree(host)


def check_left(whole, host, when):
    """Everything that must hold on a host whose run was killed."""
    of = whole.capture
    root = host / of.root
    check_sound(root)
    left = data(root)
    assert {path: left.get(path) for path in whole.data} == whole.data, f"kept data is hurt by a kill {when}"
    assert says_unfinished(of, host) == is_unfinished(host)
    run(*command(of, host), status=0)
    check_sound(root)
    assert dumps(root) == whole.dumps
    left = data(root)
    assert {path: left.get(path) for path in whole.data} == whole.data
    assert left.keys() - whole.data.keys() - strange(of, host, left) == set()
    assert not says_unfinished(of, host)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "batch"),
    [
        pytest.param(name, batch, id=f"{name}-{batch}")
        for name in EACH
        for batch in (range(6) if EACH[name] == 1 and not ALL else range(1))
    ],
)
def test_a_kill_after_any_call_hurts_nothing_and_the_next_clean_ends_the_same(name, batch, undisturbed, tmp_path):
    """Sound databases, whole data, a scan that says so, and the same end as undisturbed, with the journal closed."""
    whole = undisturbed(name)
    points = list(range(1, len(whole.calls) + 1, EACH[name]))
    if EACH[name] == 1 and not ALL:
        assert len(points) <= 6 * BATCH, "a batch is missing"
        points = points[batch * BATCH : (batch + 1) * BATCH]
    assert points
    for number in points:
        check_point(whole, number, tmp_path / str(number))


@pytest.mark.slow
@pytest.mark.parametrize("point", range(1, 15) if ALL else (2, 8))
@pytest.mark.parametrize("who", ["helper", "starter"])
def test_a_kill_while_other_processes_help(who, point, undisturbed, tmp_path, monkeypatch):
    """Before a call of a helper, it or the one that it helps is killed: what holds after every kill holds then too."""
    whole = undisturbed("containerd-1.6-planted-orphans")
    let_others_help(monkeypatch)
    starter, calls = [], mmap.mmap(-1, 8)

    def kill(*_):
        starter.append(os.getpid())
        if os.getpid() != starter[0]:
            calls[0] += 1
            if calls[0] == point:
                os.kill(os.getpid() if who == "helper" else starter[0], signal.SIGKILL)

    host = unpack(whole.capture, tmp_path)
    ended = run_counted(*command(whole.capture, host), hook=kill)
    if who == "starter":
        assert ended.signal == signal.SIGKILL
    else:
        assert (ended.signal, ended.status) == (0, 4), ended.output
        assert "the process that removed it ended before it was done" in ended.output
    monkeypatch.undo()
    check_left(whole, host, f"at call {point} of a helper")


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("name", ["docker-28.5-interrupted-pull", "containerd-1.6-namespaces"])
@pytest.mark.parametrize("part", [None] if ALL else [0.5, 0.95])
def test_the_engine_starts_on_what_a_kill_leaves(name, part, undisturbed, tmp_path):
    """Containerd 1.6.20 starts on it; images and containers are listed as before, and what is kept is intact."""
    whole = undisturbed(name)
    count = len(whole.calls)
    for number in range(1, count + 1) if part is None else [int(count * part)]:
        check_engine(whole, number, tmp_path / str(number))


def check_engine(whole, number, folder):
    """What a real engine says after a kill at one call."""
    of = whole.capture
    (folder / "engine").mkdir(parents=True)
    host = killed(whole, number, folder / "host")
    try:
        with Sandbox(folder / "engine") as sandbox, Containerd(sandbox, host / of.root, collect=False) as engine:
            after = listed(engine)
    except EngineUnavailable as error:
        pytest.skip(str(error))
    kept = {path.rpartition(b"/")[2].decode() for path in whole.data if b"/blobs/sha256/" in path}
    for namespace, before in of.namespaces.items():
        for kind, key in (("images", "name"), ("containers", "id")):
            assert [row[key] for row in after[namespace][kind]] == [row[key] for row in before[kind]], number
        whole_before = {row["digest"] for row in before["content"] if row["intact"]}
        for row in after[namespace]["content"]:
            if row["digest"].partition(":")[2] in kept and row["digest"] in whole_before:
                assert row["intact"], (number, row)
    shutil.rmtree(folder)


# What the kernel calls them; an open counts where it may make a file.
_TRACED = {
    "write": "write", "pwrite64": "pwrite", "fdatasync": "fdatasync", "fsync": "fsync", "ftruncate": "ftruncate",
    "fallocate": "posix_fallocate", "mkdir": "mkdir", "mkdirat": "mkdir", "unlink": "unlink", "rmdir": "rmdir",
    "renameat2": "renameat2_noreplace", "open": "open", "openat": "open", "openat2": "open",
}  # fmt: skip
_OTHERS = (
    "writev,pwritev,pwritev2,sync_file_range,truncate,rename,renameat,link,linkat,symlink,symlinkat,mknod,mknodat,"
    "chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utime,utimensat,setxattr,lsetxattr,fsetxattr,removexattr,"
    "lremovexattr,fremovexattr,copy_file_range,sendfile,creat,mount,umount2,unlinkat"
)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_calls_counted_are_all_the_calls_there_are(undisturbed, tmp_path):
    """By strace: the run makes as many calls of each kind that changes something, and none of another kind."""
    whole = undisturbed("docker-28.5-interrupted-pull")
    host = unpack(whole.capture, tmp_path)
    log = tmp_path / "trace"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-y", "-o", log, "-e", f"trace={','.join(_TRACED)},{_OTHERS}", sys.executable, "-B",
         "-m", "drydock", *map(str, command(whole.capture, host))],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )  # fmt: skip
    if b"ptrace" in done.stderr.lower():
        pytest.skip(f"strace may not trace here: {done.stderr[:100]!r}")
    assert done.returncode == 0, done.stderr
    found = Counter()
    for line in log.read_text(errors="replace").splitlines():
        called = re.match(r"\d+ +(\w+)\((.*)", line)
        if called is None:  # the end of a call that another thread's interrupted
            continue
        name, rest = called.groups()
        if name == "unlinkat":
            name = "rmdir" if "AT_REMOVEDIR" in rest else "unlink"
        if (_TRACED.get(name) == "open" and "O_CREAT" not in rest) or re.match(r"(?:1<|\d+<pipe:)", rest):
            continue  # what it prints, and what a child tells that looks into a mount namespace
        found[_TRACED.get(name, name)] += 1
    assert found == Counter(whole.calls)
    assert set(found) <= {name for _, names in places() for name in names}
    assert set(CALLS) >= {"write", "pwrite"}
