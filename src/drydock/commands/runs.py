"""Listing past runs by their journals."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import Final

from msgspec import UNSET

from drydock.evidence.files.regular import open_regular, read_regular
from drydock.model.documents.common import raw_path
from drydock.model.documents.journal import (
    CompactLine,
    CutLine,
    EditLine,
    EndLine,
    FinishLine,
    JournalHeader,
    JournalLine,
    NamesLine,
    RemovalLine,
    RestoreLine,
)
from drydock.model.errors import ActionFailed, Refused
from drydock.model.layer_store import REFERENCES
from drydock.model.names import RawPath
from drydock.model.plans import Status
from drydock.model.runs import PastRun, PastRuns, RunEnd, UndoState
from drydock.model.text import printable, shown
from drydock.reclaim.edit import EditStatus, edit_status
from drydock.reclaim.journal import edit_fields, read_lines
from drydock.reclaim.state_dir import (
    EmptyJournal,
    UnreadableJournal,
    goes_on,
    list_journals,
    open_journal,
    places_with,
)

_NAMES: Final = 64 << 20


def runs(state: RawPath | None = None) -> PastRuns:
    """List the runs whose journals are in ``state`` or in the default places. Changes nothing, and takes no lock.

    A journal is read once from its head to its end, because only its lines have the bytes of each action; what is kept
    of it in memory does not grow with it.

    Args:
        state: a state directory that the user chose.
    """
    found: list[PastRun] = []
    unread: list[str] = []
    if state is not None and not os.path.lexists(state):
        unread.append(f"{shown(state)}: {os.strerror(errno.ENOENT)}")
    for path in list_journals(places_with(state)):
        if isinstance(path, UnreadableJournal):
            unread.append(str(path))
            continue
        try:
            found.append(_read_run(path))
        except EmptyJournal:
            continue
        except UnreadableJournal as error:
            unread.append(str(error))
    return PastRuns(sorted(found, key=lambda run: run.began), unread)


def refuse_if_needed(file: RawPath, state: RawPath | None) -> None:
    """Refuse if a run needs the former pages of a database: to be finished, or to be undone.

    Raises:
        Refused: one does, or a journal that may be of such a run cannot be read.
    """
    found = runs(state)
    if found.unread:
        raise Refused(f"it is not known whether a run needs the file as it is: {found.unread[0]}")
    there = os.path.realpath(file)
    for run in found.runs:
        is_open = run.end in (RunEnd.UNFINISHED, RunEnd.RUNNING) or run.undo is UndoState.POSSIBLE
        is_below = there.startswith(os.path.realpath(run.root).rstrip(b"/") + b"/")
        if is_open and (is_below or there in {os.path.realpath(each) for each in run.databases}):
            why = "can still be undone" if run.undo is UndoState.POSSIBLE else "is not finished"
            raise Refused(
                f"the run of {shown(run.journal)} {why}, and could not be undone after this: undo it, or delete its "
                "journal and its quarantine"
            )


def _read_run(path: RawPath) -> PastRun:
    # Asked first: a run that ends meanwhile is then shown as running, and not as killed.
    is_running = _is_locked(path)
    tally = read_lines(path, lambda header: _Tally(path, header))
    undo, reason = (UndoState.IMPOSSIBLE, "the run goes on") if is_running else tally.judge_undo()
    header, finish = tally.header, tally.finish
    if finish is not None:
        end = RunEnd.LATER if finish.by == "later" else RunEnd.FINISHED
    else:
        end = RunEnd.RUNNING if is_running else RunEnd.UNFINISHED
    return PastRun(
        path, tally.root, printable(header.time), printable(header.tool), end,
        None if finish is None else printable(finish.finished),
        tally.deleted, tally.freed, tally.moved, tally.moved_bytes, tally.edited, tally.failed, undo, reason,
        frozenset(tally.databases),
    )  # fmt: skip


def _is_locked(path: RawPath) -> bool:
    """Whether the run that writes a journal goes on."""
    fd = open_journal(path)
    try:
        return goes_on(fd)
    finally:
        os.close(fd)


class _Tally:
    """What a run did, added up line by line."""

    def __init__(self, path: RawPath, header: JournalHeader) -> None:
        self.header = header
        self.root = raw_path(header.root)
        self.deleted = self.freed = self.moved = self.moved_bytes = self.edited = self.failed = 0
        self.finish: FinishLine | None = None
        self.databases: set[RawPath] = set()
        self._path = path
        self._begun: dict[int, RemovalLine | CutLine | RestoreLine | EditLine | NamesLine] = {}
        """Actions without an end so far: a batch of them at most, unless the run was killed."""
        self._edits: list[EditLine] = []
        self._compactions: set[int] = set()
        """Compactions of databases, which nothing undoes."""
        self._aside = 0
        """Things that undo would put back."""
        self._obstacle = ""

    def add(self, line: JournalLine | None) -> None:
        """Add a line after the header; None stands for one that is not whole.

        Raises:
            ValueError: it contradicts the lines before.
        """
        match line:
            case RemovalLine() | CutLine() | RestoreLine() | EditLine() | NamesLine():
                self._begun[line.n] = line
                if isinstance(line, EditLine):
                    self.databases.add(raw_path(line.path))
            case CompactLine():
                self._compactions.add(line.n)
                self._obstacle = f"{line.path} was compacted"
            case EndLine() if line.ended in self._compactions:
                self.failed += line.status is not Status.DONE
                self.freed += line.freed
            case EndLine():
                action = self._begun.pop(line.ended, None)
                if action is None:
                    raise ValueError(f"the end of action {line.ended}, which is not there")
                self._end(action, line)
            case FinishLine():
                self.finish = line
            case _:
                pass

    def _end(self, action: RemovalLine | CutLine | RestoreLine | EditLine | NamesLine, end: EndLine) -> None:
        if end.status is not Status.DONE:
            self.failed += end.status is not Status.GONE
        elif isinstance(action, EditLine | NamesLine):
            self.edited += 1
        elif action.do == "move" or (isinstance(action, CutLine | RestoreLine) and action.to is not None):
            self.moved += 1
            self.moved_bytes += action.bytes
        else:
            self.deleted += 1
        self.freed += end.freed
        if isinstance(action, EditLine):
            self._edits.append(action)
        elif isinstance(action, CutLine | RestoreLine):
            if end.status is Status.DONE:
                self._look_for_former(action)
        elif isinstance(action, NamesLine):
            if end.status is Status.DONE:
                self._look_for_names(action)
        elif action.do == "move" and end.status is Status.DONE:
            self._look_for(action)

    def judge_undo(self) -> tuple[UndoState, str]:
        """Whether undo can put everything back, and why not: by what is where the journal says that it is.

        Undo itself looks closer: it compares what is there with what was moved.
        """
        for action in self._begun.values():
            if isinstance(action, EditLine):
                self._edits.append(action)
            elif isinstance(action, CutLine | RestoreLine):
                self._look_for_former(action)
            elif isinstance(action, NamesLine):
                self._look_for_names(action)
            else:
                self._look_for(action)
        if self.deleted:
            what = "1 file or directory was" if self.deleted == 1 else f"{self.deleted} files and directories were"
            return UndoState.IMPOSSIBLE, f"{what} deleted"
        for edit in self._edits:
            self._look_at(edit)
        if self._obstacle:
            return UndoState.IMPOSSIBLE, self._obstacle
        if self._aside:
            return UndoState.POSSIBLE, ""
        return UndoState.UNDONE if self.moved or self.edited else UndoState.NOTHING, ""

    def _look_for(self, action: RemovalLine) -> None:
        """Look where moved data is, or data whose removal may have begun."""
        root = self.root if action.data_root is UNSET else raw_path(action.data_root)
        if action.to is not None and os.path.lexists(raw_path(action.to)):
            self._aside += 1
        elif not os.path.lexists(os.path.join(root, raw_path(action.path))):
            where = "in neither the quarantine nor its place" if action.do == "move" else "gone"
            self._obstacle = self._obstacle or f"{action.path} is {where}"
        elif action.do == "remove" and stat.S_ISDIR(action.expect.mode):
            self._obstacle = self._obstacle or f"a part of {action.path} may have been deleted"

    def _look_for_former(self, action: CutLine | RestoreLine) -> None:
        """Look where the former file of a log is, or the former files of a layer."""
        if action.to is not None and os.path.lexists(raw_path(action.to)):
            self._aside += 1

    def _look_for_names(self, action: NamesLine) -> None:
        """Look whether names that went are still gone."""
        path = RawPath(os.path.join(raw_path(action.data_root), REFERENCES))
        try:
            text = read_regular(path, _NAMES)
        except OSError as error:
            self._obstacle = self._obstacle or f"{shown(path)}: {error.strerror}"
        else:
            self._aside += hashlib.sha256(text).hexdigest() != action.before

    def _look_at(self, edit: EditLine) -> None:
        """Compare the state of an edited database with the journal."""
        path = raw_path(edit.path)
        try:
            fd = open_regular(path)
            try:
                stands = edit_status(fd, path, edit_fields(self._path, edit.fields))
            finally:
                os.close(fd)
        except OSError as error:
            self._obstacle = self._obstacle or f"{edit.path}: {error.strerror}"
        except ActionFailed as error:
            self._obstacle = self._obstacle or str(error)
        else:
            if stands is EditStatus.EDITED:
                self._aside += 1
            elif stands is EditStatus.MOVED:
                self._obstacle = self._obstacle or f"{edit.path}: {stands.value}"
