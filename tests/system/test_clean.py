"""Cleaning real captures: what no record names goes, nothing else does, and a real containerd agrees afterwards."""

import os
import shutil
from pathlib import Path

import pytest
from tests.engines.containerd import Containerd
from tests.engines.hosts import newest
from tests.engines.listing import listed, on_disk
from tests.engines.sandbox import Sandbox
from tests.engines.unavailable import EngineUnavailable
from tests.support import gobbolt
from tests.support.captures import captures
from tests.support.documents import run, scan
from tests.support.records import is_foreign, named_paths, values
from tests.support.trees import tree

from drydock.model.text import shown

pytestmark = pytest.mark.root

READABLE = [pytest.param(each, id=each.name) for each in captures() if "dropped_by_gc" in each.facts]
# In CI, engines start on the others in test_reclaim.py.
_HERE = ("damaged", "native", "restored-backup", "orphans", "29-interrupted")
STARTED = [each for each in READABLE if "DRYDOCK_TEST_LONG" in os.environ or each.id.endswith(_HERE)]


def _clean(capture, host, tmp_path, *options, status=0):
    """Clean without editing a database: what the rest of the file is about."""
    return _run(capture, host, tmp_path, "--no-edit", *options, status=status)


def _run(capture, host, tmp_path, *options, status=0):
    return run("clean", "--now", capture.taken_at, "--apply", "--yes", "--state", tmp_path / "state", *options, host,
               status=status)  # fmt: skip


@pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}")
@pytest.mark.parametrize("capture", READABLE)
def test_exactly_what_no_record_names_is_removed(capture, unpacked_anew, tmp_path):
    """By Go's reading of the databases: every path that a record or a row names is untouched, no other is left."""
    host = unpacked_anew(capture)
    root = host / capture.root
    named = named_paths(root)
    there = set(on_disk(root))
    before = tree(root)
    databases = {path: values(path) for path in root.glob("**/*.db")}
    _clean(capture, host, tmp_path)
    left = set(on_disk(root))
    assert left == {path for path in there if path in named or is_foreign(path)}
    after = tree(root)
    kept = [path for path in named | {path for path in there if is_foreign(path)} if path in there]
    for path in kept:
        below = [name for name in before if name == path.encode() or name.startswith(path.encode() + b"/")]
        assert {name: before[name] for name in below} == {name: after.get(name) for name in below}
    assert {path: values(path) for path in root.glob("**/*.db")} == databases
    found = scan(capture, host)
    assert [each for each in found["objects"] if each["state"] == "orphaned" and each["row"] is None] == []


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("capture", STARTED)
def test_the_engine_lists_and_reads_the_same_afterwards(capture, unpacked_anew, tmp_path):
    """Containerd starts on the cleaned root and lists all it listed; every blob it read before it reads.

    Containerd 1.6.20 of all but containerd 2.4, which has snapshotters that 1.6 does not know.
    """
    host = unpacked_anew(capture)
    root = host / capture.root
    _clean(capture, host, tmp_path)
    work = tmp_path / "engine"
    work.mkdir()
    try:
        programs = newest() if capture.containerd.startswith("2.4.") else ()
        with Sandbox(work, programs=programs) as sandbox, Containerd(sandbox, root, collect=False) as engine:
            after = listed(engine)
    except EngineUnavailable as error:
        pytest.skip(str(error))
    assert _comparable(after) == _comparable(capture.namespaces)


def _comparable(listing):
    """What does not depend on ctr's version: names, digests, sizes, whether blobs are whole; kinds and parents."""
    return {
        namespace: {
            "images": sorted((row["name"], row["digest"]) for row in lists["images"]),
            "containers": sorted(row["id"] for row in lists["containers"]),
            "content": sorted((row["digest"], row["size"], row["intact"]) for row in lists["content"]),
            "ingests": sorted(row["ref"] for row in lists["ingests"]),
            "snapshots": sorted(
                (snapshotter, row["key"], row["parent"], row["kind"])
                for snapshotter, rows in lists["snapshots"].items()
                for row in rows
            ),
            "leases": sorted(row["id"] for row in lists["leases"]),
        }
        for namespace, lists in listing.items()
    }


def test_a_store_whose_records_cannot_be_read_loses_nothing(unpacked_anew, tmp_path):
    """Half a meta.db: exit status 8, nothing removed."""
    (capture,) = [each for each in captures() if each.name == "containerd-1.6-truncated-metadb"]
    host = unpacked_anew(capture)
    before = tree(host / "var")
    text = _clean(capture, host, tmp_path, status=8)
    assert "nothing to remove" in text
    assert tree(host / "var") == before


def test_quarantine_moves_instead(unpacked_anew, tmp_path):
    """Everything that would have been deleted lies in the quarantine, under its path below the root."""
    (capture,) = [each for each in captures() if each.name == "containerd-1.6-planted-orphans"]
    host = unpacked_anew(capture)
    root = host / capture.root
    apart = host / "apart"
    apart.mkdir(mode=0o700)
    there = set(on_disk(root))
    _clean(capture, host, tmp_path, "--quarantine", apart)
    gone = there - set(on_disk(root))
    (moved,) = apart.iterdir()
    assert gone
    assert set(on_disk(moved)) == gone


def test_a_killed_clean_is_finished_by_the_next(unpacked_anew, tmp_path):
    """What a kill leaves is only data without a record; the next run removes it."""
    (capture,) = [each for each in captures() if each.name == "containerd-1.6-planted-orphans"]
    host = unpacked_anew(capture)
    snapshots = host / capture.root / "io.containerd.snapshotter.v1.overlayfs/snapshots"
    (snapshots / "8888").rename(snapshots / "rm-8888")
    shutil.rmtree(snapshots / "rm-8888/fs")
    _clean(capture, host, tmp_path)
    assert not (snapshots / "rm-8888").exists()


def test_hostile_names_are_escaped(unpacked):
    """A folder whose name would turn a terminal red is shown on one line, escaped."""
    (capture,) = [each for each in captures() if each.name == "containerd-1.6-planted-orphans"]
    text = run("clean", "--now", capture.taken_at, unpacked(capture))
    assert "\x1b" not in text
    assert shown(b"\x1b[31mred\n\xff") in text


def test_host_without_storage(tmp_path):
    """An empty host says so, and which: what is mounted in the wrong place is not taken for this one."""
    (tmp_path / "etc").mkdir()
    (Path(tmp_path) / "var/lib").mkdir(parents=True)
    assert run("clean", tmp_path, status=0).strip() == f"No containerd storage below {tmp_path}."
