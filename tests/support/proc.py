"""Children that a test starts, and ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(
    arguments: list[str | Path], *, cwd: Path | None = None, says: bytes = b"ready"
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that has said that it is ready; killed and waited for at the end."""
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stdin=subprocess.PIPE, cwd=cwd)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.strip() == says, line
        yield child
    finally:
        child.kill()
        child.communicate()


def python(code: str, *arguments: str | Path) -> list[str | Path]:
    """A Python child that runs ``code``, says that it is ready, and waits until its input ends."""
    return [sys.executable, "-c", f"import sys\n{code}\nprint('ready', flush=True)\nsys.stdin.read()", *arguments]


def shell(code: str) -> str:
    """A shell script that runs ``code``, says that it is ready, and waits."""
    return f"set -e\n{code}\necho ready\nexec sleep 300"
