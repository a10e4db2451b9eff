"""Hashing blobs, which the processor does most of."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks import ruler
from benchmarks.root import CONTENT, Size, built


def digest(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """``scan --verify digest`` against sha256sum on both cores."""
    each = 1 << 16 if quick else 64 << 20
    files, times, lines = [], [], []
    for count in (4, 16, 64):
        root = built(directory, Size(count, 1, 10, each))
        names = b"\0".join(map(os.fsencode, sorted((root / CONTENT / "blobs/sha256").iterdir())))
        other, own = "`xargs -P2 sha256sum`", "`scan --verify digest`"
        commands = {
            other: ["xargs", "-0", "-P2", "-n4", "sha256sum"],
            own: ruler.drydock("scan", "--verify", "digest", root),
        }
        costs = ruler.race(commands, max(1, rounds - 2), fine=(0, 1), text=names)
        files.append(count * each)
        times.append(ruler.least(costs[own]))
        lines = [f"{count} blobs of {each >> 10:,} KiB; in the page cache where memory is large enough.", ""]
        lines += ruler.table(costs, other)
    return "scan --verify digest", [
        *lines, "", "Target ratio: at most 1.05. " + ruler.growth("drydock's time with the bytes", files, times),
    ]  # fmt: skip
