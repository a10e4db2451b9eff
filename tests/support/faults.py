"""A run of ``drydock`` in a child of its own, in which each system call that changes something can be watched.

Counted are all that drydock uses to change a file system, see :data:`CALLS` and :func:`places`; that none is missing is
compared with strace by tests/system/test_kill.py.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner

from drydock.cli import main
from drydock.reclaim import knife

CALLS = (
    "write", "pwrite", "fdatasync", "fsync", "ftruncate", "posix_fallocate", "mkdir", "chmod", "fchmod", "fchown",
    "setxattr", "utime", "open", "chown", "link", "symlink", "mknod",
)  # fmt: skip
"""Of module os, ``open`` only when it may make a file; besides these knife's unlink, rmdir, replace and both of
renameat2."""

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


def run_counted(*arguments: str | Path, kill_after: int = 0, hook: Hook | None = None) -> Ended:
    """Run ``drydock`` in a child.

    Args:
        arguments: of the command.
        kill_after: SIGKILL right after this call has been made; 0: never.
        hook: see :data:`Hook`.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _in_child([str(argument) for argument in arguments], writing, kill_after, hook)
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


def _in_child(arguments: list[str], writing: int, kill_after: int, hook: Hook | None) -> None:
    send = os.write
    calls = _watch(kill_after, hook)
    result = CliRunner().invoke(main, arguments)
    output = result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        output += f"\nTraceback: {result.exception!r}"
    data = json.dumps({"status": result.exit_code, "output": output, "calls": calls}).encode()
    while data:
        data = data[send(writing, data) :]


def _watch(kill_after: int, hook: Hook | None) -> list[str]:
    calls: list[str] = []
    lock = threading.Lock()

    def wrap(name: str, perform: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return perform(*arguments, **named)
            with lock:
                calls.append(name)
                number = len(calls)
                if hook is not None:
                    hook(number, name)
                try:
                    return perform(*arguments, **named)
                finally:
                    if number == kill_after:
                        os.kill(os.getpid(), signal.SIGKILL)

        return call

    for where, names in places():
        for name in names:
            setattr(where, name, wrap(name, getattr(where, name)))
    return calls


def places() -> Iterable[tuple[object, tuple[str, ...]]]:
    """Where the calls are, as drydock looks them up."""
    return (os, CALLS), (knife, ("unlink", "rmdir", "replace", "renameat2_noreplace", "renameat2_exchange"))
