"""The most memory a scan takes."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks import ruler
from benchmarks.root import Size, built


def memory(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:  # noqa: ARG001 - as all of them are called
    """Peak of ``scan`` with many blobs, and of ``scan --measure disk`` with many files."""
    less = 100 if quick else 1
    lines = ["| root | command | peak, MB | seconds |", "| --- | --- | --- | --- |"]
    peaks: dict[str, list[float]] = {"blobs": [], "files": []}
    blobs = [number // less for number in (12_500, 50_000, 200_000)]
    files = [number // less for number in (62_500, 250_000, 1_000_000)]
    for kind, counts in (("blobs", blobs), ("files", files)):
        for count in counts:
            size = Size(count, 20, 2_000, 512) if kind == "blobs" else Size(100, 200, count, 512, 0)
            words = () if kind == "blobs" else ("--measure", "disk")
            # Not built here: a child has its parent's memory until its own program starts, and that counts too.
            with ProcessPoolExecutor(1) as builder:
                root = builder.submit(built, directory, size).result()
            cost, _ = ruler.run(ruler.drydock("scan", *words, root), fine=(0, 1))
            peaks[kind].append(cost.peak)
            command = f"`scan{''.join(f' {word}' for word in words)}`"
            lines.append(f"| {count:,} {kind} | {command} | {cost.peak:.0f} | {cost.seconds:.2f} |")
    lines += [
        "",
        f"Target: at most 150 MB with {blobs[-1]:,} blobs, and no growth with the number of files:",
        f"there the largest peak is {max(peaks['files']) / min(peaks['files']):.2f} times the smallest.",
        "Each worker process has a peak of its own.",
        ruler.growth("the peak with the blobs", blobs, peaks["blobs"], "MB"),
    ]
    return "Peak memory of a scan", lines
