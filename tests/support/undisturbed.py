"""A clean that nothing disturbs: what the others, killed or met by another process, are compared with."""

from __future__ import annotations

from pathlib import Path

from tests.support.captures import Capture, capture, unpack
from tests.support.faults import run_counted
from tests.support.roots import data, dumps


class Undisturbed:
    """What a clean of a capture comes to, and the calls it makes."""

    def __init__(self, name: str, folder: Path) -> None:
        self.capture = capture(name)
        self.host = unpack(self.capture, folder)
        self.root = self.host / self.capture.root
        ended = run_counted(*command(self.capture, self.host))
        assert (ended.signal, ended.status) == (0, 0), ended.output
        self.calls = ended.calls
        self.data, self.dumps = data(self.root), dumps(self.root)


def command(of: Capture, host: Path) -> tuple[str | Path, ...]:
    """The clean of a capture that was unpacked to ``host``."""
    return ("clean", "--end-leases", "temporary", "--apply", "--yes", "--now", of.taken_at, "--state", host / "state",
            host)  # fmt: skip
