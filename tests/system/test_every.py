"""``scan --every``: a file that stays new, also after scans that failed, and an end at SIGTERM, even as process 1."""

import contextlib
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fuzz.stores import put
from tests.support.documents import run
from tests.support.program import DRYDOCK

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path):
    """A small root."""
    put(tmp_path / "root")
    return tmp_path / "root"


@contextlib.contextmanager
def scanning(root, output, *before):
    """A scan of each second, as a service runs it: SIGINT is not ignored. Killed at the end."""
    words = ["scan", "--live", "--every", "1s", "--format", "json", "-o", str(output), str(root)]
    command = ["env", "--default-signal=INT", *before, *DRYDOCK, *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def moment(output, after=""):
    """The clock of the first document later than one; waits for it."""
    for _ in range(600):
        with contextlib.suppress(FileNotFoundError):
            found = json.loads(output.read_text())["now"]
            if found > after:
                return found
        time.sleep(0.05)
    raise TimeoutError(output)


def ended(process):
    """The exit status after a SIGTERM, and what was on stderr."""
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


def test_each_scan_replaces_the_file(root, tmp_path):
    """With the clock of its own; while the store cannot be read the last document stays, and the next is new again."""
    output, database = tmp_path / "scan.json", root / "io.containerd.metadata.v1.bolt/meta.db"
    with scanning(root, output) as process:
        second = moment(output, moment(output))
        whole = database.read_bytes()
        database.rename(tmp_path / "meta.db")
        database.mkdir()
        time.sleep(2.5)
        last = moment(output)
        time.sleep(2.5)
        stayed = moment(output) == last
        database.rmdir()
        (tmp_path / "meta.db").rename(database)
        assert database.read_bytes() == whole
        assert moment(output, last) > second
        status, errors = ended(process)
    assert stayed
    assert status == 130
    assert errors.count(str(database)) >= 2
    assert errors.endswith("drydock: interrupted\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "scan.json"]


@pytest.mark.root
def test_process_1_ends_at_sigterm(root, tmp_path):
    """The kernel drops a SIGTERM to process 1 that has no handler: a container would be killed after its grace."""
    output = tmp_path / "scan.json"
    with scanning(root, output, "unshare", "--pid", "--fork", "--kill-child") as process:
        moment(output)
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        subprocess.run(["kill", "-TERM", child], check=True)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.strip() == "drydock: interrupted"


def test_what_cannot_be_repeated(root, tmp_path):
    """It needs --live, a file, the clock and a span."""
    file = str(tmp_path / "scan.json")
    for words in (
        ("--every", "1h", "-o", file),
        ("--every", "1h", "--live"),
        ("--every", "1h", "--live", "-o", "-"),
        ("--every", "0s", "--live", "-o", file),
        ("--every", "1h", "--live", "-o", file, "--now", "2026-01-01T00:00:00Z"),
        ("--every", "soon", "--live", "-o", file),
    ):
        run("scan", *words, root, status=16)
    assert not Path(file).exists()
