"""drydock browse in a real terminal of 80 columns and 24 lines: keys in tmux, on captures of real engines."""

import fcntl
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.captures import capture
from tests.support.documents import run
from tests.support.program import DRYDOCK
from tests.support.records import METADATA
from tests.support.tmux import terminal
from tests.support.trees import tree

from drydock.cli import browse as command
from drydock.cli import main

pytestmark = pytest.mark.root

NAME = "docker-29-interrupted"


def browse(of, host, state, **more):
    """The view on a host."""
    return terminal([*DRYDOCK, "browse", "--now", of.taken_at, "--state", state, host], **more)


def mark_pulls(screen):
    """Go down to the leases of the interrupted pull, and mark them."""
    screen.sees("nothing is marked")
    screen.presses("Enter", "daemon +1/")
    screen.presses("Enter", "moby +1/")
    screen.presses("End", "10/10 by size")
    screen.presses("Space", r"1 marked: frees .*\n")


def children(pid):
    """The processes that a process started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_marked_applied_and_undone(unpacked_anew, tmp_path):
    """Keys alone: down to the leases of a pull, mark, move to a quarantine, undo: all is back, and a mark stays."""
    of = capture(NAME)
    host = unpacked_anew(of)
    (host / "aside").mkdir()
    before = tree(host / of.root, times=False)
    with browse(of, host, host / "state") as screen:
        mark_pulls(screen)
        assert re.search(r"^\*E .* temporary leases", screen.text(), re.MULTILINE)
        assert max(map(len, screen.text().splitlines())) <= 80
        screen.presses("a", "ends lease")
        screen.presses("m", "A folder on the same file system")
        screen.types(str(host / "aside"))
        screen.presses("Enter", r"Do this\? \[y/N\]")
        screen.types("y", "Enter")
        screen.sees(r"journal: .*(?s:.*)Press a key")
        assert tree(host / of.root, times=False) != before
        screen.presses("Space", "nothing is marked")
        screen.presses("/", "Enter takes it")
        screen.presses("base:v1", r"\nbase:v1")
        screen.presses("Enter", "filter 'base:v1'")
        screen.presses("Space", "1 marked")
        screen.presses("u", "undo: yes")
        screen.presses("Enter", r"undo: yes(?s:.*)Do this\? \[y/N\]")
        screen.types("y", "Enter")
        screen.sees(r"former contents(?s:.*)Press a key")
        screen.presses("Space", r"1 of 1 mark kept *\n *1 marked")
        screen.presses("q", "ended with 0")
    assert set(tree(host / of.root, times=False)) == set(before)
    words = [*DRYDOCK, "ls", "leases", "--now", of.taken_at, "--format", "json", host]
    assert b"801889353-2q1v" in subprocess.run(words, capture_output=True, check=True).stdout


def test_no_is_no(unpacked, tmp_path):
    """Without a y nothing is changed, and the view comes back as it was, with its marks."""
    of = capture(NAME)
    host = unpacked(of)
    before = tree(host)
    with browse(of, host, tmp_path, columns=100, lines=30) as screen:
        screen.sees("nothing is marked")
        screen.presses("/", "Enter takes it")
        screen.presses("temporary", r"\ntemporary")
        screen.presses("Enter", "filter 'temporary'")
        screen.presses("Space", "1 marked")
        screen.presses("a", "ends lease")
        screen.presses("Enter", r"Do this\? \[y/N\]")
        screen.presses("Enter", "still marked.*(?s:.*)Press a key")
        screen.presses("Space", "filter 'temporary'(?s:.*)still marked *\n *1 marked")
        screen.presses("q", "ended with 1")
    assert tree(host) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("key", "then"), [("Left", r"10/10 by size"), ("C-c", "ended with 130")])
def test_a_key_goes_back(unpacked, tmp_path, key, then):
    """Any key, also one that sends several bytes; Ctrl-C ends it, with the terminal as it was."""
    of = capture(NAME)
    with terminal(["true"]) as screen:
        screen.sees("ended with 0")
        settings = screen.settings()
    with browse(of, unpacked(of), tmp_path) as screen:
        mark_pulls(screen)
        screen.presses("a", "ends lease")
        screen.presses("Enter", r"Do this\? \[y/N\]")
        screen.presses("Enter", "Press a key")
        text = screen.presses(key, then)
        assert "Traceback" not in text
        if key == "C-c":
            assert screen.settings() == settings


def test_marks_stay_when_the_lock_is_taken_meanwhile(unpacked_anew):
    """meta.db is taken while the plan is on the screen: the refusal leaves all where it was, and a works later."""
    of = capture(NAME)
    host = unpacked_anew(of)
    before = tree(host / of.root, times=False)
    with browse(of, host, host / "state") as screen:
        mark_pulls(screen)
        screen.presses("a", "ends lease")
        with (host / of.root / METADATA).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = screen.presses("Enter", "Press a key")
            assert re.search(r"^drydock: (?s:.*)\nNothing was changed: what was marked is still marked\.\n", text)
            text = screen.presses("Space", "10/10 by size")
            assert re.search(r"^\*E .* temporary leases", text, re.MULTILINE)
            assert "nothing was changed: what was marked is still marked;" in text
            assert "1 marked: frees " in text
            assert tree(host / of.root, times=False) == before
        screen.presses("a", "ends lease")
        screen.presses("Enter", r"Do this\? \[y/N\]")
        screen.types("y", "Enter")
        screen.sees(r"journal: .*(?s:.*)Press a key")
        screen.presses("Space", "nothing is marked")
        screen.presses("q", "ended with 0")
    assert tree(host / of.root, times=False) != before


@pytest.mark.slow
def test_an_interrupt_of_an_apply_is_cleans_own(unpacked_anew):
    """Ctrl-C among 5,000 files: the run ends with 130 and its journal, the terminal is as before, and clean goes on."""
    of = capture("containerd-1.6-planted-orphans")
    host = unpacked_anew(of)
    folder = host / of.root / "io.containerd.snapshotter.v1.overlayfs/snapshots"
    made = [folder / str(number) for number in range(84000, 84500)]
    for path in made:
        (path / "fs").mkdir(parents=True)
        for name in "abcdefghij":
            (path / "fs" / name).touch()
    with browse(of, host, host / "state", columns=250) as screen:
        screen.sees("nothing is marked")
        screen.presses("/", "Enter takes it")
        screen.presses("without a record", r"\nwithout a record")
        screen.presses("Enter", "filter 'without a record'")
        screen.presses("Space", r"marked: frees .*\n")
        screen.presses("a", "no record names it")
        screen.presses("Enter", r"Do this\? \[y/N\]")
        (view,) = children(screen.process())
        screen.types("y", "Enter")
        until = time.monotonic() + 60
        while made[0].exists() and time.monotonic() < until:
            time.sleep(0.001)
        os.kill(view, signal.SIGSTOP)
        left = sum(path.exists() for path in made)
        screen.types("C-c")
        time.sleep(0.2)
        os.kill(view, signal.SIGCONT)
        text = screen.sees("ended with 130")
        settings = screen.settings()
    with terminal(["true"]) as screen:
        screen.sees("ended with 0")
        assert settings == screen.settings()
    assert left > 10
    (journal,) = host.glob("state/*/journal.jsonl")
    assert re.search(rf"drydock: interrupted; .*{re.escape(str(journal))}", text)
    assert '"finished"' not in journal.read_text()
    assert any(path.exists() for path in made)
    words = ("--now", of.taken_at, "--state", host / "state", host)
    assert "was stopped before its end" in run("scan", *words, status=None)
    run("clean", "--apply", "--yes", *words, status=0)
    assert not any(path.exists() for path in made)
    assert "was stopped before its end" not in run("scan", *words, status=None)


def test_resized_lost_and_interrupted(unpacked, tmp_path):
    """A resize is drawn; Ctrl-C ends it with 130; a lost terminal ends it too; nothing was changed."""
    of = capture(NAME)
    host = unpacked(of)
    before = tree(host)
    with browse(of, host, tmp_path) as screen:
        screen.sees("nothing is marked")
        screen.resize(132, 43)
        screen.sees(r" █{22} ")
        screen.resize(80, 24)
        screen.sees(r" █{13} store (?s:.*)x export  p plan")
        screen.presses("C-c", "ended with 130")
    with browse(of, host, tmp_path) as screen:
        screen.sees("nothing is marked")
        shell = screen.process()
        (view,) = children(shell)
        screen.lose()
        until = time.monotonic() + 20
        while Path(f"/proc/{view}").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert not Path(f"/proc/{view}").exists()
    assert tree(host) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "linux"}, {"TERM": "linux", "LC_ALL": "C"}])
def test_few_colours_and_few_letters(environment, unpacked, tmp_path):
    """NO_COLOR: no colour; the Linux console: the 16 colours that it has; no UTF-8: bars of # and =."""
    of = capture(NAME)
    with browse(of, unpacked(of), tmp_path, **environment) as screen:
        screen.sees("nothing is marked")
        screen.presses("Enter", "daemon +1/")
        screen.presses("Enter", "moby +1/")
        seen = screen.text(colours=True)
        codes = {code for found in re.findall(r"\x1b\[([0-9;]*)m", seen) for code in found.split(";")}
        colours = codes & {str(number) for number in (*range(30, 38), *range(90, 98), 38, 48)}
        assert not codes & {"38", "48"}
        assert bool(colours) != ("NO_COLOR" in environment)
        assert ("#" in seen) == ("LC_ALL" in environment)
        assert re.search(r" L +3\.5 MiB", screen.text())


def test_what_it_needs(monkeypatch):
    """Without Textual one line names the command that installs it; without a terminal one names what prints."""
    words = [*DRYDOCK, "browse", os.devnull]
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (
        16, "drydock: drydock browse needs a terminal; drydock scan prints to a file or a pipe\n",
    )  # fmt: skip
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    done = CliRunner().invoke(main, ["browse"])
    assert done.exit_code == 16
    assert "pip install 'containerd-drydock[browse]'" in done.output
