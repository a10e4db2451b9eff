"""Undoing a run by its journal: what was moved is moved back, then each database's former root is committed again.

At every moment, and whatever fails, no record stands whose data is not there: data comes back first and is synced; the
metadata.db follow, and meta.db is last. What stays undone is data or rows that no record names, which does no harm.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from drydock.evidence.containerd.store import File, Held
from drydock.model.errors import ActionFailed
from drydock.model.names import RawPath
from drydock.model.plans import Outcome, Removal, Status
from drydock.model.progress import Progress, counter
from drydock.model.runs import EditOutcome, Run
from drydock.model.text import shown, unshown
from drydock.reclaim.edit import EditStatus, check_former, edit_status, revert
from drydock.reclaim.former_state import find_gone
from drydock.reclaim.journal import Entry, Journal, close_abandoned
from drydock.reclaim.quarantine import put_back
from drydock.reclaim.quarantine_manifest import read_manifest
from drydock.reclaim.recognition import Quarantined
from drydock.reclaim.removals import find_in_place, is_in_place, is_taken
from drydock.reclaim.root_dir import RootDir, open_root_dir


def undo(journal: Journal, held: Held, progress: Progress | None = None) -> Run:
    """Undo what a journal says was done, under locks the caller holds exclusively.

    A database is put back only when everything that its edit let go of is there again: a record whose data is gone
    would make every later pull of it fail, since what has a record is not fetched (containerd core/remotes/handlers.go
    Fetch, v2.1). Where a database cannot be put back, what its edit let go of stays in quarantine. An undo that was
    stopped can be repeated.

    Args:
        journal: as read.
        held: the same root's databases.
        progress: told of what was moved.

    Raises:
        Refused: what the journal says of a database before an edit is neither in the database nor in its copy; nothing
            was changed.
    """
    run = Run(journal.root, journal.path, "the journal that was undone")
    edits = [entry for entry in reversed(journal.entries) if entry.do == "edit"]
    for entry in edits:
        file = _find(held, entry.path)
        if file is not None:
            # A note that cannot be compared is a hindrance, below.
            with suppress(ActionFailed):
                check_former(file.fd, file.path, entry.fields)
    barred = next(filter(None, (_hindrance(held, entry) for entry in edits)), None)
    barred = barred or find_gone(journal, held, _edits_that_stand(held, edits))
    # Only an edit of meta.db that stands tells that what is in the place of something moved is no engine's by now.
    mends = barred is None and held.metadata is not None and held.metadata.path in {entry.path for entry in edits}
    root_dir = open_root_dir(journal.root)
    try:
        step = counter(progress, "moved back", sum(entry.removal is not None for entry in journal.entries))
        for entry in reversed(journal.entries):
            if entry.removal is not None:
                run.outcomes.append(_back(root_dir, entry, _moved(journal, entry, entry.removal), barred, mends=mends))
                if step is not None:
                    step(1)
    finally:
        root_dir.close()
    if any(outcome.status is Status.DONE for outcome in run.outcomes):
        # A commit's sync says nothing of renames in other directories.
        os.sync()
    if any(outcome.action.after_edit and outcome.status is Status.FAILED for outcome in run.outcomes):
        barred = barred or "data that its former records name was deleted, or could not be moved back"
    for entry in edits:
        run.edits.append(_unedit(held, entry, barred))
        if run.edits[-1].status is not Status.DONE:
            barred = barred or f"{shown(entry.path)} could not be put back"
    if not run.failed and journal.finished is None:
        try:
            close_abandoned(journal)
        except ActionFailed as error:
            run.warnings.append(str(error))
    return run


def _edits_that_stand(held: Held, edits: list[Entry]) -> Iterator[Entry]:
    for entry in edits:
        file = _find(held, entry.path)
        if file is not None and edit_status(file.fd, file.path, entry.fields) is EditStatus.EDITED:
            yield entry


def _moved(journal: Journal, entry: Entry, removal: Removal) -> Quarantined:
    """What the journal says of one thing; its manifest only where it is as it was written."""
    owner, member = entry.note
    if member is None:
        return Quarantined(removal, owner)
    manifest = partial(read_manifest, RawPath(os.path.dirname(journal.path)), member)
    try:
        next(manifest(), None)
    except OSError as error:
        return Quarantined(removal, owner, without=f"its manifest cannot be read: {error.strerror}")
    return Quarantined(removal, owner, manifest)


def _back(root_dir: RootDir, entry: Entry, moved: Quarantined, barred: str | None, *, mends: bool) -> Outcome:
    """GONE where there is nothing to move back since it was never taken away."""
    removal = moved.removal
    if entry.ended is not None and entry.ended.status is Status.CHANGED:
        # Without its record it was nobody's, and a later run may have removed it.
        if removal.after_edit and not is_taken(root_dir, removal):
            return Outcome(removal, Status.FAILED, "this run did not remove it, and it is gone")
        return Outcome(removal, Status.GONE, "it was not removed")
    if entry.to is None:
        if not is_in_place(root_dir, removal):
            return Outcome(removal, Status.FAILED, "deleted: it cannot be put back")
        if stat.S_ISDIR(removal.expect.mode):
            return Outcome(removal, Status.FAILED, "it is there, but a part of it may have been deleted")
        return Outcome(removal, Status.GONE, "it is in its place")
    there = find_in_place(root_dir, moved, mends=mends)
    if there is not None and there.wrong is None:
        return Outcome(removal, Status.GONE, "it is in its place")
    if removal.after_edit and barred is not None:
        return Outcome(removal, Status.FAILED, f"left in {shown(entry.to)}: {barred}")
    if there is not None:
        return Outcome(removal, Status.FAILED, f"something else is in its place: {there.wrong}")
    return put_back(root_dir, moved, entry.to)


def _hindrance(held: Held, entry: Entry) -> str | None:
    """Why a database cannot be put back; None if it can, or need not be."""
    file = _find(held, entry.path)
    if file is None:
        return f"{shown(entry.path)} is not there"
    try:
        stands = edit_status(file.fd, file.path, entry.fields)
    except ActionFailed as error:
        return str(error)
    return f"{shown(entry.path)}: {stands.value}" if stands is EditStatus.MOVED else None


def _unedit(held: Held, entry: Entry, barred: str | None) -> EditOutcome:
    copy = RawPath(unshown(str(entry.fields.get("backup", ""))))
    backup = copy if os.path.lexists(copy) else None
    file = _find(held, entry.path)
    try:
        if file is not None and edit_status(file.fd, file.path, entry.fields) is EditStatus.FORMER:
            return EditOutcome(entry.path, 0, 0, Status.DONE, "it is as it was before the edit", backup)
        if file is None or barred is not None:
            return EditOutcome(entry.path, 0, 0, Status.FAILED, f"left as it is: {barred}", backup)
        revert(file.fd, file.path, entry.fields)
    except ActionFailed as error:
        return EditOutcome(entry.path, 0, 0, Status.FAILED, str(error), backup)
    return EditOutcome(entry.path, 0, 0, Status.DONE, "its former contents are back", backup)


def _find(held: Held, path: RawPath) -> File | None:
    files = (held.metadata, *held.backends.values())
    return next((file for file in files if file is not None and file.path == path), None)
