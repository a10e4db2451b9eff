"""Journals, ``drydock.journal/1``, as they are read: :mod:`drydock.reclaim.journal_writer` writes them.

A journal is a file of JSON lines, which :mod:`drydock.model.documents.journal` declares. A last line without a newline,
or the first line that is no JSON, ends what was written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET

from drydock.model.documents.common import fields_of, raw_path, reason_of
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
    NamesLine,
    RemovalLine,
    RestoreLine,
)
from drydock.model.errors import EvidenceUnreadable
from drydock.model.layer_store import REFERENCES
from drydock.model.names import Digest, RawPath
from drydock.model.plans import LayerRestore, LogCut, NameChange, Removal, Status
from drydock.model.text import shown, unshown
from drydock.reclaim.state_dir import JOURNAL

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
