"""A clean that nothing disturbs: what the others, killed or met by another process, are compared with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.support.captures import Capture, capture, unpack
from tests.support.documents import scan
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


def strange(of: Capture, host: Path, paths: Iterable[bytes]) -> set[bytes]:
    """Those of ``paths`` that lie in an ingest with a file in it that is not containerd's.

    While a record names such a folder, it is removed as a whole, as containerd removes it. A run that ends between the
    edit and that removal leaves a folder without a record, in which anything may lie: it is reported, and stays.
    """
    objects = scan(of, host)["objects"]
    foreign = [each["path"] for each in objects if each["kind"] == "ingest" and each["state"] == "foreign"]
    return {path for path in paths if any(f"{path.decode()}/".startswith(f"{each}/") for each in foreign if each)}
