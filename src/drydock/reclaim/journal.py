"""Journals, ``drydock.journal/1``, as they are read: :mod:`drydock.reclaim.journal_writer` writes them.

A journal is a file of JSON lines, which :mod:`drydock.model.documents.journal` declares. A run that is stopped while it
writes leaves one line that is not whole, and it is the last one: after it, there is at most the line by which a later
run says that it did the rest. Any other line that is not whole is damage. What it said is lost, and it may have been an
action. So such a journal is not read at all: every reader gets :class:`UnreadableJournal`, with the place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, Literal, NamedTuple, Protocol, TypeVar

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
from drydock.model.layer_store import REFERENCES
from drydock.model.names import Digest, RawPath
from drydock.model.plans import LayerRestore, LogCut, NameChange, Removal, Status
from drydock.model.text import printable, shown, unshown
from drydock.reclaim.state_dir import EmptyJournal, ForeignJournal, UnreadableJournal, open_journal

_SCHEMA: Final = JournalHeader.__struct_config__.tag
_SCHEMAS: Final = "drydock.journal/"
_HEAD: Final = b'{"schema":"' + _SCHEMAS.encode()
"""How the first line of a journal of any version begins."""
_NAME: Final = 40
"""Characters of an unknown schema that are shown."""
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
    quarantine: RawPath | None = None
    """The folder that the run made for what it moves; None also for a run of an older drydock."""
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


class JournalTaker(Protocol):
    """Takes the lines of a journal after its header, one by one."""

    root: RawPath
    """The root that the header names."""

    def add(self, line: JournalLine | None) -> None:
        """Take a line; None stands for the one that is not whole.

        Raises:
            ValueError: it contradicts the lines before.
        """


_Taker = TypeVar("_Taker", bound=JournalTaker)


def read_journal(path: RawPath) -> Journal:
    """Read a journal as far as it was written.

    Raises:
        EmptyJournal: the run was stopped before it did anything.
        UnreadableJournal: it cannot be opened, others may have written it, it has no whole header, is of another schema
            or is damaged; or a whole line of it is not one that drydock writes.
    """
    return read_lines(path, lambda header: _Assembly(path, header)).journal


def read_lines(path: RawPath, begin: Callable[[JournalHeader], _Taker]) -> _Taker:
    """Read a journal line by line.

    Args:
        path: of the journal.
        begin: makes what takes the lines after the header. What it raises as ValueError is the header's fault.

    Returns:
        What ``begin`` made, with all lines.

    Raises:
        UnreadableJournal: as for :func:`read_journal`.
    """
    root: RawPath | None = None
    number, offset = 1, 0
    try:
        with open(open_journal(path), "rb") as file:
            lines = _whole_lines(file)
            taker = begin(_header(path, next(lines, (1, 0, b""))[2]))
            root = taker.root
            torn: tuple[int, int] | None = None
            for number, offset, text in lines:
                values = _parse(text)
                # A later run begins a new line, whatever is before it.
                if torn is not None and text != b"\n" and (values is None or values.get("by") != "later"):
                    raise _damaged(path, root, *torn, "is not whole, and others follow it")
                if values is not None:
                    taker.add(_line_of(values))
                elif torn is None:
                    torn = number, offset
                    taker.add(None)
    except OSError as error:
        raise UnreadableJournal(path, error, root) from error
    except (ValueError, msgspec.ValidationError) as error:
        raise _damaged(path, root, number, offset, f"is not one that drydock writes ({reason_of(error)})") from error
    return taker


def _whole_lines(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """The lines of a file: number, offset and text. Of a line that is too long, the rest is left out."""
    number = offset = 0
    while line := file.readline(_LINE):
        number += 1
        length = len(line)
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(_LINE)):
            length += len(rest)
        yield number, offset, line
        offset += length


def _header(path: RawPath, line: bytes) -> JournalHeader:
    if not line.endswith(b"\n") and line[: len(_HEAD)] == _HEAD[: len(line)]:
        raise EmptyJournal(path, "the run was stopped before it did anything")
    values = _parse(line)
    schema = None if values is None else values.get("schema")
    if isinstance(schema, str) and schema.startswith(_SCHEMAS) and schema != _SCHEMA:
        raise ForeignJournal(path, f"another version of drydock wrote it, by the schema {printable(schema[:_NAME])}")
    if schema != _SCHEMA:
        raise _damaged(path, None, 1, 0, f"is not the first one of a journal of the schema {_SCHEMA}")
    return msgspec.convert(values, JournalHeader)


def _damaged(path: RawPath, root: RawPath | None, number: int, offset: int, problem: str) -> UnreadableJournal:
    return UnreadableJournal(path, f"line {number}, at byte {offset}, {problem}", root, offset)


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


class _Assembly:
    """Puts a journal together, line by line."""

    def __init__(self, path: RawPath, header: JournalHeader) -> None:
        self.root = raw_path(header.root)
        apart = None if header.quarantine is UNSET else raw_path(header.quarantine)
        self.journal = Journal(path, header.tool, header.time, self.root, header.plan, apart)
        self._numbers: dict[int, Entry] = {}

    def add(self, line: JournalLine | None) -> None:
        journal = self.journal
        match line:
            case None:
                journal.torn = True
                return
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
                entry = Entry(
                    line.n, "names", REFERENCES, names=change, to=_beside(journal.path, raw_path(line.backup))
                )
            case CompactLine():
                entry = Entry(line.n, "compact", raw_path(line.path))
            case EditLine():
                entry = Entry(line.n, "edit", raw_path(line.path), fields=edit_fields(journal.path, line.fields))
            case EndLine():
                if line.ended not in self._numbers:
                    raise ValueError(f"the end of action {line.ended}, which is not there")
                self._numbers[line.ended].ended = Ended(line.status, line.freed, line.detail)
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
        self._numbers[entry.number] = entry
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
