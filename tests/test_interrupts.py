"""An interrupt while threads are at work leaves no lock behind, and is not lost."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from concurrent.futures import Future

import pytest
from tests.support.store import Store

from drydock import interrupts
from drydock.evidence.containerd.digests import hash_blobs
from drydock.interrupts import defer_interrupt
from drydock.model.data import BlobFile
from drydock.model.names import Digest, RawPath
from drydock.reclaim import execute_removals
from drydock.reclaim.execute_removals import run_removals
from drydock.reclaim.journal_writer import JournalWriter
from drydock.reclaim.remove_tree import RemovalStopped
from drydock.reclaim.root_dir import open_root_dir

INTERRUPTED, DONE = 3, 4


@pytest.fixture(autouse=True)
def _default_handler():
    """Python's own, though whoever runs the tests may ignore SIGINT."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def test_it_comes_when_the_block_ends():
    """Within the block it only asks for a stop; then KeyboardInterrupt is raised, and the former handler is back."""
    seen = []

    def work():
        with defer_interrupt() as asked:
            seen.append(asked())
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            seen.append(asked())

    with pytest.raises(KeyboardInterrupt):
        work()
    assert seen == [False, True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_much_later_does_not_wait(monkeypatch):
    """The block would last, as of a disk that does not answer: a second one after a while is raised within it."""
    clock = [100.0]
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: clock[0])
    reached = []

    def work():
        with defer_interrupt():
            signal.raise_signal(signal.SIGINT)
            clock[0] += 0.9
            signal.raise_signal(signal.SIGINT)
            reached.append("soon")
            clock[0] += 0.2
            signal.raise_signal(signal.SIGINT)
            reached.append("late")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["soon"]


def test_a_block_that_was_stopped_does_not_end_as_if_it_had_not_been():
    """The handler that was there before returns: what the block did is not whole, so KeyboardInterrupt is raised."""
    told = []
    signal.signal(signal.SIGINT, lambda *_: told.append(1))

    def work():
        with defer_interrupt() as asked:
            signal.raise_signal(signal.SIGINT)
            if asked():
                raise RemovalStopped

    with pytest.raises(KeyboardInterrupt):
        work()
    assert told == [1]


def test_an_ignored_one_stays_ignored():
    """As of a command that a shell put into the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with defer_interrupt() as asked:
        signal.raise_signal(signal.SIGINT)
    assert not asked()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_in_a_thread_nothing_is_touched():
    """Only the main thread may set handlers."""
    seen = Future()

    def work():
        with defer_interrupt() as asked:
            seen.set_result((asked(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen.result() == (False, signal.default_int_handler)


def remove_trees(folder):
    """Three snapshots, by two threads, as where unlink waits for the disk."""
    execute_removals._WAITS = -1  # in a fork
    store = Store(folder / "root")
    removals = [store.aim(store.add_snapshot(str(number))) for number in (5, 6, 7)]
    (folder / "state").mkdir()
    state = os.open(folder / "state", os.O_RDONLY)
    journal = JournalWriter(state, RawPath(os.fsencode(folder / "state")), store.root, "hash")
    run_removals(removals, open_root_dir(store.root), journal)


def hash_files(folder):
    """Five blobs, by a thread for each processor."""
    store = Store(folder / "root")
    names = [store.add_blob(f"{number:064}") for number in range(5)]
    blobs = [BlobFile.of(Digest(b"sha256:" + each[-64:].encode()), (1, 1, 0o100600, 8000, 0, 0), 0) for each in names]
    hash_blobs(store.root, blobs)


def interrupt_at(number, work, folder):
    """In a fork: SIGINT right after the main thread took its ``number``-th lock of a condition, in ``__enter__``."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return status
    try:
        signal.alarm(20)
        taken = 0
        enter = threading.Condition.__enter__

        def interrupted(self):
            nonlocal taken
            got = enter(self)
            if threading.get_ident() == threading.main_thread().ident:
                taken += 1
                if taken == number:
                    signal.raise_signal(signal.SIGINT)
            return got

        threading.Condition.__enter__ = interrupted
        try:
            work(folder)
        except KeyboardInterrupt:
            os._exit(INTERRUPTED)
        os._exit(DONE)
    except Exception:  # noqa: BLE001 - nothing of the parent's may run here
        traceback.print_exc()
    finally:
        os._exit(99)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor: no threads")
@pytest.mark.parametrize("work", [remove_trees, hash_files])
def test_no_lock_is_left_behind(work, tmp_path):
    """Interrupted at each lock that the main thread takes of those that workers need: it ends, and says so."""
    ends = set()
    for number in range(1, 200):
        (tmp_path / str(number)).mkdir()
        status = interrupt_at(number, work, tmp_path / str(number))
        assert not os.WIFSIGNALED(status), f"it hangs when it is interrupted at lock {number}"
        ends.add(os.WEXITSTATUS(status))
        if os.WEXITSTATUS(status) != INTERRUPTED:
            break
    assert ends == {INTERRUPTED, DONE}
    assert number > 5
