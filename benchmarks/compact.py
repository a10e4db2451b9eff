"""Compacting a large meta.db that is mostly free pages, in place, against Go's ``bbolt compact`` to a new file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from benchmarks import ruler
from tests.support import gobbolt
from tests.support.surgery import edit

from bbolt_reader import Bucket, Database
from bbolt_surgery import Deletion

_KEPT = 3
"""One blob in so many stays."""


def compact(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """Time both, each on a copy of its own; what they leave has the same contents."""
    if reason := gobbolt.why_not():
        raise RuntimeError(reason)
    blobs = 2_000 if quick else 200_000
    path = directory / f"compact-{blobs}.db"
    if not path.exists():
        _make(path, blobs)
    mine, other = directory / "in-place.db", directory / "new.db"
    state = directory / "no-runs"
    state.mkdir(exist_ok=True)
    commands = {
        "Go": [str(gobbolt.program("shrink")), str(path), str(other)],
        "drydock": ruler.drydock("bolt", "compact", "--apply", "--yes", "--state", state, mine),
    }
    costs: dict[str, list[ruler.Cost]] = {name: [] for name in commands}
    for _ in range(max(1, rounds - 2)):
        for name, command in commands.items():
            if name == "Go":
                other.unlink(missing_ok=True)
            shutil.copyfile(path, mine)
            os.sync()
            costs[name].append(ruler.run(command)[0])
    sizes = {name: each.stat().st_size for name, each in (("before", path), ("Go", other), ("drydock", mine))}
    gobbolt_says = {gobbolt.check(each, timeout=600) for each in (mine, other)}
    if gobbolt_says != {(0, "")}:
        raise RuntimeError(f"not sound: {gobbolt_says}")
    told = ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in sizes.items())
    return "Compacting a database", [
        f"{blobs:,} blobs, of which two thirds were deleted. Bytes of the file: {told}.",
        "",
        *ruler.table(costs, "Go"),
        "",
        f"Ratio of minima {ruler.ratio(costs['drydock'], costs['Go']):.2f} (target: below 1.0).",
        "drydock checks every page before it writes, and Go does not. Go also fills half-full pages.",
    ]


def _make(path: Path, blobs: int) -> None:
    gobbolt.fill(path, "blobs", 4096, blobs)
    with Database.open(path) as database:
        gone = [
            Deletion(bucket.path, key)
            for bucket in _deepest(database)
            for number, (key, _) in enumerate(bucket.items())
            if number % _KEPT
        ]
    edit(path, gone)


def _deepest(database: Database) -> list[Bucket]:
    """The buckets with a bucket for each blob."""
    bucket = database.root
    while True:
        below = [value for _, value in bucket.items() if not isinstance(value, bytes)]
        if len(below) != 1:
            return [bucket]
        (bucket,) = below
