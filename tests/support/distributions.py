"""What is published for Python: the wheel and the sdist, built by the build backend of pyproject.toml."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def build(source: Path, into: Path, target: str) -> Path:
    """Build the ``wheel`` or the ``sdist`` of a source folder, without a network; gives the file."""
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    before = set(into.iterdir())
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)],
        cwd=source, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    (made,) = set(into.iterdir()) - before
    return made
