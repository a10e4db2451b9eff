"""Carrying out the part of a plan that deletes names of images of a classic store."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from drydock.model.errors import ActionFailed
from drydock.model.layer_store import REFERENCES
from drydock.model.names import RawPath
from drydock.model.plans import NOT_TRIED, NameDrop, Status
from drydock.model.runs import EditOutcome
from drydock.model.text import shown
from drydock.reclaim.image_names import change_names, prepare
from drydock.reclaim.journal_writer import JournalWriter
from drydock.reclaim.root_dir import RootDir, open_root_dir
from drydock.reclaim.state_dir import RunDirectory

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_COPY: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NamesEdit:
    """The names that go of one data root; the former file is copied when this is made.

    Args:
        drops: the names.
        kept: the directory of the run.
        number: of this data root in the run.

    Raises:
        ActionFailed: the file cannot be read or copied, or changed since the plan; nothing was changed.
    """

    def __init__(self, drops: Sequence[NameDrop], kept: RunDirectory, number: int) -> None:
        self.data = drops[0].data
        self._status = Status.FAILED
        self._detail = "not tried"
        self._is_full = False
        name = b"repositories.json" + (b".%d" % number if number else b"")
        self._backup = RawPath(os.path.join(kept.path, name))
        path = shown(RawPath(os.path.join(self.data, REFERENCES)))
        data_root = open_root_dir(self.data)
        try:
            self._prepared = prepare(data_root, drops)
        except OSError as error:
            raise ActionFailed(f"{path}: {error.strerror}; nothing was changed") from error
        finally:
            data_root.close()
        try:
            target = os.open(name, _COPY, 0o600, dir_fd=kept.fd)
            try:
                rest = self._prepared.former
                while rest:
                    rest = rest[os.write(target, rest) :]
                os.utime(target, ns=(self._prepared.mtime_ns, self._prepared.mtime_ns))
                os.fsync(target)
            finally:
                os.close(target)
            os.fsync(kept.fd)
        except OSError as error:
            raise ActionFailed(f"backup {shown(self._backup)}: {error.strerror}; nothing was changed") from error

    def make(self, data_root: RootDir, journal: JournalWriter) -> None:
        """Change the file."""
        try:
            number = journal.intend_names(self._prepared.change, self._backup)
        except ActionFailed as error:
            self._detail = f"{NOT_TRIED}{error}"
            return
        self._is_full = False
        try:
            change_names(data_root, self._prepared)
        except OSError as error:
            self._detail, self._is_full = error.strerror or type(error).__name__, error.errno in _FULL
        else:
            self._status, self._detail = Status.DONE, ""
        with suppress(ActionFailed):
            journal.end(number, self._status, detail=self._detail)

    def make_with_room(self, data_root: RootDir, journal: JournalWriter) -> None:
        """Change the file if the disk had no room for it before."""
        if self._is_full:
            self.make(data_root, journal)

    def stop(self, reason: str) -> None:
        """Note why the file is not changed."""
        self._detail = reason

    def outcome(self) -> EditOutcome:
        """How it ended."""
        path = RawPath(os.path.join(self.data, REFERENCES))
        done = len(self._prepared.change.names) if self._status is Status.DONE else 0
        return EditOutcome(path, 0, 0, self._status, self._detail, self._backup, done)


def copy_names(drops: Iterable[NameDrop], kept: RunDirectory) -> dict[RawPath, NamesEdit]:
    """The names that go, by data root.

    Raises:
        ActionFailed: as :class:`NamesEdit`.
    """
    of_root: dict[RawPath, list[NameDrop]] = {}
    for drop in drops:
        of_root.setdefault(drop.data, []).append(drop)
    return {data: NamesEdit(of_root[data], kept, number) for number, data in enumerate(of_root)}
