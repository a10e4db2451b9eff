"""Somebody who types, as root, what the documents say, in its order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from tests.support.spark import ENVIRONMENT

if TYPE_CHECKING:
    from typing_extensions import Self

TOP = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_WORDS = re.compile(r"\b(LEASE|IMAGE|DIGEST|CONTAINER|JOURNAL)\b")
# scan and explain say with 1 that something can be freed, and with 2 that something is damaged.
_FINE = (0, 1, 2, 3)
_SETUP = """
set -e
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/docker
mount --rbind "$1" /var/lib/docker
exec sleep infinity
"""


class Engine(Protocol):
    """What systemctl is to start and stop."""

    def start(self) -> None:
        """Start it."""

    def stop(self) -> None:
        """End it cleanly."""


def blocks(text: str) -> list[list[str]]:
    """The commands of a document, block by block."""
    found = [block for _, block in _FENCE.findall(text)]
    return [[line.strip() for line in block.splitlines() if line.strip()] for block in found]


def python_blocks(text: str) -> list[str]:
    """The scripts of a document."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(text: str, title: str = "") -> str:
    """What is below a heading of the second level; without a title what is above the first of them."""
    parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    return parts[0] if not title else dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def without_blocks(text: str) -> str:
    """All but the commands."""
    return _FENCE.sub("", text)


class Newcomer:
    """This machine in a mount namespace of its own, and without an engine in a PID namespace, as a context manager.

    A Docker data root lies at /var/lib/docker, and /var/lib is otherwise empty. A word in capitals (LEASE, JOURNAL ...)
    is filled in with what is known, or with what an earlier command printed.

    Args:
        docker: the data root.
        work: an empty folder; the one that is worked in.
        words: what stands for the words in capitals.
        engine: what ``systemctl start`` and ``systemctl stop`` are about; without one they do nothing.
    """

    def __init__(self, docker: Path, work: Path, words: Mapping[str, str], engine: Engine | None = None) -> None:
        self.work = work
        self.words = dict(words)
        self.said: dict[str, str] = {}
        """What each command printed."""
        self._docker = docker
        self._engine = engine
        self._inner: subprocess.Popen[bytes] | None = None
        self._target = 0
        # Without an engine of its own, it must not meet those of other tests: its processes are all there are.
        self._apart = ("--pid", "--fork", "--kill-child", "--mount-proc") if engine is None else ()
        self._entered = ("--pid",) if engine is None else ()
        stubs = work / "bin"
        stubs.mkdir()
        (stubs / "systemctl").write_text("#!/bin/sh\n")
        (stubs / "systemctl").chmod(0o755)
        self._path = f"{stubs}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def __enter__(self) -> Self:
        command = ["unshare", "--mount", *self._apart, "sh", "-c", _SETUP, "sh", str(self._docker)]
        self._inner = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        for _ in range(200):
            self._target = self._pid()
            if self._target and " /var/lib/docker " in Path(f"/proc/{self._target}/mountinfo").read_text():
                return self
            time.sleep(0.05)
        raise TimeoutError("the namespace was not set up")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._inner is not None:
            self._inner.kill()
            self._inner.wait()

    def _pid(self) -> int:
        """The process that keeps the namespaces; 0 as long as there is none."""
        assert self._inner is not None
        if not self._apart:
            return self._inner.pid
        children = Path(f"/proc/{self._inner.pid}/task/{self._inner.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def types(self, line: str) -> str:
        """Type one line, and give what it printed; a step that fails fails the test."""
        command = _WORDS.sub(lambda match: self.words[match[0]], line)
        if self._engine is not None and command.startswith("systemctl "):
            verb, *units = command.split()[1:]
            assert {"docker", "containerd"} <= set(units), command
            {"start": self._engine.start, "stop": self._engine.stop}[verb]()
            return ""
        done = self._run(command)
        assert done.returncode in _FINE, (command, done)
        assert "Traceback" not in done.stderr
        journal = re.search(r"journal:? (\S+\.jsonl)", done.stdout)
        if journal:
            self.words["JOURNAL"] = journal[1]
        self.said[line] = done.stdout
        return done.stdout

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        given = (f"{name}={value}" for name, value in ENVIRONMENT.items())
        return subprocess.run(
            [
                *(
                    "nsenter",
                    f"--target={self._target}",
                    "--mount",
                    *self._entered,
                    "env",
                    f"PATH={self._path}",
                    *given,
                ),
                *("sh", "-c", f"cd {self.work}; {command}"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
