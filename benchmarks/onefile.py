"""The one file beside an installed drydock: size, start, and a scan."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from statistics import median

from benchmarks import ruler
from tests.support.captures import capture, unpack

_DEMO = "docker-29-interrupted"
_FINE = (0, 1, 2, 3)
"""Exit statuses of a scan that was done."""
_LARGEST = 16.0
"""MB: 20 are promised, 4 of them are kept for what comes later."""


def one_file(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """``--version``, and a scan of the capture that ``./run demo`` shows, against the same of this tree."""
    ruler.run([sys.executable, "-m", "release", "file", "--out", str(directory / "dist")])
    (program,) = (directory / "dist").glob(f"drydock-*-linux-{os.uname().machine}")
    of = capture(_DEMO)
    host = directory / "host"
    if not host.exists():
        host.mkdir()
        unpack(of, host)
    scan = ("scan", "--now", of.taken_at, host)
    starts = ruler.race(
        {
            "`python3 -c pass`": [sys.executable, "-c", "pass"],
            "installed: `drydock --version`": ruler.drydock("--version"),
            "one file: `drydock --version`": [str(program), "--version"],
        },
        rounds if quick else 4 * rounds,
    )
    scans = ruler.race(
        {
            "installed: `drydock scan`": ruler.drydock(*scan),
            "one file: `drydock scan`": [str(program), *map(str, scan)],
        },
        rounds if quick else 4 * rounds,
        fine=_FINE,
    )
    start, whole = (median(cost.seconds for cost in costs["one file: `drydock " + name + "`"])
                    for costs, name in ((starts, "--version"), (scans, "scan")))  # fmt: skip
    size = program.stat().st_size / 1e6
    return "The one file", [
        f"`{program.name.rpartition('-')[2]}`: {size:.1f} MB (target: at most {_LARGEST:.0f}).",
        "",
        *ruler.table(starts, "`python3 -c pass`"),
        "",
        f"Median of the one file's `--version`: {start:.2f} s (target: at most 0.5).",
        "",
        f"`scan` is of the capture that `./run demo` shows, {_DEMO}:",
        "",
        *ruler.table(scans, "installed: `drydock scan`"),
        "",
        f"Median of the one file's `scan`: {whole:.2f} s (target: at most 1.0).",
    ]
