"""What a run intended and what became of it, as its journal says: ``drydock.journal/1``, and reading it.

A file of JSON lines, each complete only with its newline; a last line without one, or the first that is no JSON, ends
what was written. Names and paths are as :func:`drydock.model.text.shown` gives them.

First line, the header::

    {"schema": "drydock.journal/1", "tool": VERSION, "time": RFC 3339, "root": PATH, "plan": HASH}

Before the first edit, a line for each thing that the records and rows of the plan name and that was missing before the
run: a blob, a snapshot's directory, or ``io.containerd.snapshotter.v1.NAME/metadata.db/ROW``. Synced with the edit::

    {"missing": PATH below the root}

Before an action, synced::

    {"n": NUMBER, "do": "remove" | "move", "target": "blob" | "ingest" | "snapshot", "path": PATH below the root,
     "to": PATH or null, "bytes": NUMBER, "why": TEXT, "expect": [device, inode, mode, size, mtime_ns, ctime_ns],
     "after_edit": whether a record or a row named it until the edits of this run,
     of a move: "owner": [uid, gid] or null, "manifest": [offset, length, sha256] or null}
    {"n": NUMBER, "do": "edit", "path": PATH, "fields": {NAME: TEXT or NUMBER}}

``manifest`` says where in ``manifests.gz``, beside the journal, it is written what a directory held
(:mod:`drydock.reclaim.quarantine_manifest`); both were on disk before the line.

The field ``backup`` is the path of the copy made before; one of its name beside the journal is taken for it first.

After it, not synced: its absence says that the end is unknown, not that nothing was done::

    {"ended": NUMBER, "status": "done" | "changed since the plan" | "already gone" | "failed",
     "freed": BYTES, "detail": TEXT}

When the run has done all it could, synced::

    {"finished": RFC 3339}

or, if it was killed and a later run or an undo did the rest, ``{"finished": RFC 3339, "by": "later"}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from drydock.model.data import Fingerprint
from drydock.model.errors import EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.plans import Removal, Status, Target
from drydock.model.text import shown, unshown
from drydock.reclaim import fields as checked
from drydock.reclaim.quarantine_manifest import Member

SCHEMA: Final = "drydock.journal/1"
_LINE: Final = 1 << 20
"""Longest line believed in; a path has at most 4096 bytes, shown in at most four characters each."""


class Note(NamedTuple):
    """What a journal says of a thing that is moved, for an undo to know it again."""

    owner: tuple[int, int] | None
    """User and group."""
    manifest: Member | None
    """None also of what is no directory."""


NO_NOTE: Final = Note(None, None)
"""Of what is not moved, and in journals of older versions."""


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
    note: Note = NO_NOTE
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
    plan: str
    entries: list[Entry] = field(default_factory=list)
    finished: str | None = None
    missing: set[RawPath] = field(default_factory=set)
    """What the edits' records and rows named and was not there before the run."""
    torn: bool = False
    """Its end is not a whole line: writing it was interrupted."""

    @property
    def pending(self) -> list[Entry]:
        """The actions whose end is unknown."""
        return [entry for entry in self.entries if entry.ended is None]


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


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        fields = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _read_header(path: RawPath, fields: Mapping[str, Any]) -> Journal:
    root = checked.path(fields["root"])
    return Journal(path, str(fields["tool"]), str(fields["time"]), root, str(fields["plan"]))


def _read_line(journal: Journal, numbers: dict[int, Entry], fields: Mapping[str, Any]) -> None:
    if "finished" in fields:
        journal.finished = str(fields["finished"])
    elif "missing" in fields:
        # No path is made of it: the name of a row may be any.
        journal.missing.add(RawPath(unshown(fields["missing"])))
    elif "ended" in fields:
        ended = Ended(Status(fields["status"]), checked.whole(fields["freed"]), str(fields["detail"]))
        numbers[checked.whole(fields["ended"])].ended = ended
    else:
        entry = _read_entry(journal, fields)
        numbers[entry.number] = entry
        journal.entries.append(entry)


def _read_entry(journal: Journal, fields: Mapping[str, Any]) -> Entry:
    number, do, path = checked.whole(fields["n"]), fields["do"], checked.path(fields["path"])
    if do == "edit":
        return Entry(number, "edit", path, fields=_read_edit(journal, fields["fields"]))
    if do not in {"remove", "move"}:
        raise ValueError(f"unknown action {shown(str(do).encode())}")
    expect = Fingerprint(*map(checked.whole, fields["expect"]))
    removal = Removal(
        Target(fields["target"]),
        journal.root,
        path,
        expect,
        checked.whole(fields["bytes"]),
        str(fields["why"]),
        bool(fields["after_edit"]),
    )
    to = fields["to"]
    return Entry(number, do, path, removal, None if to is None else checked.path(to), _read_note(fields))


def _read_note(fields: Mapping[str, Any]) -> Note:
    owner, manifest = fields.get("owner"), fields.get("manifest")
    if owner is not None:
        user, group = map(checked.owner, owner)
        owner = user, group
    if manifest is not None:
        at, length, sha256 = manifest
        manifest = Member(checked.whole(at), checked.whole(length), str(sha256))
    return Note(owner, manifest)


def _read_edit(journal: Journal, fields: Mapping[str, Any]) -> dict[str, str | int]:
    found = {name: value if isinstance(value, str) else checked.whole(value) for name, value in fields.items()}
    if "backup" in fields:
        made = checked.path(fields["backup"])
        # Who keeps the folder of a run over a reboot, or looks at the disk of another host, has it under another path.
        beside = os.path.join(os.path.dirname(journal.path), os.path.basename(made))
        found["backup"] = shown(RawPath(beside if os.path.lexists(beside) else made))
    return found
