"""Writing a journal: what a run intends is on disk before each cut (docs/safety.md 9)."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from drydock.model.errors import ActionFailed
from drydock.model.names import RawPath
from drydock.model.plans import Outcome, Removal, Status
from drydock.model.text import shown
from drydock.reclaim.journal import SCHEMA, Journal, Note
from drydock.reclaim.state_dir import JOURNAL
from drydock.version import __version__


class JournalWriter:
    """Appends to a journal. An error of the disk ends it: from then on every call raises ActionFailed."""

    def __init__(self, directory: int, path: RawPath, root: RawPath, plan: str) -> None:
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

    def intend(
        self, removals: Sequence[Removal], places: Sequence[RawPath | None], notes: Sequence[Note] | None = None
    ) -> list[int]:
        """Write what is going to be cut (with a place: moved there), and sync. Returns the entries' numbers.

        Args:
            removals: what goes.
            places: where each is moved to.
            notes: what an undo needs to know of each that is moved.

        Raises:
            ActionFailed: the lines are not on disk, so nothing may be cut.
        """
        numbers = list(range(self._next, self._next + len(removals)))
        self._next += len(removals)
        noted: Sequence[Note | None] = notes or [None] * len(removals)
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
                **({} if note is None else {"owner": note.owner, "manifest": note.manifest}),
            }
            for number, removal, place, note in zip(numbers, removals, places, noted, strict=True)
        ]
        self._write(lines, sync=True)
        return numbers

    def note_missing(self, paths: Iterable[RawPath]) -> None:
        """Write what an undo cannot ask for as it is not there; the next intention syncs it.

        Raises:
            ActionFailed: it could not be written.
        """
        self._write([{"missing": shown(path)} for path in paths], sync=False)

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
        """Sync the line that says that the run did all it could (:func:`drydock.reclaim.state_dir.find_unfinished`).

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
