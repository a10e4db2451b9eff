"""A database is not compacted while a run needs its former pages, and scans are the same afterwards."""

import pytest
from tests.support.captures import capture
from tests.support.documents import run, scan

pytestmark = pytest.mark.root
NAME = "docker-28.5-interrupted-pull"


def test_a_run_that_can_be_undone_keeps_the_database(unpacked_anew, tmp_path):
    """After a clean to quarantine compact refuses, and after its undo it works; the scan is as it was."""
    of = capture(NAME)
    host = unpacked_anew(of)
    before = scan(of, host)
    state, quarantine = tmp_path / "state", host / "quarantine"
    state.mkdir()
    quarantine.mkdir()
    run("clean", "--now", of.taken_at, "--end-leases", "temporary", "--apply", "--yes", "--state", state,
        "--quarantine", quarantine, host, status=0)  # fmt: skip
    database = host / of.root / "io.containerd.metadata.v1.bolt/meta.db"
    run("bolt", "compact", "--apply", "--yes", "--state", state, database, status=32)
    (journal,) = state.glob("*/journal.jsonl")
    run("undo", journal, status=0)
    run("bolt", "compact", "--apply", "--yes", "--state", state, database, status=0)
    assert scan(of, host)["objects"] == before["objects"]
