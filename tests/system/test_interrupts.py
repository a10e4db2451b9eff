"""Ctrl-C, once and twice: a clean ends, with the right status, and the store is as sound as after a kill."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from tests.support import gobbolt
from tests.support.captures import capture, unpack
from tests.support.documents import run
from tests.support.roots import data, databases, dumps
from tests.support.undisturbed import command, strange

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

RUNS = 500 if "DRYDOCK_TEST_LONG" in os.environ else 3
CAPTURE = capture("containerd-1.6-planted-orphans")
INTERRUPTIBLE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from drydock.__main__ import main"
)
"""Whoever runs the tests may ignore SIGINT, as a shell has what it runs in the background do."""
ORPHANS = 120
"""So many trees take a while. No other test has numbers from 81000 on: see test_mounts.py."""


@pytest.fixture
def template(tmp_path):
    """A host to copy, whose containerd has many snapshots that no row has."""
    host = tmp_path / "template"
    host.mkdir()
    unpack(CAPTURE, host)
    for number in range(81000, 81000 + ORPHANS):
        folder = host / CAPTURE.root / "io.containerd.snapshotter.v1.overlayfs/snapshots" / str(number) / "fs"
        for name in "abcdef":
            (folder / name).mkdir(parents=True)
            (folder / name / "file").write_bytes(b"x")
    yield host
    shutil.rmtree(tmp_path)


def start(host):
    """A clean of a host, interruptible whatever whoever runs the tests ignores, once it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-B", "-c", f"{INTERRUPTIBLE}\nmain()", *map(str, command(CAPTURE, host))],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    while process.poll() is None and not list(host.glob("state/*/journal.jsonl")):
        time.sleep(0.001)
    return process


def check_ended(process, host, whole):
    """It ends soon, says what happened, and the next clean ends as one that nothing disturbed."""
    try:
        said, _ = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError("it hangs") from None
    assert "Traceback" not in said, said
    # By the signal: where the work was done, and nothing was left to be ended in order.
    assert process.returncode in (0, 130, -signal.SIGINT), said
    if process.returncode == 130:
        assert "drydock: interrupted" in said
        (journal,) = host.glob("state/*/journal.jsonl")
        assert (str(journal) in said) == ('"n":' in journal.read_text() and '"finished"' not in journal.read_text())
    for path in databases(host / CAPTURE.root):
        assert gobbolt.check(path) == (0, "")
    run(*command(CAPTURE, host), status=0)
    found, expected = data(host / CAPTURE.root), whole[0]
    other = {path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path)}
    assert {path: (found.get(path), expected.get(path)) for path in other - strange(CAPTURE, host, other)} == {}
    assert dumps(host / CAPTURE.root) == whole[1]
    return process.returncode


@pytest.mark.slow
def test_two_interrupts_within_milliseconds(template, tmp_path):
    """At random moments, 0 to 5 ms apart, as a terminal and a wrapper send them: no hang, no traceback, all whole."""
    drawn = random.Random(14)
    host = tmp_path / "host"
    subprocess.run(["cp", "-a", template, host], check=True)
    began = time.monotonic()
    run(*command(CAPTURE, host), status=0)
    lasts = time.monotonic() - began
    whole = data(host / CAPTURE.root), dumps(host / CAPTURE.root)
    ends = []
    for _ in range(RUNS):
        shutil.rmtree(host)
        subprocess.run(["cp", "-a", template, host], check=True)
        process = start(host)
        time.sleep(drawn.uniform(0, lasts / 3))
        process.send_signal(signal.SIGINT)
        time.sleep(drawn.uniform(0, 0.005))
        process.send_signal(signal.SIGINT)
        ends.append(check_ended(process, host, whole))
    assert 130 in ends


def end_with(code):
    """A command that is interrupted, and then ``code`` where it looks what is left; as it ended."""
    script = (
        f"{INTERRUPTIBLE}\n"
        "import os, sys, time, drydock.commands.apply as command\n"
        "def interrupt(*_, **__): signal.raise_signal(signal.SIGINT)\n"
        f"def left(*_): {code}\n"
        "def begin(*_, **__):\n"
        "    try: interrupt()\n"
        "    except KeyboardInterrupt: raise KeyboardInterrupt(left()) from None\n"
        "command.clean = begin\n"
        "sys.argv[1:] = ['clean', '--apply', '--yes']\n"
        "main()"
    )
    command = [sys.executable, "-B", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_one_more_disturbs_nothing_of_the_end():
    """It comes while it is found out what is left: that is told, and the status is that of an interrupt."""
    ended = end_with("interrupt(); return 'all of it'")
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.endswith("drydock: interrupted; all of it\n")


def test_one_much_later_ends_the_process():
    """Where what the first began to end takes longer than a second: by the signal, as every moment is safe."""
    ended = end_with("time.sleep(1.2); interrupt(); time.sleep(50)")
    assert ended.returncode == -signal.SIGINT


def test_a_fork_does_not_end_what_is_its_parents():
    """One that is interrupted before it has a handler of its own ends at once, and its parent goes on."""
    ended = end_with("return str(os.waitpid(child, 0)[1]) if (child := os.fork()) else interrupt()")
    assert ended.stderr.endswith(f"drydock: interrupted; {130 << 8}\n")
