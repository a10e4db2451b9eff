"""Cutting containers' logs to their newest bytes, and putting back what was cut off.

Whenever a crash comes, the log under its own name is the whole one or the one that was cut, and dockerd reads either.
The bytes that stay are copied to a new file with the owner, mode, times and attributes of the log. Both files are
exchanged in one call (renameat2, RENAME_EXCHANGE), and the former one is removed, or moved to the quarantine. dockerd
opens a log by its path, and gives a log a new file itself whenever it rotates the log (moby
daemon/logger/loggerutils/logfile.go rotate, v28.5).

A full disk may have no room for the copy. A log of which nothing stays is emptied in place. If at most half of a log
stays, that half is written over its beginning, and the log is shortened. A crash meanwhile leaves lines twice, and none
that stays is lost.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from drydock.evidence.docker.logs import LEFTOVER, is_log_path
from drydock.evidence.files.directory import fingerprint, look, sync_folder
from drydock.evidence.files.regular import open_regular
from drydock.evidence.files.xattrs import read_xattrs
from drydock.model.data import Fingerprint
from drydock.model.names import RawPath
from drydock.model.plans import CutOutcome, LogCut, Status
from drydock.model.text import shown
from drydock.reclaim import knife
from drydock.reclaim.recognition import open_aside
from drydock.reclaim.root_dir import RootDir, describe_change

_CHUNK: Final = 1 << 20
_BLOCK: Final = 512
_WRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_UPDATE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def cut_log(data_root: RootDir, cut: LogCut, aside: int | None = None) -> CutOutcome:
    """Carry out one cut, if the file is still as the plan saw it.

    Args:
        data_root: the open data root.
        cut: the cut.
        aside: an open folder that the former file is moved to under its own name; None: it is removed.
    """
    try:
        with _opened(data_root, cut) as (parent, name):
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            change = describe_change(cut.expect, fingerprint(found))
            if change is not None:
                return CutOutcome(cut, Status.CHANGED, change)
            if cut.is_removed:
                _dispose(parent, name, name, aside)
                freed = found.st_blocks * _BLOCK if found.st_nlink == 1 else 0
                return CutOutcome(cut, Status.DONE, freed=0 if aside is not None else freed)
            if not cut.keep and aside is None:
                return _empty(cut, parent, name)
            return _shorten(cut, parent, name, aside)
    except FileNotFoundError:
        return CutOutcome(cut, Status.GONE)
    except OSError as error:
        return CutOutcome(cut, Status.FAILED, _reason(cut, error))


def put_back(data_root: RootDir, cut: LogCut, place: RawPath | None) -> CutOutcome:
    """Put back what a cut took away, and keep what was written to the log since; GONE if nothing was taken.

    Args:
        data_root: the open data root.
        cut: the cut, as the journal has it.
        place: absolute path in the quarantine that the former file was moved to; None: it was removed.
    """
    try:
        with _opened(data_root, cut) as (parent, name):
            now, left = look(parent, name), look(parent, LEFTOVER + name)
            if now is not None and _is_in_place(now, cut.expect, may_have_grown=place is not None):
                if left is not None:
                    knife.unlink(LEFTOVER + name, dir_fd=parent)
                return CutOutcome(cut, Status.GONE, "it is in its place")
            if left is not None and _is_former(left, cut.expect):
                return _exchange_back(cut, (parent, name), (parent, LEFTOVER + name))
            if place is None:
                return CutOutcome(cut, Status.FAILED, "what was cut off was deleted: it cannot be put back")
            folder = open_aside(place, cut.path)
            try:
                moved = look(folder, name)
                if moved is None:
                    return CutOutcome(cut, Status.FAILED, "it is not in quarantine")
                if not _is_former(moved, cut.expect) and not _is_copy(moved, cut.expect):
                    return CutOutcome(cut, Status.FAILED, "the quarantine has something else under its name")
                return _exchange_back(cut, (parent, name), (folder, name))
            finally:
                os.close(folder)
    except FileExistsError:
        return CutOutcome(cut, Status.FAILED, "something else is in its place")
    except OSError as error:
        return CutOutcome(cut, Status.FAILED, error.strerror or type(error).__name__)


def is_left(data_root: RootDir, cut: LogCut) -> bool:
    """Whether a killed run left a file beside the log of a cut."""
    try:
        with _opened(data_root, cut) as (parent, name):
            return look(parent, LEFTOVER + name) is not None
    except OSError:
        return False


@contextmanager
def _opened(data_root: RootDir, cut: LogCut) -> Iterator[tuple[int, bytes]]:
    """The open folder of a log, and its name there. Even a forged plan or journal reaches only logs."""
    if not is_log_path(cut.path):
        raise OSError(errno.EINVAL, "no log has such a path")
    parent, name = data_root.open_parent(cut.path, cut.expect.device)
    try:
        yield parent, name
    finally:
        os.close(parent)


def _empty(cut: LogCut, parent: int, name: bytes) -> CutOutcome:
    descriptor = os.open(name, _WRITE, dir_fd=parent)
    try:
        change = describe_change(cut.expect, fingerprint(os.fstat(descriptor)))
        if change is not None:
            return CutOutcome(cut, Status.CHANGED, change)
        before = os.fstat(descriptor).st_blocks
        knife.empty(descriptor)
        os.fsync(descriptor)
        return CutOutcome(cut, Status.DONE, freed=max(0, before - os.fstat(descriptor).st_blocks) * _BLOCK)
    finally:
        os.close(descriptor)


def _shorten(cut: LogCut, parent: int, name: bytes, aside: int | None) -> CutOutcome:
    new = LEFTOVER + name
    source = open_regular(name, parent)
    try:
        found = os.fstat(source)
        change = describe_change(cut.expect, fingerprint(found))
        if change is not None:
            return CutOutcome(cut, Status.CHANGED, change)
        try:
            blocks = _copy_end(source, name, cut.keep, parent, new)
            knife.exchange(parent, new, name)
        except FileExistsError:
            return CutOutcome(cut, Status.FAILED, f"{shown(new)} is beside it: left by a killed run since the plan")
        except OSError as error:
            is_made = look(parent, new) is not None
            if is_made and error.errno in _FULL and aside is None and 2 * cut.keep <= found.st_size:
                return _overwrite(cut, parent, name, found.st_blocks)
            with suppress(OSError):
                knife.unlink(new, dir_fd=parent)
            raise
    finally:
        os.close(source)
    left = look(parent, new)
    if left is None or not _is_former(left, cut.expect):
        knife.exchange(parent, new, name)
        _dispose(parent, new, name, None)
        return CutOutcome(cut, Status.CHANGED, "it was swapped at the last moment")
    sync_folder(parent)
    _dispose(parent, new, name, aside)
    return CutOutcome(cut, Status.DONE, freed=0 if aside is not None else max(0, found.st_blocks - blocks) * _BLOCK)


def _overwrite(cut: LogCut, parent: int, name: bytes, blocks: int) -> CutOutcome:
    """Without room for a copy: write what stays over the beginning of the log, then shorten the log to it.

    At every moment the log has whole lines only, and ends with what stays; what was written over its beginning is there
    twice until the log is shortened. Meanwhile the empty file that the copy left says that this is not finished.
    """
    marker = os.open(LEFTOVER + name, _WRITE, dir_fd=parent)
    try:
        knife.empty(marker)
    finally:
        os.close(marker)
    log = os.open(name, _UPDATE, dir_fd=parent)
    try:
        found = os.fstat(log)
        change = describe_change(cut.expect, fingerprint(found))
        if change is None:
            start, at = found.st_size - cut.keep, 0
            while at < cut.keep:
                at += _move_lines(log, start, at, cut.keep)
            os.fdatasync(log)
            knife.shorten(log, cut.keep)
            os.utime(log, ns=(found.st_atime_ns, found.st_mtime_ns))
            os.fsync(log)
            blocks -= os.fstat(log).st_blocks
    finally:
        os.close(log)
    _dispose(parent, LEFTOVER + name, name, None)
    if change is not None:
        return CutOutcome(cut, Status.CHANGED, change)
    return CutOutcome(cut, Status.DONE, freed=max(0, blocks) * _BLOCK)


def _move_lines(log: int, start: int, at: int, keep: int) -> int:
    """Write some of the lines from ``start + at`` on to ``at``; give their bytes. Half a line that is left is blanked.

    Raises:
        OSError: among others, a line is longer than any that dockerd writes.
    """
    part = os.pread(log, min(_CHUNK, keep - at), start + at)
    if at + len(part) < keep:
        part = part[: part.rfind(b"\n") + 1]
    if not part:
        raise OSError(errno.EBUSY, "it became shorter while it was read, or has a line of more than a mebibyte")
    end = at + len(part)
    rest = os.pread(log, min(_CHUNK, start - end), end)
    blank = rest.find(b"\n") if b"\n" in rest else len(rest)
    data = part + b" " * blank
    while data:
        done = os.pwrite(log, data, at + len(part) + blank - len(data))
        data = data[done:]
    return len(part)


def _copy_end(source: int, name: bytes, keep: int, parent: int, new: bytes) -> int:
    """Write the last bytes of an open log to a new file with its owner, mode, attributes and times; give its blocks.

    Raises:
        OSError: among others, the disk has no room.
    """
    found, attributes = os.fstat(source), read_xattrs(name, parent)
    target = os.open(new, _WRITE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=parent)
    try:
        at = found.st_size - keep
        while at < found.st_size:
            part = os.pread(source, min(_CHUNK, found.st_size - at), at)
            if not part:
                raise OSError(errno.EBUSY, "it became shorter while it was read")
            at += len(part)
            while part:
                part = part[os.write(target, part) :]
        os.fchown(target, found.st_uid, found.st_gid)
        os.fchmod(target, stat.S_IMODE(found.st_mode))
        for key, value in attributes.items():
            os.setxattr(target, key, value)  # noqa: TID251 - the file is drydock's own until it takes the log's place
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fsync(target)
        return os.fstat(target).st_blocks
    finally:
        os.close(target)


def _dispose(parent: int, name: bytes, old_name: bytes, aside: int | None) -> None:
    """Remove a former file, or move it to the quarantine under its old name."""
    if aside is None:
        knife.unlink(name, dir_fd=parent)
    else:
        knife.move(parent, name, aside, old_name)
    sync_folder(parent)


def _exchange_back(cut: LogCut, log: tuple[int, bytes], former: tuple[int, bytes]) -> CutOutcome:
    """Put a former file, given as its open folder and its name there, in the place of the log; then drop the log."""
    parent, name = log
    if look(parent, name) is None or cut.is_removed:
        knife.move(*former, parent, name)
        sync_folder(parent)
        return CutOutcome(cut, Status.DONE)
    wrong = _append_new(cut, log, former)
    if wrong is not None:
        return CutOutcome(cut, Status.FAILED, wrong)
    new = LEFTOVER + name
    if former != (parent, new):
        with suppress(FileNotFoundError):
            knife.unlink(new, dir_fd=parent)
        knife.move(*former, parent, new)
    knife.exchange(parent, new, name)
    sync_folder(parent)
    _dispose(parent, new, name, None)
    return CutOutcome(cut, Status.DONE)


def _append_new(cut: LogCut, log: tuple[int, bytes], former: tuple[int, bytes]) -> str | None:
    """Append to a former file what was written to its log since the cut; why that cannot be done, or None.

    An undo that was killed may have appended a part of it already.
    """
    now, then = open_regular(log[1], log[0]), -1
    try:
        then = os.open(former[1], _UPDATE, dir_fd=former[0])
        info, old = os.fstat(now), os.fstat(then)
        size = cut.expect.size
        there = old.st_size - size
        if not _is_equal(now, 0, then, size - cut.keep, cut.keep + there):
            return "the log does not begin with what stayed: it was rotated or replaced since; the cut part stays apart"
        at = cut.keep + there
        while part := os.pread(now, _CHUNK, at):
            done = os.pwrite(then, part, size - cut.keep + at)
            at += done
        if (old.st_uid, old.st_gid) != (info.st_uid, info.st_gid):
            os.fchown(then, info.st_uid, info.st_gid)
        if stat.S_IMODE(old.st_mode) != stat.S_IMODE(info.st_mode):
            os.fchmod(then, stat.S_IMODE(info.st_mode))
        os.fsync(then)
    finally:
        os.close(now)
        if then >= 0:
            os.close(then)
    return None


def _is_equal(one: int, at: int, other: int, other_at: int, length: int) -> bool:
    """Whether two open files have the same bytes at these offsets; not if one of them is too short."""
    if length < 0:
        return False
    for done in range(0, length, _CHUNK):
        count = min(_CHUNK, length - done)
        part = os.pread(one, count, at + done)
        if len(part) != count or part != os.pread(other, count, other_at + done):
            return False
    return True


def _is_former(found: os.stat_result, expect: Fingerprint) -> bool:
    """Whether it is the log as it was before the cut; an undo that was killed may have appended to it."""
    same = (found.st_dev, found.st_ino) == (expect.device, expect.inode)
    return same and stat.S_ISREG(found.st_mode) and found.st_size >= expect.size


def _is_in_place(found: os.stat_result, expect: Fingerprint, *, may_have_grown: bool) -> bool:
    # A log that was emptied in place is the same file: only its size and its time tell.
    unchanged = (found.st_size, found.st_mtime_ns) == (expect.size, expect.mtime_ns)
    return _is_former(found, expect) and (may_have_grown or unchanged)


def _is_copy(found: os.stat_result, expect: Fingerprint) -> bool:
    is_file = stat.S_ISREG(found.st_mode)
    return is_file and (found.st_size, found.st_mtime_ns) == (expect.size, expect.mtime_ns)


def _reason(cut: LogCut, error: OSError) -> str:
    if error.errno in _FULL and cut.keep:
        copied = f"drydock copies its newest {cut.keep} bytes, which are more than half of it"
        return f"{error.strerror}: {copied}; --truncate-logs 0 needs no room"
    if error.errno == errno.EINVAL and cut.keep:
        return f"{error.strerror}: this file system cannot exchange two files; --truncate-logs 0 does not need that"
    if error.errno == errno.EXDEV:
        return "something is mounted on its path"
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "part of its path is a symbolic link, or not a directory"
    return error.strerror or type(error).__name__
