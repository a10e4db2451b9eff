"""Visiting every key of a large meta.db, here and in Go.

Both read the same file, each time in a new process, from the page cache, and count keys. Each is measured twice. bbolt
hands out parts of its mapping, so a visit alone copies nothing, while bbolt_reader's keys and values are copies that
outlive the database; ``copying`` is Go with such copies. bbolt_reader gives what a page holds at once, and this
is what drydock's record readers take; ``key by key`` goes through it in a loop besides.

A whole ``scan`` reads the same keys, lists the files of all blobs, and judges each of them.

The second reading of ``verify`` is timed in the same way: the reader by construct's declarations alone, and both
readers compared, which is what ``verify`` adds.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks import ruler
from benchmarks.root import METADATA, Size, built
from tests.support import gobbolt

BATCHES = """
import sys
from bbolt_reader import Database

def visit(bucket):
    found = 0
    for keys, values, buckets in bucket.batches():
        found += len(keys)
        for below in buckets:
            found += visit(below)
    return found

with Database.open(sys.argv[1]) as database:
    print(visit(database.root))
"""
_COMPARED = "both, compared"
ITEMS = """
import sys
from bbolt_reader import Database

def visit(bucket):
    found = 0
    for key, value in bucket.items():
        found += 1
        if type(value) is not bytes:
            found += visit(value)
    return found

with Database.open(sys.argv[1]) as database:
    print(visit(database.root))
"""

DECLARED = """
import sys
from bbolt_reader import DeclaredDatabase

def visit(bucket):
    found = 0
    for key, value in bucket.items():
        found += 1
        if type(value) is not bytes:
            found += visit(value)
    return found

with DeclaredDatabase.open(sys.argv[1]) as database:
    print(visit(database.root))
"""
COMPARED = """
import gc
import os
import sys
from bbolt_reader import Database, DeclaredDatabase, compare

gc.set_threshold(100_000)  # as the command has it, which also bounds the mapping
read = []
fd = os.open(sys.argv[1], os.O_RDONLY)
with Database.from_fd(fd, b"", bounded=True) as first, DeclaredDatabase.from_fd(fd, b"") as second:
    differences = list(compare(first, second, read.append))
print("differences" if differences else sum(read))
"""


def visit(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """Time both at three sizes."""
    programs = {"bbolt_reader": BATCHES, "bbolt_reader, key by key": ITEMS}
    lines, growth, _ = _against_go(directory, programs, "bbolt_reader", quick=quick, rounds=rounds)
    return "Visiting every key of a meta.db", [*lines, "", f"Target ratio: at most 2.0. {growth}"]


def second(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """Time the second reading of ``verify``: the reader made of construct's declarations, alone and compared."""
    programs = {"by construct": DECLARED, _COMPARED: COMPARED}
    lines, growth, cost = _against_go(directory, programs, _COMPARED, quick=quick, rounds=rounds)
    target = f"The second reading adds {cost.seconds:.1f} s to `verify` (target: at most 10)."
    return "The second reading of verify", [*lines, "", f"{target} {growth}"]


def scan(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """``scan`` of a root with many blobs against Go's visit of its meta.db."""
    if reason := gobbolt.why_not():
        raise RuntimeError(reason)
    sizes, times, lines = [], [], []
    for count in (125, 500, 2_000) if quick else (12_500, 50_000, 200_000):
        # Not built here: a child has its parent's memory until its own program starts, and that counts too.
        with ProcessPoolExecutor(1) as builder:
            root = builder.submit(built, directory, Size(count, 20, 2_000, 512)).result()
        labelled = directory / f"visit-{count}.db"
        if not labelled.exists():
            gobbolt.fill(labelled, "blobs", 4096, count)
        go = [str(gobbolt.program("visit")), str(root / METADATA / "meta.db")]
        commands = {
            "Go": go,
            "Go, of section visit": [go[0], str(labelled)],
            "`drydock scan`": ruler.drydock("scan", root),
        }
        costs = ruler.race(commands, rounds, fine=(0, 1))
        own = [ruler.run(go)[1].split() for _ in range(rounds)]
        keys, alone = int(own[0][0]), min(float(seconds) for _, seconds in own)
        sizes.append(count)
        times.append(ruler.least(costs["`drydock scan`"]))
        peak = max(cost.peak for cost in costs["`drydock scan`"])
        beside = times[-1] / ruler.least(costs["Go, of section visit"])
        lines = [
            f"{count:,} blobs, {keys:,} keys. Go visits the keys of meta.db; `scan` also checks its pages, decodes",
            "each record, lists and looks at the file of each blob, and judges each blob.",
            "",
            *ruler.table(costs, "Go"),
            "",
            f"Go's visit alone takes {alone:.2f} s, without the start and the end of its process;",
            f"`scan` takes {times[-1] / alone:.1f} times that. In the file of section visit, each blob has labels and",
            f"a page of its own; `scan` takes {beside:.1f} times as long as Go takes to visit that file.",
            f"Peak of drydock: {peak:.0f} MB. The workers that list the files and check the pages have peaks of",
            "their own.",
        ]
    growth = ruler.growth("drydock's time with the blobs", sizes, times)
    target = "Target: at most 6 times Go's visit of the file of section visit; peak at most 150 MB."
    return "scan of many blobs", [*lines, "", f"{target} {growth}"]


def _against_go(
    directory: Path, programs: dict[str, str], measured: str, *, quick: bool, rounds: int
) -> tuple[list[str], str, ruler.Cost]:
    """A table of the largest size, the growth of one program's time, and what that costs at the largest size."""
    if reason := gobbolt.why_not():
        raise RuntimeError(reason)
    blobs = 2_000 if quick else 200_000
    sizes, times, lines = [blobs // 16, blobs // 4, blobs], [], []
    for count in sizes:
        path = directory / f"visit-{count}.db"
        if not path.exists():
            gobbolt.fill(path, "blobs", 4096, count)
        go = [str(gobbolt.program("visit")), str(path)]
        commands = {"Go": go, "Go, copying": [*go, "copy"]}
        commands |= {name: [sys.executable, "-c", program, str(path)] for name, program in programs.items()}
        said = {ruler.run(command)[1].split()[0] for command in commands.values()}
        if len(said) != 1:
            raise RuntimeError(f"not the same was visited: {said}")
        costs = ruler.race(commands, rounds)
        times.append(ruler.least(costs[measured]))
        lines = [f"{count:,} blobs, {int(said.pop()):,} keys, {path.stat().st_size / 1e6:,.0f} MB.", ""]
        lines += ruler.table(costs, "Go")
    return lines, ruler.growth(f"the time of {measured} with the blobs", sizes, times), min(costs[measured])
