"""How soon ``drydock browse`` answers a key with very many objects."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import ruler
from benchmarks.root import Size, built

_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()=>][0-9A-B]?")
_PATIENCE = 600.0
_TARGET = 50
"""Milliseconds."""


class _View:
    """A command on a terminal of 80 columns and 24 lines."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._leader, follower = os.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        self._process = subprocess.Popen(
            command, stdin=follower, stdout=follower, stderr=follower, env=environment, start_new_session=True
        )  # fmt: skip
        os.close(follower)

    def shows(self, pattern: bytes) -> float:
        """Wait for a text, and give how many milliseconds that took."""
        begun = time.perf_counter()
        seen = b""
        while not re.search(pattern, _ESCAPES.sub(b"", seen)):
            left = begun + _PATIENCE - time.perf_counter()
            if left < 0 or not select.select([self._leader], [], [], left)[0]:
                raise TimeoutError(f"{pattern!r} is not shown: {seen[-500:]!r}")
            seen += os.read(self._leader, 65536)
        return (time.perf_counter() - begun) * 1000

    def presses(self, key: bytes, pattern: bytes) -> float:
        """Press a key, and give how many milliseconds pass until what it leads to is shown."""
        while select.select([self._leader], [], [], 0.01)[0]:
            os.read(self._leader, 65536)
        os.write(self._leader, key)
        return self.shows(pattern)

    def types(self, key: bytes) -> None:
        """Press a key, and wait for nothing."""
        os.write(self._leader, key)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Quit."""
        self.types(b"q")
        while self._process.poll() is None:
            if select.select([self._leader], [], [], 0.1)[0]:
                try:
                    os.read(self._leader, 65536)
                except OSError:  # EIO: it has ended
                    break
        self._process.wait()


def _echoes(count: int) -> list[float]:
    """The same for a program that only writes what it reads: what the terminal and other work on the machine take."""
    view = _View(["sh", "-c", "stty raw -echo; echo ready; exec cat"])
    view.shows(rb"ready")
    taken = [view.presses(b"%d." % number, rb"%d\." % number) for number in range(count)]
    view.kill()
    return taken


def keys(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """Moving through a level of very many blobs, also while the planner is asked in another thread."""
    count = 2_000 if quick else 200_000
    root = built(directory, Size(count, 20, 2_000, 512))
    view = _View(ruler.drydock("browse", "--measure", "recorded", root))
    opened = view.shows(rb"nothing is marked")
    # Everything that the images have in common with nothing: the filter lists all blobs, whatever holds them.
    view.presses(b"/", b"Enter takes it")
    begun = time.perf_counter()
    view.presses(b"sha256:\r", rb"1/[0-9]+ by size filter")
    listed = (time.perf_counter() - begun) * 1000
    moved, paged, asked = [], [], []
    at = 1
    for _ in range(10 * rounds):
        at += 1
        moved.append(view.presses(b"\x1b[B", rb"\b%d/[0-9]+ by" % at))
    for _ in range(4 * rounds):
        at += 15
        paged.append(view.presses(b"\x1b[6~", rb"\b[0-9]+/[0-9]+ by"))
    for _ in range(rounds):
        view.presses(b"\x1b[H", rb"\b1/[0-9]+ by")
        view.types(b" ")
        asked += [view.presses(b"\x1b[B", rb"\b%d/[0-9]+ by" % number) for number in range(2, 7)]
    view.end()
    echoed = _echoes(10 * rounds)
    lines = [
        f"{count:,} blobs; a terminal of 80 columns and 24 lines. Milliseconds from a key to what it leads to:",
        "",
    ]
    lines += ["| key | times | median | worst |", "| --- | --- | --- | --- |"]
    for what, taken in (
        ("Down", moved),
        ("PgDn", paged),
        ("Down, while the planner is asked", asked),
        ("any, that `cat` echoes", echoed),
    ):
        lines.append(f"| {what} | {len(taken)} | {median(taken):.0f} | {max(taken):.0f} |")
    lines.append("")
    lines.append(f"Target: at most {_TARGET} ms. Threads of Python take turns: a key waits while the planner sorts or")
    lines.append("frees very many things at once.")
    lines.append(f"Until all is read and shown: {opened / 1000:.1f} s.")
    lines.append(f"Until a filter has listed all blobs, in a thread: {listed / 1000:.1f} s.")
    return "Keys of browse", lines
