"""Removals are carried out in order, each on its own, and a run that is killed at any call is finished by the next."""

import errno
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.support.removal_runs import Run, find_doomed
from tests.support.store import SNAPSHOTS, Store

from drydock.model.errors import EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.plans import Status
from drydock.reclaim import execute_removals, knife
from drydock.reclaim.journal import read_journal
from drydock.reclaim.quarantine import open_quarantine
from drydock.reclaim.state_dir import JOURNAL


@pytest.fixture
def store(tmp_path):
    """A root with things to keep and, in ``doomed``, things to remove."""
    made = Store(tmp_path / "root")
    made.add_blob("00" * 32)
    made.add_ingest("11" * 32)
    made.add_snapshot("1")
    made.kept = made.list()
    made.doomed = [made.add_blob("ab" * 32), made.add_blob("cd" * 32), made.add_ingest()]
    made.doomed += [made.add_snapshot(str(number)) for number in range(2, 6)]
    return made


def restore(store):
    """Make again what earlier runs removed."""
    adders = {"sha256": store.add_blob, "ingest": store.add_ingest, "snapshots": store.add_snapshot}
    for path in store.doomed:
        if not (store.path / path).exists():
            adders[path.split("/")[-2]](os.path.basename(path))


def test_removes_all_and_tells(store, tmp_path):
    """Everything named goes, in order, with an outcome, a call of progress and a journal entry for each."""
    removals = [store.aim(path) for path in store.doomed]
    told = []
    with Run(store, tmp_path / "state") as run:
        outcomes = run.remove(removals, progress=told.append)
        journal = read_journal(run.journal.path)
    assert [outcome.action for outcome in outcomes] == removals
    assert {outcome.status for outcome in outcomes} == {Status.DONE}
    assert told == outcomes
    assert [entry.removal for entry in journal.entries] == removals
    assert [entry.ended.freed for entry in journal.entries] == [outcome.freed for outcome in outcomes]
    assert store.list() == store.kept


def test_more_than_a_batch(store, tmp_path):
    """Hundreds of items are intended in few syncs, and none is lost between batches."""
    removals = [store.aim(store.add_blob(f"{number:064x}")) for number in range(1, 300)]
    removals += [store.aim(store.add_snapshot(str(number), files=1)) for number in range(100, 300)]
    with Run(store, tmp_path / "state") as run:
        assert {outcome.status for outcome in run.remove(removals)} == {Status.DONE}


def test_goes_on_after_what_fails(store, tmp_path, monkeypatch):
    """Changed, gone and refused items are reported and the others go."""
    removals = [store.aim(path) for path in store.doomed]
    (store.path / store.doomed[0]).write_bytes(b"changed")
    (store.path / store.doomed[1]).unlink()
    real = knife.unlink

    def unlink(name, *, dir_fd):
        if name == "ref":
            raise OSError(errno.EIO, "Input/output error")
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(knife, "unlink", unlink)
    with Run(store, tmp_path / "state") as run:
        outcomes = run.remove(removals)
    assert [outcome.status for outcome in outcomes] == [Status.CHANGED, Status.GONE, Status.FAILED] + [Status.DONE] * 4
    assert "ref: Input/output error" in outcomes[2].detail


@pytest.mark.parametrize("share", [1, 100])
def test_trees_are_removed_together_where_it_waits(store, tmp_path, monkeypatch, share):
    """Only if much more time passes than the processor's; all is removed, and told in order, either way."""
    clock = itertools.count()
    monkeypatch.setattr(time, "thread_time", lambda: next(clock) / share)
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    remove, threads = execute_removals.removals.remove, []
    monkeypatch.setattr(
        execute_removals.removals,
        "remove",
        lambda *given: (threads.append(threading.current_thread()), remove(*given))[1],
    )
    doomed = [store.aim(path) for path in store.doomed if path.startswith(SNAPSHOTS)]
    with Run(store, tmp_path / "state") as run:
        outcomes = run.remove(doomed)
    assert [(outcome.action, outcome.status) for outcome in outcomes] == [(each, Status.DONE) for each in doomed]
    left = store.list()
    assert {path: left[path] for path in store.kept} == store.kept
    assert not any(path.startswith(SNAPSHOTS) for path in left.keys() - store.kept.keys())
    ours = [each is threading.current_thread() for each in threads]
    assert ours == [True] * 4 if share == 1 else ours == [True, False, False, False]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EPERM, errno.EACCES, errno.EBUSY])
def test_an_error_at_any_call_is_told_and_later_mended(store, tmp_path, monkeypatch, number):
    """The n-th call that cuts fails, for each n: all is told, nothing kept is touched, a next run ends it."""
    calls = 0
    real = {name: getattr(knife, name) for name in ("unlink", "rmdir", "move")}
    left = [0]
    failing = []

    def fail(name):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] == -1:
                failing.append(name)
                raise OSError(number, os.strerror(number))
            real[name](*arguments, **options)

        return call

    monkeypatch.setattr(execute_removals, "_TOGETHER", 1)
    while left[0] >= 0:
        left[0] = calls
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(knife, name, fail(name))
            with Run(store, tmp_path / f"state{calls}") as run:
                outcomes = run.remove([store.aim(path) for path in store.doomed])
        if left[0] >= 0:
            break
        # A snapshot whose new name finds no room is removed under its old one.
        failed = not (number == errno.ENOSPC and failing[-1] == "move")
        assert [outcome.status for outcome in outcomes].count(Status.FAILED) == failed
        with Run(store, tmp_path / f"again{calls}") as run:
            assert {outcome.status for outcome in run.remove(find_doomed(store))} == (
                {Status.DONE} if failed else set()
            )
        assert store.list() == store.kept
        restore(store)
        calls += 1
        left[0] = 0
    assert calls > 30


@pytest.mark.parametrize("healthy", range(8))
def test_nothing_is_cut_that_is_not_in_the_journal(store, tmp_path, monkeypatch, healthy):
    """When the journal's disk fails at any sync, what is gone was written down, the rest is told as not tried."""
    monkeypatch.setattr(execute_removals, "BATCH", 1)
    removals = [store.aim(path) for path in store.doomed]
    real = os.fdatasync
    with Run(store, tmp_path / "state") as run:
        left = healthy

        def sync(fd):
            nonlocal left
            if not left:
                raise OSError(errno.ENOSPC, "No space left on device")
            left -= 1
            real(fd)

        monkeypatch.setattr(os, "fdatasync", sync)
        outcomes = run.remove(removals)
    done = [outcome.status is Status.DONE for outcome in outcomes]
    assert done == [True] * min(healthy, 7) + [False] * (7 - min(healthy, 7))
    assert all("not tried: journal" in outcome.detail for outcome in outcomes[healthy:])
    assert all((store.path / path).exists() for path in store.doomed[healthy:])


def test_an_interrupt_leaves_a_true_journal(store, tmp_path, monkeypatch):
    """Ctrl-C in the middle: what has no end in the journal is what may be there in part."""
    removals = [store.aim(path) for path in store.doomed]
    real = knife.unlink
    calls = 0

    def unlink(name, *, dir_fd):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(knife, "unlink", unlink)
    with Run(store, tmp_path / "state") as run, pytest.raises(KeyboardInterrupt):
        run.remove(removals)
    journal = read_journal(RawPath(os.fsencode(tmp_path / "state" / os.fsdecode(JOURNAL))))
    assert [entry.path for entry in journal.pending] == [removals[2].path]
    assert [entry.ended.status for entry in journal.entries[:2]] == [Status.DONE] * 2


def test_moves_to_quarantine(store, tmp_path):
    """With a quarantine nothing is deleted, and the journal says from where to where."""
    removals = [store.aim(path) for path in store.doomed]
    (tmp_path / "q").mkdir()
    with Run(store, tmp_path / "state") as run:
        quarantine = open_quarantine(RawPath(os.fsencode(tmp_path / "q")), run.root_dir, "run")
        outcomes = run.remove(removals, quarantine=quarantine)
        quarantine.close()
        journal = read_journal(run.journal.path)
    assert {(outcome.status, outcome.freed) for outcome in outcomes} == {(Status.DONE, 0)}
    assert store.list() == store.kept
    assert [os.lstat(entry.to).st_ino for entry in journal.entries] == [removal.expect.inode for removal in removals]


KILLED = """
import os, sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
left = int(sys.argv[2])
def hook(event, arguments):
    global left
    changes = {"os.remove", "os.rmdir", "os.rename", "drydock.move", "drydock.write", "drydock.sync"}
    if event in changes or (event == "open" and "journal" in str(arguments[0])):
        if not left:
            os.kill(os.getpid(), 9)
        left -= 1
from drydock.reclaim import knife, execute_removals
from tests.support.removal_runs import Run, find_doomed
from tests.support.store import Store
import tests_execute_removals as t
real = knife.move
def move(*a):
    sys.audit("drydock.move")
    real(*a)
knife.move = move
write, sync = os.write, os.fdatasync
def half_write(fd, data):
    sys.audit("drydock.write")
    return write(fd, data[:70])
def audited_sync(fd):
    sys.audit("drydock.sync")
    sync(fd)
os.write, os.fdatasync = half_write, audited_sync
top = Path(sys.argv[1])
store = object.__new__(Store)
store.path = top / "root"
store.kept, store.doomed = eval((top / "lists").read_text())
removals = t.find_doomed(store)
removals.sort(key=lambda r: list(type(r.target)).index(r.target))
execute_removals._TOGETHER = 1
sys.addaudithook(hook)
with t.Run(store, top / f"state{sys.argv[2]}") as run:
    run.remove(removals)
    run.journal.finish()
"""


def start(tmp_path, store, calls):
    """A child that removes and kills itself before the given call that changes something."""
    here = tmp_path / "modules"
    here.mkdir(exist_ok=True)
    if not (here / "tests_execute_removals.py").exists():
        (here / "tests_execute_removals.py").symlink_to(__file__)
        (tmp_path / "lists").write_text(repr((list(store.kept), store.doomed)))
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(calls), str(here), *sys.path]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_killed_before_every_change(store, tmp_path):
    """SIGKILL before the n-th call that changes something, for each n: what is kept is whole, the next run finishes."""
    calls = 0
    while True:
        restore(store)
        before = set(store.list())
        child = start(tmp_path, store, calls)
        _, errors = child.communicate(timeout=60)
        after = store.list()
        assert {path: after[path] for path in store.kept} == store.kept
        journal = tmp_path / f"state{calls}" / os.fsdecode(JOURNAL)
        if child.returncode == 0:
            assert read_journal(RawPath(os.fsencode(journal))).finished
            break
        assert child.returncode == -signal.SIGKILL, errors.decode()
        gone = {path for path in store.doomed if path in before and path not in after}
        try:
            intended = {os.fsdecode(entry.path) for entry in read_journal(RawPath(os.fsencode(journal))).entries}
        except EvidenceUnreadable:
            intended = set()
        assert gone <= intended
        with Run(store, tmp_path / f"again{calls}") as run:
            outcomes = run.remove(find_doomed(store))
        assert all(outcome.status is Status.DONE for outcome in outcomes)
        assert store.list() == store.kept
        calls += 1 if "DRYDOCK_TEST_EVERY_KILL" in os.environ else 7
    assert calls > 60


@pytest.mark.slow
def test_killed_at_any_time(store, tmp_path, monkeypatch):
    """SIGKILL from outside, with all threads at work, at many moments: the next run finishes."""
    monkeypatch.setattr(execute_removals, "_WAITS", 0)
    for turn in range(12):
        removals = [store.aim(store.add_snapshot(str(number), files=50)) for number in range(100, 130)]
        child = os.fork()
        if child == 0:
            try:
                with Run(store, tmp_path / f"fork{turn}") as run:
                    run.remove(removals)
            finally:
                os._exit(0)
        time.sleep(0.004 * turn)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with Run(store, tmp_path / f"next{turn}") as run:
            outcomes = run.remove(find_doomed(store))
        assert all(outcome.status is Status.DONE for outcome in outcomes)
        assert store.list() == store.kept
    assert sorted(os.listdir(store.path / SNAPSHOTS)) == ["1"]
    assert Path(store.path).exists()
