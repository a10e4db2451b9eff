"""A btrfs file system in a file, for what cannot be kept as an archive: subvolumes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.unavailable import EngineUnavailable

_SIZE = 256 << 20
"""Sparse; mkfs.btrfs asks for 109 MiB at least."""


def make(image: Path) -> None:
    """Make an empty file system in a new file.

    Raises:
        EngineUnavailable: no mkfs.btrfs.
    """
    if shutil.which("mkfs.btrfs", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        raise EngineUnavailable("mkfs.btrfs (btrfs-progs) is not installed")
    with image.open("wb") as file:
        file.truncate(_SIZE)
    subprocess.run(["/usr/sbin/mkfs.btrfs", "-q", image], capture_output=True, check=True)


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    """Mount it on an existing folder. Of two copies of one only one can be mounted at a time: they are one to btrfs.

    Raises:
        EngineUnavailable: it cannot be mounted here: no loop device, or a kernel without btrfs.
    """
    done = subprocess.run(["mount", "-o", "loop", image, at], capture_output=True, check=False)
    if done.returncode != 0:
        raise EngineUnavailable(f"no btrfs here: {done.stderr.decode(errors='replace').strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)
        # Else the next copy, on another loop device, is taken for this one.
        subprocess.run(["/usr/bin/btrfs", "device", "scan", "--forget"], capture_output=True, check=False)
