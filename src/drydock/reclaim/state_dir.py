"""The directories where runs keep their journals and backups, and the runs in them that were killed.

A run's directory is on a tmpfs when the disk is full (docs/safety.md 9).
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from drydock.evidence.files.directory import open_private_dir
from drydock.evidence.files.mountinfo import entries
from drydock.model import messages
from drydock.model.errors import EvidenceUnreadable, Refused
from drydock.model.findings import Finding, Place
from drydock.model.names import RawPath
from drydock.model.text import shown

if TYPE_CHECKING:
    from drydock.reclaim.journal import Journal

PLACES: Final = (RawPath(b"/var/lib/drydock"), RawPath(b"/run/drydock"), RawPath(b"/dev/shm/drydock"))
"""Default places, tried in this order; a reboot empties all but the first."""

JOURNAL: Final = b"journal.jsonl"
"""Name of the journal in a run's directory."""

_MARGIN: Final = 1 << 20
"""Bytes that the journal itself may need."""
_RUNS: Final = 10_000
_TAIL: Final = 200
"""Bytes that contain the last line of a finished journal and the end of the line before."""
_TMPFS: Final = frozenset({b"tmpfs", b"ramfs"})


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
    return PLACES if directory is None else (directory, *PLACES)


def find_unfinished(root: RawPath, places: Iterable[RawPath] = PLACES) -> list[Journal]:
    """Read the journals of killed runs on ``root``, oldest first.

    Runs that still go on are left out, and so are runs that wrote down no action, because they did nothing.
    """
    journals = (journal for journal in _abandoned(root, places) if journal.finished is None)
    return sorted(journals, key=lambda journal: journal.time)


def list_journals(place: RawPath) -> list[RawPath]:
    """The paths of the journals in a place where runs keep them, finished or not, by the names of the runs.

    Raises:
        OSError: the place is not there, cannot be read, or others may write to it.
    """
    base = open_private_dir(place, create=False)
    try:
        names = sorted(map(os.fsencode, os.listdir(base)))
    finally:
        os.close(base)
    paths = (RawPath(os.path.join(place, name, JOURNAL)) for name in names)
    return [path for path in paths if os.path.lexists(path)]


def goes_on(journal: int) -> bool:
    """Whether the run that writes an open journal goes on; otherwise the journal is locked, shared, until it is closed.

    Raises:
        OSError: its file system has no locks.
    """
    try:
        fcntl.flock(journal, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def unfinished_runs(root: RawPath, state: RawPath | None = None) -> list[Finding]:
    """One note for each journal of a killed run on ``root``, in the default places and in ``state``."""
    return [
        messages.UNFINISHED_RUN(
            time=journal.time, pending=len(journal.pending), total=len(journal.entries), journal=journal.path
        ).at(Place(journal.path))
        for journal in find_unfinished(root, places_with(state))
    ]


def _abandoned(root: RawPath, places: Iterable[RawPath]) -> Iterator[Journal]:
    """Read the journals of runs on ``root`` that wrote down an action and neither go on nor finished."""
    for place in places:
        with suppress(OSError):
            base = open_private_dir(place, create=False)
            try:
                for run in sorted(map(os.fsencode, os.listdir(base)))[-_RUNS:]:
                    journal = _read_abandoned(base, RawPath(os.path.join(place, run)), run)
                    if journal is not None and journal.root == root and journal.entries:
                        yield journal
            finally:
                os.close(base)


def _read_abandoned(base: int, path: RawPath, run: bytes) -> Journal | None:
    try:
        directory = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=base)
    except OSError:
        return None
    try:
        fd = os.open(JOURNAL, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return None
    finally:
        os.close(directory)
    try:
        if goes_on(fd) or _ends_finished(fd):
            return None
    except OSError:
        return None
    finally:
        os.close(fd)
    from drydock.reclaim.journal import read_journal  # noqa: PLC0415 - few hosts have one to read, and it takes msgspec

    try:
        return read_journal(RawPath(os.path.join(path, JOURNAL)))
    except EvidenceUnreadable:
        # The run was killed before the header was whole, so it removed nothing.
        return None


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
