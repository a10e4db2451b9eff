"""A command on a terminal of a given width, as somebody who sits before it has it."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios
from pathlib import Path

from tests.support.program import DRYDOCK


def on_terminal(*arguments: str | Path, columns: int, errors: bool = False) -> tuple[str, int]:
    """Run ``drydock`` on a terminal.

    Args:
        arguments: of the command.
        columns: how wide the terminal is.
        errors: whether stderr, and so the progress, goes there too.

    Returns:
        All that was written there, escape sequences and carriage returns included, and the exit status.
    """
    return _on_terminal(arguments, columns, out=True, errors=errors)


def bars(*arguments: str | Path, columns: int) -> tuple[str, int]:
    """Run ``drydock`` with stderr on a terminal; what it prints on stdout goes nowhere.

    Returns:
        All that was written to the terminal, and the exit status.
    """
    return _on_terminal(arguments, columns, out=False, errors=True)


def _on_terminal(arguments: tuple[str | Path, ...], columns: int, *, out: bool, errors: bool) -> tuple[str, int]:
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    command = [*DRYDOCK, *map(str, arguments)]
    with subprocess.Popen(
        command,
        stdout=follower if out else subprocess.DEVNULL,
        stderr=follower if errors else subprocess.DEVNULL,
        env=environment,
    ) as process:
        os.close(follower)
        raw = b""
        while part := _read(leader):
            raw += part
    os.close(leader)
    return raw.decode().replace("\r\n", "\n"), process.returncode


def answered(*arguments: str | Path, answer: str) -> subprocess.CompletedProcess[str]:
    """Run ``drydock`` with a terminal for stdin on which somebody types ``answer``."""
    leader, follower = os.openpty()
    os.write(leader, f"{answer}\n".encode())
    command = [*DRYDOCK, *map(str, arguments)]
    try:
        return subprocess.run(command, stdin=follower, capture_output=True, text=True, check=False, timeout=60)
    finally:
        os.close(leader)
        os.close(follower)


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # EIO: nobody has the other end any more
        return b""
