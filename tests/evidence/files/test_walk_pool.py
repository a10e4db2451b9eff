"""Folders measured by several processes: what one process would find, whatever becomes of the others."""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import threading
import time

import pytest

from drydock.evidence.files import sizes, walk_pool
from drydock.evidence.files.directory import folder
from drydock.evidence.files.sizes import Measure
from drydock.evidence.files.walk_pool import WalkAhead, measure_folders
from drydock.evidence.files.worker import Worker

MANY = 40


@pytest.fixture
def layers(tmp_path):
    """Folders of different sizes, with inodes that two or more of them share."""
    for number in range(MANY):
        (tmp_path / f"{number:02}/fs").mkdir(parents=True)
        (tmp_path / f"{number:02}/fs/own").write_bytes(b"x" * 5000 * number)
        if number:
            os.link(tmp_path / "00/fs/own", tmp_path / f"{number:02}/fs/shared")
            os.link(tmp_path / f"{number - 1:02}/fs/own", tmp_path / f"{number:02}/fs/before")
    return tmp_path


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    """One worker, also on a machine with one core."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


@pytest.fixture(autouse=True)
def own_threads(monkeypatch):
    """Only threads that a test starts count: tests before it may have left some that wait for nothing."""
    count = threading.active_count
    before = count() - 1
    monkeypatch.setattr(threading, "active_count", lambda: count() - before)


def measured(top, told=None):
    """(allocated, entries, skipped) of each folder."""
    with folder(os.fsencode(top)) as parent:
        names = sorted(os.listdir(os.fsencode(top)))
        usages = list(measure_folders(Measure(), names, parent, told))
    return [(usage.allocated, usage.entries, usage.skipped) for usage in usages]


def alone(top):
    """The same, in this process."""
    measure = Measure()
    with folder(os.fsencode(top)) as parent:
        usages = [measure.folder(name, parent) for name in sorted(os.listdir(os.fsencode(top)))]
    return [(usage.allocated, usage.entries, usage.skipped) for usage in usages]


def test_as_one_process_finds_it(layers, monkeypatch):
    """Each inode counts once, in the first folder that has it, whoever measured which; the worker did some of it."""
    shares = []
    read = walk_pool._Worker.results

    def results(self):
        found = list(read(self))
        shares.extend(found)
        return found

    monkeypatch.setattr(walk_pool._Worker, "results", results)
    drawn = walk_pool.drawn

    def slow(tickets, count):
        for number in drawn(tickets, count):
            yield number
            threading.Event().wait(0.01)  # here and in the worker: neither takes everything

    monkeypatch.setattr(walk_pool, "drawn", slow)
    assert measured(layers) == alone(layers)
    assert 0 < len(shares) < MANY


def test_a_worker_that_dies(layers, monkeypatch):
    """What it did not tell is measured here."""
    starter = os.getpid()
    walk = Measure.walk

    def die(self, name, parent):
        if os.getpid() != starter:
            os.kill(os.getpid(), signal.SIGKILL)
        return walk(self, name, parent)

    expected = alone(layers)
    monkeypatch.setattr(Measure, "walk", die)
    assert measured(layers) == expected


@pytest.mark.parametrize("call", ["fork", "pipe2"])
def test_no_process_to_be_had(layers, monkeypatch, call):
    """Then this one does it all."""

    def refuse(*_):
        raise BlockingIOError

    monkeypatch.setattr(os, call, refuse)
    assert measured(layers) == alone(layers)


def test_threads_are_not_forked(layers, monkeypatch):
    """With another thread about, which may hold anything, nothing is forked."""
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()
    try:
        assert measured(layers) == alone(layers)
    finally:
        end.set()
        other.join()


def test_no_worker_stays(layers, monkeypatch):
    """Whatever interrupts the measuring here ends the worker too, and nothing stays open."""
    before = set(os.listdir("/proc/self/fd"))
    started = []
    fork = os.fork
    monkeypatch.setattr(os, "fork", lambda: (started.append(fork()), started[-1])[1])
    starter = os.getpid()

    def interrupt(self, name, parent):
        if os.getpid() == starter:
            raise KeyboardInterrupt
        signal.pause()  # else a worker on a busy machine may have done it all

    monkeypatch.setattr(Measure, "walk", interrupt)
    with pytest.raises(KeyboardInterrupt):
        measured(layers)
    with pytest.raises(ChildProcessError):
        os.waitpid(started[0], os.WNOHANG)
    assert set(os.listdir("/proc/self/fd")) == before


def test_another_process_of_the_number_of_a_worker_is_not_killed(monkeypatch):
    """If SIGCHLD is ignored, as the parent of this process may have it, the kernel gives the number away at once."""
    former = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        worker = Worker(lambda write: write(1))
        while os.path.exists(f"/proc/{worker.pid}"):
            time.sleep(0.001)
        monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("killed"))
        assert list(worker.news()) == [1]
        worker.close()
    finally:
        signal.signal(signal.SIGCHLD, former)


def test_a_folder_that_is_gone(layers):
    """Is an error, as it is for one process."""
    with folder(os.fsencode(layers)) as parent, pytest.raises(FileNotFoundError):
        list(measure_folders(Measure(), [b"%02d" % number for number in range(MANY + 1)], parent))


def test_what_is_measured_ahead(layers):
    """Each is given once, to the reader of its folder; a reader that comes first has to wait for its folders only."""
    (layers / "other").mkdir()
    for number in range(MANY):
        (layers / f"other/{number}/deep/down").mkdir(parents=True)
        (layers / f"other/{number}/deep/down/file").write_bytes(b"x" * 5000 * number)
    os.link(layers / "00/fs/own", layers / "other/7/deep/down/again")
    names = [b"%02d" % number for number in range(MANY)]
    told = []
    with folder(os.fsencode(layers)) as parent, folder(os.fsencode(layers), b"other") as other, WalkAhead() as ahead:
        below = sorted(os.listdir(b"%b/other" % os.fsencode(layers)))
        ahead.add(names, parent)
        ahead.add([*below, b"gone"], other, split=True)
        ahead.add(names, parent)
        ahead.start()
        measure = Measure()
        first = ahead.measured(names, parent, measure, told.append)
        usages = [measure.add(first[name]) for name in names]
        assert (list(first), sum(told)) == (names, MANY)
        assert ahead.measured(names, parent, measure) == {}
        assert [(each.allocated, each.entries, each.skipped) for each in usages] == alone(layers)[:MANY]
        assert all(each.all is not None and each.upper is not None for each in usages)
        rest = ahead.measured(below, other, measure)
        whole = Measure([measure])
        for name in below:
            expected = whole.folder(name, other)
            found = measure.add(rest[name])
            assert (found.allocated, found.entries) == (expected.allocated, expected.entries)
        assert ahead.take(below, other) == {}
        ahead.add([b"other"], parent)
        ahead.start()
        assert ahead.take([b"other"], parent) == {}, "one folder is not worth a process"


def test_a_folder_of_very_many_folders_keeps_nothing_waiting(layers, monkeypatch):
    """It is left whole to one worker: before the workers start, no more is entered here than of any other."""
    monkeypatch.setattr(sizes, "_SHARES", 5)
    for top, number in itertools.product(range(9), range(8)):
        (layers / f"{top:02}/fs/{number}/{number}").mkdir(parents=True)
    starter, entered, enter = os.getpid(), [], Measure._enter

    def count(self, name, *rest):
        if os.getpid() == starter:
            entered.append(name)
        enter(self, name, *rest)

    names, expected = sorted(os.listdir(os.fsencode(layers))), alone(layers)
    monkeypatch.setattr(Measure, "_enter", count)
    with folder(os.fsencode(layers)) as parent, WalkAhead() as ahead:
        ahead.add(names, parent, split=True)
        assert (len(entered), set(entered)) == (2 * MANY, {*names, b"fs"})
        ahead.start()
        measure = Measure()
        usages = ahead.measured(names, parent, measure)
        found = [measure.add(usages[name]) for name in names]
    assert [(each.allocated, each.entries, each.skipped) for each in found] == expected


def test_nothing_is_given_once_it_is_closed(layers):
    """Its descriptors may be others by then; and nothing stays open."""
    before = set(os.listdir("/proc/self/fd"))
    with folder(os.fsencode(layers)) as parent:
        with WalkAhead() as ahead:
            ahead.add(os.listdir(os.fsencode(layers)), parent)
            ahead.start()
        assert ahead.take(os.listdir(os.fsencode(layers)), parent) == {}
    assert set(os.listdir("/proc/self/fd")) == before


def test_ahead_with_a_worker_that_dies(layers, monkeypatch):
    """What it did not tell is measured here, also the parts of a folder that several workers were to share."""
    starter = os.getpid()
    go_on = Measure.go_on

    def die(self, share):
        if os.getpid() != starter:
            os.kill(os.getpid(), signal.SIGKILL)
        return go_on(self, share)

    expected = alone(layers)
    monkeypatch.setattr(Measure, "go_on", die)
    for split in (False, True):
        names, measure = sorted(os.listdir(os.fsencode(layers))), Measure()
        for number in range(9):
            (layers / f"00/fs/{number}/{number}").mkdir(parents=True, exist_ok=True)
        with folder(os.fsencode(layers)) as parent, WalkAhead() as ahead:
            ahead.add(names, parent, split=split)
            ahead.start()
            found = ahead.measured(names, parent, Measure())
            usages = [measure.add(found[name]) for name in names]
            assert [each.allocated for each in usages[1:]] == [allocated for allocated, *_ in expected[1:]]
            assert usages[0].entries == expected[0][1] + 18


def test_a_worker_holds_no_lock(layers, tmp_path, monkeypatch):
    """A walk may go on when the store was read; its engine must be able to start then."""
    starter = os.getpid()
    monkeypatch.setattr(Measure, "walk", lambda *_: signal.pause() if os.getpid() != starter else None)
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with folder(os.fsencode(layers)) as parent, WalkAhead() as ahead:
        ahead.add(sorted(os.listdir(os.fsencode(layers))), parent)
        ahead.start()
        os.close(lock)
        end = time.monotonic() + 10
        while not can_lock(tmp_path / "lock"):
            assert time.monotonic() < end
            time.sleep(0.01)


def can_lock(path):
    """Whether nobody has a lock on a file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_every_folder_is_told_once(layers):
    """Progress adds up to the folders."""
    told = []
    measured(layers, told.append)
    assert sum(told) == MANY
