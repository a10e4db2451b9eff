"""Removal of a directory tree that a container left: bounded, and without trust in its contents (docs/safety.md 8).

Every step is relative to an open directory and takes a single name, so no link is followed. A directory is entered only
with openat2's RESOLVE_NO_XDEV (or a check of the mount id), so a mount, even of the same device, is left alone. At most
:data:`_WINDOW` descriptors are open. In deeper trees the way back is ``..``, and is used only if it leads to the
directory that the walk came from.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from drydock.evidence.files.openat2 import open_directory
from drydock.model.text import shown
from drydock.reclaim import knife
from drydock.reclaim.syscalls import protection


def describe_obstacle(directory: int, name: bytes, error: OSError) -> str:
    """Describe in one line the error of a call on ``name`` in the open ``directory``.

    As root, EPERM nearly always means a flag that a container or an administrator set. Flags are reported and not
    cleared: somebody wanted to keep the file, and neither rm nor the engine overrides that.
    """
    match error.errno:
        case errno.EXDEV:
            return "something is mounted there: umount it"
        case errno.EBUSY:
            return "it is in use as a mount point"
        case errno.EPERM:
            for place, whose in ((name, "it"), (b"", "its directory")):
                flag = protection(directory, place)
                if flag is not None:
                    return f"{whose} is {flag}: clear the flag with chattr -R -i -a"
    return error.strerror or type(error).__name__


LISTED: Final = 20
"""How many of the remaining entries are named; all are counted."""


class RemovalStopped(Exception):
    """The caller asked to stop; part of the tree is removed."""


class Left(NamedTuple):
    """An entry that could not be removed."""

    path: str
    """Path below the tree's top, shown; a long one is shortened in the middle."""
    reason: str


@dataclass(slots=True)
class Removed:
    """What a removal did."""

    freed: int = 0
    """Bytes of allocated blocks whose last link was removed."""
    entries: int = 0
    """Entries removed, directories included."""
    left: list[Left] = field(default_factory=list)
    """The first :data:`LISTED` of the entries that could not be removed."""
    left_count: int = 0


_WINDOW: Final = 32
_RETRIES: Final = 3
_STUCK: Final = 1024
_UP: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER: Final = stat.S_IRWXU


@dataclass(slots=True)
class _Frame:
    name: str
    inode: int
    blocks: int
    fd: int
    pending: list[str] | None = None
    stuck: set[str] | None = None
    more: bool = True
    tries: int = 0


def remove_tree(
    parent: int, name: bytes, identity: tuple[int, int] | None = None, stop: Callable[[], bool] = lambda: False
) -> Removed:
    """Remove the directory ``name`` in the open directory ``parent`` with everything in it, as far as possible.

    Args:
        parent: descriptor of the directory that holds it.
        name: one component.
        identity: device and inode it must have; anything else is left alone.
        stop: called once for each directory; true ends the removal.

    Returns:
        What was removed and what is left, with reasons. An entry below ``name`` never raises.

    Raises:
        OSError: ``name`` itself cannot be opened as a directory, or is not the one meant (``ESTALE``).
        RemovalStopped: ``stop`` returned true.
    """
    walk = _TreeRemoval(parent, stop)
    try:
        walk.enter_top(name, identity)
        walk.run()
    finally:
        walk.close()
    return walk.removed


class _TreeRemoval:
    def __init__(self, parent: int, stop: Callable[[], bool]) -> None:
        self.removed = Removed()
        self._parent = parent
        self._stop = stop
        self._stack: list[_Frame] = []
        self._device = 0
        self._user = os.geteuid()

    def close(self) -> None:
        for frame in self._stack:
            if frame.fd >= 0:
                os.close(frame.fd)

    def enter_top(self, name: bytes, identity: tuple[int, int] | None) -> None:
        frame = self._open(self._parent, os.fsdecode(name))
        self._stack.append(frame)
        if identity is not None and identity != (self._device, frame.inode):
            raise OSError(errno.ESTALE, "another directory is there now", name)

    def run(self) -> None:
        while self._stack:
            frame = self._stack[-1]
            if frame.pending:
                self._descend(frame, frame.pending.pop())
            elif frame.more:
                self._scan(frame)
            else:
                self._ascend()

    def _open(self, directory: int, name: str) -> _Frame:
        raw = os.fsencode(name)
        try:
            fd = open_directory(directory, raw, readable=True)
        except PermissionError:
            fd = self._open_locked(directory, raw)
        try:
            info = os.fstat(fd)
            self._check_device(info.st_dev)
            if self._user and info.st_uid == self._user and info.st_mode & _OWNER != _OWNER:
                os.fchmod(fd, stat.S_IMODE(info.st_mode) | _OWNER)
        except BaseException:
            os.close(fd)
            raise
        return _Frame(name, info.st_ino, info.st_blocks, fd)

    def _check_device(self, device: int) -> None:
        if not self._stack:
            self._device = device
        elif device != self._device:
            # A btrfs subvolume has another device number, and is no mount.
            raise OSError(errno.ENOTSUP, "a subvolume, or another file system, is there")

    def _open_locked(self, directory: int, raw: bytes) -> int:
        # A container may leave a directory that its own owner cannot list. O_PATH needs no permission on it, and the
        # link in /proc leads to this inode, whatever its name is by now.
        handle = open_directory(directory, raw)
        try:
            info = os.fstat(handle)
            if info.st_uid != self._user:
                raise PermissionError(errno.EACCES, f"owned by uid {info.st_uid}", raw)
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(info.st_mode) | _OWNER)
            return os.open(".", _UP, dir_fd=handle)
        finally:
            os.close(handle)

    def _scan(self, frame: _Frame) -> None:
        if self._stop():
            raise RemovalStopped
        frame.more = False
        fd, unlink = frame.fd, knife.unlink
        # In deeper directories fewer names are kept for later, so that a hostile tree cannot fill the memory.
        limit = max(128, 16384 >> len(self._stack))
        pending: list[str] = []
        blocks = gone = 0
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    name = entry.name
                    if frame.stuck is not None and name in frame.stuck:
                        continue
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            if len(pending) == limit:
                                frame.more = True
                                break
                            pending.append(name)
                            continue
                        info = entry.stat(follow_symlinks=False)
                        unlink(name, dir_fd=fd)
                    except FileNotFoundError:
                        continue
                    except IsADirectoryError:
                        self._again(frame, name)
                    except OSError as error:
                        self._leave(name, describe_obstacle(fd, os.fsencode(name), error))
                    else:
                        gone += 1
                        if info.st_nlink == 1:
                            blocks += info.st_blocks
        except OSError as error:
            self._leave("", f"cannot be listed: {error.strerror}")
        if frame.more and frame.stuck is not None and len(frame.stuck) >= _STUCK:
            frame.more = False
            self._leave("", f"more than {_STUCK} of its entries cannot be removed: the rest was not tried")
        frame.pending = pending
        self.removed.entries += gone
        self.removed.freed += blocks * 512

    def _descend(self, frame: _Frame, name: str) -> None:
        try:
            child = self._open(frame.fd, name)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                self._unlink_swapped(frame, name)
            else:
                self._leave(name, describe_obstacle(frame.fd, os.fsencode(name), error))
            return
        self._stack.append(child)
        if len(self._stack) > _WINDOW + 1:
            # The first frame stays open: a walk that cannot go back starts again there.
            far = self._stack[-_WINDOW]
            if far.fd >= 0:
                os.close(far.fd)
                far.fd = -1

    def _unlink_swapped(self, frame: _Frame, name: str) -> None:
        # The entry was listed as a directory and no longer is one. It is in the tree to remove, so it is unlinked.
        try:
            knife.unlink(name, dir_fd=frame.fd)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            self._again(frame, name)
        except OSError as error:
            self._leave(name, describe_obstacle(frame.fd, os.fsencode(name), error))
        else:
            self.removed.entries += 1

    def _again(self, frame: _Frame, name: str) -> None:
        frame.tries += 1
        frame.more = frame.tries <= _RETRIES
        if not frame.more:
            self._leave(name, "it keeps changing")

    def _ascend(self) -> None:
        child = self._stack[-1]
        above = self._stack[-2] if len(self._stack) > 1 else None
        if above is not None and above.fd < 0 and not self._reopen(above, child):
            return
        directory = self._parent if above is None else above.fd
        if child.stuck is None:
            try:
                knife.rmdir(child.name, dir_fd=directory)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST} and child.tries < _RETRIES:
                    child.tries += 1
                    child.more = True
                    return
                if error.errno == errno.ENOTDIR and above is not None:
                    self._pop()
                    self._unlink_swapped(above, child.name)
                    return
                self._leave("", describe_obstacle(directory, os.fsencode(child.name), error))
            else:
                self.removed.entries += 1
                self.removed.freed += child.blocks * 512
        self._pop()
        if child.stuck is not None and above is not None:
            _stick(above, child.name)

    def _pop(self) -> None:
        os.close(self._stack.pop().fd)

    def _reopen(self, above: _Frame, child: _Frame) -> bool:
        try:
            fd = os.open("..", _UP, dir_fd=child.fd)
        except OSError as error:
            self._leave("", f"its parent cannot be opened: {error.strerror}")
        else:
            info = os.fstat(fd)
            if (info.st_dev, info.st_ino) == (self._device, above.inode):
                above.fd = fd
                return True
            os.close(fd)
            self._leave("", "it was moved while being removed")
        self._restart()
        return False

    def _restart(self) -> None:
        first = self._stack[0]
        for frame in self._stack[1:]:
            if frame.fd >= 0:
                os.close(frame.fd)
        del self._stack[1:]
        first.pending = None
        first.tries += 1
        first.more = first.tries <= _RETRIES
        if not first.more:
            self._leave("", "it keeps changing")

    def _leave(self, name: str, reason: str) -> None:
        """Note that ``name`` in the current directory (or the directory itself, if empty) stays."""
        _stick(self._stack[-1], name)
        self.removed.left_count += 1
        if len(self.removed.left) < LISTED:
            self.removed.left.append(Left(self._path(name), reason))

    def _path(self, name: str) -> str:
        names = [frame.name for frame in self._stack[1:]]
        if len(names) > 8:
            names[4:-4] = ["…"]
        if name:
            names.append(name)
        text = shown(os.fsencode("/".join(names))) or "."
        return text if len(text) <= 512 else f"{text[:255]}…{text[-255:]}"


def _stick(frame: _Frame, name: str) -> None:
    if frame.stuck is None:
        frame.stuck = set()
    if len(frame.stuck) < _STUCK:
        frame.stuck.add(name)
