"""Folders measured by several processes: what one process would find, whatever becomes of the others."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from drydock.evidence.files import walk_pool
from drydock.evidence.files.directory import folder
from drydock.evidence.files.sizes import Measure
from drydock.evidence.files.walk_pool import measure_folders

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
    monkeypatch.setattr(walk_pool._Worker, "results", lambda self: (shares.append(read(self)), shares[-1])[1])
    drawn = walk_pool._drawn

    def slow(tickets, count):
        for number in drawn(tickets, count):
            yield number
            threading.Event().wait(0.01)  # here and in the worker: neither takes everything

    monkeypatch.setattr(walk_pool, "_drawn", slow)
    assert measured(layers) == alone(layers)
    assert 0 < len(shares[0]) < MANY


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


def test_no_process_to_be_had(layers, monkeypatch):
    """Then this one does it all."""

    def refuse():
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", refuse)
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


def test_a_folder_that_is_gone(layers):
    """Is an error, as it is for one process."""
    with folder(os.fsencode(layers)) as parent, pytest.raises(FileNotFoundError):
        list(measure_folders(Measure(), [b"%02d" % number for number in range(MANY + 1)], parent))


def test_every_folder_is_told_once(layers):
    """Progress adds up to the folders."""
    told = []
    measured(layers, told.append)
    assert sum(told) == MANY
