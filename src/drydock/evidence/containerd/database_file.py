"""One database of a root: the file that is locked or copied, what is wrong with its pages, and how many are free.

The pages of a large database are checked by a worker, while this process reads the records: a reader checks all that it
reads, and what is removed on the strength of it waits for the worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from bbolt_reader import BoltError, Damage, Database
from bbolt_reader.verify import verify
from drydock.evidence.containerd.rows import DATABASE
from drydock.evidence.files.libc import libc
from drydock.evidence.files.worker import Worker, Write, can_start
from drydock.evidence.host.locks import hold
from drydock.model import messages
from drydock.model.errors import EvidenceUnreadable
from drydock.model.findings import Finding, FindingCode, Place, Severity
from drydock.model.names import SNAPSHOTTER_PREFIX, RawPath
from drydock.model.progress import Progress, counter
from drydock.model.text import shown

LARGE: Final = 16 << 20
"""Allocated bytes from which on the records of a database take so much time and memory that it matters."""
_WORTH_COMPACTING: Final = 16 << 20
"""Bytes of a database from which on it is noted that most of it is free pages: bbolt grows a file in steps as large
(v1.3.6 bolt.go, DefaultAllocSize)."""
_TABLE: Final = 1 << 20
_M_MMAP_THRESHOLD: Final = -3  # glibc malloc.h


class _Pages(NamedTuple):
    """What a check of all pages found."""

    damages: list[Damage]
    used: int
    """The pages in use, overflow included."""


@dataclass(slots=True)
class File:
    """One database of a root, locked or copied; ``database`` is None if it cannot be opened as bbolt."""

    path: RawPath
    """Absolute."""
    fd: int
    """The locked file, or the copy; open as long as the store is held."""
    allocated: int
    """Bytes of the blocks that the file takes."""
    database: Database | None = None
    _findings: list[Finding] = field(default_factory=list)
    _free: tuple[int, int] | None = None
    _check: Callable[[], _Pages] | None = None
    """The check of its pages, if its result was not asked for yet."""

    def open(self, stack: ExitStack, *, mapped: bool, ahead: bool = False, progress: Progress | None = None) -> None:
        """Open it as bbolt, and check every page; a file that cannot be opened is a finding.

        Args:
            stack: closes it.
            mapped: as for :meth:`bbolt_reader.Database.open`.
            ahead: have a worker check a large one meanwhile, if there can be one.
            progress: told how far the check is, while something waits for it.
        """
        if self.allocated >= LARGE:
            _give_back_tables()
        worker: PageCheck | None = None
        if ahead and self.allocated >= LARGE and can_start():
            with suppress(OSError):  # this process checks it then
                worker = PageCheck(self)
                stack.callback(worker.close)
        try:
            self.database = stack.enter_context(Database.from_fd(self.fd, self.path, mapped=mapped, bounded=True))
        except BoltError as error:
            self._cannot_be_read(error)
            return
        self._check = partial(self._check_pages, self.database, worker, progress)
        if worker is None:
            self._settle()

    @property
    def findings(self) -> list[Finding]:
        """What is wrong with its pages; waits for the check."""
        self._settle()
        return self._findings

    @property
    def free(self) -> tuple[int, int] | None:
        """Its length in bytes, and the bytes of the pages in use; None unless it is large and most of it is free."""
        self._settle()
        return self._free

    @property
    def is_sound(self) -> bool:
        """Whether it could be opened, both metas are valid, and its pages fit together."""
        return self.database is not None and all(each.code is FindingCode.MOSTLY_FREE for each in self.findings)

    def _settle(self) -> None:
        check, self._check = self._check, None
        if check is None or self.database is None:
            return
        try:
            pages = check()
        except BoltError as error:
            self._cannot_be_read(error)
        else:
            self._findings += database_findings(self.database, self.path, pages.damages)
            self._note_free(self.database, pages.used)

    def _check_pages(self, database: Database, worker: PageCheck | None, progress: Progress | None) -> _Pages:
        # The high-water mark of a damaged file may be any number.
        pages = min(database.pages, database.meta.high_water)
        told = counter(progress, f"pages of {database_name(self.path)} checked", pages)
        found = None if worker is None else worker.wait_for_pages(told)
        if found is not None:
            return found
        used: list[int] = []
        damages = list(verify(database, told, used.append))
        database.release()
        return _Pages(damages, sum(used))

    def _note_free(self, database: Database, used: int) -> None:
        whole, in_use = database.size, used * database.page_size
        if whole < _WORTH_COMPACTING:
            return
        # bbolt makes a file longer than its pages by one step at most; a compaction that was killed leaves more.
        if used * 2 < min(database.pages, database.meta.high_water) or in_use * 2 + _WORTH_COMPACTING < whole:
            self._free = whole, in_use
            mostly = messages.MOSTLY_FREE(file=self.path, size=whole >> 20, used=-(-in_use >> 20))
            self._findings.append(mostly.at(Place(self.path)))

    def _cannot_be_read(self, error: BoltError) -> None:
        place = Place(self.path, error.page, error.offset)
        self._findings.append(messages.UNREADABLE_DATABASE(file=self.path, problem=str(error)).at(place))


class PageCheck(Worker):
    """A worker that checks every page of a database."""

    def __init__(self, file: File) -> None:
        super().__init__(partial(_check, file.fd, file.path))

    def wait_for_pages(self, told: Callable[[int], None] | None) -> _Pages | None:
        """What it found, once it has ended; None if it did not come to its end.

        Args:
            told: called with the number of pages looked at since its last call.
        """
        damages: list[Damage] = []
        used: int | None = None
        for kind, found in self.until_end():
            if kind == _LOOKED_AT:
                if told is not None:
                    told(found)
            elif kind == _DAMAGE:
                damages.append(Damage(*found))
            else:
                used = found
        return None if used is None else _Pages(damages, used)


_LOOKED_AT, _DAMAGE, _USED = range(3)


def _check(fd: int, path: RawPath, write: Write) -> None:
    used: list[int] = []
    with Database.from_fd(fd, path, bounded=True) as database:
        for damage in verify(database, lambda pages: write((_LOOKED_AT, pages)), used.append):
            write((_DAMAGE, tuple(damage)))
    write((_USED, sum(used)))


def database_findings(database: Database, path: RawPath, damages: Iterable[Damage]) -> list[Finding]:
    """What is wrong with an open database, and that it was rebuilt.

    Args:
        database: the open file.
        path: its name in findings.
        damages: what :func:`bbolt_reader.verify.verify` finds in it.
    """
    found: list[Finding] = []
    if database.meta.is_rebuilt:
        place = Place(path, database.meta.index, database.meta.offset)
        found.append(messages.REBUILT_DATABASE(file=path).at(place))
    found.extend(
        messages.bolt_damage(damage.code)(
            file=path, page="" if damage.page is None else f" page {damage.page}", problem=damage.message
        ).at(
            Place(path, damage.page, damage.offset),
            # The lost meta may have been the newer one: then the data of its transaction looks unnamed.
            severity=Severity.DAMAGE if damage.severe else Severity.BLIND,
        )
        for damage in damages
    )
    return found


def find_free(path: RawPath) -> tuple[int, int] | None:
    """As :attr:`File.free`, of a database that is held only to look at it; None also if it is not there.

    Raises:
        Refused: another process holds a lock on it.
        EvidenceUnreadable: it cannot be opened, or it is damaged.
    """
    if not is_there(path):
        return None
    with hold(path, exclusive=False) as held, ExitStack() as stack:
        if os.fstat(held.fd).st_size < _WORTH_COMPACTING:
            return None
        file = File(path, held.fd, 0)
        file.open(stack, mapped=True)
        if not file.is_sound:
            raise EvidenceUnreadable(file.findings[0].message)
        return file.free


def is_there(path: RawPath) -> bool:
    """Whether the path exists.

    Raises:
        EvidenceUnreadable: the path cannot be looked at.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise EvidenceUnreadable(f"{shown(path)}: {error.strerror}") from error
    return True


def database_name(path: RawPath) -> str:
    """The name of a database in progress: its file name, after the name of its snapshotter if it has one."""
    folder, name = path.split(b"/")[-2:]
    return shown(name if name != DATABASE else folder.removeprefix(SNAPSHOTTER_PREFIX) + b"/" + name)


def _give_back_tables() -> None:
    """Have malloc give the tables of a large store back to the system when they are freed.

    Once a large block was freed, glibc keeps all blocks of up to its size (mallopt(3), M_MMAP_THRESHOLD), which is a
    tenth of a scan's memory. Other C libraries have no such call.
    """
    if hasattr(libc(), "mallopt"):
        libc().mallopt(_M_MMAP_THRESHOLD, _TABLE)
