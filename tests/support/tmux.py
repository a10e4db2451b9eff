"""A terminal that somebody sits before: a command in tmux, keys that are typed, and what can be seen."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_NUMBERS = itertools.count()
"""A tmux that ends may still have its socket."""
_PATIENCE = 60.0
"""Seconds until what should be seen is seen: other tests may have the processors."""


class Terminal:
    """A window of tmux with one command."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self.typed: list[str] = []
        """All keys, as tmux calls them."""

    def types(self, *keys: str) -> None:
        """Type keys: names as tmux has them (``Enter``, ``Space``, ``C-c``), or text."""
        for key in keys:
            self.typed.append(key)
            self._tmux("send-keys", "-t", "main", key)

    def text(self, *, colours: bool = False) -> str:
        """What can be seen; with ``colours`` as escape sequences too."""
        return self._tmux("capture-pane", "-p", "-t", "main", *(("-e",) if colours else ()))

    def sees(self, pattern: str) -> str:
        """Wait until something can be seen, and give all that can be.

        Raises:
            AssertionError: it does not come.
        """
        until = time.monotonic() + _PATIENCE
        text = ""
        while time.monotonic() < until:
            text = self.text()
            if re.search(pattern, text):
                return text
            time.sleep(0.05)
        raise AssertionError(f"{pattern!r} is not to be seen in\n{text}")

    def presses(self, key: str, pattern: str) -> str:
        """Type a key, and wait until something can be seen."""
        self.types(key)
        return self.sees(pattern)

    def resize(self, columns: int, lines: int) -> None:
        """Make the window larger or smaller."""
        self._tmux("resize-window", "-t", "main", "-x", str(columns), "-y", str(lines))

    def settings(self) -> list[str]:
        """How the terminal is set: what a program may leave changed behind it."""
        *modes, path = self._tmux(
            "display-message", "-p", "-t", "main", "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{pane_tty}"
        ).split()
        done = subprocess.run(["stty", "--file", path, "--all"], capture_output=True, text=True, check=True)
        # The first line has the size.
        return [*modes, *done.stdout.partition("\n")[2].split()]

    def process(self) -> int:
        """The process of the command that the window was opened with."""
        return int(self._tmux("display-message", "-p", "-t", "main", "#{pane_pid}"))

    def lose(self) -> None:
        """End the terminal, as a lost connection does."""
        self._tmux("kill-server")

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, "-f", "/dev/null", *words], capture_output=True, text=True, check=True
        )
        return done.stdout


@contextmanager
def terminal(
    command: Sequence[str | Path], *, columns: int = 80, lines: int = 24, **environment: str
) -> Iterator[Terminal]:
    """Run a command in a window; when it has ended, its status is written there, and the window stays.

    Args:
        command: with its arguments.
        columns: of the window.
        lines: of the window.
        environment: of the command, besides that of the test.
    """
    name = f"drydock-test-{os.getpid()}-{next(_NUMBERS)}"
    words = " ".join(shlex.quote(str(word)) for word in command)
    settings = " ".join(f"{key}={shlex.quote(value)}" for key, value in environment.items())
    line = f"env -u NO_COLOR {settings} {words}; echo ended with $?; exec sleep 600"
    base = ["tmux", "-L", name, "-f", "/dev/null"]
    subprocess.run(
        [*base, "new-session", "-d", "-s", "main", "-x", str(columns), "-y", str(lines), line],
        check=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    try:
        yield Terminal(name)
    finally:
        subprocess.run([*base, "kill-server"], capture_output=True, check=False)
