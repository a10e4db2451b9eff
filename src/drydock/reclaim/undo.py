"""Undoing a run by its journal: what was moved is moved back, then each database's former root is committed again."""

from __future__ import annotations

import os

from drydock.evidence.store import Held
from drydock.model.errors import ActionFailed
from drydock.model.names import RawPath
from drydock.model.plans import Outcome, Removal, Status
from drydock.model.runs import EditOutcome, Run
from drydock.model.text import shown
from drydock.reclaim.anchor import Anchor, open_anchor
from drydock.reclaim.edit import revert
from drydock.reclaim.journal import Entry, Journal
from drydock.reclaim.quarantine import put_back


def undo(journal: Journal, held: Held) -> Run:
    """Undo what a journal says was done, under locks the caller holds exclusively.

    A database is put back only when everything that its edit let go of is there again: a record whose data is gone
    would make every later pull of it fail (model: a record without its blob is never fetched again).

    Args:
        journal: as read.
        held: the same root's databases.
    """
    run = Run(journal.root, journal.path, "the journal that was undone")
    anchor = open_anchor(journal.root)
    try:
        lost = False
        for entry in reversed(journal.entries):
            if entry.removal is not None:
                outcome = _back(anchor, entry, entry.removal)
                run.outcomes.append(outcome)
                lost = lost or (entry.removal.after_edit and outcome.status not in (Status.DONE, Status.GONE))
        for entry in reversed(journal.entries):
            if entry.do == "edit":
                run.edits.append(_unedit(held, entry, lost=lost))
    finally:
        anchor.close()
    return run


def _back(anchor: Anchor, entry: Entry, removal: Removal) -> Outcome:
    """GONE where there is nothing to move back since it was never taken away."""
    if entry.ended is not None and entry.ended.status not in (Status.DONE, Status.FAILED):
        return Outcome(removal, Status.GONE, "it was not removed")
    if _is_there(anchor, removal):
        return Outcome(removal, Status.GONE, "it is in its place")
    if entry.to is None:
        return Outcome(removal, Status.FAILED, "deleted: it cannot come back")
    return put_back(anchor, removal, entry.to)


def _is_there(anchor: Anchor, removal: Removal) -> bool:
    try:
        parent, name = anchor.open_parent(removal.path, removal.expect.device)
    except OSError:
        return False
    try:
        found = os.lstat(name, dir_fd=parent)
    except OSError:
        return False
    finally:
        os.close(parent)
    return found.st_ino == removal.expect.inode and found.st_dev == removal.expect.device


def _unedit(held: Held, entry: Entry, *, lost: bool) -> EditOutcome:
    backup = RawPath(os.fsencode(str(entry.fields.get("backup", ""))))
    if entry.ended is not None and entry.ended.status is not Status.DONE:
        return EditOutcome(entry.path, 0, 0, Status.GONE, "it was not edited", backup)
    if lost:
        why = "left as it is: data that its former records name was deleted, or could not be moved back"
        return EditOutcome(entry.path, 0, 0, Status.FAILED, f"{why}; the backup is {shown(backup)}", backup)
    for file in (held.metadata, *held.backends.values()):
        if file is not None and file.path == entry.path:
            try:
                revert(file.lock.fd, file.path, entry.fields)
            except ActionFailed as error:
                return EditOutcome(entry.path, 0, 0, Status.FAILED, f"{error}; the backup is {shown(backup)}", backup)
            return EditOutcome(entry.path, 0, 0, Status.DONE, "its former contents are back", backup)
    return EditOutcome(entry.path, 0, 0, Status.FAILED, f"it is not there; the backup is {shown(backup)}", backup)
