"""What a run of ``drydock`` takes, as its own process has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

# Not ru_maxrss: until a child runs its own program, it has the memory of its parent, and that counts there.
_SCRIPT = """\
import os, sys
from drydock.cli import main
try:
    main(sys.argv[1:])
finally:
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(peak, sum(os.times()[:2]), file=sys.stderr)
"""


class Measured(NamedTuple):
    """One run."""

    output: str
    status: int
    peak: int
    """Bytes of memory."""
    seconds: float
    """Of the processor, in this process alone."""


def run_measured(*arguments: str | Path) -> Measured:
    """Run the command in a process of its own."""
    command = [sys.executable, "-c", _SCRIPT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    kib, seconds = done.stderr.split()[-2:]
    return Measured(done.stdout, done.returncode, int(kib) << 10, float(seconds))
