"""Copies of databases that others write to: whole, of one transaction, in memory, and without a lock."""

import fcntl
import os

import pytest
from tests.support.boltwriter import write

from bbolt_reader import Database
from drydock.evidence.files import database_copy
from drydock.evidence.files.database_copy import copy_database, metas, read_state
from drydock.model.errors import EvidenceUnreadable
from drydock.model.names import RawPath


@pytest.fixture
def path(tmp_path):
    """A small database."""
    write(tmp_path / "meta.db", {b"v1": {b"version": b"\x06"}})
    return RawPath(bytes(tmp_path / "meta.db"))


def commit(path):
    """What a commit does at its end: the other meta, with the next transaction."""
    with Database.open(path) as database:
        meta = database.meta
    fields = bytearray(meta.raw)
    fields[16 + 48 : 16 + 56] = (meta.txid + 1).to_bytes(8, "little")
    from bbolt_reader.meta import checksum

    fields[16 + 56 : 16 + 64] = checksum(bytes(fields[16 : 16 + 56])).to_bytes(8, "little")
    with open(path, "r+b") as file:
        file.seek((1 - meta.index) * meta.page_size)
        file.write(fields)


def test_a_copy_is_of_memory_and_the_same(path):
    """Every byte, in no file system; the file's access time stays, and a writer's lock does not matter."""
    before = os.stat(path)
    with open(path, "rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
        copied = copy_database(path)
    try:
        with open(path, "rb") as file:
            assert os.pread(copied.fd, 1 << 20, 0) == file.read()
        assert b"memfd:" in os.readlink(b"/proc/self/fd/%d" % copied.fd)
        assert copied.allocated == before.st_blocks * 512
        assert read_state(path) == metas(copied.fd, path) != ()
    finally:
        os.close(copied.fd)
    commit(path)
    assert os.stat(path).st_size == before.st_size


def test_a_commit_during_the_copy_is_tried_again(path, monkeypatch):
    """A copy that a commit ran into is thrown away; the next one has the new transaction."""
    fill, moves = database_copy._fill, iter((True, True, False))

    def moving(*arguments):
        fill(*arguments)
        if next(moves):
            commit(path)

    monkeypatch.setattr(database_copy, "_fill", moving)
    copied = copy_database(path)
    try:
        assert read_state(path) == metas(copied.fd, path)
    finally:
        os.close(copied.fd)
    assert list(moves) == []


def test_it_gives_up(path, monkeypatch):
    """A database that is written to all the time ends in one line after a bounded number of tries."""
    fill, tries = database_copy._fill, []
    monkeypatch.setattr(database_copy.time, "sleep", tries.append)
    monkeypatch.setattr(database_copy, "_fill", lambda *arguments: (fill(*arguments), commit(path)))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(EvidenceUnreadable, match="written to during each of 20 tries"):
        copy_database(path)
    assert len(tries) == 19
    assert sum(tries) < 5
    assert os.listdir("/proc/self/fd") == before


def test_a_replaced_file_is_not_taken(path, tmp_path, monkeypatch):
    """What was renamed over the name meanwhile is what counts."""
    fill, once = database_copy._fill, iter((True,))

    def replaced(*arguments):
        fill(*arguments)
        if next(once, False):
            write(tmp_path / "new", {b"v1": {b"version": b"\x08"}})
            (tmp_path / "new").replace(os.fsdecode(path))

    monkeypatch.setattr(database_copy, "_fill", replaced)
    copied = copy_database(path)
    with open(path, "rb") as file:
        assert os.pread(copied.fd, 1 << 20, 0) == file.read()
    os.close(copied.fd)


def test_holes_take_no_memory(path, monkeypatch):
    """A file that says it is large and is empty is copied in no time; one that is large is refused."""
    os.truncate(path, 1 << 40)
    copied = copy_database(path)
    assert os.fstat(copied.fd).st_size == 1 << 40
    assert os.fstat(copied.fd).st_blocks * 512 < 1 << 20
    os.close(copied.fd)
    monkeypatch.setattr(database_copy, "_available", lambda: 4096)
    with pytest.raises(EvidenceUnreadable, match="too large"):
        copy_database(path)


@pytest.mark.parametrize("what", ["gone", "link", "fifo"])
def test_only_a_regular_file(path, tmp_path, what):
    """Nothing else is opened."""
    other = tmp_path / "other"
    if what == "link":
        other.symlink_to(os.fsdecode(path))
    elif what == "fifo":
        os.mkfifo(other)
    with pytest.raises(EvidenceUnreadable):
        copy_database(RawPath(bytes(other)))
    assert read_state(RawPath(bytes(other))) is None
