"""Journals, ``drydock.journal/1``: a run writes down each action before it does it, and undo reads them again.

A journal is a file of JSON lines, which :mod:`drydock.model.documents.journal` declares. A last line without a newline,
or the first line that is no JSON, ends what was written.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET

from drydock.model.documents.common import compact, fields_of, in_ascii, raw_path, reason_of
from drydock.model.documents.journal import (
    CompactLine,
    CutLine,
    EditLine,
    EditNumbers,
    EndLine,
    FinishLine,
    JournalHeader,
    JournalLine,
    ManifestMember,
    MissingLine,
    NamedImage,
    NamesLine,
    RemovalLine,
    RestoreLine,
)
from drydock.model.errors import ActionFailed, EvidenceUnreadable
from drydock.model.layer_store import REFERENCES
from drydock.model.names import Digest, RawPath
from drydock.model.plans import LayerRestore, LogCut, NameChange, Outcome, Removal, Status
from drydock.model.text import shown, unshown
from drydock.reclaim.state_dir import JOURNAL
from drydock.version import __version__

_SCHEMA: Final = JournalHeader.__struct_config__.tag
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LINE: Final = 1 << 20
"""Longest line believed in; a path has at most 4096 bytes, shown in at most four characters each."""
_BY_FIELD: Final[Mapping[str, type[JournalLine]]] = {"finished": FinishLine, "missing": MissingLine, "ended": EndLine}
_BY_ACTION: Final[Mapping[str, type[JournalLine]]] = {
    "remove": RemovalLine, "move": RemovalLine, "cut": CutLine, "restore": RestoreLine,
    "compact": CompactLine, "edit": EditLine, "names": NamesLine,
}  # fmt: skip


class Note(NamedTuple):
    """What undo recognises a moved file or directory by."""

    owner: tuple[int, int] | None
    """User and group."""
    manifest: ManifestMember | None
    """None also for a file."""


NO_NOTE: Final = Note(None, None)
"""For removals, and for moves in journals of older versions."""


class Ended(NamedTuple):
    """How an action ended."""

    status: Status
    freed: int
    """Bytes of allocated blocks that went away."""
    detail: str
    """One shown line."""


@dataclass(slots=True)
class Entry:
    """One action: what was intended, and how it ended."""

    number: int
    do: Literal["remove", "move", "cut", "restore", "compact", "edit", "names"]
    path: RawPath
    """Relative to the root for a removal, to the data root for the cut of a log; absolute, of the database, for
    an edit and for a compaction."""
    removal: Removal | None = None
    """None for everything but a removal or a move."""
    to: RawPath | None = None
    """Where a move goes, the former file of a log, or the former directory of a layer; absolute."""
    note: Note = NO_NOTE
    fields: Mapping[str, str | int] = field(default_factory=dict)
    """What an edit needs to be undone: :class:`drydock.model.documents.journal.EditNumbers`."""
    cut: LogCut | None = None
    """None for everything but the cut of a log."""
    restore: LayerRestore | None = None
    """None for everything but a layer that is unpacked again; it has only what undo needs."""
    names: NameChange | None = None
    """None for everything but names of images that go; the former file is at ``to``."""
    ended: Ended | None = None
    """None when the journal does not say: the action may have been done, or done in part."""


@dataclass(slots=True)
class Journal:
    """A journal as read."""

    path: RawPath
    tool: str
    """Version of drydock that wrote it."""
    time: str
    """When the run began, in UTC, as in RFC 3339."""
    root: RawPath
    plan: str
    """Hash of the plan."""
    entries: list[Entry] = field(default_factory=list)
    finished: str | None = None
    missing: set[RawPath] = field(default_factory=set)
    """Paths that the edited records and rows name and that were not there before the run."""
    torn: bool = False
    """Whether it ends in an incomplete line, because the run was stopped while it wrote."""

    @property
    def pending(self) -> list[Entry]:
        """The actions whose end is unknown."""
        return [entry for entry in self.entries if entry.ended is None]


def read_journal(path: RawPath) -> Journal:
    """Read a journal as far as it was written.

    Raises:
        EvidenceUnreadable: it cannot be opened, others may have written it, it has no whole header, or is of another
            schema; or a whole line of it is not one that drydock writes.
    """
    header, lines = read_lines(path)
    place = 1
    try:
        journal = Journal(path, header.tool, header.time, raw_path(header.root), header.plan)
        numbers: dict[int, Entry] = {}
        for line in lines:
            place += 1
            if line is None:
                journal.torn = True
            else:
                _add(journal, numbers, line)
    except ValueError as error:
        raise _wrong_line(path, place, error) from error
    return journal


def read_lines(path: RawPath) -> tuple[JournalHeader, Iterator[JournalLine | None]]:
    """Read a journal line by line: the header, then the other lines; None stands for a line that is not whole.

    Raises:
        EvidenceUnreadable: as for :func:`read_journal`; also while the lines are read.
    """
    lines = _read_lines(path)
    header = next(lines)
    assert isinstance(header, JournalHeader)
    return header, lines


def _read_lines(path: RawPath) -> Iterator[JournalLine | None]:
    text, place = shown(path), 1
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, _FLAGS)) as lines:
            info = os.fstat(lines.fileno())
            if info.st_uid not in {0, os.geteuid()} or info.st_mode & 0o022:
                raise EvidenceUnreadable(f"{text}: it belongs to, or can be written by, someone else")
            first = _parse(lines.readline(_LINE))
            if first is None or first.get("schema") != _SCHEMA:
                raise EvidenceUnreadable(f"{text}: no journal of the schema {_SCHEMA}")
            yield msgspec.convert(first, JournalHeader)
            is_torn = False
            while line := lines.readline(_LINE):
                place += 1
                values = _parse(line)
                if values is None:
                    # What follows a torn line is from a later run: only that it finished this one's work.
                    is_torn = True
                    yield None
                    continue
                if is_torn and "finished" not in values:
                    break
                yield _line_of(values)
    except IsADirectoryError as error:
        raise EvidenceUnreadable(f"{text} is a folder; the journal of a run is {shown(JOURNAL)} in it") from error
    except OSError as error:
        raise EvidenceUnreadable(f"{text}: {error.strerror}") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise _wrong_line(path, place, error) from error


def _wrong_line(path: RawPath, place: int, error: Exception) -> EvidenceUnreadable:
    return EvidenceUnreadable(f"{shown(path)}: line {place} is not one that drydock writes ({reason_of(error)})")


def _parse(line: bytes) -> dict[str, Any] | None:
    """The values of a whole line; None for what is none.

    Raises:
        ValueError: it is whole, and drydock never writes such a line.
    """
    if not line.endswith(b"\n"):
        return None
    try:
        values = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if _is_nearly_json(line):
            raise ValueError(str(error)) from error
        return None
    return values if isinstance(values, dict) else None


def _is_nearly_json(line: bytes) -> bool:
    """Whether a line is whole, and only Python takes it for JSON, because of NaN or half of a surrogate pair."""
    try:
        return isinstance(json.loads(line.decode()), dict)
    except (ValueError, RecursionError):
        return False


def _line_of(values: Mapping[str, Any]) -> JournalLine:
    """The line that some values are.

    Raises:
        ValueError: none that drydock writes.
    """
    kind: type[JournalLine] | None = next((_BY_FIELD[name] for name in _BY_FIELD if name in values), None)
    if kind is None:
        do = values.get("do")
        kind = _BY_ACTION.get(do) if isinstance(do, str) else None
    if kind is None:
        raise ValueError("a line of no known kind")
    return msgspec.convert(values, kind)


def _add(journal: Journal, numbers: dict[int, Entry], line: JournalLine) -> None:
    match line:
        case RemovalLine():
            entry = _removal(journal, line)
        case CutLine():
            entry = Entry(line.n, "cut", raw_path(line.path), to=_place(line), cut=_cut(line))
        case RestoreLine():
            note = Note(line.owner, line.manifest)
            restore = _restore(journal, line)
            entry = Entry(line.n, "restore", restore.path, to=_place(line), note=note, restore=restore)
        case NamesLine():
            change = names_of(line)
            entry = Entry(line.n, "names", REFERENCES, names=change, to=_beside(journal.path, raw_path(line.backup)))
        case CompactLine():
            entry = Entry(line.n, "compact", raw_path(line.path))
        case EditLine():
            entry = Entry(line.n, "edit", raw_path(line.path), fields=edit_fields(journal.path, line.fields))
        case EndLine():
            if line.ended not in numbers:
                raise ValueError(f"the end of action {line.ended}, which is not there")
            numbers[line.ended].ended = Ended(line.status, line.freed, line.detail)
            return
        case FinishLine():
            journal.finished = line.finished
            return
        case MissingLine():
            # No path is made of it: the name of a row may be any.
            journal.missing.add(RawPath(unshown(line.missing)))
            return
        case JournalHeader():
            raise ValueError("a second header")
    numbers[entry.number] = entry
    journal.entries.append(entry)


def _removal(journal: Journal, line: RemovalLine) -> Entry:
    path = raw_path(line.path)
    root = journal.root if line.data_root is UNSET else raw_path(line.data_root)
    named_by = RawPath(b"") if line.named_by is UNSET else raw_path(line.named_by)
    removal = Removal(line.target, root, path, line.expect, line.bytes, line.why, line.after_edit, named_by)
    owner = None if line.owner is UNSET else line.owner
    manifest = None if line.manifest is UNSET else line.manifest
    note = NO_NOTE if owner is None and manifest is None else Note(owner, manifest)
    return Entry(line.n, line.do, path, removal, None if line.to is None else raw_path(line.to), note)


def _place(line: CutLine | RestoreLine) -> RawPath | None:
    return None if line.to is None else raw_path(line.to)


def _cut(line: CutLine) -> LogCut:
    data, path = raw_path(line.data_root), raw_path(line.path)
    return LogCut(data, path, line.expect, line.keep, line.current, line.bytes, line.why)


def _restore(journal: Journal, line: RestoreLine) -> LayerRestore:
    path, layer = raw_path(line.path), Digest(unshown(line.layer))
    nowhere = RawPath(b"")
    return LayerRestore(journal.root, path, line.expect, b"", b"", (), layer, nowhere, line.bytes, line.why)


def edit_fields(path: RawPath, numbers: EditNumbers) -> Mapping[str, str | int]:
    """What undo needs of an edit that the journal ``path`` has, with the place where the copy of the database is."""
    found: dict[str, str | int] = fields_of(numbers)
    if numbers.backup is not UNSET:
        found["backup"] = shown(_beside(path, raw_path(numbers.backup)))
    return found


def names_of(line: NamesLine) -> NameChange:
    """The change of names that a line tells of."""
    names = tuple((unshown(each.name), Digest(unshown(each.image))) for each in line.names)
    return NameChange(raw_path(line.data_root), names, line.before, line.after)


def _beside(path: RawPath, made: RawPath) -> RawPath:
    """The copy of a file that the run with the journal ``path`` made.

    Who keeps the folder of a run over a reboot, or looks at the disk of another host, has it under another path.
    """
    beside = RawPath(os.path.join(os.path.dirname(path), os.path.basename(made)))
    return beside if os.path.lexists(beside) else made


class JournalWriter:
    """Appends to a journal. After an error of the disk, every call raises ActionFailed."""

    def __init__(self, directory: int, path: RawPath, root: RawPath, plan: str) -> None:
        """Create the journal in the open ``directory``; ``path`` is the directory's path, for messages.

        Raises:
            ActionFailed: it cannot be written.
        """
        self.path = RawPath(os.path.join(path, JOURNAL))
        self._root = root
        self._next = 1
        self._broken: str | None = None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(JOURNAL, flags, 0o600, dir_fd=directory)
            # Held as long as this process lives: a journal without a lock and without an end is of a killed run.
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError as error:
            raise ActionFailed(f"journal {shown(self.path)}: {error.strerror}") from error
        try:
            self._write([JournalHeader(__version__, _now(), shown(root), plan)], sync=True)
            os.fsync(directory)
        except OSError as error:
            self.close()
            raise ActionFailed(f"journal {shown(self.path)}: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def intend(
        self, removals: Sequence[Removal], places: Sequence[RawPath | None], notes: Sequence[Note] | None = None
    ) -> list[int]:
        """Write that paths are going to be removed or moved, and sync.

        Args:
            removals: the removals.
            places: where each is moved to; None if it is removed.
            notes: what undo recognises each moved file or directory by.

        Returns:
            The number of each action.

        Raises:
            ActionFailed: the lines are not on disk, so nothing may be removed.
        """
        numbers = self._numbers(len(removals))
        noted: Sequence[Note | None] = notes or [None] * len(removals)
        lines = [
            RemovalLine(
                n=number,
                do="remove" if place is None else "move",
                target=removal.target,
                path=shown(removal.path),
                to=None if place is None else shown(place),
                bytes=removal.bytes,
                why=removal.why,
                expect=removal.expect,
                after_edit=removal.after_edit,
                owner=UNSET if note is None else note.owner,
                manifest=UNSET if note is None else note.manifest,
                data_root=UNSET if removal.root == self._root else shown(removal.root),
                named_by=shown(removal.named_by) if removal.named_by else UNSET,
            )
            for number, removal, place, note in zip(numbers, removals, places, noted, strict=True)
        ]
        self._write(lines, sync=True)
        return numbers

    def intend_cuts(self, cuts: Sequence[LogCut], places: Sequence[RawPath | None]) -> list[int]:
        """Write that logs are going to be cut, and sync.

        Args:
            cuts: the cuts.
            places: where the former file of each is moved to; None if it is removed.

        Returns:
            The number of each action.

        Raises:
            ActionFailed: the lines are not on disk, so nothing may be cut.
        """
        numbers = self._numbers(len(cuts))
        lines = [
            CutLine(
                number, "cut", shown(cut.data), shown(cut.path), None if place is None else shown(place),
                cut.keep, cut.is_current, cut.bytes, cut.why, cut.expect,
            )
            for number, cut, place in zip(numbers, cuts, places, strict=True)
        ]  # fmt: skip
        self._write(lines, sync=True)
        return numbers

    def intend_restore(self, restore: LayerRestore, place: RawPath | None, note: Note) -> int:
        """Write that the files of a layer are going to be unpacked again, and sync.

        Args:
            restore: the layer.
            place: where its former directory is moved to; None if it is removed.
            note: what undo recognises that by.

        Returns:
            The number of the action.

        Raises:
            ActionFailed: the line is not on disk, so nothing may be changed.
        """
        (number,) = self._numbers(1)
        to = None if place is None else shown(place)
        line = RestoreLine(
            number, "restore", shown(restore.path), to, shown(restore.layer), restore.bytes, restore.why,
            restore.expect, note.owner, note.manifest,
        )  # fmt: skip
        self._write([line], sync=True)
        return number

    def intend_names(self, change: NameChange, backup: RawPath) -> int:
        """Write that names of images are going to be deleted, and sync; give the number of the action.

        Raises:
            ActionFailed: the line is not on disk, so nothing may be changed.
        """
        (number,) = self._numbers(1)
        names = [NamedImage(shown(name), shown(image)) for name, image in change.names]
        line = NamesLine(number, "names", shown(change.data), names, change.before, change.after, shown(backup))
        self._write([line], sync=True)
        return number

    def intend_compaction(self, path: RawPath, size: int) -> int:
        """Write that a database of so many bytes is going to be compacted, and sync; give the number of the action.

        Raises:
            ActionFailed: the line is not on disk, so nothing may be changed.
        """
        (number,) = self._numbers(1)
        self._write([CompactLine(number, "compact", shown(path), size)], sync=True)
        return number

    def note_missing(self, paths: Iterable[RawPath]) -> None:
        """Write which paths are missing before the edits, so that undo does not ask for them.

        The next intention syncs these lines.

        Raises:
            ActionFailed: it could not be written.
        """
        self._write([MissingLine(shown(path)) for path in paths], sync=False)

    def intend_edit(self, path: RawPath, fields: Mapping[str, str | int]) -> int:
        """Write that the database ``path`` is going to be edited, with the numbers that undo needs, and sync.

        Returns:
            The number of the action.

        Raises:
            ActionFailed: the line is not on disk, so nothing may be edited.
        """
        (number,) = self._numbers(1)
        noted = msgspec.convert(fields, EditNumbers)
        self._write([EditLine(number, "edit", shown(path), noted)], sync=True)
        return number

    def end(self, number: int, status: Status, freed: int = 0, detail: str = "") -> None:
        """Write how the action ``number`` ended.

        Raises:
            ActionFailed: it could not be written.
        """
        self._write([EndLine(number, status, freed, detail)], sync=False)

    def end_removal(self, number: int, outcome: Outcome) -> None:
        """Write how a removal ended; raises as :meth:`end`."""
        self.end(number, outcome.status, outcome.freed, outcome.detail)

    def finish(self) -> None:
        """Write that the run has done all it could, and sync.

        Raises:
            ActionFailed: it could not be written.
        """
        self._write([FinishLine(_now())], sync=True)

    def close(self) -> None:
        """Close the file and let go of its lock."""
        os.close(self._fd)

    def _numbers(self, count: int) -> list[int]:
        """The numbers of the next actions."""
        first, self._next = self._next, self._next + count
        return list(range(first, self._next))

    def _write(self, lines: Sequence[JournalLine], *, sync: bool) -> None:
        if self._broken is not None:
            raise ActionFailed(self._broken)
        data = in_ascii(compact.encode_lines(lines))
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            if sync:
                os.fdatasync(self._fd)
        except OSError as error:
            # After a failed sync the kernel may have dropped the pages: nothing that follows can be trusted.
            self._broken = f"journal {shown(self.path)}: {error.strerror}"
            raise ActionFailed(self._broken) from error


def close_abandoned(journal: Journal) -> None:
    """Write into the journal of a killed run that a later run or an undo did the rest.

    Raises:
        ActionFailed: it cannot be written.
    """
    line = b"\n" * journal.torn + compact.encode(FinishLine(_now(), "later")) + b"\n"
    try:
        fd = os.open(journal.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(fd, line)
            os.fdatasync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise ActionFailed(f"journal {shown(journal.path)}: {error.strerror}") from error


def _now() -> str:
    # To the microsecond: undo asks which of two runs came first.
    return dt.datetime.now(dt.timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
