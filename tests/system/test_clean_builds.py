"""``clean`` frees in Docker's classic store what BuildKit drops by itself, as a real dockerd drops it."""

import json
import os

import pytest
from tests.engines.hosts import docker_on
from tests.support import gobbolt
from tests.support.boltwriter import write
from tests.support.build_cache import cache_records, left_by_steps
from tests.support.captures import classic_captures, unpack
from tests.support.documents import run
from tests.support.records import nested
from tests.system.test_clean_classic import store

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

OLD, NEW = classic_captures()
ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ
"""Whether each damage is tried with each engine, and all kill points; ./run prove does that."""


def folder(of, host):
    """The builder's."""
    return host / of.docker / "buildkit"


def records_of(of, host, described):
    """The ids of the cache records with a word in their description."""
    records = cache_records(folder(of, host) / "metadata_v2.db")
    return sorted(name for name, fields in records.items() if described in fields.get("cache.description", ""))


def changed(database, change):
    """Change a database."""
    tree = nested(database)
    change(tree)
    write(database, tree)


def without_parent(of, host):
    """The record is gone that the steps of all builds were made on."""
    (step,) = records_of(of, host, "echo kept")
    parent = cache_records(folder(of, host) / "metadata_v2.db")[step]["cache.parent"]
    changed(folder(of, host) / "metadata_v2.db", lambda tree: tree[b"_main"].pop(parent.encode()))


def half_removed(of, host):
    """The removal of a step had begun; the mutable record of a pair is gone, and the snapshot of another source."""
    (step,) = records_of(of, host, "echo thrown")
    records = cache_records(folder(of, host) / "metadata_v2.db")
    twins = sorted({fields["cache.equalMutable"] for fields in records.values() if fields.get("cache.equalMutable")})
    sources = [name for name, fields in records.items() if "source.local" in fields.get("cache.recordType", "")]

    def change(tree):
        tree[b"_main"][step.encode()][b"cache.deleted"] = b'{"value":true}'
        del tree[b"_main"][twins[0].encode()]

    changed(folder(of, host) / "metadata_v2.db", change)
    gone = min(each for each in sources if each != twins[0])
    changed(folder(of, host) / "snapshots.db", lambda tree: tree.pop(gone.encode()))


DROPPED = {without_parent: 3, half_removed: 5}
"""How many cache records dockerd drops after each damage, with that of the killed step."""
CASES = [(of, plant) for of in (OLD, NEW) for plant in DROPPED]
SAMPLE = CASES[-1:]


def recorded(of, host):
    """The ids of cache records, of leases and of snapshots."""
    leases = nested(folder(of, host) / "containerdmeta.db")[b"v1"][b"buildkit"][b"leases"]
    return (
        set(cache_records(folder(of, host) / "metadata_v2.db")),
        {each.decode() for each in leases},
        {each.decode() for each in nested(folder(of, host) / "snapshots.db")},
    )


def tops(paths):
    """The directories, links and records that paths are of."""
    parts = (path.decode().split("/") for path in paths)
    deep = {"overlay2": 2, "l": 3, "image": 5}
    return {"/".join(each[: deep["l"] if each[:2] == ["overlay2", "l"] else deep[each[0]]]) for each in parts}


def planned(of, host, *options):
    """The keys that a plan deletes of the builder's databases, and the paths that go after that."""
    (host / "plan.json").unlink(missing_ok=True)
    run("plan", "-o", host / "plan.json", "--now", of.taken_at, *options, host)
    (plan,) = json.loads((host / "plan.json").read_text())["plans"]
    assert not plan.get("marks")
    fields = {name: {each["key"] for each in plan["fields"] if each["database"].endswith(name)}
              for name in ("containerdmeta.db", "snapshots.db")}  # fmt: skip
    return fields, {each["path"] for each in plan["removals"] if each["after_edit"]}


def removing(data):
    """What of a layer is left whose removal a killed dockerd had begun: dockerd ends that, too, when it starts."""
    for record in (data / "image/overlay2/layerdb/sha256").glob("*-removing"):
        yield str(record.relative_to(data))
        name = (record / "cache-id").read_text()
        yield f"overlay2/{name}"
        yield from (str(each.relative_to(data)) for each in (data / "overlay2/l").iterdir()
                    if each.readlink().parts[1] == name)  # fmt: skip


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize(("of", "plant"), [pytest.param(*each, id=f"{each[0].name} {each[1].__name__}")
                                           for each in (CASES if ALL else SAMPLE)])  # fmt: skip
def test_it_is_what_dockerd_drops(of, plant, tmp_path):
    """The leases, snapshots, layers and directories of a plan are those that dockerd drops itself; no record stays."""
    host = unpack(of, tmp_path)
    plant(of, host)
    begun = set(removing(host / of.docker))
    before = recorded(of, host), store(host, of)
    fields, paths = planned(of, host)
    with docker_on(of, host, tmp_path / "engine") as docker:
        for _ in range(2):
            docker.system_df()
    after = recorded(of, host), store(host, of)
    records, leases, snapshots = (old - new for old, new in zip(before[0], after[0], strict=True))
    assert fields == {"containerdmeta.db": leases, "snapshots.db": snapshots}
    assert paths == tops(before[1].keys() - after[1].keys()) - begun
    assert len(records) == DROPPED[plant]
    assert paths


def test_it_is_unreachable_and_explained(tmp_path):
    """The directory of a killed step, and its lease; kept by name, or without edits, all of it stays."""
    host = unpack(NEW, tmp_path)
    (step,) = left_by_steps(folder(NEW, host) / "metadata_v2.db")
    found = json.loads(run("scan", "--format", "json", "--now", NEW.taken_at, host, status=None))
    (root,) = found["roots"]
    (seen,) = (each for each in root["objects"] if each["path"] == f"overlay2/{step}")
    assert (seen["state"], seen["reach"], seen["held_by"]) == ("unreachable", "unreachable", [])
    (lease,) = (each for each in root["leases"] if each["id"] == step)
    assert (lease["class"], lease["owner"]) == ("dropped", f"cache record {step}")
    said = run("explain", f"overlay2/{step}", "--now", NEW.taken_at, host)
    assert "no build uses it; BuildKit drops its cache record: an interrupted build left it" in said
    (link,) = (each.name for each in (host / NEW.docker / "overlay2/l").iterdir() if each.readlink().parts[1] == step)
    goes = {"containerdmeta.db": {step}, "snapshots.db": {step}}, {f"overlay2/{step}", f"overlay2/l/{link}"}
    assert planned(NEW, host) == goes
    nothing = {"containerdmeta.db": set(), "snapshots.db": set()}, set()
    for options in (("--keep", step), ("--keep", f"overlay2/{step}"), ("--no-edit",)):
        assert planned(NEW, host, *options) == nothing
        assert f"overlay2/{step}" not in {
            each["path"] for each in json.loads((host / "plan.json").read_text())["plans"][0]["removals"]
        }


def without_snapshot(of, host):
    """The snapshot of a step that is kept is gone; give the id of its record."""
    (step,) = records_of(of, host, "echo thrown")
    changed(folder(of, host) / "snapshots.db", lambda tree: tree.pop(step.encode()))
    return step


def test_a_record_that_stays_without_its_snapshot_is_damage(tmp_path):
    """A finding names it, and only then."""
    host = unpack(NEW, tmp_path)

    def damage():
        (root,) = json.loads(run("scan", "--format", "json", "--now", NEW.taken_at, host, status=None))["roots"]
        return [each["bucket"] for each in root["findings"] if each["code"] == "record-without-snapshot"]

    assert damage() == []
    step = without_snapshot(NEW, host)
    assert damage() == [["_main", step]]


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.skipif(not ALL, reason="long: ./run prove runs it")
@pytest.mark.parametrize("of", [pytest.param(each, id=each.name) for each in (OLD, NEW)])
def test_builds_fail_on_such_a_record_until_it_goes(of, tmp_path):
    """Also over a restart of dockerd, which lists the record; the drop of the build cache mends it."""
    host = unpack(of, tmp_path)
    step = without_snapshot(of, host)
    script = b'FROM 127.0.0.1:5000/shop:1\nRUN ["/bin/busybox", "sh", "-c", "echo thrown >/srv/thrown"]\n'
    with docker_on(of, host, tmp_path / "engine") as docker:
        for _ in range(2):
            with pytest.raises(RuntimeError, match=f"can not convert active {step} to layer"):
                docker.docker("build", "-q", "--network", "none", "-t", "again:1", "-", stdin=script)
            docker.stop()
            assert step in recorded(of, host)[0]
            docker.start()
        docker.stop()
        run("clean", "--drop", "all-build-cache", "--apply", "--yes", "--state", tmp_path, host, status=0)
        docker.start()
        docker.docker("build", "-q", "--network", "none", "-t", "again:1", "-", stdin=script)
