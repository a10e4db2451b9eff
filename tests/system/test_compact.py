"""A database is not compacted while a run needs its former pages, and scans are the same afterwards."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from tests.engines.hosts import docker_on
from tests.support import gobbolt
from tests.support.captures import capture, unpack
from tests.support.documents import listed_runs, run, scan
from tests.support.faults import run_counted
from tests.support.roots import data
from tests.support.surgery import edit

from bbolt_surgery import Deletion, Insertion

pytestmark = pytest.mark.root
ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ
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


def grow(host, of):
    """Make meta.db mostly free pages: 20 MiB of keys that were deleted again."""
    database = host / of.root / "io.containerd.metadata.v1.bolt/meta.db"
    key = (b"v1", b"moby", b"labels")
    entries = {b"%d" % number: bytes(1 << 19) for number in range(40)}
    edit(database, [], [Insertion(key, name, value) for name, value in entries.items()])
    edit(database, [Deletion(key, name) for name in entries])
    return database


def clean(host, of, *options, status=0):
    """Clean under the options that the capture has something for."""
    return run("clean", "--now", of.taken_at, "--end-leases", "temporary", *options, host / of.root, status=status)


def test_a_database_of_free_pages_is_no_damage(unpacked_anew):
    """The plan is the same as for the database before it grew."""
    of = capture(NAME)
    host = unpacked_anew(of)
    before = clean(host, of, status=1)
    grow(host, of)
    assert clean(host, of, status=1) == before


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}")
def test_clean_compacts_after_the_removals(tmp_path):
    """The same contents as without --compact, to Go's bbolt; a few pages; sizes are told; undo is ruled out; it runs.

    The plan says before that it cannot be undone. It is refused with a quarantine, and after a run with one.
    """
    of = capture(NAME)
    plain, host = tmp_path / "plain", tmp_path / "host"
    for each in (plain, host):
        each.mkdir()
        unpack(of, each)
    state = tmp_path / "state"
    state.mkdir()
    grow(plain, of)
    database = grow(host, of)
    size = database.stat().st_size
    clean(plain, of, "--apply", "--yes", "--state", tmp_path / "other")
    said = clean(host, of, "--compact", status=1)
    assert "compacts" in said
    assert "undo cannot take this back" in said
    aside = host / "aside"
    aside.mkdir(mode=0o700)
    clean(host, of, "--compact", "--apply", "--yes", "--state", state, "--quarantine", aside, status=16)
    said = clean(host, of, "--compact", "--apply", "--yes", "--state", state)
    assert re.search(r"meta\.db: compacted, .* MiB before, .* KiB after", said)
    assert database.stat().st_size < 1 << 20 < size
    assert gobbolt.check(database) == (0, "")
    (other,) = plain.glob("**/meta.db")
    assert gobbolt.dump(database) == gobbolt.dump(other)
    (journal,) = state.glob("*/journal.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    (begun,) = (line for line in lines if line.get("do") == "compact")
    (ended,) = (line for line in lines if line.get("ended") == begun["n"])
    assert begun["size"] >= size
    assert ended["detail"].endswith(f"{database.stat().st_size} bytes after")
    (past,) = listed_runs(state)
    assert past["undo"] == "no"
    with docker_on(of, host, tmp_path / "docker") as docker:
        assert docker.docker("ps", "-a", "--format", "{{.Names}}").split() == ["web"]


def test_databases_of_buildkit_are_compacted_too(unpacked_anew, tmp_path):
    """The cache records and the history of dockerd's BuildKit, beside the containerd root; meta.db is left as it is."""
    of = capture(NAME)
    host = unpacked_anew(of)
    (cache,) = host.glob("var/lib/docker/buildkit/*/metadata_v2.db")
    (history,) = host.glob("var/lib/docker/buildkit/history*.db")
    before = data(host / of.root)
    for database, key in ((cache, (b"_index",)), (history, (b"_records",))):
        entries = {b"%d" % number: bytes(1 << 19) for number in range(40)}
        edit(database, [], [Insertion(key, name, value) for name, value in entries.items()])
        edit(database, [Deletion(key, name) for name in entries])
    said = run("clean", "--now", of.taken_at, "--compact", "--apply", "--yes", "--state", tmp_path / "state",
        host / of.root, status=0)  # fmt: skip
    assert said.count(": compacted, ") == 2
    assert cache.stat().st_size < 1 << 20 > history.stat().st_size
    assert data(host / of.root) == before


def test_a_run_that_can_be_undone_rules_out_compacting(unpacked_anew, tmp_path):
    """A clean with --compact is refused, and changes nothing, until it is undone."""
    of = capture(NAME)
    host = unpacked_anew(of)
    database = grow(host, of)
    aside, state = host / "aside", tmp_path / "state"
    aside.mkdir(mode=0o700)
    state.mkdir()
    clean(host, of, "--apply", "--yes", "--state", state, "--quarantine", aside)
    before = database.read_bytes()
    clean(host, of, "--compact", "--apply", "--yes", "--state", state, status=32)
    assert database.read_bytes() == before
    (journal,) = state.glob("*/journal.jsonl")
    run("undo", journal, status=0)
    clean(host, of, "--compact", "--apply", "--yes", "--state", state)
    assert database.stat().st_size < 1 << 20


@pytest.mark.slow
@pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}")
def test_a_kill_while_compacting_loses_nothing(tmp_path):
    """After each call of the compaction, Go reads the same contents; the next clean closes the run and compacts."""
    of = capture(NAME)
    source = tmp_path / "source"
    source.mkdir()
    unpack(of, source)
    grow(source, of)

    def copied(name):
        (tmp_path / name).mkdir()
        subprocess.run(["cp", "-a", source, tmp_path / name / "host"], check=True)
        return tmp_path / name / "host"

    def command(host):
        return ("clean", "--now", of.taken_at, "--compact", "--apply", "--yes", "--state", host.parent / "state",
                host / of.root)  # fmt: skip

    whole = copied("whole")
    calls = run_counted(*command(whole)).calls
    wanted = gobbolt.dump(whole / of.root / "io.containerd.metadata.v1.bolt/meta.db")
    first = len(calls) - calls[::-1].index("ftruncate") - 14
    points = range(first, len(calls) + 1) if ALL else range(first, len(calls) + 1, 5)
    for number in points:
        host = copied(str(number))
        database = host / of.root / "io.containerd.metadata.v1.bolt/meta.db"
        assert run_counted(*command(host), kill_after=number).signal == signal.SIGKILL
        assert gobbolt.check(database) == (0, "")
        assert gobbolt.dump(database) == wanted
        run(
            "clean",
            "--now",
            of.taken_at,
            "--apply",
            "--yes",
            "--state",
            host.parent / "state",
            host / of.root,
            status=0,
        )
        run(*command(host), status=0)
        assert gobbolt.dump(database) == wanted
        assert database.stat().st_size < 1 << 20
        shutil.rmtree(host.parent)


def codes(root):
    """The codes of a root's findings."""
    return {each["code"] for each in root["findings"]}
