"""Where a database stands with regard to an edit, told from its pages alone; errors that say what was changed."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from tests.support import gobbolt, surgery

from bbolt_reader import Database
from bbolt_surgery import Deletion
from drydock.model.errors import ActionFailed, DiskFull, Refused
from drydock.model.text import shown
from drydock.reclaim.edit import EditStatus, check_former, edit, edit_status, revert, settle_database

pytestmark = pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}")


SHAPE = "nested"


@pytest.fixture
def database(tmp_path):
    """A database of Go's, a copy of it, an edit, and the lock's descriptor."""
    path, backup = tmp_path / "db", tmp_path / "backup"
    gobbolt.fill(path, SHAPE, count=200)
    shutil.copy(path, backup)
    fd = os.open(path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with Database.open(path) as opened:
        deletions = [Deletion((), key) for key, _ in list(opened.root.items())[:1]]
    yield path, backup, deletions, fd
    os.close(fd)


def noted(database):
    """Make the edit; what a journal would keep of it."""
    path, backup, deletions, fd = database
    return {**edit(fd, os.fsencode(path), deletions, lambda _: None), "backup": shown(os.fsencode(backup))}


def test_an_edit_stands_until_it_is_taken_back(database):
    """Edited, then as it was; reverted a second time it is refused, since somebody committed: ourselves."""
    path, backup, _, fd = database
    fields = noted(database)
    assert edit_status(fd, os.fsencode(path), fields) is EditStatus.EDITED
    revert(fd, os.fsencode(path), fields)
    assert edit_status(fd, os.fsencode(path), fields) is EditStatus.FORMER
    # Of a copy: the lock keeps Go out.
    copy = shutil.copy(path, f"{path}.copy")
    assert gobbolt.dump(Path(copy)) == gobbolt.dump(backup)
    with pytest.raises(ActionFailed):
        revert(fd, os.fsencode(path), fields)


def test_an_edit_after_settling_is_undone_as_any(database):
    """Its receipt is of the transaction after the copy's; contents and root are the same, so both are believed."""
    path, backup, _, fd = database
    assert settle_database(fd, os.fsencode(path))
    assert not settle_database(fd, os.fsencode(path))
    fields = noted(database)
    check_former(fd, os.fsencode(path), fields)
    revert(fd, os.fsencode(path), fields)
    assert edit_status(fd, os.fsencode(path), fields) is EditStatus.FORMER
    check_former(fd, os.fsencode(path), fields)
    copy = shutil.copy(path, f"{path}.copy")
    assert gobbolt.dump(Path(copy)) == gobbolt.dump(backup)
    assert gobbolt.check(Path(copy)) == (0, "")
    with pytest.raises(Refused):
        check_former(fd, os.fsencode(path), {**fields, "txid_before": int(fields["txid_before"]) + 1})


def test_the_root_of_an_earlier_edit_is_not_believed_with_the_copy_of_that_one(database, tmp_path):
    """Pages of it may have been written over since: a journal that names it and that copy was changed."""
    path, _, _, fd = database
    first = noted(database)
    backup = tmp_path / "second"
    shutil.copy(path, backup)
    with Database.open(path) as opened:
        deletions = [Deletion((), key) for key, _ in list(opened.root.items())[:1]]
    second = {**edit(fd, os.fsencode(path), deletions, lambda _: None), "backup": shown(os.fsencode(backup))}
    check_former(fd, os.fsencode(path), second)
    earlier = {name: first[name] for name in first if name.endswith("_before") and not name.startswith("txid")}
    with pytest.raises(Refused, match="the journal was changed"):
        check_former(fd, os.fsencode(path), {**second, **earlier, "backup": first["backup"]})


def test_an_edit_that_never_counted(database):
    """The note was written and the commit was not: as it was before."""
    path, _, deletions, fd = database
    notes = []

    def stop(fields):
        notes.append(fields)
        raise ActionFailed("the journal is full")

    with pytest.raises(ActionFailed, match="the journal is full"):
        edit(fd, os.fsencode(path), deletions, stop)
    assert edit_status(fd, os.fsencode(path), notes[0]) is EditStatus.FORMER


def test_an_edit_that_never_counted_before_the_database_was_settled(database, tmp_path):
    """The transaction is the one that the note has for the edit, with the contents from before: as it was before."""
    path, _, _, fd = database
    noted(database)
    backup = tmp_path / "second"
    shutil.copy(path, backup)
    notes = []

    def stop(fields):
        notes.append({**fields, "backup": shown(os.fsencode(backup))})
        raise ActionFailed("the disk is full")

    with Database.open(path) as opened:
        deletions = [Deletion((), key) for key, _ in list(opened.root.items())[:1]]
    with pytest.raises(ActionFailed, match="the disk is full"):
        edit(fd, os.fsencode(path), deletions, stop)
    assert settle_database(fd, os.fsencode(path))
    with Database.open(path) as opened:
        assert opened.meta.txid == notes[0]["txid_after"]
    assert edit_status(fd, os.fsencode(path), notes[0]) is EditStatus.FORMER


def test_somebody_else_wrote(database):
    """Go's bbolt committed since the edit: moved, and not reverted."""
    path, _, _, fd = database
    fields = noted(database)
    fcntl.flock(fd, fcntl.LOCK_UN)
    assert gobbolt.churn(path, 2, 20) == ""
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert edit_status(fd, os.fsencode(path), fields) is EditStatus.MOVED
    after = path.read_bytes()
    with pytest.raises(ActionFailed):
        revert(fd, os.fsencode(path), fields)
    assert path.read_bytes() == after


def test_a_root_on_the_same_page_is_not_enough(database, tmp_path):
    """One commit later with the root where it was, but other contents than the backup's: somebody else's commit.

    Without a backup nothing is said of it.
    """
    path, _, deletions, fd = database
    fields = noted(database)
    revert(fd, os.fsencode(path), fields)
    other = tmp_path / "other"
    shutil.copy(path, other)
    surgery.edit(other, deletions)
    assert edit_status(fd, os.fsencode(path), {**fields, "backup": str(other)}) is EditStatus.MOVED
    with pytest.raises(ActionFailed, match=r"is unknown: .*/not-there: No such file"):
        edit_status(fd, os.fsencode(path), {**fields, "backup": str(tmp_path / "not-there")})


@pytest.mark.parametrize("number", [28, 5])
def test_an_error_says_whether_room_was_missing(database, monkeypatch, number):
    """ENOSPC is DiskFull, which can be helped; any other is not. Nothing is changed by either."""
    path, _, deletions, fd = database
    before = path.read_bytes()

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(ActionFailed) as raised:
        edit(fd, os.fsencode(path), deletions, lambda _: None)
    assert isinstance(raised.value, DiskFull) == (number == 28)
    assert path.read_bytes() == before
