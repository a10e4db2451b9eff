"""The whole errand: from a stopped host with an abandoned lease to a clean one."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks import ruler
from benchmarks.root import LEASE, OVERLAY, Size, build
from tests.engines.containerd import Containerd
from tests.engines.sandbox import Sandbox


def whole(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """``clean --apply`` against containerd's start, ``ctr leases rm --sync`` and the collection that this waits for."""
    full = Size(80, 16, 1_600) if quick else Size(5_000, 100, 150_000)
    files, times, lines = [], [], []
    for part in (16, 4, 1):
        size = Size(full.blobs // part, max(1, full.snapshots // part), full.files // part)
        seconds: dict[str, list[float]] = {"drydock": [], "containerd": []}
        for turn in range(max(1, rounds - 2)):
            for way in (_containerd, _drydock) if turn % 2 else (_drydock, _containerd):
                with tempfile.TemporaryDirectory(dir=directory) as name:
                    root = Path(name) / "root"
                    build(root, size)
                    # A stopped host has written everything: who comes first must not wait for what was built just now.
                    os.sync()
                    seconds[way.__name__.strip("_")].append(way(root, Path(name)))
                    left = list((root / OVERLAY / "snapshots").iterdir())
                    if left:
                        raise RuntimeError(f"{way.__name__} left {len(left)} snapshots")
        files.append(size.files)
        times.append(min(seconds["drydock"]))
        lines = ["| | seconds: min / median |", "| --- | --- |"]
        lines += [f"| {name} | {min(some):.2f} / {median(some):.2f} |" for name, some in seconds.items()]
        ratio = min(seconds["drydock"]) / min(seconds["containerd"])
    growth = ruler.growth("drydock's time with the files", files, times)
    return "From a stopped host to a clean one", [
        f"One lease holds {full.snapshots} snapshots with {full.files:,} files; beside them are {full.blobs:,} blobs.",
        "`drydock` is `clean --apply --end-lease`. `containerd` is its start, `ctr leases rm --sync`, and the",
        "collection that this waits for.",
        "",
        *lines,
        "",
        f"Ratio of minima {ratio:.2f} (target: at most 1.0). {growth}",
    ]


def _drydock(root: Path, work: Path) -> float:
    command = ruler.drydock("clean", "--apply", "--yes", "--end-lease", LEASE, "--state", work / "state", root)
    cost, _ = ruler.run(command)
    return cost.seconds


def _containerd(root: Path, work: Path) -> float:
    with Sandbox(work) as sandbox:
        start = time.perf_counter()
        with Containerd(sandbox, root, collect=True) as engine:
            engine.ctr("leases", "rm", "--sync", LEASE, namespace="moby")
            return time.perf_counter() - start
