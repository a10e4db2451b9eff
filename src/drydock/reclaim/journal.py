"""What a run intends and what became of it, on disk before each cut (design, safety 9): ``drydock.journal/1``.

A file of JSON lines, each complete only with its newline; a last line without one, or the first that is no JSON, ends
what was written. Names and paths are as :func:`drydock.model.text.shown` gives them.

First line, the header::

    {"schema": "drydock.journal/1", "tool": VERSION, "time": RFC 3339, "root": PATH, "plan": HASH or null}

Before an action, synced::

    {"n": NUMBER, "do": "remove" | "move", "target": "blob" | "ingest" | "snapshot", "path": PATH below the root,
     "to": PATH or null, "bytes": NUMBER, "why": TEXT, "expect": [device, inode, mode, size, mtime_ns, ctime_ns],
     "after_edit": whether a record or a row named it until the edits of this run}
    {"n": NUMBER, "do": "edit", "path": PATH, "fields": {NAME: TEXT or NUMBER}}

After it, not synced: its absence says that the end is unknown, not that nothing was done::

    {"ended": NUMBER, "status": "done" | "changed since the plan" | "already gone" | "failed",
     "freed": BYTES, "detail": TEXT}

When the run has done all it could, synced::

    {"finished": RFC 3339}

or, if it was killed and a later run or an undo did the rest, ``{"finished": RFC 3339, "by": "later"}``.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from drydock import __version__
from drydock.model.data import Fingerprint
from drydock.model.errors import ActionFailed, EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.plans import Outcome, Removal, Status, Target
from drydock.model.text import shown
from drydock.reclaim import fields as checked
from drydock.reclaim.state import JOURNAL

_decode = json.JSONDecoder().decode
SCHEMA: Final = "drydock.journal/1"
_LINE: Final = 1 << 20
"""Longest line believed in; a path has at most 4096 bytes, shown in at most four characters each."""


class Ended(NamedTuple):
    """How an action ended."""

    status: Status
    freed: int
    detail: str


@dataclass(slots=True)
class Entry:
    """One action: what was intended, and how it ended."""

    number: int
    do: Literal["remove", "move", "edit"]
    path: RawPath
    """Relative to the root for a removal; of the database for an edit."""
    removal: Removal | None = None
    """None for an edit."""
    to: RawPath | None = None
    """Where a move goes; absolute."""
    fields: Mapping[str, str | int] = field(default_factory=dict)
    """What an edit needs to be undone; its writer says which."""
    ended: Ended | None = None
    """None when the journal does not say: the action may have been done, or done in part."""


@dataclass(slots=True)
class Journal:
    """A journal as read."""

    path: RawPath
    tool: str
    time: str
    root: RawPath
    plan: str | None
    entries: list[Entry] = field(default_factory=list)
    finished: str | None = None
    taken_over: bool = False
    """A later run, or an undo, wrote that it is finished."""
    torn: bool = False
    """Its end is not a whole line: writing it was interrupted."""

    @property
    def pending(self) -> list[Entry]:
        """The actions whose end is unknown."""
        return [entry for entry in self.entries if entry.ended is None]


class JournalWriter:
    """Appends to a journal. An error of the disk ends it: from then on every call raises ActionFailed."""

    def __init__(self, directory: int, path: RawPath, root: RawPath, plan: str | None) -> None:
        """Create the journal in the open ``directory``; ``path`` is that directory's own, for messages.

        Raises:
            ActionFailed: it cannot be written.
        """
        self.path = RawPath(os.path.join(path, JOURNAL))
        self._next = 1
        self._broken: str | None = None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(JOURNAL, flags, 0o600, dir_fd=directory)
            # Held as long as this process lives: what is locked is running, what is not and not finished was killed.
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError as error:
            raise ActionFailed(f"journal {shown(self.path)}: {error.strerror}") from error
        header = {"schema": SCHEMA, "tool": __version__, "time": _now(), "root": shown(root), "plan": plan}
        try:
            self._write([header], sync=True)
            os.fsync(directory)
        except OSError as error:
            self.close()
            raise ActionFailed(f"journal {shown(self.path)}: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def intend(self, removals: Sequence[Removal], places: Sequence[RawPath | None]) -> list[int]:
        """Write what is going to be cut (with a place: moved there), and sync. Returns the entries' numbers.

        Raises:
            ActionFailed: the lines are not on disk, so nothing may be cut.
        """
        numbers = list(range(self._next, self._next + len(removals)))
        self._next += len(removals)
        lines = [
            {
                "n": number,
                "do": "remove" if place is None else "move",
                "target": removal.target.value,
                "path": shown(removal.path),
                "to": None if place is None else shown(place),
                "bytes": removal.bytes,
                "why": removal.why,
                "expect": tuple(removal.expect),
                "after_edit": removal.after_edit,
            }
            for number, removal, place in zip(numbers, removals, places, strict=True)
        ]
        self._write(lines, sync=True)
        return numbers

    def intend_edit(self, path: RawPath, fields: Mapping[str, str | int]) -> int:
        """Write that the database ``path`` is going to be edited, with what an undo needs, and sync.

        Raises:
            ActionFailed: the line is not on disk, so nothing may be edited.
        """
        number = self._next
        self._next += 1
        self._write([{"n": number, "do": "edit", "path": shown(path), "fields": dict(fields)}], sync=True)
        return number

    def end(self, number: int, status: Status, freed: int = 0, detail: str = "") -> None:
        """Write how the action ``number`` ended.

        Raises:
            ActionFailed: it could not be written.
        """
        self._write([{"ended": number, "status": status.value, "freed": freed, "detail": detail}], sync=False)

    def end_removal(self, number: int, outcome: Outcome) -> None:
        """Write how a removal ended; raises as :meth:`end`."""
        self.end(number, outcome.status, outcome.freed, outcome.detail)

    def finish(self) -> None:
        """Write that the run did all it could, and sync; :func:`drydock.reclaim.state.find_unfinished` looks for it.

        Raises:
            ActionFailed: it could not be written.
        """
        self._write([{"finished": _now()}], sync=True)

    def close(self) -> None:
        """Close the file and let go of its lock."""
        os.close(self._fd)

    def _write(self, lines: Sequence[Mapping[str, Any]], *, sync: bool) -> None:
        if self._broken is not None:
            raise ActionFailed(self._broken)
        data = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            if sync:
                os.fdatasync(self._fd)
        except OSError as error:
            # After a failed sync the kernel may have dropped the pages: nothing that follows can be trusted.
            self._broken = f"journal {shown(self.path)}: {error.strerror}"
            raise ActionFailed(self._broken) from error


def read_journal(path: RawPath) -> Journal:
    """Read a journal as far as it was written.

    Raises:
        EvidenceUnreadable: it cannot be opened, others may have written it, it has no whole header, or is of another
            schema.
    """
    text = shown(path)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as lines:
            info = os.fstat(lines.fileno())
            if info.st_uid not in {0, os.geteuid()} or info.st_mode & 0o022:
                raise EvidenceUnreadable(f"{text}: it belongs to, or can be written by, someone else")
            header = _parse(lines.readline(_LINE))
            if header is None or header.get("schema") != SCHEMA:
                raise EvidenceUnreadable(f"{text}: no journal of the schema {SCHEMA}")
            journal = _read_header(path, header)
            numbers: dict[int, Entry] = {}
            while line := lines.readline(_LINE):
                fields = _parse(line)
                if fields is None:
                    # What follows a torn line is from a later run: only that it finished this one's work.
                    journal.torn = True
                    continue
                if journal.torn and "finished" not in fields:
                    break
                _read_line(journal, numbers, fields)
    except OSError as error:
        raise EvidenceUnreadable(f"{text}: {error.strerror}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EvidenceUnreadable(f"{text}: not what drydock writes ({error})") from error
    return journal


def close_abandoned(journal: Journal) -> None:
    """Write into the journal of a killed run that a later run has finished its work.

    Raises:
        ActionFailed: it cannot be written.
    """
    line = b"\n" * journal.torn + json.dumps({"finished": _now(), "by": "later"}).encode() + b"\n"
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


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        # A decoder of its own: json.loads asks each line for its encoding, and a journal has many.
        fields = _decode(line.decode())
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _read_header(path: RawPath, fields: Mapping[str, Any]) -> Journal:
    plan = fields["plan"]
    root = checked.path(fields["root"])
    return Journal(path, str(fields["tool"]), str(fields["time"]), root, None if plan is None else str(plan))


def _read_line(journal: Journal, numbers: dict[int, Entry], fields: Mapping[str, Any]) -> None:
    if "finished" in fields:
        journal.finished = str(fields["finished"])
        journal.taken_over = "by" in fields
    elif "ended" in fields:
        ended = Ended(Status(fields["status"]), checked.whole(fields["freed"]), str(fields["detail"]))
        numbers[checked.whole(fields["ended"])].ended = ended
    else:
        entry = _read_entry(journal.root, fields)
        numbers[entry.number] = entry
        journal.entries.append(entry)


def _read_entry(root: RawPath, fields: Mapping[str, Any]) -> Entry:
    number, do, path = checked.whole(fields["n"]), fields["do"], checked.path(fields["path"])
    if do == "edit":
        return Entry(number, "edit", path, fields=_read_edit(fields["fields"]))
    if do not in {"remove", "move"}:
        raise ValueError(f"unknown action {shown(str(do).encode())}")
    expect = Fingerprint(*map(checked.whole, fields["expect"]))
    removal = Removal(
        Target(fields["target"]),
        root,
        path,
        expect,
        checked.whole(fields["bytes"]),
        str(fields["why"]),
        bool(fields["after_edit"]),
    )
    to = fields["to"]
    return Entry(number, do, path, removal, None if to is None else checked.path(to))


def _read_edit(fields: Mapping[str, Any]) -> dict[str, str | int]:
    if "backup" in fields:
        checked.path(fields["backup"])
    return {name: value if isinstance(value, str) else checked.whole(value) for name, value in fields.items()}
