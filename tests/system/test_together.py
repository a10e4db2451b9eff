"""Somebody comes while a clean is at work: another clean is refused, an engine waits for the locks."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.engines.containerd import Containerd
from tests.engines.listing import listed
from tests.engines.sandbox import Sandbox
from tests.support import gobbolt
from tests.support.captures import unpack
from tests.support.documents import run, scan
from tests.support.faults import run_counted
from tests.support.roots import data, databases, dumps
from tests.support.undisturbed import command

from drydock.cli import main

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

NAME = "docker-28.5-interrupted-pull"
REFUSED = 32
# Parts of all calls that change something: the backups are written, a database is edited, data goes, the end.
PARTS = [0.2, 0.45, 0.7, 0.95]


@contextmanager
def paused(whole, part, host):
    """A clean of ``host`` that has come as far as ``part``; gives how to let it go on, to its end."""
    wanted = int(len(whole.calls) * part)
    # Not files: making one is among the calls that are counted.
    ours, theirs = socket.socketpair()

    def wait(number, _name):
        if number == wanted:
            theirs.send(b"!")
            theirs.recv(1)

    with ours, theirs, ThreadPoolExecutor(1) as pool:
        going = pool.submit(run_counted, *command(whole.capture, host), hook=wait)

        def go_on():
            ours.send(b"!")
            return going.result()

        ours.settimeout(30)
        ours.recv(1)
        try:
            yield go_on
        finally:
            if not going.done():
                ours.send(b"!")


def until(true, what):
    """Wait until something holds."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, f"{what} did not come so far"
        time.sleep(0.01)


def opens(engine, path):
    """Whether an engine that starts has the file open. It cannot have the lock: bbolt asks for it again and again."""
    try:
        folder = Path(f"/proc/{engine.daemon.process.pid}/fd")
        return any(each.exists() and each.samefile(path) for each in folder.iterdir())
    except (OSError, RuntimeError):  # not there yet
        return False


@pytest.mark.parametrize("part", PARTS)
def test_what_comes_meanwhile_is_refused_and_hurts_nothing(part, undisturbed, tmp_path):
    """Clean, plan, scan and undo say who holds the lock; the first run ends as if nobody had come."""
    whole = undisturbed(NAME)
    host = unpack(whole.capture, tmp_path)
    with paused(whole, part, host) as go_on:
        (journal,) = host.glob("state/*/journal.jsonl")
        for words in (command(whole.capture, host), ("plan", host), ("scan", host), ("undo", journal)):
            said = CliRunner().invoke(main, [str(word) for word in words])
            assert said.exit_code == REFUSED, (words, said.output)
            assert re.search(r"(in use|is locked by).*\(pid \d+\).*; stop it: ", said.output), said.output
        assert run("scan", "--live", "--now", whole.capture.taken_at, host)
        ended = go_on()
    assert (ended.signal, ended.status) == (0, 0), ended.output
    assert Counter(ended.calls) == Counter(whole.calls)
    assert dumps(host / whole.capture.root) == whole.dumps
    assert data(host / whole.capture.root) == whole.data


def test_two_at_the_same_moment(undisturbed, tmp_path):
    """Of several cleans that start together at least one does it all, the others are refused or find nothing to do."""
    whole = undisturbed(NAME)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for attempt in range(3):
        (tmp_path / str(attempt)).mkdir()
        host = unpack(whole.capture, tmp_path / str(attempt))
        words = [sys.executable, "-m", "drydock", *map(str, command(whole.capture, host))]
        started = [
            subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)
        ]
        ended = [(each.communicate(timeout=60)[0], each.returncode) for each in started]
        statuses = [status for _, status in ended]
        assert 0 in statuses, ended
        assert set(statuses) <= {0, REFUSED}, ended
        root = host / whole.capture.root
        assert dumps(root) == whole.dumps
        assert data(root) == whole.data
        found = scan(whole.capture, host, "--state", host / "state")
        assert "unfinished-run" not in {finding["code"] for finding in found["findings"]}
        shutil.rmtree(host)


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_an_engine_that_starts_meanwhile_waits_and_works_on_what_was_edited(part, undisturbed, tmp_path):
    """Containerd has the database open and does not answer; then it lists what it lists after an undisturbed clean."""
    whole = undisturbed(NAME)
    host = unpack(whole.capture, tmp_path)
    root = host / whole.capture.root
    reference = tmp_path / "reference"
    shutil.copytree(whole.root, reference, symlinks=True)
    for name in ("engine", "other"):
        (tmp_path / name).mkdir()
    with Sandbox(tmp_path / "other") as sandbox, Containerd(sandbox, reference, collect=False) as engine:
        wanted = listed(engine)
    with ExitStack() as stack:
        go_on = stack.enter_context(paused(whole, part, host))
        sandbox = stack.enter_context(Sandbox(tmp_path / "engine"))
        before = {path: path.read_bytes() for path in databases(root)}
        engine = Containerd(sandbox, root, collect=False)
        starting = stack.enter_context(ThreadPoolExecutor(1)).submit(stack.enter_context, engine)
        until(lambda: starting.done() or any(opens(engine, path) for path in databases(root)), "containerd")
        time.sleep(1)
        assert not starting.done(), starting.result()
        assert {path: path.read_bytes() for path in databases(root)} == before, "the engine wrote while it should wait"
        ended = go_on()
        starting.result()
        assert (ended.signal, ended.status) == (0, 0), ended.output
        assert listed(engine) == wanted
        assert engine.warnings() == []
    left = data(root)
    assert {path: left.get(path) for path in whole.data} == whole.data
