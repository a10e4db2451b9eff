"""The journal of a killed run stays open until nothing that the run began is left to do, whoever does it."""

import os
import shutil

import pytest
from fuzz.stores import META_DB, METADATA_DB, NOW, digest
from tests.support.small_host import Host, blob_of

import drydock
from bbolt_reader import Database
from bbolt_surgery import Insertion, change
from drydock.model.names import RawPath, UnixNano
from drydock.model.policies import Policy
from drydock.reclaim import execute_edits, knife, removals
from drydock.reclaim.state_dir import find_unfinished

OVERLAY = "io.containerd.snapshotter.v1.overlayfs"


@pytest.fixture
def host(tmp_path):
    """A root on which no run was killed yet."""
    found = Host(tmp_path)
    found.write()
    return found


def kill(host, monkeypatch, module, name, when, *, before=False):
    """Clean without a quarantine, ended by the call number ``when`` of a function: once that is done, or before it."""
    real, calls = getattr(module, name), []

    def last(*arguments, **named):
        calls.append(arguments)
        if before and len(calls) == when:
            raise KeyboardInterrupt
        done = real(*arguments, **named)
        if len(calls) == when:
            raise KeyboardInterrupt
        return done

    with monkeypatch.context() as patched:
        patched.setattr(module, name, last)
        with pytest.raises(KeyboardInterrupt):
            host.clean("first", aside=False)
    assert is_open(host)


def is_open(host):
    """Whether the killed run is still reported."""
    places = [RawPath(os.fsencode(host.folder / "first-state"))]
    return len(find_unfinished(RawPath(os.fsencode(host.root)), places)) == 1


def repair(host):
    """Mend what a lost blob broke."""
    blob_of(host, 2).unlink()
    root, now = RawPath(os.fsencode(host.root)), UnixNano(NOW + 10**9)
    losses = set()

    def look(repairs):
        losses.update(os.fsencode(loss.name) for each in repairs for loss in each.losses)
        return False

    drydock.repair(root, agree=look, now=now)
    state = RawPath(os.fsencode(host.folder / "first-state"))
    (run,) = drydock.repair(root, agree=lambda _: True, accept=tuple(losses), now=now, state=state, apply=True)
    assert not run.failed


def commit(host):
    """A commit to meta.db, as of an engine that starts."""
    with open(host.root / META_DB, "r+b") as file:
        change(file.fileno(), os.fsencode(host.root / META_DB), [], [Insertion((b"v1", b"moby", b"labels"), b"a", b"")])


def test_a_repair_does_not_end_what_a_clean_began(host, monkeypatch):
    """It mends something else: rows and data that the killed run let go of are there, until a clean has done them."""
    kill(host, monkeypatch, execute_edits, "edit", 1)
    repair(host)
    assert is_open(host)
    assert not host.clean("first", aside=False).failed
    assert not is_open(host)


@pytest.mark.parametrize("damage", ["file", "page"])
def test_rows_that_cannot_be_read_may_be_left(host, monkeypatch, damage):
    """A clean that sees nothing of the rows leaves the journal open; the next, which does, ends it."""
    kill(host, monkeypatch, execute_edits, "edit", 1)
    shutil.move(host.root / METADATA_DB, host.folder / "rows")
    raw = bytearray((host.folder / "rows").read_bytes())
    with Database.open(host.folder / "rows") as database:
        size, root = database.page_size, database.meta.root
    start = 0 if damage == "file" else root * size
    raw[start : start + 2 * size] = b"x" * 2 * size
    (host.root / METADATA_DB).write_bytes(raw)
    assert not host.clean("first", aside=False).failed
    assert host.clean("first", aside=False) is None
    assert is_open(host)
    (host.root / METADATA_DB).unlink()
    host.clean("first", aside=False)
    assert is_open(host)
    shutil.move(host.folder / "rows", host.root / METADATA_DB)
    assert not host.clean("first", aside=False).failed
    assert not is_open(host)


def test_a_clean_that_edits_nothing_leaves_rows(host, monkeypatch):
    """It does what needs no edit, and then finds no more of that: both times rows are left."""
    kill(host, monkeypatch, execute_edits, "edit", 1)
    without = Policy(edit=False)
    assert not host.clean("first", aside=False, policy=without).failed
    assert host.clean("first", aside=False, policy=without) is None
    assert is_open(host)
    assert not host.clean("first", aside=False).failed
    assert not is_open(host)


def test_an_edit_that_was_not_made_is_left_until_somebody_writes(host, monkeypatch):
    """It may still be made. Once an engine wrote, what the records name is what counts."""
    kill(host, monkeypatch, execute_edits, "edit", 1)
    host.write()  # as if the commit had been lost
    without = Policy(edit=False)
    assert host.clean("first", aside=False, policy=without) is None
    assert is_open(host)
    commit(host)
    assert host.clean("first", aside=False, policy=without) is None
    assert not is_open(host)


@pytest.mark.parametrize("deleted", [False, True])
def test_what_was_let_go_of_is_asked_of_the_copy_once_somebody_wrote(host, monkeypatch, deleted):
    """And of nothing where that was deleted: the journal must not stay open for ever."""
    kill(host, monkeypatch, execute_edits, "edit", 1)
    commit(host)
    if deleted:
        for backup in host.journal("first").parent.glob("*.db"):
            backup.unlink()
    assert not host.clean("first", aside=False, policy=Policy(edit=False)).failed
    assert is_open(host) == (not deleted)


def test_a_directory_that_was_renamed_to_be_removed_is_left(host, monkeypatch):
    """Its old place is free, and a part of it lies beside that."""

    def stop(parent, name, *rest):
        if name.startswith(b"rm-"):
            raise KeyboardInterrupt
        return real(parent, name, *rest)

    real = removals.remove_tree
    with monkeypatch.context() as patched:
        patched.setattr(removals, "remove_tree", stop)
        with pytest.raises(KeyboardInterrupt):
            host.clean("first", aside=False)
    assert list((host.root / OVERLAY / "snapshots").glob("rm-*"))
    repair(host)
    assert is_open(host)
    host.clean("first", aside=False)
    assert not is_open(host)


def test_what_a_record_names_again_is_not_left(host, monkeypatch):
    """An engine took up a blob that the run was about to remove as nobody's; nothing will ever remove it."""
    kill(host, monkeypatch, knife, "unlink", 1, before=True)
    blobs = host.metadata[b"v1"][b"moby"][b"content"][b"blob"]
    blobs.update({digest(number): blobs[digest(4)] for number in (8, 10)})
    host.write()
    assert not host.clean("first", aside=False, policy=Policy(edit=False)).failed
    assert blob_of(host, 10).exists()
    assert not is_open(host)


def test_a_folder_that_no_run_would_touch_is_not_left(host, monkeypatch):
    """Of an ingest half is gone, and what is left there is not containerd's."""
    kill(host, monkeypatch, removals, "remove_tree", 1, before=True)
    for folder in (host.root / "io.containerd.content.v1.content/ingest").iterdir():
        (folder / "strange").touch()
    host.clean("first", aside=False)
    assert not is_open(host)
