"""Removing snapshots: what ``apply`` does, journal and all, against ``rm -rf`` of the same tree, in one run.

    python benchmarks/remove_tree.py [DIRECTORY] [--snapshots N] [--files N] [--rounds N]

Prints each round's seconds and the median ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from drydock.evidence.directory import fingerprint
from drydock.model.names import RawPath
from drydock.model.plans import Removal, Status, Target
from drydock.reclaim.anchor import open_anchor
from drydock.reclaim.apply import remove
from drydock.reclaim.journal import JournalWriter

FOLDER = "io.containerd.snapshotter.v1.overlayfs/snapshots"


def build(top: Path, snapshots: int, files: int) -> None:
    """``files`` small files over ``snapshots`` directories, some 30 to a directory, as a root file system has them."""
    data = b"x" * 700
    per_snapshot = files // snapshots
    for number in range(snapshots):
        fs = top / FOLDER / str(number) / "fs"
        made = 0
        for group in range((per_snapshot + 29) // 30):
            folder = fs / f"usr{group % 5}" / f"lib{group % 11}" / f"package-{group}"
            folder.mkdir(parents=True)
            for index in range(min(30, per_snapshot - made)):
                with open(folder / f"file-{index}.py", "wb") as file:
                    file.write(data)
                made += 1


def drydock(top: Path) -> None:
    """Remove each snapshot of ``top`` as ``apply`` does: fingerprint, journal, rename, removal."""
    state = Path(tempfile.mkdtemp(dir=top.parent))
    fd = os.open(state, os.O_RDONLY)
    anchor = open_anchor(RawPath(os.fsencode(top)))
    journal = JournalWriter(fd, RawPath(os.fsencode(state)), anchor.path, None)
    removals = []
    for name in os.listdir(os.fsencode(top / FOLDER)):
        path = RawPath(os.fsencode(FOLDER) + b"/" + name)
        expect = fingerprint(os.lstat(os.path.join(anchor.path, path)))
        removals.append(Removal(Target.SNAPSHOT, anchor.path, path, expect, 0, "no row names it"))
    for outcome in remove(removals, anchor, journal):
        if outcome.status is not Status.DONE:
            raise SystemExit(outcome.detail)
    journal.finish()


def rm(top: Path) -> None:
    """Remove each snapshot of ``top`` with rm."""
    subprocess.run(["rm", "-rf", "--", *(str(path) for path in (top / FOLDER).iterdir())], check=True)


def main() -> None:
    """Build, remove, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", default=None)
    parser.add_argument("--snapshots", type=int, default=100)
    parser.add_argument("--files", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        for turn in range(options.rounds):
            seconds = {}
            ways = [rm, drydock] if turn % 2 else [drydock, rm]
            for way in ways:
                top = Path(name) / way.__name__
                top.mkdir(exist_ok=True)
                build(top, options.snapshots, options.files)
                os.sync()
                start = time.perf_counter()
                way(top)
                seconds[way.__name__] = time.perf_counter() - start
            ratios.append(seconds["drydock"] / seconds["rm"])
            print(f"drydock {seconds['drydock']:.2f} s, rm -rf {seconds['rm']:.2f} s, ratio {ratios[-1]:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
