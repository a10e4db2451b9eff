"""Locks against real processes that hold them, and on a read-only mount."""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import subprocess
import sys
import time

import pytest
from tests.support.privilege import needs_root

from drydock.evidence.host.locks import hold, refuse_locked
from drydock.model.errors import EvidenceUnreadable, Refused
from drydock.model.names import RawPath

_HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "rb")
fcntl.flock(file, getattr(fcntl, sys.argv[2]))
print("held", flush=True)
time.sleep(float(sys.argv[3]))
"""


@pytest.fixture
def database(tmp_path):
    """A file to lock."""
    path = tmp_path / "meta.db"
    path.write_bytes(b"x" * 4096)
    return path


@pytest.fixture
def holder():
    """Starts a child that holds a lock."""
    children = []

    def start(path, kind, seconds=60):
        child = subprocess.Popen([sys.executable, "-c", _HOLDER, path, kind, str(seconds)], stdout=subprocess.PIPE)
        children.append(child)
        assert child.stdout.readline() == b"held\n"
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        child.stdout.close()


def raw(path):
    """The path as drydock takes it."""
    return RawPath(os.fsencode(path))


@pytest.mark.parametrize(
    ("other", "exclusive", "refused"),
    [("LOCK_EX", True, True), ("LOCK_EX", False, True), ("LOCK_SH", True, True), ("LOCK_SH", False, False)],
)
def test_against_another_process(database, holder, other, exclusive, refused):
    """A writer excludes all, readers exclude writers; the refusal names the process."""
    child = holder(database, other)
    if not refused:
        hold(raw(database), exclusive=exclusive).release()
        return
    with pytest.raises(Refused, match=f"pid {child.pid}.*end process {child.pid}"):
        hold(raw(database), exclusive=exclusive)


def test_waits_as_long_as_told(database, holder):
    """With a wait, a lock that is given back in time is had."""
    holder(database, "LOCK_EX", 0.4)
    start = time.monotonic()
    with hold(raw(database), exclusive=True, wait=20):
        assert time.monotonic() - start < 15


def test_held_until_the_end(database):
    """The lock is there inside the block, and gone after it; the file is not changed, nor its access time."""
    before = database.stat()
    with hold(raw(database), exclusive=True) as lock, database.open("rb") as other:
        assert os.read(lock.fd, 3) == b"xxx"
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with database.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    after = database.stat()
    assert (before.st_atime_ns, before.st_mtime_ns) == (after.st_atime_ns, after.st_mtime_ns)
    assert lock.fd == -1


def test_a_lock_file_is_looked_at_and_not_kept(database, holder):
    """Another's lock is refused; without one, or without the file, its owner can have it at once."""
    refuse_locked(raw(database))
    refuse_locked(raw(database.parent / "missing"))
    child = holder(database, "LOCK_EX")
    with pytest.raises(Refused, match=f"pid {child.pid}"):
        refuse_locked(raw(database))


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "missing"])
def test_only_regular_files(database, kind):
    """Links, FIFOs and folders are refused without waiting for anything."""
    path = database.parent / "other"
    {
        "link": lambda: path.symlink_to(database),
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "missing": lambda: None,
    }[kind]()
    with pytest.raises(EvidenceUnreadable):
        hold(raw(path), exclusive=False)


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("exclusive", [True, False])
def test_on_a_read_only_mount(database, exclusive):
    """A lock can be had, and is respected, on a read-only mount."""
    mount = database.parent / "ro"
    mount.mkdir()
    subprocess.run(["mount", "--bind", database.parent, mount], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", mount], check=True)
        with (
            hold(raw(mount / "meta.db"), exclusive=exclusive),
            database.open("rb") as other,
            pytest.raises(BlockingIOError),
        ):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_fork_that_has_the_database_mapped_keeps_no_lock(database):
    """Neither its descriptors nor its mapping: an engine can start as soon as the lock was given back."""
    lock = hold(RawPath(os.fsencode(database)), exclusive=True)
    with mmap.mmap(lock.fd, 0, prot=mmap.PROT_READ):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
    try:
        lock.release()
        hold(RawPath(os.fsencode(database)), exclusive=True).release()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
