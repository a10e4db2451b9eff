"""Reclaiming as the engine would: of real captures drydock leaves what real engines leave, and frees the same."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fixtures.recipes.docker_interrupted_pull import images
from tests.engines.hosts import containerd_on
from tests.engines.images import base_of
from tests.engines.listing import dropped, listed, on_disk
from tests.support import gobbolt
from tests.support.captures import Capture, captures, clock, unpack
from tests.support.documents import run
from tests.support.newest import NOT_READ
from tests.support.records import CONTENT, METADATA, dumps, folders, is_foreign, named_paths

pytestmark = [
    pytest.mark.root,
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

# In CI, an engine starts on the others in test_clean.py.
_ELSEWHERE = () if "DRYDOCK_TEST_LONG" in os.environ else ("damaged", "native", "restored-backup")
READABLE = [
    each for each in captures() if "leases_ended" in each.facts and not each.name.endswith((*NOT_READ, *_ELSEWHERE))
]
# With an interrupted pull of the recipe's, and nothing that no record names besides.
PULLS = [each for each in READABLE if each.docker and not re.search("restored|29", each.name)]
_OVERLAYFS = "io.containerd.snapshotter.v1.overlayfs"
DROPPED = {"docker-28.5-killed": {"moby": {"la2uan5kh9fszpaxy30pvigkh"}}}
"""Leases of cache records that BuildKit drops by itself at its first disk-usage run: test_going_on.py has Docker do it.
containerd alone does not."""
_TEMPORARY = ("clean", "--end-leases", "temporary", "--apply", "--yes")


@dataclass
class Pair:
    """One capture, cleaned by drydock and by its engine."""

    capture: Capture
    work: Path
    before: dict = field(default_factory=dict)
    """What Go's bbolt reads in its databases."""
    sizes: dict = field(default_factory=dict)
    """Disk usage before: of each blob, ingest folder and snapshot folder."""
    totals: dict = field(default_factory=dict)
    """Disk usage before: of the whole ``host`` and of the ``databases``."""
    folders: dict = field(default_factory=dict)
    """Of each row of overlayfs before, its folder."""

    @property
    def ours(self):
        """The containerd root of the copy that drydock cleaned."""
        return self.work / "ours" / self.capture.root

    @property
    def theirs(self):
        """That of the copy which the engine cleaned."""
        return self.work / "theirs" / self.capture.root

    def copy(self, tmp_path):
        """A copy of the host that drydock cleaned, to be used on."""
        subprocess.run(["cp", "-a", self.work / "ours", tmp_path / "host"], check=True)
        return tmp_path / "host"


@pytest.fixture(scope="module", params=READABLE, ids=lambda capture: capture.name)
def pair(request, tmp_path_factory):
    """The pair of one capture: made once for all tests of it."""
    capture = request.param
    pair = Pair(capture, tmp_path_factory.mktemp("pair"))
    for copy in ("ours", "theirs"):
        (pair.work / copy).mkdir()
        unpack(capture, pair.work / copy)
    pair.before = dumps(pair.ours)
    pair.sizes = {path: _usage(pair.ours / path) for path in on_disk(pair.ours)}
    pair.totals = _totals(pair)
    database = pair.ours / _OVERLAYFS / "metadata.db"
    pair.folders = folders(database) if database.exists() else {}
    _collect(pair)
    run(*_TEMPORARY, "--now", clock(capture), "--state", pair.work / "state", pair.work / "ours", status=0)
    yield pair
    shutil.rmtree(pair.work, ignore_errors=True)


def _collect(pair):
    """Let the engine start and collect, end what leases are temporary, and collect again."""
    capture = pair.capture
    with containerd_on(capture, pair.work / "theirs", pair.work / "engine", collect=True) as engine:
        # One that is there: what a new namespace leaves in meta.db would be the harness' and not the engine's.
        engine.collect(next(iter(capture.namespaces)))
        for namespace, leases in _ended(capture).items():
            # Those that have expired went with the collection at the start.
            there = engine.ctr_text("leases", "ls", "-q", namespace=namespace).split()
            for lease in leases & set(there):
                engine.ctr("leases", "rm", "--sync", lease, namespace=namespace)


def _ended(capture):
    """The leases that end, by namespace."""
    more = DROPPED.get(capture.name, {})
    return {name: set(leases) | more.get(name, set()) for name, leases in capture.facts["leases_ended"].items()}


def _usage(path):
    """Bytes of allocated blocks, by du."""
    said = subprocess.run(["du", "-s", "--block-size=1", path], capture_output=True, check=True).stdout
    return int(said.split()[0])


def test_leaves_the_data_that_the_engine_leaves(pair):
    """The same blobs, ingests and snapshots are on disk, but for orphans that the engine cannot free."""
    ours, theirs = set(on_disk(pair.ours)), set(on_disk(pair.theirs))
    named = named_paths(pair.theirs)
    assert named_paths(pair.ours) == named
    assert {path for path in ours if not is_foreign(path)} == theirs & named
    if not pair.capture.planted or "damaged" in pair.capture.name:
        assert ours == theirs


def test_leaves_the_records_that_the_engine_leaves(pair):
    """All databases are equal, key by key and with their sequences.

    But for one thing: the engine leaves a snapshot that it collected among its parent's children, for good
    (containerd metadata/gc.go remove, v1.6 to v2.1, deletes the bucket only); nothing but ``ctr snapshots rm`` reads
    these, and drydock deletes them with the snapshot. What was stale before stays. The engine writes nothing at start.
    """
    ours, theirs = dumps(pair.ours), dumps(pair.theirs)
    assert ours.keys() == theirs.keys()
    stale = _stale_children(theirs[METADATA]) - _stale_children(pair.before[METADATA])
    assert stale, "each capture has a collected snapshot whose parent is left"
    theirs[METADATA] -= stale
    assert ours == theirs


def test_only_deletes(pair):
    """Of each database nothing is left that was not there: no key, no value and no sequence is new."""
    after = dumps(pair.ours)
    assert after.keys() == pair.before.keys()
    for name, lines in after.items():
        assert lines <= pair.before[name]
        assert gobbolt.check(pair.ours / name) == (0, "")


def _stale_children(lines):
    """The lines of meta.db's dump that list a child which is not recorded."""
    buckets = {line.split(" ")[1] for line in lines if line.startswith("bucket ")}
    stale = set()
    for line in lines:
        parts = line.split(" ")[1].split("/")
        if len(parts) != 7 or bytes.fromhex(parts[2] + parts[5]) != b"snapshotschildren":
            continue
        if "/".join([*parts[:4], parts[6]]) not in buckets:
            stale.add(line)
    return stale


def test_ends_the_leases_that_were_temporary(pair):
    """The leases that are gone are those that ``ctr`` was made to delete, in each namespace."""
    gone: dict[str, set[str]] = {}
    for line in pair.before[METADATA] - dumps(pair.ours)[METADATA]:
        what, path, *_ = line.split(" ")
        parts = [bytes.fromhex(part).decode(errors="replace") for part in path.split("/")]
        if what == "bucket" and len(parts) == 4 and parts[2] == "leases":
            gone.setdefault(parts[1], set()).add(parts[3])
    assert gone == _ended(pair.capture)


@pytest.mark.parametrize("pair", PULLS, ids=lambda capture: capture.name, indirect=True)
def test_frees_the_pull_and_nothing_else(pair):
    """Every byte of the interrupted pull is free, by du, and no other but what a build step left."""
    gone = pair.sizes.keys() - set(on_disk(pair.ours))
    assert gone == _pulled(pair) | _views(pair) | _built(pair)
    expected = sum(pair.sizes[path] for path in gone)
    after = _totals(pair)
    # Databases do not shrink, and grow into the holes that the archive kept of them.
    grown = after["databases"] - pair.totals["databases"]
    assert pair.totals["host"] - after["host"] == expected - grown
    (journal,) = (pair.work / "state").glob("*/journal.jsonl")
    assert sum(json.loads(line).get("freed", 0) for line in journal.read_text().splitlines()) == expected


def _rows(rows, *columns):
    """Of a listing: another version of ctr may word the other columns in another way."""
    return {tuple(row[column] for column in columns) for row in rows}


def _totals(pair):
    return {
        "host": _usage(pair.work / "ours/var"),
        "databases": sum(_usage(path) for path in pair.ours.glob("*/*.db")),
    }


def _pulled(pair):
    """What came of tools:2 and of no other image, whatever the databases say of it."""
    served = images(_base(pair.capture, pair.work / "theirs"))
    tools = served["tools:2"]
    digests = {blob.digest for blob in tools.blobs} - {blob.digest for blob in served["shop:1"].blobs}
    paths = {f"{CONTENT}/blobs/{digest.replace(':', '/')}" for digest in digests}
    paths |= {
        f"{CONTENT}/ingest/{name}"
        for name, ingest in pair.capture.facts["ingest_files"].items()
        if ingest["ref"].endswith(tuple(digests))
    }
    # Unpacked layers, and the one that was being unpacked ("extract-... sha256:..."); the first is shop's too.
    chains = tuple(tools.chain_id(length).encode() for length in range(2, len(tools.layers) + 1))
    paths |= {f"{_OVERLAYFS}/{folder}" for name, folder in pair.folders.items() if name.endswith(chains)}
    return paths & pair.sizes.keys()


def _views(pair):
    return {f"{_OVERLAYFS}/{folder}" for name, folder in pair.folders.items() if name.endswith(b"-view")}


def _built(pair):
    """The snapshots of cache records that BuildKit drops."""
    ids = tuple(each.encode() for leases in DROPPED.get(pair.capture.name, {}).values() for each in leases)
    return {f"{_OVERLAYFS}/{folder}" for name, folder in pair.folders.items() if ids and name.endswith(ids)}


def _base(capture, host):
    return base_of(host / capture.root / CONTENT, capture.facts["dockerd"]["images"][0]["id"])


def test_the_collector_finds_nothing_more(pair, tmp_path):
    """The engine starts on what drydock left, has all images and containers, reads each blob as before, and collects.

    It neither drops nor removes nor writes anything.
    """
    capture, host = pair.capture, pair.copy(tmp_path)
    with containerd_on(capture, host, tmp_path / "first", collect=False) as engine:
        before = listed(engine)
    for namespace, lists in capture.namespaces.items():
        for kind, columns in (("images", ("name", "digest")), ("containers", ("id",))):
            assert _rows(before[namespace][kind], *columns) == _rows(lists[kind], *columns)
        content = ("digest", "size", "intact")
        assert _rows(before[namespace]["content"], *content) <= _rows(lists["content"], *content)
    with containerd_on(capture, host, tmp_path / "second", collect=True) as engine:
        engine.collect(next(iter(capture.namespaces)))
        assert dropped(before, listed(engine)) == {}
    assert on_disk(host / capture.root) == on_disk(pair.ours)
    assert dumps(host / capture.root) == dumps(pair.ours)
