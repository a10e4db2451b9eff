"""Trees removed by several processes: what one process would do, whatever becomes of the others."""

import errno
import fcntl
import itertools
import os
import signal
import threading
import time
from contextlib import suppress

import pytest
from tests.support.removal_runs import Run, find_doomed, let_others_help
from tests.support.store import SNAPSHOTS, Store

from drydock import interrupts
from drydock.model.names import RawPath
from drydock.model.plans import Status
from drydock.reclaim import execute_removals, knife, removal_pool
from drydock.reclaim.journal import read_journal
from drydock.reclaim.state_dir import JOURNAL

TREES = 12


@pytest.fixture
def store(tmp_path):
    """A root with a snapshot to keep and, in ``doomed``, more than one process needs to remove."""
    made = Store(tmp_path / "root")
    made.add_snapshot("1")
    made.kept = made.list()
    made.doomed = [made.add_snapshot(str(number), files=20) for number in range(10, 10 + TREES)]
    return made


@pytest.fixture
def helpers(monkeypatch):
    """Other processes help; the process ids of those that were started."""
    let_others_help(monkeypatch)
    started = []
    fork = os.fork
    monkeypatch.setattr(os, "fork", lambda: (started.append(fork()), started[-1])[1])
    return started


def in_helpers(monkeypatch, do):
    """Have every helper call ``do`` instead of unlinking a file; it is given the real call."""
    starter, unlink = os.getpid(), knife.unlink

    def call(name, *, dir_fd):
        def real():
            unlink(name, dir_fd=dir_fd)

        real() if os.getpid() == starter else do(real)

    monkeypatch.setattr(knife, "unlink", call)


def remove(store, state):
    """Remove what is doomed; outcomes, and the journal."""
    with Run(store, state) as run:
        outcomes = run.remove([store.aim(path) for path in store.doomed])
    return outcomes, read_journal(RawPath(os.fsencode(state / os.fsdecode(JOURNAL))))


def check_the_next_run(store, state):
    """It removes what is left, and nothing else."""
    with pytest.MonkeyPatch.context() as patched, Run(store, state) as run:
        patched.setattr(execute_removals, "_MANY", 5000)
        assert {outcome.status for outcome in run.remove(find_doomed(store))} == {Status.DONE}
    assert store.list() == store.kept


def check_no_process_stays(helpers):
    """All have ended, and were waited for."""
    assert helpers
    for pid in helpers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_as_one_process_removes(store, tmp_path, monkeypatch, helpers):
    """Outcomes and journal are in order, with the bytes that du would miss; helpers did some of it, and none stays."""
    files = [os.lstat(os.path.join(top, name)) for path in store.doomed for top, folders, names in
             os.walk(store.path / path) for name in (".", *names)]  # fmt: skip
    before = set(os.listdir("/proc/self/fd"))
    told = []
    real = removal_pool._Helper.outcomes

    def outcomes(self):
        told.append(real(self))
        return told[-1]

    monkeypatch.setattr(removal_pool._Helper, "outcomes", outcomes)
    outcomes, journal = remove(store, tmp_path / "state")
    assert [os.fsdecode(outcome.action.path) for outcome in outcomes] == store.doomed
    assert {outcome.status for outcome in outcomes} == {Status.DONE}
    assert sum(outcome.freed for outcome in outcomes) == sum(info.st_blocks * 512 for info in files)
    assert sum(outcome.entries for outcome in outcomes) == len(files)
    assert [entry.ended.freed for entry in journal.entries] == [outcome.freed for outcome in outcomes]
    assert 0 < sum(map(len, told)) < TREES
    assert store.list() == store.kept
    check_no_process_stays(helpers)
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_helper_that_is_killed(store, tmp_path, monkeypatch, helpers):
    """The tree that it was at has failed, and the journal says so; the others go, and the next run does the rest."""
    in_helpers(monkeypatch, lambda _: os.kill(os.getpid(), signal.SIGKILL))
    outcomes, journal = remove(store, tmp_path / "state")
    failed = [outcome for outcome in outcomes if outcome.status is not Status.DONE]
    assert 1 <= len(failed) <= len(helpers)
    assert {(outcome.status, outcome.detail) for outcome in failed} == {
        (Status.FAILED, "the process that removed it ended before it was done (signal 9)")
    }
    assert [entry.ended.status for entry in journal.entries] == [outcome.status for outcome in outcomes]
    assert len(os.listdir(store.path / SNAPSHOTS)) == 1 + len(failed)
    check_no_process_stays(helpers)
    check_the_next_run(store, tmp_path / "next")


@pytest.mark.parametrize("point", [1, 19])
def test_the_starter_is_killed(store, tmp_path, monkeypatch, point):
    """While a helper unlinks its ``point``-th file: helpers end with it, and the next run goes on."""
    let_others_help(monkeypatch)
    child = os.fork()
    if child == 0:
        try:
            starter, count = os.getpid(), itertools.count(1)

            def unlink(real):
                real()
                if next(count) == point:
                    os.kill(starter, signal.SIGKILL)
                    signal.pause()

            in_helpers(monkeypatch, unlink)
            remove(store, tmp_path / "state")
        finally:
            os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    path = RawPath(os.fsencode(tmp_path / "state" / os.fsdecode(JOURNAL)))
    with open(path, "rb") as file:
        signal.alarm(30)
        fcntl.flock(file, fcntl.LOCK_EX)  # free when the last helper has ended
        signal.alarm(0)
    assert len(os.listdir(store.path / SNAPSHOTS)) > 1, "the helper went on"
    journal = read_journal(path)
    assert [os.fsdecode(entry.path) for entry in journal.entries] == store.doomed
    assert not journal.finished
    check_the_next_run(store, tmp_path / "next")


def test_what_a_helper_cannot_remove(store, tmp_path, monkeypatch, helpers):
    """Is told in the same words."""

    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    in_helpers(monkeypatch, fail)
    outcomes, _ = remove(store, tmp_path / "state")
    failed = [outcome for outcome in outcomes if outcome.status is not Status.DONE]
    assert failed
    for outcome in failed:
        name = os.path.basename(os.fsdecode(outcome.action.path))
        assert outcome.detail.startswith(f"20 left in {SNAPSHOTS}/rm-{name}: fs/etc/file")
        assert "Input/output error; and 17 more" in outcome.detail


@pytest.mark.parametrize("call", ["fork", "pipe2"])
def test_no_process_to_be_had(store, tmp_path, monkeypatch, helpers, call):
    """Then this one does it all."""

    def refuse(*_):
        raise BlockingIOError

    monkeypatch.setattr(os, call, refuse)
    monkeypatch.setattr(removal_pool, "drawn", lambda _, count: range(count))
    outcomes, _ = remove(store, tmp_path / "state")
    assert {outcome.status for outcome in outcomes} == {Status.DONE}
    assert store.list() == store.kept


def test_threads_are_not_forked(store, tmp_path, monkeypatch, helpers):
    """With another thread about, which may hold anything, nothing is forked."""
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()
    try:
        outcomes, _ = remove(store, tmp_path / "state")
    finally:
        end.set()
        other.join()
    assert {outcome.status for outcome in outcomes} == {Status.DONE}


@pytest.mark.usefixtures("helpers")
def test_little_is_not_worth_a_process(store, tmp_path, monkeypatch):
    """With the limit as it is, a few hundred files are removed by this process."""
    monkeypatch.setattr(execute_removals, "_MANY", 5000)
    monkeypatch.setattr(execute_removals, "_WAITS", 1e9)
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    outcomes, _ = remove(store, tmp_path / "state")
    assert {outcome.status for outcome in outcomes} == {Status.DONE}


def test_an_interrupt_stops_all(store, tmp_path, monkeypatch, helpers):
    """After the folder that each is at; the journal has the end of what went whole, and the next run does the rest."""
    seconds = 0.02
    in_helpers(monkeypatch, lambda real: (time.sleep(seconds), real()))
    draw = removal_pool.drawn
    starter = os.getpid()

    def drawn(tickets, count):
        for number in draw(tickets, count):
            if os.getpid() == starter:
                signal.raise_signal(signal.SIGINT)
            yield number

    monkeypatch.setattr(removal_pool, "drawn", drawn)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        remove(store, tmp_path / "state")
    assert time.monotonic() - start < TREES * 20 * seconds, "the helpers did all there was"
    check_no_process_stays(helpers)
    left = os.listdir(store.path / SNAPSHOTS)
    assert len(left) > 1
    journal = read_journal(RawPath(os.fsencode(tmp_path / "state" / os.fsdecode(JOURNAL))))
    assert len(journal.entries) == TREES
    for entry in journal.entries:
        name = os.path.basename(os.fsdecode(entry.path))
        assert entry.ended is None or not {name, f"rm-{name}"} & set(left)
    check_the_next_run(store, tmp_path / "next")


def test_an_interrupt_kills_a_helper_that_waits_for_a_disk(store, tmp_path, monkeypatch, helpers):
    """The first only asks it to stop, and those that come later than a second after it end the waiting."""
    in_helpers(monkeypatch, lambda _: signal.pause())
    monkeypatch.setattr(interrupts, "_PATIENCE", 0)

    def interrupt(*_):
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            signal.raise_signal(signal.SIGINT)

    former = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            remove(store, tmp_path / "state")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    signal.alarm(30)
    for pid in helpers:
        with suppress(ChildProcessError):  # it was waited for
            os.waitpid(pid, 0)
    signal.alarm(0)
    check_the_next_run(store, tmp_path / "next")
