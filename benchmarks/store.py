"""Scanning a root with many files."""

from __future__ import annotations

from pathlib import Path

from benchmarks import ruler
from benchmarks.root import Size, built, built_data_root

_FINE = (0, 1)


def recorded(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """``scan`` with sizes as recorded, against ``du -s``."""
    lines = _against_du(directory, quick=quick, rounds=rounds, words=())
    return "scan, with recorded sizes", [*lines, "Target ratio: at most 0.25."]


def measured(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """``scan --measure disk`` against ``du -s``."""
    lines = _against_du(directory, quick=quick, rounds=rounds, words=("--measure", "disk"))
    return "scan --measure disk", [*lines, "Target ratio: at most 1.2."]


def data_root(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """``scan --measure disk`` of everything in a data root, and ``scan`` with recorded sizes, against ``du -s``."""
    less = 100 if quick else 1
    lines = []
    for words, whole, file_bytes, target in (
        (("--measure", "disk"), 300_000, 700, "1.0"),
        ((), 1_000_000, 0, "0.1"),
    ):
        files, times = [], []
        du, scan = "`du -s`", "`drydock scan" + "".join(f" {word}" for word in words) + "`"
        costs: dict[str, list[ruler.Cost]] = {}
        for count in (whole // 16 // less, whole // 4 // less, whole // less):
            root = built_data_root(directory, count, file_bytes)
            costs = ruler.race(
                {du: ["du", "-s", str(root)], scan: ruler.drydock("scan", *words, root)}, rounds, fine=_FINE
            )
            files.append(count)
            times.append(ruler.least(costs[scan]))
        lines += [f"{files[-1]:,} files; caches warm.", "", *ruler.table(costs, du), ""]
        peak = max(cost.peak for cost in costs[scan])
        growth = ruler.growth("drydock's time with the files", files, times)
        lines += [f"Target ratio: at most {target}. {growth} Peak: {peak:.0f} MB.", ""]
    return "scan of a Docker data root", lines[:-1]


def _against_du(directory: Path, *, quick: bool, rounds: int, words: tuple[str, ...]) -> list[str]:
    whole = Size(80, 16, 3_200) if quick else Size(5_000, 200, 300_000)
    files, times, lines = [], [], []
    for part in (16, 4, 1):
        size = Size(whole.blobs // part, max(1, whole.snapshots // part), whole.files // part)
        root = built(directory, size)
        du, scan = "`du -s`", "`drydock scan" + "".join(f" {word}" for word in words) + "`"
        commands = {du: ["du", "-s", str(root)], scan: ruler.drydock("scan", *words, root)}
        costs = ruler.race(commands, rounds, fine=_FINE)
        files.append(size.files)
        times.append(ruler.least(costs[scan]))
        lines = [f"{size.files:,} files in {size.snapshots} snapshots, {size.blobs:,} blobs; caches warm.", ""]
        lines += ruler.table(costs, du)
    return [*lines, "", ruler.growth("drydock's time with the files", files, times)]
