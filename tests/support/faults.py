"""A run of ``drydock`` in a child of its own, in which each system call that changes something can be watched.

The calls of its forks, which remove trees beside it, are in the same count, in the order in which they were made.
Counted are all that drydock uses to change a file system, see :data:`CALLS` and :func:`places`; that none is missing is
compared with strace by tests/system/test_kill.py.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from click.testing import CliRunner

from drydock.cli import main
from drydock.reclaim import knife

CALLS = (
    "write", "pwrite", "fdatasync", "fsync", "ftruncate", "posix_fallocate", "mkdir", "chmod", "fchmod", "fchown",
    "setxattr", "utime", "open", "chown", "link", "symlink", "mknod",
)  # fmt: skip
"""Of module os, ``open`` only when it may make a file, and ``write`` unless it is into a pipe; besides these knife's
unlink, rmdir, replace and both of renameat2."""

Hook = Callable[[int, str], None]
"""Told before each call its number, from 1, and its name; what it raises, the call raises instead of being made."""


@dataclass(slots=True)
class Ended:
    """How a child ended."""

    signal: int
    """That killed it; 0 for none."""
    status: int = -1
    """Its exit status; -1 where it was killed."""
    output: str = ""
    calls: list[str] = field(default_factory=list)
    """Those that change something, by name, in order."""


def run_counted(*arguments: str | Path, kill_after: int = 0, whole: bool = False, hook: Hook | None = None) -> Ended:
    """Run ``drydock`` in a child.

    Args:
        arguments: of the command.
        kill_after: SIGKILL right after this call has been made, to the process that made it; 0: never.
        whole: SIGKILL to the child, also if the call was made by a fork of it.
        hook: see :data:`Hook`.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _in_child(
                [str(argument) for argument in arguments], writing, partial(_watch, kill_after, hook, whole=whole)
            )
        finally:
            os._exit(99)
    os.close(writing)
    with open(reading, "rb") as file:
        told = file.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Ended(os.WTERMSIG(status))
    assert told, "the child ended without a word"
    return Ended(0, **json.loads(told))


def _in_child(arguments: list[str], writing: int, watch: Callable[[], Callable[[], list[str]]]) -> None:
    send = os.write
    calls = watch()
    result = CliRunner().invoke(main, arguments)
    output = result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        output += f"\nTraceback: {result.exception!r}"
    data = json.dumps({"status": result.exit_code, "output": output, "calls": calls()}).encode()
    while data:
        data = data[send(writing, data) :]


def _watch(kill_after: int, hook: Hook | None, *, whole: bool) -> Callable[[], list[str]]:
    """Watch the calls of this process and its forks; the function gives their names."""
    starter, append = os.getpid(), os.write
    lock = threading.Lock()
    log, count = os.memfd_create("calls"), mmap.mmap(-1, 8)  # shared with the forks

    def wrap(name: str, perform: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            # A pipe leads to another process of the run; how many there are depends on the namespaces of the host.
            piped = name == "write" and stat.S_ISFIFO(os.fstat(arguments[0]).st_mode)
            if piped or (name == "open" and not arguments[1] & os.O_CREAT):
                return perform(*arguments, **named)
            with lock:
                fcntl.lockf(log, fcntl.LOCK_EX)
                append(log, f"{name}\n".encode())
                number = int.from_bytes(count[:], "little") + 1
                count[:] = number.to_bytes(8, "little")
                try:
                    if hook is not None:
                        hook(number, name)
                    return perform(*arguments, **named)
                finally:
                    if number == kill_after:
                        os.kill(starter if whole else os.getpid(), signal.SIGKILL)
                    fcntl.lockf(log, fcntl.LOCK_UN)

        return call

    for where, names in places():
        for name in names:
            setattr(where, name, wrap(name, getattr(where, name)))
    return lambda: os.pread(log, 1 << 24, 0).decode().split()


def places() -> Iterable[tuple[object, tuple[str, ...]]]:
    """Where the calls are, as drydock looks them up."""
    return (os, CALLS), (knife, ("unlink", "rmdir", "replace", "renameat2_noreplace", "renameat2_exchange"))
