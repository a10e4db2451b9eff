"""Undo of a run by its journal: moved data and logs are put back, then the former root of each database is committed.

At every moment, and whatever fails, the data of each record is there: data comes back first and is synced, then each
metadata.db, and meta.db last. If the undo stops early, it leaves data or rows without a record, which do no harm.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import Final

from drydock.evidence.containerd.nerdctl import data_roots
from drydock.evidence.containerd.store import Held
from drydock.evidence.files.directory import folder
from drydock.evidence.files.regular import read_regular
from drydock.model.errors import ActionFailed, Refused
from drydock.model.layer_store import REFERENCES
from drydock.model.names import RawPath
from drydock.model.plans import (
    CLASSIC_RECORDS,
    CutOutcome,
    LayerRestore,
    LogCut,
    NameChange,
    Outcome,
    Removal,
    RestoreOutcome,
    Status,
    Target,
)
from drydock.model.progress import Progress, counter
from drydock.model.runs import EditOutcome, Run
from drydock.model.text import shown, unshown
from drydock.reclaim import layer_restores
from drydock.reclaim.edit import EditStatus, check_former, edit_status, revert
from drydock.reclaim.former_state import find_gone
from drydock.reclaim.image_names import config_path, put_back_names
from drydock.reclaim.journal import Entry, Journal
from drydock.reclaim.journal_writer import close_abandoned
from drydock.reclaim.log_cuts import put_back as put_back_log
from drydock.reclaim.quarantine import put_back, remove_emptied
from drydock.reclaim.quarantine_manifest import read_manifest
from drydock.reclaim.recognition import Quarantined
from drydock.reclaim.removals import find_in_place, is_in_place, is_taken
from drydock.reclaim.root_dir import RootDir, open_root_dir

_LAYER_RECORDS: Final = b"image/overlay2/layerdb/sha256"
_DIGEST_BYTES: Final = 256


def undo(journal: Journal, held: Held, progress: Progress | None = None) -> Run:
    """Undo what a journal has as done, under locks that the caller holds exclusively.

    A database is put back only if all data that its edit released is there again. A record without its data would make
    every later pull of it fail, because containerd does not fetch what has a record (containerd core/remotes/
    handlers.go Fetch, v2.1). If a database cannot be put back, the data that its edit released stays in the quarantine.
    An undo that was stopped can be repeated. Once all is back, the folders that the run made in the quarantine go.

    Args:
        journal: the journal of the run.
        held: the databases of the same root.
        progress: receives the number of moved files and directories.

    Raises:
        Refused: the state of a database that the journal has from before an edit is neither in the database nor in its
            copy; nothing was changed.
    """
    run = Run(journal.root, journal.path, "the journal that was undone", is_undo=True)
    # Of an edit that was begun again, because the disk was full when it was noted already, the last note counts.
    last = {entry.path: entry for entry in journal.entries if entry.do == "edit"}
    edits = [entry for entry in reversed(journal.entries) if last.get(entry.path) is entry]
    for entry in edits:
        file = held.find(entry.path)
        if file is not None:
            # If this cannot be compared, _hindrance reports it below.
            with suppress(ActionFailed):
                check_former(file.fd, file.path, entry.fields)
    barred = next(filter(None, (_hindrance(held, entry) for entry in edits)), None)
    barred = barred or find_gone(journal, held, _edits_that_stand(held, edits))
    # Only if an edit of meta.db still stands, no engine can own what is in the place of moved data.
    mends = barred is None and held.metadata is not None and held.metadata.path in {entry.path for entry in edits}
    step = counter(progress, "moved back", sum(entry.removal is not None for entry in journal.entries))
    lacking: dict[tuple[RawPath, RawPath], str] = {}
    synced = False
    with ExitStack() as stack:
        dirs = {path: stack.enter_context(closing(open_root_dir(path))) for path in _roots(journal, held)}
        for entry in reversed(journal.entries):
            removal = entry.removal
            if removal is None:
                continue
            moved = _moved(journal, entry, removal)
            if removal.is_classic:
                lacks = lacking.get((removal.root, removal.path)) or _lacks_parent(entry, removal)
                lacks = lacks or (barred if removal.after_edit else None)
                if removal.target in CLASSIC_RECORDS and not synced:
                    # What the records name is back; on a disk of its own it must be there before they are.
                    os.sync()
                    synced = True
                outcome = _back(dirs[removal.root], entry, moved, lacks, mends=False)
            else:
                outcome = _back(dirs[removal.root], entry, moved, barred, mends=mends)
            run.outcomes.append(outcome)
            if run.outcomes[-1].status is Status.FAILED and removal.named_by:
                lacking[removal.root, removal.named_by] = f"{shown(removal.path)}, which it names, is not back"
            if step is not None:
                step(1)
        for entry in reversed(journal.entries):
            if entry.names is not None:
                run.edits.append(_rename(dirs[entry.names.data], entry, entry.names))
            if entry.cut is not None:
                run.cuts.append(_uncut(dirs[entry.cut.data], entry, entry.cut))
            if entry.restore is not None:
                run.restores.append(_unrestore(dirs[journal.root], journal, entry, entry.restore))
    if any(outcome.status is Status.DONE for outcome in run.outcomes):
        # The sync of a commit does not cover renames in other directories.
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
    if not run.failed and journal.quarantine is not None:
        # After an undo that left something, its folder stays a place to put back what somebody took out of it.
        places = (entry.to for entry in journal.entries if entry.names is None and entry.to is not None)
        remove_emptied(journal.quarantine, places)
    return run


def _uncut(data_root: RootDir, entry: Entry, cut: LogCut) -> CutOutcome:
    """Put back what was cut off a log."""
    if entry.ended is not None and entry.ended.status in (Status.CHANGED, Status.GONE):
        return CutOutcome(cut, Status.GONE, "it was not cut")
    return put_back_log(data_root, cut, entry.to)


def _unrestore(root_dir: RootDir, journal: Journal, entry: Entry, restore: LayerRestore) -> RestoreOutcome:
    """Put the former files of a layer back."""
    if entry.ended is not None and entry.ended.status in (Status.CHANGED, Status.GONE):
        return RestoreOutcome(restore, Status.GONE, "it was not restored")
    moved = _moved(journal, entry, layer_restores.as_removal(restore))
    return layer_restores.put_back(root_dir, restore, moved, entry.to)


def _rename(data_root: RootDir, entry: Entry, change: NameChange) -> EditOutcome:
    """Put names of images back whose images are there."""
    there = tuple(each for each in change.names if os.path.lexists(os.path.join(data_root.path, config_path(each[1]))))
    path, copy = RawPath(os.path.join(data_root.path, REFERENCES)), entry.to
    backup = copy if copy is not None and os.path.lexists(copy) else None
    try:
        whole = len(there) == len(change.names)
        wrong = put_back_names(data_root, change._replace(names=there), backup if whole else None)
    except OSError as error:
        return EditOutcome(path, 0, 0, Status.FAILED, error.strerror or type(error).__name__, backup)
    if wrong is None and not whole:
        lost = next(name for name, image in change.names if (name, image) not in there)
        wrong = f"the image of {shown(lost)} is gone"
    status, detail = (Status.DONE, "the names are back") if wrong is None else (Status.FAILED, wrong)
    return EditOutcome(path, 0, 0, status, detail, backup)


def _lacks_parent(entry: Entry, removal: Removal) -> str | None:
    """Why dockerd would not load a moved record of a layer or a mount if it came back; None if it would."""
    if entry.to is None or removal.target not in (Target.LAYER_RECORD, Target.MOUNT_RECORD):
        return None
    try:
        with folder(entry.to) as descriptor:
            chain = read_regular(b"parent", _DIGEST_BYTES, descriptor).strip()
    except OSError:  # it has none, or is not there
        return None
    if os.path.lexists(os.path.join(removal.root, _LAYER_RECORDS, chain.rpartition(b":")[2])):
        return None
    return f"the record of {shown(chain)}, which it stands on, is not there"


def _roots(journal: Journal, held: Held) -> set[RawPath]:
    """The root of a journal, and the data roots of what it has of the classic layer store, of logs and of nerdctl.

    Raises:
        Refused: the locks on one of them are not those that the caller holds.
    """
    found = {journal.root, *(entry.removal.root for entry in journal.entries if entry.removal is not None)}
    found |= {entry.cut.data for entry in journal.entries if entry.cut is not None}
    found |= {entry.names.data for entry in journal.entries if entry.names is not None}
    others = found - {journal.root, *held.root.docker}
    for path in others.difference(data_roots(held.root)) if others else ():
        raise Refused(f"the journal names {shown(path)}, which is no data root of {shown(journal.root)}")
    return found


def _edits_that_stand(held: Held, edits: list[Entry]) -> Iterator[Entry]:
    for entry in edits:
        file = held.find(entry.path)
        if file is not None and edit_status(file.fd, file.path, entry.fields) is EditStatus.EDITED:
            yield entry


def _moved(journal: Journal, entry: Entry, removal: Removal) -> Quarantined:
    """What the journal has about moved data; with its manifest only if that is readable."""
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
    """Move back the data of one entry; GONE if it never left its place."""
    removal = moved.removal
    if entry.ended is not None and entry.ended.status is Status.CHANGED:
        # Its record was dropped, so a later run may have removed it.
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
    if (removal.after_edit or removal.target in CLASSIC_RECORDS) and barred is not None:
        return Outcome(removal, Status.FAILED, f"left in {shown(entry.to)}: {barred}")
    if there is not None:
        return Outcome(removal, Status.FAILED, f"something else is in its place: {there.wrong}")
    return put_back(root_dir, moved, entry.to)


def _hindrance(held: Held, entry: Entry) -> str | None:
    """Why a database cannot be put back; None if it can, or need not be."""
    file = held.find(entry.path)
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
    file = held.find(entry.path)
    try:
        if file is not None and edit_status(file.fd, file.path, entry.fields) is EditStatus.FORMER:
            return EditOutcome(entry.path, 0, 0, Status.DONE, "it is as it was before the edit", backup)
        if file is None or barred is not None:
            return EditOutcome(entry.path, 0, 0, Status.FAILED, f"left as it is: {barred}", backup)
        revert(file.fd, file.path, entry.fields, keep_time=file in held.caches)
    except ActionFailed as error:
        return EditOutcome(entry.path, 0, 0, Status.FAILED, str(error), backup)
    return EditOutcome(entry.path, 0, 0, Status.DONE, "its former contents are back", backup)
