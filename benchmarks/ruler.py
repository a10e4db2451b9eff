"""How things are timed and told: in turns, each time in a new process, and as ratios of the same run."""

from __future__ import annotations

import datetime as dt
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

HERE = Path(__file__).parents[1]
DOCS = HERE / "docs" / "benchmarks.md"
# Beside nothing else: what is timed is an installed drydock, whose modules are compiled.
_COMPILED = Path(tempfile.gettempdir()) / f"drydock-benchmarks-{os.getuid()}"


class Cost(NamedTuple):
    """What one process took."""

    seconds: float
    processor: float
    """Seconds of user and system time."""
    peak: float
    """MB of memory, as the kernel's ru_maxrss has it: mapped files are in it."""


def drydock(*words: str | Path) -> list[str]:
    """The command ``drydock`` of this tree."""
    return [sys.executable, "-m", "drydock", *map(str, words)]


def run(command: Sequence[str], *, fine: Sequence[int] = (0,), text: bytes | None = None) -> tuple[Cost, bytes]:
    """Run to the end; what it took, and what it said.

    Raises:
        RuntimeError: its exit status is none of ``fine``.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(HERE / "src"), "PYTHONPYCACHEPREFIX": str(_COMPILED)}
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as given:
        given.write(text or b"")
        given.seek(0)
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=given, stdout=said, stderr=said, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        output = said.read()
    if process.returncode not in fine:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {output.decode(errors='replace')}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6), output


def race(
    commands: Mapping[str, Sequence[str]], rounds: int, *, fine: Sequence[int] = (0,), text: bytes | None = None
) -> dict[str, list[Cost]]:
    """Run each command ``rounds`` times, in turns; once more before, to fill the caches."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            cost, _ = run(command, fine=fine, text=text)
            if turn:
                costs[name].append(cost)
    return costs


def table(costs: Mapping[str, Sequence[Cost]], base: str) -> list[str]:
    """A row for each: seconds, processor time, and both as multiples of ``base``'s."""
    lines = [
        "| | seconds: min / median | processor seconds: min | ratio of seconds | ratio of processor seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, each in costs.items():
        seconds = [cost.seconds for cost in each]
        lines.append(
            f"| {name} | {min(seconds):.2f} / {median(seconds):.2f} | {least(each, 'processor'):.2f} "
            f"| {ratio(each, costs[base]):.2f} | {ratio(each, costs[base], 'processor'):.2f} |"
        )
    return lines


def least(costs: Sequence[Cost], what: str = "seconds") -> float:
    """The smallest: what the work takes when nothing disturbs it."""
    return min(float(getattr(cost, what)) for cost in costs)


def ratio(costs: Sequence[Cost], base: Sequence[Cost], what: str = "seconds") -> float:
    """How many times as much as the other."""
    return least(costs, what) / least(base, what)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The power of the size that fits the values best (least squares of the logarithms)."""
    across, up = [math.log(size) for size in sizes], [math.log(value) for value in values]
    x, y = sum(across) / len(across), sum(up) / len(up)
    return sum((a - x) * (b - y) for a, b in zip(across, up, strict=True)) / sum((a - x) ** 2 for a in across)


def growth(what: str, sizes: Sequence[int], values: Sequence[float], unit: str = "s", *, target: float = 1.1) -> str:
    """One line: the values at each size, and the exponent."""
    each = ", ".join(f"{size:,}: {value:.2f} {unit}" for size, value in zip(sizes, values, strict=True))
    return f"Growth of {what}: {each}; exponent {exponent(sizes, values):.2f} (target: at most {target})."


def machine() -> str:
    """Processor, how many of it, how busy it is, and the day."""
    model = "a processor without a name"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    day = f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%d}"
    return f"{os.cpu_count()} x {model}, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, {day}"


def write(name: str, section: str) -> None:
    """Put a section of the docs in the place of the one before, or at the end."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = DOCS.read_text() if DOCS.exists() else "# Benchmarks\n"
    section = f"{begin}\n{section}\n{end}\n"
    if begin in text:
        text = text[: text.index(begin)] + section + text[text.index(end) + len(end) + 1 :]
    else:
        text = text.rstrip("\n") + "\n\n" + section
    DOCS.write_text(text)
