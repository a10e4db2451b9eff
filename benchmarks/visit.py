"""Visiting every key of a large meta.db, here and in Go.

Both read the same file, each time in a new process, from the page cache, and count keys. Each is measured twice. bbolt
hands out parts of its mapping, so a visit alone copies nothing, while bbolt_reader's keys and values are copies that
outlive the database; ``copying`` is Go with such copies. bbolt_reader gives what a page holds at once, and this
is what drydock's record readers take; ``key by key`` goes through it in a loop besides.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import ruler
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


def visit(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """Time both at three sizes."""
    if reason := gobbolt.why_not():
        raise RuntimeError(reason)
    blobs = 2_000 if quick else 200_000
    sizes, times, lines = [blobs // 16, blobs // 4, blobs], [], []
    for count in sizes:
        path = directory / f"visit-{count}.db"
        if not path.exists():
            gobbolt.fill(path, "blobs", 4096, count)
        go = [str(gobbolt.program("visit")), str(path)]
        commands = {
            "Go": go,
            "Go, copying": [*go, "copy"],
            "bbolt_reader": [sys.executable, "-c", BATCHES, str(path)],
            "bbolt_reader, key by key": [sys.executable, "-c", ITEMS, str(path)],
        }
        said = {ruler.run(command)[1].split()[0] for command in commands.values()}
        if len(said) != 1:
            raise RuntimeError(f"not the same was visited: {said}")
        costs = ruler.race(commands, rounds)
        times.append(ruler.least(costs["bbolt_reader"]))
        lines = [f"{count:,} blobs, {int(said.pop()):,} keys, {path.stat().st_size / 1e6:,.0f} MB.", ""]
        lines += ruler.table(costs, "Go")
    lines += ["", "Wanted: at most 2.0. " + ruler.growth("bbolt_reader's time with the blobs", sizes, times)]
    return "Visiting every key of a meta.db", lines
