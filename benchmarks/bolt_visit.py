"""How long it takes to visit every key of a large meta.db, here and in Go; writes its part of docs/benchmarks.md.

    python benchmarks/bolt_visit.py [--blobs 200000] [--runs 7] [--write]

Both read the same file, in turn, each time in a new process, from the page cache. Both count keys. Go is
measured twice: bbolt hands out parts of its mapping, so a visit alone copies nothing, while bbolt_reader's keys and
values are copies that outlive the database; ``copy`` is Go with such copies.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.support import gobbolt  # noqa: E402 - the project's tree is found above

BEGIN, END = "<!-- bolt_visit: begin -->", "<!-- bolt_visit: end -->"
VISIT = """
import sys, time
start = time.perf_counter()
from bbolt_reader import Database

def visit(bucket):
    keys = 0
    for key, value in bucket.items():
        keys += 1
        if type(value) is not bytes:
            keys += visit(value)
    return keys

with Database.open(sys.argv[1]) as database:
    keys = visit(database.root)
print(keys, time.perf_counter() - start)
"""


def main() -> None:
    """Generate, measure, print, and with --write put into the docs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blobs", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    options = parser.parse_args()
    if reason := gobbolt.why_not():
        sys.exit(reason)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as directory:
        path = gobbolt.fill(Path(directory) / "meta.db", "blobs", 4096, options.blobs)
        size = path.stat().st_size
        go = [str(gobbolt.program("visit")), str(path)]
        commands = {"Go": go, "Go, copying": [*go, "copy"], "bbolt_reader": [sys.executable, "-c", VISIT, str(path)]}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        seen = set()
        for turn in range(options.runs + 1):  # the first fills the page cache
            for name, command in commands.items():
                keys, inside, outside = run(command)
                seen.add(keys)
                if turn:
                    times[name].append((inside, outside))
    if len(seen) != 1:
        sys.exit(f"not the same was visited: {seen}")
    keys = seen.pop()
    report = table(options, times, f"{options.blobs:,} blobs, {keys:,} keys, {size / 1e6:,.0f} MB")
    print(report)
    if options.write:
        write(report)


def run(command: list[str]) -> tuple[int, float, float]:
    """Keys, seconds by the program's own clock, and seconds of the whole process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    outside = time.perf_counter() - start
    keys, inside = done.stdout.split()
    return int(keys), float(inside), outside


def table(options: argparse.Namespace, times: dict[str, list[tuple[float, float]]], what: str) -> str:
    """The section of docs/benchmarks.md."""
    command = f"python benchmarks/bolt_visit.py --blobs {options.blobs} --runs {options.runs} --write"
    where = f"{machine()}, Python {platform.python_version()}, {dt.datetime.now(dt.timezone.utc):%Y-%m-%d}"
    lines = [
        "## Visiting every key of a meta.db",
        "",
        f"`{command}`: {what}; {where}.",
        "Seconds, min / median / max; the ratios are of medians and, in brackets, of minima.",
        "",
        "| | within the process | whole process | to Go | to Go, copying |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, pairs in times.items():
        columns = [sorted(pair[which] for pair in pairs) for which in (0, 1)]
        ratios = [ratio(pairs, times[other]) for other in ("Go", "Go, copying")]
        figures = [f"{column[0]:.2f} / {median(column):.2f} / {column[-1]:.2f}" for column in columns]
        lines.append(f"| {name} | {' | '.join(figures + ratios)} |")
    return "\n".join(lines)


def ratio(pairs: list[tuple[float, float]], base: list[tuple[float, float]]) -> str:
    """How many times as long the whole process takes."""
    here, there = [outside for _, outside in pairs], [outside for _, outside in base]
    return f"{median(here) / median(there):.2f} ({min(here) / min(there):.2f})"


def machine() -> str:
    """Processor and how many of it."""
    model = "a processor without a name"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} x {model}, load {os.getloadavg()[0]:.1f}"


def write(report: str) -> None:
    """Replace this benchmark's section, or add it."""
    path = ROOT / "docs" / "benchmarks.md"
    text = (
        path.read_text()
        if path.exists()
        else "# Benchmarks\n\nEvery figure here was written by the command above it.\n\n"
    )
    section = f"{BEGIN}\n{report}\n{END}\n"
    if BEGIN in text:
        text = text[: text.index(BEGIN)] + section + text[text.index(END) + len(END) + 1 :]
    else:
        text = text.rstrip("\n") + "\n\n" + section
    path.write_text(text)


if __name__ == "__main__":
    main()
