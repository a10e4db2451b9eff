"""EROFS images that mkfs.erofs makes, with the options that containerd gives it, and what the kernel shows of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.erofs import erofs_utils

FROM_DIRECTORY = ("-Enoinline_data",)
"""containerd internal/erofsutils/mount.go ConvertErofs (v2.4.2): a container that was committed."""
FROM_TAR = ("--tar=f", "--aufs", "-Enoinline_data", "-b4096")
"""ConvertTarErofs: a layer that was pulled."""
TAR_INDEX = ("--tar=i", "--aufs", "-b4096")
"""GenerateTarIndexAndAppendTar, without the tar behind it."""


def make_image(image: Path, source: Path | bytes, options: tuple[str, ...] = FROM_DIRECTORY) -> None:
    """Write an image of a directory, or of a tar archive.

    Raises:
        EngineUnavailable: mkfs.erofs cannot be had.
    """
    command: list[str | Path] = [erofs_utils() / "usr/local/bin/mkfs.erofs", "--quiet", *options, image]
    if isinstance(source, Path):
        subprocess.run([*command, source], check=True, capture_output=True)
        return
    subprocess.run(command, input=source, check=True, capture_output=True)
    if "--tar=i" in options:
        with image.open("ab") as file:
            file.write(source)


@contextmanager
def image_mounted(image: Path, point: Path) -> Iterator[Path]:
    """The kernel's mount of an image."""
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "erofs", "-o", "ro,loop", image, point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)
