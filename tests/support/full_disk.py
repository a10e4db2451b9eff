"""A disk of its own, filled to the last byte."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NoDisk(Exception):
    """No file can be mounted as a disk here; the message is the reason, in one line. Tests skip on it and print it."""


@contextmanager
def disk(image: Path, point: Path, size: int) -> Iterator[Path]:
    """An empty ext4, mounted; its inodes do not run out before its blocks, and it keeps no blocks for itself.

    Args:
        image: a file to be made for it.
        point: an empty folder.
        size: bytes.

    Raises:
        NoDisk: loop mounts are not allowed.
    """
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", "-i", "4096", "-m", "5", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, point], capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise NoDisk(f"no loop mount here: {mounted.stderr.strip()}")
    # Blocks that ext4 keeps for itself: even they are to be full.
    device = os.stat(point).st_dev
    loop = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
    with contextlib.suppress(OSError):
        Path(f"/sys/fs/ext4/{loop}/reserved_clusters").write_text("0")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", point], check=True)


def fill(point: Path) -> None:
    """Write until nothing more fits, the blocks reserved for root included, and not a byte.

    ext4 gives blocks back some time after it is full: what it had reserved for writes that failed, and what it keeps
    for extents of files (fs/ext4/balloc.c, Linux 6.1). So it is filled again until a new file has no room for one byte.
    """
    with (point / "ballast").open("wb", buffering=0) as file:
        for number in range(200):
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
            with contextlib.suppress(OSError):
                os.fsync(file.fileno())
            # One that found room stays: what its removal freed would only be there again after the next commit.
            more = point / f"ballast-{number}"
            try:
                with more.open("wb", buffering=0) as written:
                    written.write(b"x")
                    os.fsync(written.fileno())
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break
        else:
            raise AssertionError("it does not fill up")
    room = os.statvfs(point)
    assert room.f_bavail == 0
    assert room.f_ffree > 1000
