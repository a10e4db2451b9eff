"""Removing snapshots: drydock's tree removal against ``rm -rf`` of the same tree, alternating, in one run.

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

from drydock.reclaim.tree import remove_tree


def build(top: Path, snapshots: int, files: int) -> None:
    """``files`` small files over ``snapshots`` directories, some 30 to a directory, as a root file system has them."""
    data = b"x" * 700
    per_snapshot = files // snapshots
    for number in range(snapshots):
        fs = top / str(number) / "fs"
        made = 0
        for group in range((per_snapshot + 29) // 30):
            folder = fs / f"usr{group % 5}" / f"lib{group % 11}" / f"package-{group}"
            folder.mkdir(parents=True)
            for index in range(min(30, per_snapshot - made)):
                with open(folder / f"file-{index}.py", "wb") as file:
                    file.write(data)
                made += 1


def drydock(top: Path) -> None:
    """Remove each snapshot of ``top`` with the code that ``apply`` uses."""
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in os.listdir(os.fsencode(top)):
            removed = remove_tree(fd, name)
            if removed.left_count:
                raise SystemExit(f"left: {removed.left}")
    finally:
        os.close(fd)


def rm(top: Path) -> None:
    """Remove each snapshot of ``top`` with rm."""
    subprocess.run(["rm", "-rf", "--", *(str(path) for path in top.iterdir())], check=True)


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
