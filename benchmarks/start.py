"""How long a start takes."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import ruler


def version(_: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """``drydock --version`` against an interpreter that does nothing."""
    commands = {
        "`python3 -c pass`": [sys.executable, "-c", "pass"],
        "`drydock --version`": ruler.drydock("--version"),
        "`drydock scan --help`": ruler.drydock("scan", "--help"),
    }
    costs = ruler.race(commands, rounds if quick else 4 * rounds)
    return "Start", [
        *ruler.table(costs, "`python3 -c pass`"),
        "",
        "Target for `--version`: at most 4 times the time of `python3 -c pass`.",
    ]
