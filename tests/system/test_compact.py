"""A database is not compacted while a run needs its former pages, and scans are the same afterwards."""

import pytest
from tests.support.captures import capture
from tests.support.documents import run, scan
from tests.support.surgery import edit

from bbolt_surgery import Deletion, Insertion

pytestmark = pytest.mark.root
NAME = "docker-28.5-interrupted-pull"


def test_a_run_that_can_be_undone_keeps_the_database(unpacked_anew, tmp_path, monkeypatch):
    """After a clean to quarantine compact refuses, however the file is named; after its undo it works.

    The scan is as it was, and the file keeps the time of the last write of its engine.
    """
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
    monkeypatch.chdir(database.parent)
    run("bolt", "compact", "--apply", "--yes", "--state", state, database.name, status=32)
    (tmp_path / "link").symlink_to(host)
    linked = tmp_path / "link" / database.relative_to(host)
    run("bolt", "compact", "--apply", "--yes", "--state", state, linked, status=32)
    (journal,) = state.glob("*/journal.jsonl")
    run("undo", journal, status=0)
    written = database.stat().st_mtime_ns
    run("bolt", "compact", "--apply", "--yes", "--state", state, database, status=0)
    assert database.stat().st_mtime_ns == written
    assert scan(of, host)["objects"] == before["objects"]


def test_a_database_of_free_pages_is_noted(unpacked_anew, tmp_path):
    """Grown by 20 MiB of keys that were deleted again: a note, until it is compacted."""
    of = capture(NAME)
    host = unpacked_anew(of)
    database = host / of.root / "io.containerd.metadata.v1.bolt/meta.db"
    key = (b"v1", b"moby", b"labels")
    entries = {b"%d" % number: bytes(1 << 19) for number in range(40)}
    edit(database, [], [Insertion(key, name, value) for name, value in entries.items()])
    assert "mostly-free" not in codes(scan(of, host))
    edit(database, [Deletion(key, name) for name in entries])
    (note,) = (each for each in scan(of, host)["findings"] if each["code"] == "mostly-free")
    assert note["severity"] == "note"
    assert note["file"] == str(database)
    state = tmp_path / "state"
    state.mkdir()
    run("bolt", "compact", "--apply", "--yes", "--state", state, database, status=0)
    assert database.stat().st_size < 1 << 20
    assert "mostly-free" not in codes(scan(of, host))


def codes(root):
    """The codes of a root's findings."""
    return {each["code"] for each in root["findings"]}
