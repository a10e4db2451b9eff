"""Dropping BuildKit's cache and history without the engine: what its own prune command removes, and nothing else."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner
from fixtures.recipes.buildkit_killed import NAME, ROOT
from tests.engines.buildkit import Buildkitd
from tests.engines.hosts import containerd_on, docker_on
from tests.engines.listing import listed, names
from tests.engines.modules import Module, built
from tests.engines.sandbox import Sandbox
from tests.support import gobbolt
from tests.support.build_cache import cache_records
from tests.support.captures import capture, unpack
from tests.support.documents import run, scan
from tests.support.faults import run_counted
from tests.support.records import nested
from tests.support.trees import tree

from drydock.cli import main

pytestmark = pytest.mark.root

DOCKER = capture("docker-28.5-interrupted-pull")
BUILDKIT = capture(NAME)
EVERY = 1 if "DRYDOCK_TEST_EVERY_KILL" in os.environ else 17
_IMAGE = "127.0.0.1:5000/shop:1"
_RECORD = re.compile("[0-9a-z]{25}")


def _database(taken, host):
    if taken.docker:
        return host / taken.docker / "buildkit/containerd-overlayfs/metadata_v2.db"
    return host / taken.root / "metadata_v2.db"


def _command(taken, host, kinds, *options):
    return ("clean", "--drop", kinds, "--now", taken.taken_at, "--state", host / "state", *options, host)


def _dumps(taken, host):
    found = {}
    for path in (*(host / taken.root).rglob("*.db"), _database(taken, host)):
        found[path.relative_to(host)] = gobbolt.dump(path)
    return found


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "flag"),
    [("docker-28.5-killed", "all-build-cache", "--all"), ("docker-28.5-interrupted-pull", "build-cache", "--force")],
)
def test_it_is_what_docker_builder_prune_removes(name, kind, flag, tmp_path):
    """The same cache records and, per namespace, the same blobs, snapshots and leases; then images run as before."""
    taken = capture(name)
    left = {}
    for copy in ("theirs", "ours"):
        host = tmp_path / copy
        host.mkdir()
        unpack(taken, host)
        if copy == "ours":
            run(*_command(taken, host, f"{kind},build-history", "--apply", "--yes"), status=0)
        with docker_on(taken, host, tmp_path / f"{copy}-work") as docker:
            if copy == "theirs":
                docker.docker("builder", "prune", "--force", flag)
            docker.system_df()
            docker.ctr("leases", "create", "--id", "drydock-collect")
            docker.ctr("leases", "rm", "--sync", "drydock-collect")
            runs = docker.docker("run", "--rm", "--network", "none", _IMAGE, "/bin/busybox", "ls", "/srv")
            usage = json.loads(docker.system_df("--verbose", "--format", "{{json .BuildCache}}"))
        with containerd_on(taken, host, tmp_path / f"{copy}-listed", collect=False) as engine:
            lists = names(listed(engine))
        history = lists.pop("moby_history", {})
        records = set(cache_records(_database(taken, host)))
        left[copy] = records, sorted(row["ID"] for row in usage), lists, runs
        if copy == "ours":
            assert history.get("leases", []) == []
            assert nested(host / taken.docker / "buildkit/history_c8d.db").get(b"_records", {}) == {}
    assert left["ours"] == left["theirs"]


@pytest.mark.engine
@pytest.mark.slow
def test_it_is_what_buildctl_prune_removes(tmp_path):
    """Of a buildkitd of its own: the same records, and the same blobs and snapshots on disk."""
    left = {}
    for copy in ("theirs", "ours"):
        host = tmp_path / copy
        host.mkdir()
        unpack(BUILDKIT, host)
        if copy == "ours":
            options = ("--end-leases", "temporary", "--apply", "--yes")
            run(*_command(BUILDKIT, host, "all-build-cache", *options), status=0)
        (tmp_path / f"{copy}-work").mkdir()
        with (
            Sandbox(tmp_path / f"{copy}-work", programs=[built(Module.BUILDKIT)]) as sandbox,
            Buildkitd(sandbox, sandbox.show(host, "/run/host") / ROOT) as buildkit,
        ):
            buildkit.usage()
            buildkit.buildctl("prune", "--all")
            assert copy == "theirs" or buildkit.usage() == {}
        worker = host / BUILDKIT.root
        left[copy] = (
            cache_records(_database(BUILDKIT, host)),
            sorted(path.name for path in (worker / "content/blobs/sha256").iterdir()),
            sorted(nested(worker / "snapshots/metadata.db")[b"v1"].get(b"snapshots", {})),
        )
    assert left["ours"] == left["theirs"]
    assert left["ours"][0] == {}


@pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}")
@pytest.mark.parametrize("taken", [DOCKER, BUILDKIT], ids=lambda each: each.name)
def test_it_is_undone_from_a_quarantine(taken, unpacked_anew):
    """The same tree and the same keys; before it, every record is marked as BuildKit marks one."""
    host = unpacked_anew(taken)
    before, files = _dumps(taken, host), tree(host / taken.root)
    written = _database(taken, host).stat().st_mtime_ns
    records = cache_records(_database(taken, host))
    (host / "apart").mkdir(mode=0o700)
    kinds = "all-build-cache,build-history"
    run(*_command(taken, host, kinds, "--apply", "--yes", "--quarantine", host / "apart"), status=0)
    assert _database(taken, host).stat().st_mtime_ns == written
    marked = cache_records(_database(taken, host))
    assert marked.keys() == records.keys()
    for name, fields in marked.items():
        twin = records[name].get("cache.equalMutable")
        unknown = {key: value for key, value in fields.items() if key != "cache.deleted"}
        assert unknown == records[name]
        assert fields.get("cache.deleted") or twin or name in BUILDKIT.facts["buildkitd"]["records"]
    assert run(*_command(taken, host, kinds), status=0).rstrip().endswith("nothing to remove")
    run("bolt", "compact", "--apply", "--yes", "--state", host / "state", _database(taken, host), status=32)
    (journal,) = (host / "state").glob("*/journal.jsonl")
    run("undo", journal, status=0)
    assert _dumps(taken, host) == before
    # When BuildKit wrote last tells whose a lease is, and which store dockerd used last.
    assert _database(taken, host).stat().st_mtime_ns == written
    # Databases grow by an edit, and have other times.
    names_of = {path for path in files if not path.endswith(b".db")}
    after = tree(host / taken.root)
    assert {path: after[path][:4] for path in names_of} == {path: files[path][:4] for path in names_of}


@pytest.mark.slow
@pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}")
def test_a_kill_at_any_call_and_the_next_run_ends_the_same(tmp_path):
    """Sound databases; no record that BuildKit keeps has lost its snapshot; then the same end as undisturbed."""
    (tmp_path / "whole").mkdir()
    whole = unpack(DOCKER, tmp_path / "whole")
    command = ("all-build-cache", "--apply", "--yes")
    calls = run_counted(*_command(DOCKER, whole, *command)).calls
    ended = _dumps(DOCKER, whole)
    for number in range(1, len(calls) + 1, EVERY):
        (tmp_path / str(number)).mkdir()
        host = unpack(DOCKER, tmp_path / str(number))
        assert run_counted(*_command(DOCKER, host, *command), kill_after=number).signal == signal.SIGKILL
        for path in (*(host / DOCKER.root).rglob("*.db"), _database(DOCKER, host)):
            assert gobbolt.check(path) == (0, "")
        codes = [each["code"] for each in scan(DOCKER, host)["findings"]]
        assert "record-without-snapshot" not in codes
        run(*_command(DOCKER, host, *command), status=0)
        assert _dumps(DOCKER, host) == ended
        codes = [each["code"] for each in scan(DOCKER, host, "--state", host / "state")["findings"]]
        assert "unfinished-run" not in codes


def test_keep_keeps_a_record_and_all_that_it_needs(unpacked):
    """The record whose snapshot is named stays, with its parents; the others go."""
    records = cache_records(_database(BUILDKIT, unpacked(BUILDKIT)))
    (third,) = [name for name, fields in records.items()
                if "echo built" in fields.get("cache.description", "") and fields.get("cache.parent")
                and fields.get("cache.snapshot") == name and not fields.get("cache.equalMutable")
                and name in BUILDKIT.facts["buildkitd"]["kept"]
                and name in {each.get("cache.parent") for each in records.values()}]  # fmt: skip
    needed, name = set(), third
    while name:
        needed.add(name)
        name = records[name].get("cache.parent")
    plan = unpacked(BUILDKIT).parent / "keep.json"
    plan.unlink(missing_ok=True)
    options = ("--keep", third, "--now", BUILDKIT.taken_at, "-o", plan)
    run("plan", "--drop", "all-build-cache", *options, unpacked(BUILDKIT), status=1)
    (made,) = json.loads(plan.read_text())["plans"]
    marked = {each["id"] for each in made["marks"]}
    assert marked.isdisjoint(needed)
    assert marked
    ended = {_RECORD.match(each["id"])[0] for each in made["leases"] if _RECORD.match(each["id"])}
    assert ended.isdisjoint(needed)


def test_a_kind_that_there_is_not():
    """It is refused with the ones that there are, and so is dropping without editing."""
    for words, said in (
        (["--drop", "build-cash"], "build-cache"),
        (["--drop", "build-cache", "--no-edit"], "--no-edit"),
    ):
        result = CliRunner().invoke(main, ["clean", *words, str(Path(__file__).parent)])
        assert result.exit_code == 16
        assert said in result.output
