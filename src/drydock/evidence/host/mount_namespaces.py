"""Every mount namespace of this host: those of processes and threads, and those that only a file keeps.

A namespace outlives its processes if its file is mounted somewhere (nsfs). snap keeps the namespaces of its
applications in /run/snapd/ns in this way (snapd cmd/snap-confine/ns-support.c, 2.61).
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from drydock.evidence.files.mountinfo import MountEntry, NamespaceView, entries
from drydock.evidence.files.worker import Worker, Write
from drydock.model.errors import Refused
from drydock.model.text import quoted_path, shown

_CLONE_NEWNS = 0x20000  # include/uapi/linux/sched.h


class NamespaceChild(Worker):
    """A worker that enters a mount namespace, and stays in it until it is closed.

    Args:
        namespace: an open file that keeps the namespace.

    Raises:
        OSError: the namespace cannot be entered.
    """

    def __init__(self, namespace: int) -> None:
        result, source = os.pipe2(os.O_CLOEXEC)
        try:
            # os.setns is in Python since 3.12 only.
            super().__init__(partial(_stay, ctypes.CDLL(None, use_errno=True).setns, namespace, source))
        finally:
            os.close(source)
            with open(result, "rb") as file:
                told = file.read()
        if told != b"0":
            self.close()
            number = int(told) if told else errno.ESRCH
            raise OSError(number, os.strerror(number))


def _stay(setns: Callable[[int, int], int], namespace: int, source: int, _: Write) -> None:
    failed = setns(namespace, _CLONE_NEWNS)
    os.write(source, b"%d" % (ctypes.get_errno() if failed else 0))
    os.close(source)
    while not failed:
        signal.pause()


_NAMESPACE = re.compile(rb"mnt:\[([0-9]+)\]\Z")

_Views = dict[tuple[int, tuple[int, int]], tuple[NamespaceView, list[MountEntry]]]


@contextmanager
def open_namespaces() -> Iterator[dict[NamespaceView, list[MountEntry]]]:
    """Every view with its mount table, this process's first; their paths can be reached as long as the context lasts.

    Raises:
        Refused: a namespace that a file keeps cannot be entered, and is not just another user's.
    """
    found: _Views = {}
    pids = (os.getpid(), *sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()))
    for pid in pids:
        _add(found, pid)
    spaces = {space for space, _ in found}
    for pid in pids:
        for thread in _strays(pid, spaces):
            _add(found, thread)
    with ExitStack() as stack:
        asked = {space for space, _ in found}
        while kept := {space: files for space, files in _kept(found).items() if space not in asked}:
            asked.update(kept)
            for space, files in kept.items():
                _enter(found, stack, space, files)
        yield dict(found.values())


def _add(found: _Views, pid: int, kept: bytes = b"") -> None:
    with suppress(OSError):  # the process has ended, or is another user's
        top = os.stat(f"/proc/{pid}/root")
        key = (os.stat(f"/proc/{pid}/ns/mnt").st_ino, (top.st_dev, top.st_ino))
        if key not in found and (table := list(entries(pid))):
            found[key] = NamespaceView(pid, *key, kept), table


def _strays(pid: int, spaces: set[int]) -> Iterator[int]:
    """The threads of a process that are in other namespaces than these."""
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                if os.stat(f"/proc/{pid}/task/{name}/ns/mnt").st_ino not in spaces:
                    yield int(name)


def _kept(found: _Views) -> dict[int, list[bytes]]:
    """The mounted files of mount namespaces, by inode, as this process reaches them."""
    kept: dict[int, list[bytes]] = {}
    for view, table in found.values():
        prefix = b"" if view.pid == os.getpid() else view.prefix
        for entry in table:
            if entry.kind == b"nsfs" and (match := _NAMESPACE.match(entry.root)):
                kept.setdefault(int(match[1]), []).append(prefix + entry.point)
    return kept


def _enter(found: _Views, stack: ExitStack, space: int, files: list[bytes]) -> None:
    errors: list[OSError] = []
    for path in files:
        try:
            child = _enter_by(path, space)
        except OSError as error:
            errors.append(error)
            continue
        stack.callback(child.close)
        _add(found, child.pid, path)
        return
    foreign = os.geteuid() != 0 and any(isinstance(error, PermissionError) for error in errors)
    # The file may have been unmounted since the table was read.
    if not foreign and space in _kept({key: (view, list(entries(view.pid))) for key, (view, _) in found.items()}):
        raise Refused(
            f"{shown(files[0])} keeps a mount namespace that cannot be looked into ({errors[0].strerror}), and what is "
            f"mounted there is not known; let it go: umount {quoted_path(files[0])}"
        )


def _enter_by(path: bytes, space: int) -> NamespaceChild:
    # Another file may have been mounted over it since, and opening some files has effects.
    if os.stat(path).st_ino != space:
        raise OSError(errno.ESTALE, "another file lies over it")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return NamespaceChild(descriptor)
    finally:
        os.close(descriptor)
