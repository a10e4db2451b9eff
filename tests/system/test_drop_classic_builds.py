"""``clean --drop`` of build cache and history in Docker's classic store takes what dockerd's own commands take."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from tests.engines.hosts import docker_on
from tests.support import gobbolt
from tests.support.build_cache import cache_records, left_by_steps
from tests.support.captures import classic_captures, unpack
from tests.support.documents import run
from tests.support.faults import run_counted
from tests.support.records import nested
from tests.system.test_clean_classic import OWNERLESS, figures, store

from drydock.model.plans import Outcome, Status, Target
from drydock.reclaim import removals

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ
"""Whether every command is compared on every engine, and all kill points are tried; ./run prove does that."""
OLD, NEW = classic_captures()
DATABASES = ("metadata_v2.db", "containerdmeta.db", "snapshots.db", "history.db")
HISTORY = "buildx history rm --all"
KINDS = "all-build-cache,build-history"
COMMANDS = {
    "build-cache": ["builder prune -f"],
    "all-build-cache": ["builder prune -f -a"],
    KINDS: ["builder prune -f -a", HISTORY],
}
COMPARED = [(of, kinds) for of in (OLD, NEW) for kinds in COMMANDS if of is NEW or HISTORY not in COMMANDS[kinds]]
SAMPLE = [COMPARED[0], COMPARED[-1]]
# What each start, each question and each build by itself changes.
PASSING = re.compile(rb"cache\.(lastUsedAt|usageCount|createdAt)")


def command(host, kinds, *options):
    """The drop."""
    return "clean", "--drop", kinds, "--apply", "--yes", "--state", host / "state", *options, host


def dumps(of, host):
    """The contents of the builder's databases by Go's reader, and its blobs."""
    folder = host / of.docker / "buildkit"
    found = {name: gobbolt.dump(folder / name) for name in DATABASES}
    found["content"] = sorted(path.name for path in (folder / "content/blobs/sha256").iterdir())
    return found


def keys(of, host):
    """The keys of the builder's databases with their values, times left out, and its blobs."""
    folder = host / of.docker / "buildkit"
    found = {name: dict(_flat(nested(folder / name))) for name in DATABASES}
    return found, sorted(path.name for path in (folder / "content/blobs/sha256").iterdir())


def _flat(bucket, path=()):
    for key, value in bucket.items():
        if PASSING.fullmatch(key) is None:
            yield (*path, key), None if isinstance(value, dict) else value
        if isinstance(value, dict):
            yield from _flat(value, (*path, key))


def cleaned(of, host):
    """A capture from which what the kill left is gone: dockerd leaves most of it."""
    host.mkdir()
    unpack(of, host)
    run("clean", *OWNERLESS, "--apply", "--yes", "--now", of.taken_at, "--state", host.parent, host, status=0)
    return host


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize(("of", "kinds"), [pytest.param(*each, id=f"{each[0].name} {each[1]}")
                                           for each in (COMPARED if ALL else SAMPLE)])  # fmt: skip
def test_it_takes_what_dockerd_takes(of, kinds, tmp_path):
    """On one copy dockerd is told, on the other drydock drops with dockerd stopped: the same keys, blobs and layers.

    dockerd lists and counts the same then, containers run, and what was built is built again.
    """
    left = {}
    for copy in ("theirs", "ours"):
        host = cleaned(of, tmp_path / copy)
        before = store(host, of)
        if copy == "ours":
            run(*command(host, kinds), status=0)
            taken = before.keys() - store(host, of).keys()
        with docker_on(of, host, tmp_path / f"{copy}-work") as docker:
            for words in COMMANDS[kinds] if copy == "theirs" else ():
                docker.docker(*words.split())
            docker.system_df()
            used = figures(json.loads(docker.system_df("--verbose", "--format", "{{json .}}")))
            cache = sorted(json.loads(line)["ID"] for line in used.pop("BuildCache"))
            docker.stop()
            left[copy] = keys(of, host), store(host, of), used, cache
            if copy == "theirs":
                given = before.keys() - left[copy][1].keys()
                continue
            assert "Damage" not in run("scan", host)
            docker.start()
            docker.docker("start", "--attach", "web")
            script = b'FROM kept:1\nRUN ["/bin/busybox", "cat", "/srv/kept"]\n'
            docker.docker("build", "-q", "--network", "none", "-t", "after:1", "-", stdin=script)
    assert left["ours"] == left["theirs"]
    assert taken
    assert taken <= given


@pytest.mark.engine
@pytest.mark.slow
def test_the_history_goes_where_buildx_cannot_remove_it(tmp_path):
    """Docker 26.1 has no command for it, and does not heal a build without its lease: its engine lists none."""
    host = cleaned(OLD, tmp_path / "host")
    run(*command(host, "build-history"), status=0)
    with docker_on(OLD, host, tmp_path / "work") as docker:
        docker.system_df()
        script = b'FROM kept:1\nRUN ["/bin/busybox", "cat", "/srv/kept"]\n'
        docker.docker("build", "-q", "--network", "none", "-t", "after:1", "-", stdin=script)
    history = nested(host / OLD.docker / "buildkit/history.db")[b"_records"]
    assert len(history) == 1
    leases = nested(host / OLD.docker / "buildkit/containerdmeta.db")[b"v1"][b"buildkit_history"][b"leases"]
    assert leases.keys() == {b"ref_" + each for each in history}


def test_a_quarantine_gives_the_same_tree_and_databases_back(tmp_path):
    """Everything of the classic store and of the builder; before that, a second drop finds nothing."""
    host = cleaned(NEW, tmp_path / "host")
    before = store(host, NEW), dumps(NEW, host)
    kinds = KINDS
    (host / "aside").mkdir(mode=0o700)
    run(*command(host, kinds, "--quarantine", host / "aside"), status=0)
    marked = cache_records(host / NEW.docker / "buildkit/metadata_v2.db")
    assert dumps(NEW, host)["content"] == []
    assert run(*command(host, kinds), status=0).rstrip().endswith("nothing to remove")
    assert cache_records(host / NEW.docker / "buildkit/metadata_v2.db") == marked
    (journal,) = (host / "state").glob("*/journal.jsonl")
    run("undo", journal, status=0)
    assert (store(host, NEW), dumps(NEW, host)) == before


def test_no_layer_goes_while_the_file_of_an_image_that_should_go_stays(tmp_path, monkeypatch):
    """An image's file cannot be removed: it needs its layers, so no database of the builder is edited, no layer goes.

    Of what only images and build cache use together, the next drop takes everything.
    """
    host = cleaned(NEW, tmp_path / "host")
    before = store(host, NEW), dumps(NEW, host)
    real = removals.remove

    def remove(root_dir, removal, *rest):
        if removal.target is Target.STORE_FILE:
            return Outcome(removal, Status.FAILED, "it is immutable")
        return real(root_dir, removal, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(removals, "remove", remove)
        text = run(*command(host, "unused-images,all-build-cache", "--accept-loss", "kept:1"), status=4)
    assert "it is immutable" in text
    assert (store(host, NEW), dumps(NEW, host)) == before
    run(*command(host, "unused-images,all-build-cache", "--accept-loss", "kept:1"), status=0)
    assert store(host, NEW) != before[0]


def planned(host, *options):
    """The records that a plan marks, and the keys that it deletes, by database."""
    path = host / "plan.json"
    path.unlink(missing_ok=True)
    run("plan", *options, "-o", path, host)
    (plan,) = json.loads(path.read_text())["plans"]
    assert "/overlay2/" not in json.dumps(plan["fields"])
    gone = {name: set() for name in DATABASES}
    for field in plan["fields"]:
        gone[field["database"].rpartition("/")[2]].add(field["key"])
    return {mark["id"] for mark in plan.get("marks", ())}, gone, plan["removals"]


def test_keep_and_unused_for_keep_a_record_with_all_that_it_needs(tmp_path):
    """Kept by its id or by its layer's directory; what was used since stays, and what was never used goes."""
    host = unpack(NEW, tmp_path)
    records = cache_records(host / NEW.docker / "buildkit/metadata_v2.db")
    (name,) = [each for each, fields in records.items() if "echo thrown" in fields.get("cache.description", "")]
    snapshots = nested(host / NEW.docker / "buildkit/snapshots.db")
    directory = snapshots[name.encode()][b"committed"].decode()
    needed, above = {name}, records[name]
    while above.get("cache.parent"):
        needed.add(above["cache.parent"])
        above = records[above["cache.parent"]]
    stays = needed | {directory} | {records[each]["cache.snapshot"] for each in needed}
    drop = ("--drop", "all-build-cache", "--now", NEW.taken_at)
    assert needed < planned(host, *drop)[0]
    for word in (name, f"overlay2/{directory}"):
        marked, gone, removals = planned(host, *drop, "--keep", word)
        assert marked
        assert marked.isdisjoint(needed)
        assert stays.isdisjoint(set().union(*gone.values()))
        assert not any(each["path"].endswith(directory) for each in removals)
    used = {each for each, fields in records.items() if fields.get("cache.usageCount")}
    marked, _, _ = planned(host, *drop, "--unused-for", "1h")
    twins = {each for each, fields in records.items() if fields.get("cache.equalMutable")}
    # What a killed step left goes by itself; of what has no twin yet BuildKit learns the size, which is a use.
    paired = {fields.get("cache.equalMutable") for fields in records.values()}
    early = {each for each, fields in records.items() if not fields.get("snapshot.committed") and each not in paired}
    assert marked == set(records) - used - twins - early
    assert marked


@pytest.mark.parametrize("name", DATABASES)
def test_a_damaged_database_keeps_all_that_the_builder_has(name, tmp_path):
    """Nothing is marked, edited or removed of it, and the plan says so.

    Without the history, what BuildKit itself drops goes, as by any plan.
    """
    host = unpack(NEW, tmp_path)
    records = NEW.docker + "/buildkit/metadata_v2.db"
    dropped = left_by_steps(host / records) if name == "history.db" else set()
    with open(host / NEW.docker / "buildkit" / name, "r+b") as file:
        file.seek(2 * os.sysconf("SC_PAGE_SIZE"))
        file.write(bytes(6 * os.sysconf("SC_PAGE_SIZE")))
    marked, gone, removals = planned(host, "--drop", KINDS, "--now", NEW.taken_at)
    assert (marked, set().union(*gone.values())) == (set(), dropped)
    assert not any(each["path"].startswith("buildkit/") for each in removals)
    assert bool(dropped) == any(each["after_edit"] for each in removals)
    assert "not all of what dockerd's builder keeps could be read" in (host / "plan.json").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Gives a copy of a host, with what an undisturbed drop leaves of it, and the calls that this makes."""
    made = cleaned(NEW, tmp_path_factory.mktemp("undisturbed") / "made")
    whole = copied(made, made.parent / "whole")
    ended = run_counted(*command(whole, KINDS))
    assert (ended.signal, ended.status) == (0, 0), ended.output
    yield made, (store(whole, NEW), dumps(NEW, whole)), ended.calls
    shutil.rmtree(made.parent)


def copied(made, host):
    """A copy of a host."""
    subprocess.run(["cp", "-a", made, host], check=True)
    return host


@pytest.mark.slow
def test_a_kill_after_any_call_is_ended_by_the_next_drop(undisturbed, tmp_path):
    """Databases are sound, nothing that stays is lost, and the same drop ends as an undisturbed one."""
    made, kept, calls = undisturbed
    points = [each for each in range(1, len(calls) + 1) if calls[each - 1 : each] != calls[each - 2 : each - 1]]
    for number in points if ALL else points[::29]:
        host = copied(made, tmp_path / str(number))
        assert run_counted(*command(host, KINDS), kill_after=number).signal == signal.SIGKILL
        for name in DATABASES:
            assert gobbolt.check(host / NEW.docker / "buildkit" / name) == (0, "")
        left = store(host, NEW)
        assert {path: left.get(path) for path in kept[0]} == kept[0], number
        run(*command(host, KINDS), status=0)
        assert (store(host, NEW), dumps(NEW, host)) == kept, number
        assert "unfinished-run" not in run("scan", "--format", "json", "--state", host / "state", host)
        shutil.rmtree(host)


@pytest.mark.engine
@pytest.mark.slow
def test_dockerd_goes_on_wherever_the_drop_was_killed(undisturbed, tmp_path):
    """It heals what it can when it starts; containers run, a build works, and the next drop takes the rest.

    Killed between leases and snapshots it leaves most: a snapshot that no build can use.
    """
    made, kept, calls = undisturbed
    edits = [number for number, call in enumerate(calls, 1) if call == "utime"]
    assert len(edits) == len(DATABASES)
    for number in [*edits, edits[-1] + 12] if ALL else edits[1:2]:
        host = copied(made, tmp_path / str(number))
        assert run_counted(*command(host, KINDS), kill_after=number).signal == signal.SIGKILL
        with docker_on(NEW, host, tmp_path / f"{number}-work") as docker:
            docker.system_df()
            assert json.loads(docker.system_df("--verbose", "--format", "{{json .BuildCache}}")) in ([], None), number
            docker.docker("start", "--attach", "web")
            docker.stop()
            run(*command(host, KINDS), status=0)
            assert store(host, NEW) == kept[0], number
            docker.start()
            script = b'FROM kept:1\nRUN ["/bin/busybox", "cat", "/srv/kept"]\n'
            docker.docker("build", "-q", "--network", "none", "-t", "after:1", "-", stdin=script)
        shutil.rmtree(host)


def test_undo_of_a_killed_drop_brings_no_snapshot_back_that_is_gone(undisturbed, tmp_path):
    """Killed before its removals, whose data the next drop removed: every build would fail on such a snapshot."""
    made, kept, calls = undisturbed
    last = [number for number, call in enumerate(calls, 1) if call == "utime"][-1]
    host = copied(made, tmp_path / "host")
    assert run_counted(*command(host, KINDS), kill_after=last).signal == signal.SIGKILL
    (journal,) = (host / "state").glob("*/journal.jsonl")
    run(*command(host, KINDS), status=0)
    assert "which its former records name, is gone" in run("undo", journal, status=None)
    assert dumps(NEW, host) == kept[1]
