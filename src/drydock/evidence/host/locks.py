"""Locks on database files, as bbolt takes them: flock on the file itself (bbolt bolt_unix.go, v1.3 and v1.4).

A lock keeps containerd from opening the database, and proves that no containerd has it open.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from types import TracebackType

from drydock.evidence.files.regular import open_regular
from drydock.evidence.host.engines import how_to_stop, program
from drydock.model.errors import EvidenceUnreadable, InUse, Refused
from drydock.model.names import RawPath
from drydock.model.text import shown

_PAUSE = 0.05


class Lock:
    """A held lock, which the end of the ``with`` block or :meth:`release` gives back."""

    __slots__ = ("exclusive", "fd", "path")

    def __init__(self, path: RawPath, fd: int, *, exclusive: bool) -> None:
        self.path = path
        self.fd = fd
        """Open read-only as long as the lock is held."""
        self.exclusive = exclusive

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self.fd >= 0:
            # A fork that measures may go on. If it has the file mapped, closing this descriptor would not unlock it.
            with suppress(OSError):
                fcntl.flock(self.fd, fcntl.LOCK_UN)
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Lock:  # noqa: PYI034 - Self is in typing since 3.11 only
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold(path: RawPath, *, exclusive: bool, wait: float = 0.0) -> Lock:
    """Lock the database ``path`` against every bbolt.

    Args:
        path: the file, which has to be a regular one.
        exclusive: lock it as a writer, so that nobody else has it open; otherwise share it with other readers.
        wait: seconds to go on trying; 0 tries once.

    Raises:
        Refused: another process holds the lock; the message names it and how to stop it, as far as /proc tells.
        EvidenceUnreadable: the file cannot be opened or locked at all.
    """
    try:
        fd = open_regular(path)
    except OSError as error:
        raise EvidenceUnreadable(f"{shown(path)}: {error.strerror or error}") from error
    try:
        _flock(fd, path, exclusive=exclusive, until=time.monotonic() + wait)
        _same(fd, path)
    except OSError as error:
        os.close(fd)
        raise EvidenceUnreadable(f"{shown(path)}: cannot be locked: {error.strerror or error}") from error
    except BaseException:
        os.close(fd)
        raise
    return Lock(path, fd, exclusive=exclusive)


def refuse_locked(path: RawPath) -> None:
    """Refuse a lock file that another process holds; one that does not exist, or is no regular file, is not held.

    The lock is given back at once: unlike bbolt, its owner does not wait for it.

    Raises:
        Refused: another process holds the lock.
    """
    try:
        fd = open_regular(path)
    except OSError:
        return
    try:
        _flock(fd, path, exclusive=False, until=0.0)
    finally:
        os.close(fd)


def _flock(fd: int, path: RawPath, *, exclusive: bool, until: float) -> None:
    operation = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB
    while not _tried(fd, operation):
        if time.monotonic() >= until:
            raise InUse(f"{shown(path)} is locked by {_described(fd)}")
        time.sleep(_PAUSE)


def _tried(fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation)
    except BlockingIOError:
        return False
    return True


def _same(fd: int, path: RawPath) -> None:
    # If another file was renamed over it meanwhile, the lock is on a file that nobody will open.
    if not os.path.samestat(os.fstat(fd), os.lstat(path)):
        raise Refused(f"{shown(path)} was replaced while it was being locked")


def _described(fd: int) -> str:
    holders = _holders(os.fstat(fd))
    if not holders:
        return "a process that /proc does not show; stop what uses it (systemctl stop docker.socket docker containerd)"
    told = [(pid, *_program(pid)) for pid in holders[:3]]
    return ", ".join(f"{shown(name)} (pid {pid}); stop it: {stop}" for pid, name, stop in told)


def _program(pid: int) -> tuple[bytes, str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read(4096).split(b"\0")
        with open(f"/proc/{pid}/comm", "rb") as file:
            name = program(arguments, file.read(64).rstrip(b"\n"))
    except OSError:
        name = b"a process"
    return name, how_to_stop(name, pid)


def _holders(status: os.stat_result) -> list[int]:
    """Processes that have the file open with a flock on it; if there are none, those that /proc/locks names."""
    found = [int(name) for name in os.listdir("/proc") if name.isdecimal() and _locks(int(name), status)]
    own = os.getpid()
    others = [pid for pid in found if pid != own]
    return others or found or _listed(status)


def _locks(pid: int, status: os.stat_result) -> bool:
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                if not os.path.samestat(os.stat(f"/proc/{pid}/fd/{name}"), status):
                    continue
                with open(f"/proc/{pid}/fdinfo/{name}", "rb") as file:
                    if b"FLOCK" in file.read(65536):
                        return True
            except OSError:  # closed meanwhile
                continue
    except OSError:  # ended meanwhile, or another user's
        return False
    return False


def _listed(status: os.stat_result) -> list[int]:
    # "1: FLOCK ADVISORY WRITE 1234 08:01:5678 0 EOF"; the device is the superblock's, so only the inode is compared.
    try:
        with open("/proc/locks", "rb") as file:
            rows = [line.split() for line in file.read(1 << 22).splitlines()]
    except OSError:
        return []
    inode = b":%d" % status.st_ino
    return [
        int(row[4])
        for row in rows
        if len(row) >= 6 and row[1] == b"FLOCK" and row[5].endswith(inode) and int(row[4]) > 0
    ]
