"""The directories where runs keep their journals and backups, and the runs in them that were killed.

A run's directory is on a tmpfs when the disk is full (docs/safety.md 9).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from drydock.evidence.files.directory import open_private_dir
from drydock.evidence.files.mountinfo import entries
from drydock.evidence.files.regular import open_regular
from drydock.model import messages
from drydock.model.errors import EvidenceUnreadable, Refused
from drydock.model.findings import Finding, Place, Severity
from drydock.model.names import RawPath
from drydock.model.text import shown

if TYPE_CHECKING:
    from drydock.reclaim.journal import Journal

PLACES: Final = (RawPath(b"/var/lib/drydock"), RawPath(b"/run/drydock"), RawPath(b"/dev/shm/drydock"))
"""Default places, tried in this order; a reboot empties all but the first."""

JOURNAL: Final = b"journal.jsonl"
"""Name of the journal in a run's directory."""

RUN_NAME: Final = re.compile(rb"[0-9]{8}T[0-9]{6}Z-[0-9]+(-[0-9]+)?")
"""What the name of a run's directory looks like."""

_MARGIN: Final = 1 << 20
"""Bytes that the journal itself may need."""
_TAIL: Final = 200
"""Bytes that contain the last line of a finished journal and the end of the line before."""
_TMPFS: Final = frozenset({b"tmpfs", b"ramfs"})


class UnreadableJournal(EvidenceUnreadable):
    """A journal, or a place with journals, that cannot be read: what its runs did is not known.

    Attributes:
        path: of the journal or the place.
        problem: what is wrong with it, on one shown line without the path.
        root: of the run; None if that is not known either.
        offset: the byte of the file where it is wrong; None if all of it is.
    """

    def __init__(
        self, path: RawPath, problem: str | OSError, root: RawPath | None = None, offset: int | None = None
    ) -> None:
        """Make the message of the path and the problem; of an error, its own words."""
        if isinstance(problem, OSError):
            problem = problem.strerror or type(problem).__name__
        super().__init__(f"{shown(path)}: {problem}")
        self.path, self.problem, self.root, self.offset = path, problem, root, offset


class EmptyJournal(UnreadableJournal):
    """A journal without a header. That is synced before the first step, so the run did nothing."""


class ForeignJournal(UnreadableJournal):
    """A journal of a schema that this version of drydock does not know."""


class KilledRuns(NamedTuple):
    """The runs on a root that were stopped before their end, as far as the journals tell."""

    unfinished: list[Journal]
    """The oldest first."""
    unread: list[UnreadableJournal]
    """Journals that are, or may be, of a run on the root, and places that may have such."""


class RunDirectory(NamedTuple):
    """The directory of one run, mode 0700. Close it when done."""

    path: RawPath
    """Absolute."""
    fd: int
    why: str
    """One shown line: why this place."""
    volatile: bool
    """A reboot loses it."""

    @property
    def run(self) -> str:
        """The run's own name, ``<time>-<pid>``."""
        return os.fsdecode(os.path.basename(self.path))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


def open_state(directory: RawPath | None, need: int, places: Iterable[RawPath] = PLACES) -> RunDirectory:
    """Make the directory of a new run in ``directory``, or in the first of ``places`` that has room.

    Args:
        directory: the place that the user chose; then no other is tried.
        need: bytes that the backups take.
        places: places to try if the user chose none.

    Raises:
        Refused: no place can be used; the message says why for each.
    """
    if directory is not None:
        try:
            return _open_run(directory, need, "from --state")
        except OSError as error:
            raise Refused(f"state directory {shown(directory)}: {error.strerror}") from error
    problems: list[str] = []
    for place in places:
        try:
            return _open_run(place, need, "; ".join([*problems, "written here instead"]) if problems else "the default")
        except OSError as error:  # noqa: PERF203 - three places
            problems.append(f"{shown(place)}: {error.strerror}")
    raise Refused(f"no place for the journal ({'; '.join(problems)}): name one with --state")


def places_with(directory: RawPath | None) -> tuple[RawPath, ...]:
    """Places where journals may be: ``directory``, if the user chose one, then the default places."""
    return PLACES if directory is None else tuple(dict.fromkeys((directory, *PLACES)))


def find_killed(root: RawPath, places: Iterable[RawPath] = PLACES) -> KilledRuns:
    """Read the journals of killed runs on ``root``.

    Runs that still go on are left out, and so are runs that wrote down no action, because they did nothing.
    """
    found = KilledRuns([], [])
    for path in list_journals(places):
        read = path if isinstance(path, UnreadableJournal) else _read_killed(path)
        if isinstance(read, UnreadableJournal):
            if read.root in (None, root):
                found.unread.append(read)
        elif read is not None and read.root == root and read.entries:
            found.unfinished.append(read)
    found.unfinished.sort(key=lambda journal: journal.time)
    return found


def find_unfinished(root: RawPath, places: Iterable[RawPath] = PLACES) -> list[Journal]:
    """The journals of killed runs on ``root`` that can be read, oldest first: nothing is done by any other."""
    return find_killed(root, places).unfinished


def list_journals(places: Iterable[RawPath]) -> Iterator[RawPath | UnreadableJournal]:
    """The journals in places where runs keep them, finished or not, by the names of the runs.

    A place that is not there has none. Nor has a default place that is a file: the README has drydock itself copied to
    ``/dev/shm/drydock``.
    """
    for place in places:
        try:
            base = open_private_dir(place, create=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            if place in PLACES and os.path.isfile(place) and not os.path.islink(place):
                continue
            yield UnreadableJournal(place, error)
            continue
        try:
            for name in sorted(map(os.fsencode, os.listdir(base))):
                found = _journal_of(base, name, RawPath(os.path.join(place, name)))
                if found is not None:
                    yield found
        except OSError as error:
            yield UnreadableJournal(place, error)
        finally:
            os.close(base)


def _journal_of(base: int, name: bytes, path: RawPath) -> RawPath | UnreadableJournal | None:
    """The journal in the directory of a run; None if there is none, or no such directory."""
    try:
        mode = os.stat(name, dir_fd=base, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            # Perhaps to the directory of a run that was moved to another disk; undo takes its journal by its own path.
            return UnreadableJournal(path, "it is a link, which drydock does not follow")
        if stat.S_ISDIR(mode):
            os.stat(os.path.join(name, JOURNAL), dir_fd=base, follow_symlinks=False)
            return RawPath(os.path.join(path, JOURNAL))
    except FileNotFoundError:
        pass
    except OSError as error:
        return UnreadableJournal(path, error)
    return None


def open_journal(path: RawPath) -> int:
    """A read-only descriptor of a journal, which the caller closes.

    Raises:
        UnreadableJournal: it is no regular file, cannot be opened, or others may have written it.
    """
    try:
        fd = open_regular(path)
    except OSError as error:
        folder = f"it is a folder; the journal of a run is {shown(JOURNAL)} in it" if os.path.isdir(path) else None
        raise UnreadableJournal(path, folder or error) from error
    info = os.fstat(fd)
    if info.st_uid not in {0, os.geteuid()} or info.st_mode & 0o022:
        os.close(fd)
        raise UnreadableJournal(path, "it belongs to, or can be written by, someone else")
    return fd


def goes_on(journal: int) -> bool:
    """Whether the run that writes an open journal goes on; otherwise the journal is locked, shared, until it is closed.

    Where the file system has no locks, no run goes on: none could begin there.
    """
    try:
        fcntl.flock(journal, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def unfinished_runs(root: RawPath, state: RawPath | None = None) -> list[Finding]:
    """One note for each journal of a killed run on ``root``, in the default places and in ``state``.

    One finding, too, for each journal that cannot be read and may be of such a run.
    """
    places = places_with(state)
    killed = find_killed(root, places)
    return [
        *(
            messages.UNFINISHED_RUN(
                time=journal.time, pending=len(journal.pending), total=len(journal.entries), journal=journal.path
            ).at(Place(journal.path))
            for journal in killed.unfinished
        ),
        *(_unread_place(each) if each.path in places else _unread_journal(each) for each in killed.unread),
    ]


def _unread_journal(error: UnreadableJournal) -> Finding:
    said = messages.UNKNOWN_JOURNAL if isinstance(error, ForeignJournal) else messages.UNREADABLE_JOURNAL
    return said(file=error.path, problem=error.problem).at(Place(error.path, offset=error.offset))


def _unread_place(error: UnreadableJournal) -> Finding:
    # /dev/shm/drydock belongs to whoever made it first: the runs of this user are elsewhere then.
    is_anothers = False
    with suppress(OSError):
        is_anothers = os.lstat(error.path).st_uid != os.geteuid()
    return messages.UNREADABLE_PLACE(folder=error.path, problem=error.problem).at(
        Place(error.path), severity=Severity.NOTE if is_anothers else Severity.BLIND
    )


def _read_killed(path: RawPath) -> Journal | UnreadableJournal | None:
    """The journal of a run that neither goes on nor finished; None of one that does or did, or that did nothing."""
    try:
        fd = open_journal(path)
        try:
            if goes_on(fd) or _ends_finished(fd):
                return None
        finally:
            os.close(fd)
        from drydock.reclaim.journal import read_journal  # noqa: PLC0415 - few hosts have one to read; it takes msgspec

        return read_journal(path)
    except EmptyJournal:
        return None
    except UnreadableJournal as error:
        return error
    except OSError as error:
        return UnreadableJournal(path, error)


def _ends_finished(fd: int) -> bool:
    """Whether the last line of a journal says that the run has finished.

    A scan looks at every run there ever was, so it must not parse whole journals.
    """
    size = os.fstat(fd).st_size
    tail = os.pread(fd, _TAIL, max(0, size - _TAIL))
    return tail.endswith(b"}\n") and tail[tail.rfind(b"\n", 0, -1) + 1 :].startswith(b'{"finished":')


def _open_run(place: RawPath, need: int, why: str) -> RunDirectory:
    # Asked before anything is created: an empty folder must not take the last block of a full disk.
    room = os.statvfs(place if os.path.isdir(place) else os.path.dirname(place) or b".")
    free = room.f_frsize * room.f_bavail
    if free < need + _MARGIN:
        raise OSError(errno.ENOSPC, f"{free} bytes free, {need + _MARGIN} needed")
    base = open_private_dir(place, create=True)
    try:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        for number in range(100):
            run = f"{stamp}-{os.getpid()}{f'-{number}' if number else ''}"
            try:
                os.mkdir(run, 0o700, dir_fd=base)
            except FileExistsError:
                continue
            os.fsync(base)
            path = RawPath(os.path.join(os.path.abspath(place), run.encode()))
            fd = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=base)
            return RunDirectory(path, fd, why, _is_volatile(fd))
        raise OSError(errno.EEXIST, "too many runs at once")
    finally:
        os.close(base)


def _is_volatile(fd: int) -> bool:
    device = os.fstat(fd).st_dev
    number = b"%d:%d" % (os.major(device), os.minor(device))
    return any(entry.kind in _TMPFS for entry in entries("self") if entry.device == number)
