"""Writing journals: each action before it is made, and how it ended."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import UNSET

from drydock.model.documents.common import compact, in_ascii
from drydock.model.documents.journal import (
    CompactLine,
    CutLine,
    EditLine,
    EditNumbers,
    EndLine,
    FinishLine,
    JournalHeader,
    JournalLine,
    MissingLine,
    NamedImage,
    NamesLine,
    RemovalLine,
    RestoreLine,
)
from drydock.model.errors import ActionFailed
from drydock.model.names import RawPath
from drydock.model.plans import LayerRestore, LogCut, NameChange, Outcome, Removal, Status
from drydock.model.text import shown
from drydock.reclaim.journal import Journal, Note
from drydock.reclaim.state_dir import JOURNAL
from drydock.version import __version__


class JournalWriter:
    """Appends to a journal. After an error of the disk, every call raises ActionFailed."""

    def __init__(
        self, directory: int, path: RawPath, root: RawPath, plan: str, quarantine: RawPath | None = None
    ) -> None:
        """Create the journal of a run.

        Args:
            directory: the open directory of the run.
            path: its path, for messages.
            root: the root.
            plan: hash of the plan.
            quarantine: the folder that the run made for what it moves.

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
            apart = UNSET if quarantine is None else shown(quarantine)
            self._write([JournalHeader(__version__, _now(), shown(root), plan, apart)], sync=True)
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
        to = None if place is None else shown(place)
        return self._intend(
            lambda number: RestoreLine(
                number, "restore", shown(restore.path), to, shown(restore.layer), restore.bytes, restore.why,
                restore.expect, note.owner, note.manifest,
            )
        )  # fmt: skip

    def intend_names(self, change: NameChange, backup: RawPath) -> int:
        """Write that names of images are going to be deleted, and sync; give the number of the action.

        Raises:
            ActionFailed: the line is not on disk, so nothing may be changed.
        """
        names = [NamedImage(shown(name), shown(image)) for name, image in change.names]
        data, kept = shown(change.data), shown(backup)
        return self._intend(lambda number: NamesLine(number, "names", data, names, change.before, change.after, kept))

    def intend_compaction(self, path: RawPath, size: int) -> int:
        """Write that a database of so many bytes is going to be compacted, and sync; give the number of the action.

        Raises:
            ActionFailed: the line is not on disk, so nothing may be changed.
        """
        return self._intend(lambda number: CompactLine(number, "compact", shown(path), size))

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
        noted = msgspec.convert(fields, EditNumbers)
        return self._intend(lambda number: EditLine(number, "edit", shown(path), noted))

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

    def _intend(self, line: Callable[[int], JournalLine]) -> int:
        """Write and sync the line of one action, made with its number; give the number."""
        (number,) = self._numbers(1)
        self._write([line(number)], sync=True)
        return number

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
