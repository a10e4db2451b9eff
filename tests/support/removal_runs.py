"""Removals with a journal of their own, and other processes that surely take part in them."""

import fcntl
import os
import termios
import threading
import time
from array import array

from drydock.model.names import RawPath
from drydock.reclaim import execute_removals, removal_pool
from drydock.reclaim.journal_writer import JournalWriter
from drydock.reclaim.root_dir import open_root_dir


class Run:
    """One run with its own journal."""

    def __init__(self, store, state):
        state.mkdir(exist_ok=True)
        self.root_dir = open_root_dir(store.root)
        fd = os.open(state, os.O_RDONLY)
        self.journal = JournalWriter(fd, RawPath(os.fsencode(state)), RawPath(store.root), "a" * 64)
        os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.journal.close()
        self.root_dir.close()

    def remove(self, removals, **options):
        """Apply."""
        return execute_removals.run_removals(removals, self.root_dir, self.journal, **options)


def find_doomed(store):
    """What a new scan would find to remove: everything that is not kept, however far an earlier run came."""
    found = []
    for folder in {os.path.dirname(path) for path in store.doomed}:
        for name in sorted(os.listdir(store.path / folder)):
            path = f"{folder}/{name}"
            if path not in store.kept:
                found.append(store.aim(path))
    return found


def let_others_help(monkeypatch):
    """Other processes help, however little there is to do and whatever else this process had to do before.

    The process that starts them takes its first share when they have taken one each, or half of all.
    """
    monkeypatch.setattr(execute_removals, "_MANY", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    count = threading.active_count
    before = count() - 1
    monkeypatch.setattr(threading, "active_count", lambda: max(1, count() - before))
    drawn, help_with = removal_pool.drawn, removal_pool._help
    helping = False

    def begin(*arguments):
        nonlocal helping
        helping = True  # in a fork
        help_with(*arguments)

    def draw(tickets, count):
        left, end = array("i", [4 * count]), time.monotonic() + 30
        while not helping and left[0] > 4 * (count - min(3, count // 2)) and time.monotonic() < end:
            fcntl.ioctl(tickets, termios.FIONREAD, left)
        yield from drawn(tickets, count)

    monkeypatch.setattr(removal_pool, "_help", begin)
    monkeypatch.setattr(removal_pool, "drawn", draw)
