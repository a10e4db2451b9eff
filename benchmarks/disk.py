"""Work that the disk and the kernel do most of: hashing blobs, and removing trees."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks import ruler
from benchmarks.root import CONTENT, OVERLAY, Size, built, plant

from drydock.evidence.files.directory import fingerprint
from drydock.model.names import RawPath
from drydock.model.plans import Removal, Status, Target
from drydock.reclaim.execute_removals import run_removals
from drydock.reclaim.journal import JournalWriter
from drydock.reclaim.root_dir import open_root_dir

_FOLDER = f"{OVERLAY}/snapshots"


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


def remove(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """What ``clean --apply`` does to trees, journal and all, against ``rm -rf``."""
    files = 1_500 if quick else 150_000
    sizes, times = [files // 16, files // 4, files], []
    seconds: dict[str, list[float]] = {}
    for count in sizes:
        seconds = {name: [] for name in _WAYS}
        for turn in range(rounds):
            for name, way in list(_WAYS.items())[:: -1 if turn % 2 else 1]:
                with tempfile.TemporaryDirectory(dir=directory) as parent:
                    top = Path(parent) / "root"
                    snapshots = max(1, 100 * count // files)
                    for number in range(snapshots):
                        plant(top / _FOLDER / str(number) / "fs", count // snapshots, b"x" * 700)
                    os.sync()
                    start = time.perf_counter()
                    way(top)
                    seconds[name].append(time.perf_counter() - start)
        times.append(min(seconds["drydock"]))
    lines = ["| | seconds: min / median | median of the ratios to `rm -rf` |", "| --- | --- | --- |"]
    for name, some in seconds.items():
        ratios = [mine / other for mine, other in zip(some, seconds["`rm -rf`"], strict=True)]
        lines.append(f"| {name} | {min(some):.2f} / {median(some):.2f} | {median(ratios):.2f} |")
    return "Removing snapshots", [
        f"{files:,} files in 100 snapshots. Where unlink waits for the disk, drydock removes four snapshots at once:",
        "they wait together. `rm` removes file by file. ext4 without a journal waits at each file if mounted with",
        "`discard`. Where nothing waits, as on tmpfs, drydock removes one after the other, and is slower than `rm`,",
        "because it looks at the size of each file.",
        "",
        *lines,
        "",
        "Target ratio: at most 0.8. " + ruler.growth("drydock's time with the files", sizes, times, target=1.05),
    ]


def _drydock(top: Path) -> None:
    """Remove each snapshot of ``top`` as ``apply`` does: fingerprint, journal, rename, removal."""
    state = Path(tempfile.mkdtemp(dir=top.parent))
    fd = os.open(state, os.O_RDONLY)
    root_dir = open_root_dir(RawPath(os.fsencode(top)))
    journal = JournalWriter(fd, RawPath(os.fsencode(state)), root_dir.path, None)
    removals = []
    for name in os.listdir(os.fsencode(top / _FOLDER)):
        path = RawPath(os.fsencode(_FOLDER) + b"/" + name)
        expect = fingerprint(os.lstat(os.path.join(root_dir.path, path)))
        removals.append(Removal(Target.SNAPSHOT, root_dir.path, path, expect, 0, "no row names it"))
    for outcome in run_removals(removals, root_dir, journal):
        if outcome.status is not Status.DONE:
            raise RuntimeError(outcome.detail)
    journal.finish()
    journal.close()
    os.close(fd)


def _rm(top: Path) -> None:
    """Remove each snapshot of ``top`` with rm."""
    subprocess.run(["rm", "-rf", "--", *(str(path) for path in (top / _FOLDER).iterdir())], check=True)


_WAYS = {"`rm -rf`": _rm, "drydock": _drydock}
