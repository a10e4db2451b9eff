"""A buildkitd of its own, killed while it built and pulled: read as a root like any other, judged by itself.

The engine is the judge: which records it lists and keeps after a start, what it builds, and what a containerd lists
that is given the same files.
"""

import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from fixtures.recipes.buildkit_killed import NAME, ROOT, contexts
from fixtures.recipes.docker_interrupted_pull import PORT, images
from tests.engines.buildkit import Buildkitd
from tests.engines.hosts import docker_on, newest, newest_on
from tests.engines.images import busybox_layer
from tests.engines.listing import names
from tests.engines.modules import Module, built
from tests.engines.registry import Registry
from tests.engines.sandbox import Sandbox
from tests.support import gobbolt
from tests.support.build_cache import cache_records, left_by_steps
from tests.support.captures import capture, unpack
from tests.support.documents import recorded, run, scan
from tests.support.trees import tree

from drydock.cli import main
from drydock.evidence.host.processes import users
from drydock.evidence.host.roots import discover
from drydock.model.names import RawPath

pytestmark = pytest.mark.root

OF = capture(NAME)
SAID = OF.facts["buildkitd"]
DROPPED = set(SAID["records"]) - set(SAID["kept"])
KINDS = ("content", "ingests", "snapshots")
_RECORDS = f"{OF.root}/metadata_v2.db"
_LEASE = re.compile(r"([0-9a-z]{25})(-variants|-view)?")


def _only(listing):
    """Blobs, ingests and snapshots, without empty lists."""
    # ctr does not list a write that has no file yet.
    begun = {each["ref"].split("/", 2)[2] for each in OF.facts["ingest_files"].values() if each["bytes"] is None}
    found = {}
    for space, lists in listing.items():
        kinds = {kind: sorted(set(lists[kind]) - begun) for kind in KINDS if lists.get(kind)}
        found.update({space: kinds} if kinds else {})
    return found


def _records(host):
    return set(cache_records(host / _RECORDS))


def test_it_is_what_a_containerd_lists(unpacked):
    """Every blob, ingest and snapshot, in its namespace, and no other; nothing is damage or unreadable."""
    found = scan(OF, unpacked(OF), status=1)
    assert (found["engine"], found["namespaces"]) == ("buildkit", sorted(OF.namespaces))
    assert _only(recorded(found)) == _only(names(OF.namespaces))
    assert {each["severity"] for each in found["findings"]} <= {"note"}


def test_what_buildkit_drops_is_unreachable(unpacked):
    """Its leases are of the class for it, those of other records are owned, and no lease is unknown."""
    host = unpacked(OF)
    assert left_by_steps(host / _RECORDS) <= DROPPED
    records = cache_records(host / _RECORDS)
    found = scan(OF, host)
    classes = {}
    for lease in found["leases"]:
        classes.setdefault(lease["class"], set()).add(lease["id"])
    dropped, kept = (
        {_LEASE.fullmatch(each)[1] for each in classes.get(kind, ())} for kind in ("dropped", "build-cache")
    )
    assert dropped == DROPPED
    # An immutable record whose data is still its mutable twin's has no lease yet.
    assert kept | {each for each in SAID["kept"] if records[each].get("cache.equalMutable")} == set(SAID["kept"])
    assert "unknown" not in classes
    states = {each["id"]: each["state"] for each in found["objects"] if each["kind"] == "snapshot"}
    assert {states[name] for name in left_by_steps(host / _RECORDS)} == {"unreachable"}


def test_every_block_is_counted_once(unpacked):
    """The sum is du's, and everything has a name."""
    host = unpacked(OF)
    text = run("scan", "--now", OF.taken_at, "--measure", "disk", "--format", "json", host / ROOT)
    usage = json.loads(text)["usage"]
    assert sum(each["bytes"] for each in usage) == _du(host / ROOT)
    assert [each for each in usage if each["category"] == "unknown"] == []


def _du(place):
    done = subprocess.run(["du", "-s", "-x", "--block-size=1", place], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


COMMANDS = [
    ("scan",), ("scan", "--measure", "disk", "--verify", "digest"), ("pulls",), ("clean",),
    ("clean", "--end-leases", "ownerless"), ("verify", "--data", "--unpacked"), ("repair",),
    *(("ls", each) for each in ("images", "containers", "snapshots", "leases", "content", "ingests")),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_works(unpacked, command, tmp_path):
    """On the host and on the worker alone."""
    host = unpacked(OF)
    state = ("--state", str(tmp_path / "state")) if command[0] == "verify" else ()
    for where in (host, host / ROOT, host / OF.root):
        result = CliRunner().invoke(main, [*command, *state, "--now", OF.taken_at, str(where)])
        assert result.exit_code in (0, 1), result.output


def test_a_snapshot_is_explained_by_its_record(unpacked):
    """What keeps it is the lease of a cache record, which has its owner."""
    host = unpacked(OF)
    kept = sorted(name for name in SAID["kept"] if f"overlayfs/{name}" in names(OF.namespaces)["buildkit"]["snapshots"])
    text = run("explain", "--now", OF.taken_at, kept[0], host, status=0)
    assert f"cache record {kept[0]}" in text


@contextmanager
def _buildkitd(host, work, *, serve=False):
    """The buildkitd that made it, on a host; with the registry that it pulled from."""
    work.mkdir()
    (work / "builds").mkdir()
    contexts(work / "builds")
    with Sandbox(work, programs=[built(Module.BUILDKIT)]) as sandbox:
        root = sandbox.show(host, "/run/host") / ROOT
        sandbox.show(work / "builds", "/run/builds")
        served = images(busybox_layer()) if serve else {}
        with Registry(sandbox.listen(PORT), served), Buildkitd(sandbox, root) as buildkit:
            yield buildkit


@pytest.mark.engine
@pytest.mark.slow
def test_buildkitd_goes_on(unpacked_anew, tmp_path):
    """On the cleaned root it lists and keeps the same records, finds all its cache, and ends the pull.

    While it runs, drydock refuses and names it. Afterwards nothing is left to free but what the builds left.
    """
    host = unpacked_anew(OF)
    records = cache_records(host / _RECORDS)
    command = ("clean", "--now", OF.taken_at, "--end-leases", "temporary", "--apply", "--yes")
    run(*command, "--state", host / "state", host, status=0)
    again = scan(OF, host, status=0)
    assert {each["state"] for each in again["objects"]} == {"live"}
    with _buildkitd(host, tmp_path / "work", serve=True) as buildkit:
        assert sorted(buildkit.usage()) == SAID["listed"]
        result = CliRunner().invoke(main, ["scan", str(host)])
        assert (result.exit_code, "buildkitd" in result.output) == (32, True)
        (root,) = discover(RawPath(bytes(host)))
        assert buildkit.daemon.process.pid in {each.pid for each in users(root)}
        text = buildkit.build(Path("/run/builds/app"))
        steps = re.findall(r"^#\d+ CACHED$", text, re.MULTILINE)
        assert len(steps) == 3, text
        buildkit.build(Path("/run/builds/pull"))
    # A source that was sent again has another immutable twin.
    twins = {each for each in SAID["kept"] if records[each].get("cache.equalMutable")}
    assert set(SAID["kept"]) - twins <= _records(host)
    found = json.loads(run("scan", "--format", "json", host))["roots"][0]
    # The builds just now have leases that end within minutes.
    assert {each["state"] for each in found["objects"]} <= {"live", "leased", "unreachable"}
    for database in (host / OF.root).rglob("*.db"):
        assert gobbolt.check(database) == (0, ""), database


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}")
def test_a_record_without_its_snapshot(unpacked, tmp_path):
    """As it was, buildkitd keeps the record, over a restart too, and the build fails; repaired, it builds."""
    records = cache_records(unpacked(OF) / _RECORDS)
    (third,) = [
        name
        for name, fields in records.items()
        if "echo built" in fields.get("cache.description", "") and fields.get("cache.parent")
    ]
    above = [name for name, fields in records.items() if fields.get("cache.parent") == third]
    found = {}
    for copy in ("broken", "repaired"):
        host = tmp_path / copy
        subprocess.run(["cp", "-a", unpacked(OF), host], check=True)
        for name in (third, *above):
            if "cache.equalMutable" not in records[name]:
                key = (b"v1", b"buildkit", b"snapshots", b"overlayfs", records[name]["cache.snapshot"].encode())
                gobbolt.drop(host / OF.root / "containerdmeta.db", key)
        if copy == "repaired":
            damage = [each for each in scan(OF, host)["findings"] if each["code"] == "record-without-snapshot"]
            assert [each["bucket"] for each in damage] == [["_main", third]]
            run("repair", "--now", OF.taken_at, "--apply", "--yes", "--state", host / "state", host)
        with _buildkitd(host, tmp_path / f"{copy}-work", serve=True) as buildkit:
            listed = third in buildkit.usage()
            try:
                buildkit.build(Path("/run/builds/app"))
                said = ""
            except RuntimeError as error:
                said = str(error)
        found[copy] = listed, "does not exist" in said, not said
    assert found == {"broken": (True, True, False), "repaired": (False, False, True)}


@pytest.mark.engine
@pytest.mark.slow
def test_what_dockers_buildkit_drops(unpacked_anew, tmp_path):
    """Of a killed Docker 28.5: after two ``docker system df`` the records are gone whose leases hold nothing here."""
    taken = capture("docker-28.5-killed")
    host = unpacked_anew(taken)
    database = host / taken.docker / "buildkit/containerd-overlayfs/metadata_v2.db"
    leases = scan(taken, host)["leases"]
    dropped = {_LEASE.fullmatch(each["id"])[1] for each in leases if each["class"] == "dropped"}
    before = set(cache_records(database))
    with docker_on(taken, host, tmp_path / "docker") as docker:
        for _ in range(2):
            docker.system_df()
    assert before - set(cache_records(database)) == dropped != set()


def test_in_the_volume_of_a_builder(unpacked_anew):
    """A buildx builder's volume in a Docker host: its worker is a root beside Docker's, and is cleaned alone."""
    taken = capture("docker-28.5-killed")
    host = unpacked_anew(taken)
    (host / "own").mkdir()
    unpack(OF, host / "own")
    volume = host / taken.docker / "volumes/buildx_buildkit_x0_state"
    volume.mkdir()
    (host / "own" / ROOT).rename(volume / "_data")
    shutil.rmtree(host / "own")
    worker = volume / "_data/runc-overlayfs"
    command = ("scan", "--now", OF.taken_at, "--measure", "disk", "--format", "json")
    document = json.loads(run(*command, host / taken.docker))
    assert {each["path"] for each in document["roots"]} == {str(host / taken.root), str(worker)}
    du = subprocess.run(
        ["du", "-sx", "--block-size=1", host / taken.docker], capture_output=True, text=True, check=True
    )
    assert sum(each["bytes"] for each in document["usage"]) == int(du.stdout.split()[0])
    before = tree(host / taken.root)
    run("clean", "--now", OF.taken_at, "--apply", "--yes", "--state", host / "state", worker, status=0)
    assert tree(host / taken.root) == before
    (root,) = json.loads(run("scan", "--now", OF.taken_at, "--format", "json", worker))["roots"]
    assert {each["state"] for each in root["objects"]} == {"live", "leased"}
    for database in worker.rglob("*.db"):
        assert gobbolt.check(database) == (0, ""), database


@pytest.mark.engine
@pytest.mark.slow
def test_a_buildkitd_that_works_in_containerd(tmp_path):
    """Its leases have their owners in its own records; once those are dropped by ``--drop``, it builds all anew."""
    host = tmp_path / "host"
    host.mkdir()
    unpack(capture("containerd-2.4-overlayfs"), host)
    (host / "etc").mkdir()
    (tmp_path / "builds").mkdir()
    contexts(tmp_path / "builds")
    cached = {}
    for step in ("first", "again", "after"):
        (tmp_path / step).mkdir()
        with Sandbox(tmp_path / step, programs=newest()) as sandbox:
            sandbox.show(tmp_path / "builds", "/run/builds")
            with (
                Registry(sandbox.listen(PORT), images(busybox_layer())),
                newest_on(sandbox, host, "overlayfs", collect=True) as engine,
                Buildkitd(sandbox, Path("/run/host", ROOT), containerd=engine) as buildkit,
            ):
                cached[step] = buildkit.build(Path("/run/builds/app")).count(" CACHED\n")
        (root,) = json.loads(run("scan", "--format", "json", host))["roots"]
        leases = [each for each in root["leases"] if each["namespace"].startswith("buildkit")]
        classes = {each["class"] for each in leases}
        assert classes >= {"build-cache", "build-history"}
        assert classes <= {"build-cache", "build-history", "temporary"}
        assert "record-without-snapshot" not in {each["code"] for each in root["findings"]}
        if step == "again":
            options = ("--apply", "--yes", "--state", tmp_path / "state")
            run("clean", "--drop", "all-build-cache,build-history", *options, host, status=0)
    assert (cached["first"], cached["again"], cached["after"]) == (0, 3, 0)
