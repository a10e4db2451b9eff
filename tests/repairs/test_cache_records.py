"""A cache record of BuildKit whose snapshot is gone: found, dropped whole, given back, and no kill leaves a trap."""

import hashlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support import gobbolt
from tests.support.build_cache import cache_records
from tests.support.captures import capture, unpack
from tests.support.documents import run, scan
from tests.support.faults import run_counted
from tests.support.proc import python, running
from tests.support.records import METADATA, nested
from tests.support.values import NOW, lease, snapshot, store

from drydock.model.build_cache import BuildCache, CacheRecord
from drydock.model.leases import LeaseClass
from drydock.model.names import RawPath
from drydock.model.roots import Owners
from drydock.repairs.cache_records import end_leases, find_repaired
from drydock.verdict.leases import Judgement

RECORD = "b7khiemcw6j99vgg13etqrhdt"
"""A finished step of the build in the capture; nothing stands on it."""
TAKEN = capture("docker-28.5-interrupted-pull")
EVERY = 1 if "DRYDOCK_TEST_EVERY_KILL" in os.environ else 7


@dataclass
class Broken:
    """The host, without the record of one snapshot."""

    host: Path

    @property
    def records(self):
        """BuildKit's database."""
        return self.host / TAKEN.docker / "buildkit/containerd-overlayfs/metadata_v2.db"

    @property
    def metadata(self):
        """meta.db."""
        return self.host / TAKEN.root / METADATA

    def dumps(self):
        """Go's dump of both."""
        return [gobbolt.dump(path) for path in (self.records, self.metadata)]

    def repair(self, *options):
        """The command; its state is beside the store."""
        return ("repair", "--now", TAKEN.taken_at, "--state", self.host / "state", *options, self.host)


def broken_in(folder):
    """A new one."""
    host = unpack(TAKEN, folder)
    key = (b"v1", b"moby", b"snapshots", b"overlayfs", RECORD.encode())
    gobbolt.drop(host / TAKEN.root / METADATA, key)
    return Broken(host)


@pytest.fixture
def broken(tmp_path):
    """A host on which a build fails that uses the record."""
    return broken_in(tmp_path)


needs_go = pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}")


@needs_go
@pytest.mark.root
def test_the_record_goes_whole_and_comes_back(broken):
    """Record, index entries and leases go, nothing else of both databases; undo restores every key."""
    found = scan(TAKEN, broken.host)
    (finding,) = [each for each in found["findings"] if each["code"] == "record-without-snapshot"]
    assert (finding["file"], finding["bucket"]) == (str(broken.records), ["_main", RECORD])
    before = broken.dumps()
    text = run(*broken.repair(), status=2)
    assert "deletes 1 cache record of BuildKit" in text
    assert broken.dumps() == before
    run(*broken.repair("--apply", "--yes"), status=0)
    assert gobbolt.check(broken.records) == gobbolt.check(broken.metadata) == (0, "")
    after = broken.dumps()
    # A repair removes links to lost children too, of which this host has one.
    its = (RECORD.encode().hex(), b"children".hex())
    for old, new in zip(before, after, strict=True):
        lines = old.splitlines()
        assert set(new.splitlines()) <= set(lines)
        gone = set(lines) - set(new.splitlines())
        assert gone
        assert [line for line in gone if not any(each in line for each in its)] == []
    assert RECORD not in cache_records(broken.records)
    assert not [name for name in nested(broken.records)[b"_index"] if name.endswith(b"::" + RECORD.encode())]
    leases = nested(broken.metadata)[b"v1"][b"moby"][b"leases"]
    assert not [name for name in leases if name.startswith(RECORD.encode())]
    assert not [each for each in scan(TAKEN, broken.host)["findings"] if each["code"] == "record-without-snapshot"]
    (journal,) = (broken.host / "state").glob("*/journal.jsonl")
    run("undo", journal, status=0)
    assert broken.dumps() == before


@needs_go
@pytest.mark.root
@pytest.mark.slow
def test_a_kill_leaves_no_record_without_a_lease(tmp_path):
    """After a kill at any call the record is whole with its lease, or gone; the next repair ends the same."""
    (tmp_path / "whole").mkdir()
    whole = broken_in(tmp_path / "whole")
    calls = run_counted(*whole.repair("--apply", "--yes")).calls
    ended = whole.dumps()
    states = set()
    for number in range(1, len(calls) + 1, EVERY):
        folder = tmp_path / str(number)
        folder.mkdir()
        each = broken_in(folder)
        assert run_counted(*each.repair("--apply", "--yes"), kill_after=number).signal == signal.SIGKILL
        for path in (each.records, each.metadata):
            assert gobbolt.check(path) == (0, "")
        has_record = RECORD in cache_records(each.records)
        has_lease = RECORD.encode() in nested(each.metadata)[b"v1"][b"moby"][b"leases"]
        assert has_lease or not has_record
        states.add((has_record, has_lease))
        run(*each.repair("--apply", "--yes"))
        if has_record or not has_lease:
            assert each.dumps() == ended
        else:
            # Its record was gone, so nothing was left to repair: its lease is nobody's now.
            run("clean", "--end-leases", "ownerless", "--now", TAKEN.taken_at, "--state", folder / "state", folder)
    assert states >= {(True, True), (False, False)}


@needs_go
@pytest.mark.root
def test_a_database_that_an_engine_holds_is_not_edited(broken):
    """The lock is BuildKit's own: while another has it, its records are not known, and nothing is repaired."""
    code = "import fcntl; file = open(sys.argv[1], 'rb'); fcntl.flock(file, fcntl.LOCK_EX)"
    before = broken.dumps()[0]
    with running(python(code, broken.records)):
        document = json.loads(run(*broken.repair("--format", "json", "--apply", "--yes")))
    (root,) = document["roots"]
    assert not [field for field in root["plan"]["fields"] if "database" in field]
    assert broken.dumps()[0] == before


def _record(letter, **fields):
    known = {
        "deleted": False, "committed": True, "size": 1, "snapshot": letter.encode() * 25, "retain": False,
        "equal_mutable": b"", "parent": b"", "joined": (), "blob": b"", "blob_only": False,
    }  # fmt: skip
    return CacheRecord(id=letter.encode() * 25, **{**known, **fields})


def test_all_that_depends_on_it_goes():
    """Children, merges and both of a pair; what only has the same parent stays, and so do the leases of these."""
    of = BuildCache(RawPath(b"/b/containerd-overlayfs/metadata_v2.db"), b"overlayfs", True)
    records = [
        _record("a"), _record("x"),
        _record("b", parent=b"x" * 25),
        _record("c", parent=b"b" * 25),
        _record("m", joined=(b"a" * 25, b"c" * 25)),
        _record("p", parent=b"c" * 25, committed=False),
        _record("q", parent=b"c" * 25, equal_mutable=b"p" * 25),
        _record("s", parent=b"a" * 25),
    ]  # fmt: skip
    of.records = {each.id: each for each in records}
    there = [snapshot(each.id) for each in records if each.id[:1] not in b"x"]
    held = [lease(each.id, {b"containerd.io/gc.flat": b""}, created=NOW) for each in records]
    made = store(*there, *held, owners=Owners(caches=[of]))
    repaired = find_repaired(made)
    assert repaired == {of.path: [letter.encode() * 25 for letter in "bcmpqx"]}
    classes = {each.ref: Judgement(LeaseClass.BUILD_CACHE, "") for each in held}
    assert {each.ref.key[:1] for each in end_leases(made, classes, repaired)} == {b"b", b"c", b"m", b"p", b"q", b"x"}


def test_a_long_chain_takes_one_pass():
    """Of 10,000 records that stand on each other; a pass for each level took minutes."""
    names = [hashlib.sha256(b"%d" % number).hexdigest()[:25].encode() for number in range(10_000)]
    of = BuildCache(RawPath(b"/db"), b"overlayfs", True)
    for name, below in zip(names, [b"", *names], strict=False):
        of.records[name] = _record("a", parent=below)._replace(id=name, snapshot=name)
    made = store(*(snapshot(name) for name in names[1:]), owners=Owners(caches=[of]))
    began = time.process_time()
    repaired = len(find_repaired(made)[of.path])
    assert (repaired, time.process_time() - began < 5) == (10_000, True)
