"""A plan is carried out on the very state it was made of, and on no other; and with every error a disk can give."""

import errno
import json
import os
import shutil
import subprocess

import pytest
from click.testing import CliRunner
from tests.engines.listing import on_disk
from tests.support import gobbolt
from tests.support.captures import capture, unpack
from tests.support.documents import run, scan
from tests.support.faults import run_counted
from tests.support.records import METADATA, values
from tests.support.roots import data, databases, dumps

from drydock.cli import main

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

ONE = "docker-28.5-interrupted-pull"
# By error: of how many calls one is made to fail with it.
EACH = {errno.EIO: 29, errno.ENOSPC: 37, errno.EROFS: 53, errno.EPERM: 61, errno.EINTR: 47}
BLOBS = "io.containerd.content.v1.content/blobs/sha256"


class Planned:
    """A capture with a plan of it in a file."""

    def __init__(self, name, folder, *options):
        self.capture = capture(name)
        self.path = unpack(self.capture, folder)
        self.root = self.path / self.capture.root
        self.file = folder / "plan.json"
        run("plan", *(options or ("--end-leases", "temporary")), "--now", self.capture.taken_at, "-o", self.file,
            self.path)  # fmt: skip
        self.plan = json.loads(self.file.read_text())

    def command(self):
        """Carry the plan out."""
        return "apply", "--state", self.path / "state", self.file

    def apply(self, status):
        """Do it."""
        return run(*self.command(), status=status)

    def seen(self):
        """The databases byte for byte, and all data."""
        return {path: path.read_bytes() for path in databases(self.root)}, data(self.root)

    def doomed(self, kind):
        """The path of one thing of a kind that the plan removes."""
        return next(each["path"] for each in self.plan["plans"][0]["removals"] if each["kind"] == kind)


@pytest.fixture
def planned(tmp_path):
    """The usual one."""
    yield Planned(ONE, tmp_path)
    shutil.rmtree(tmp_path)


def test_an_unchanged_store_is_cleaned_once(planned):
    """Everything that the plan lists goes and nothing else does; carried out again, it is stale."""
    (plan,) = planned.plan["plans"]
    before = set(on_disk(planned.root))
    planned.apply(0)
    assert set(on_disk(planned.root)) == before - {each["path"] for each in plan["removals"]}
    after = planned.seen()
    planned.apply(32)
    assert planned.seen() == after


def test_a_plan_changes_nothing(tmp_path):
    """Not a byte of databases or data differs from the capture after it was planned."""
    host = unpack(capture(ONE), tmp_path)
    root = host / capture(ONE).root
    before = {path: path.read_bytes() for path in databases(root)}, data(root)
    run("plan", "--end-leases", "temporary", "--now", capture(ONE).taken_at, "-o", tmp_path / "plan", host)
    assert ({path: path.read_bytes() for path in databases(root)}, data(root)) == before


def add_blob(planned):
    """A blob that nothing names."""
    (planned.root / BLOBS / ("0" * 64)).write_bytes(b"new")


def remove_blob(planned):
    """A doomed blob goes."""
    (planned.root / planned.doomed("blob")).unlink()


def touch(planned):
    """A doomed blob gets another modification time."""
    os.utime(planned.root / planned.doomed("blob"), ns=(0, 0))


def replace(planned):
    """A doomed blob becomes a copy of itself."""
    path = planned.root / planned.doomed("blob")
    subprocess.run(["cp", "-a", path, f"{path}.copy"], check=True)
    os.rename(f"{path}.copy", path)


def grow_ingest(planned):
    """More of a doomed ingest comes."""
    with (planned.root / planned.doomed("ingest") / "data").open("ab") as file:
        file.write(bytes(10_000))


def commit_metadata(planned):
    """Go's bbolt commits to meta.db, and changes it back."""
    assert gobbolt.churn(planned.root / METADATA, 3, 20) == ""


def commit_rows(planned):
    """Go's bbolt commits to metadata.db."""
    assert gobbolt.churn(databases(planned.root)[1], 3, 20) == ""


def copy_root(planned):
    """The root is replaced by a copy of it: other inodes, other times of change."""
    subprocess.run(["cp", "-a", planned.root, planned.path / "copy"], check=True)
    planned.root.rename(planned.path / "original")
    (planned.path / "copy").rename(planned.root)


@pytest.mark.parametrize(
    "change", [add_blob, remove_blob, touch, replace, grow_ingest, commit_metadata, commit_rows, copy_root]
)
def test_after_any_change_the_plan_is_refused(planned, change):
    """Status 32, and nothing is cut."""
    change(planned)
    before = planned.seen()
    planned.apply(32)
    assert planned.seen() == before


def test_a_container_that_came_to_own_a_lease_makes_the_plan_stale(tmp_path):
    """A lease without an owner was to end; then Docker's containers/ has the container with its id."""
    of = capture(ONE)
    host = unpack(of, tmp_path)
    containers = host / of.docker / "containers"
    (found,) = containers.iterdir()
    shutil.copytree(found, containers / ("0" * 64))
    found.rename(tmp_path / "hidden")
    planned = Planned.__new__(Planned)
    planned.path, planned.root, planned.file = host, host / of.root, tmp_path / "plan.json"
    run("plan", "--end-leases", "ownerless", "--now", of.taken_at, "-o", planned.file, host)
    (plan,) = json.loads(planned.file.read_text())["plans"]
    assert found.name in {lease["id"] for lease in plan["leases"] if lease["class"] == "ownerless"}
    (tmp_path / "hidden").rename(found)
    before = planned.seen()
    planned.apply(32)
    assert planned.seen() == before


def _edits(value, path=()):
    """Every way to change one value of a plan, each as (path, new value)."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _edits(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:2]):
            yield from _edits(item, (*path, index))
        if value:
            yield path, value[1:]
    elif isinstance(value, bool):
        yield path, not value
    elif isinstance(value, int):
        yield path, value + 1
    else:
        yield path, "x" if value is None else f"{value}x"


def test_an_edited_plan_is_refused(planned):
    """Each field of a plan changed, each list cut short, and the hash too: refused or unreadable, nothing is cut."""
    edits = list(_edits(planned.plan["plans"][0]))
    assert len(edits) > 50
    before = planned.seen()
    for path, value in edits:
        changed = json.loads(json.dumps(planned.plan))
        where = changed["plans"][0]
        for key in path[:-1]:
            where = where[key]
        where[path[-1]] = value
        planned.file.write_text(json.dumps(changed))
        result = CliRunner().invoke(main, [str(word) for word in planned.command()])
        assert result.exit_code in {8, 32}, (path, result.output)
    assert planned.seen() == before


def test_a_forged_hash_does_not_help(planned):
    """A plan that was widened and hashed anew does what its options say or nothing: it comes out differently."""
    import hashlib

    (plan,) = planned.plan["plans"]
    plan["removals"].append({**plan["removals"][0], "path": f"{BLOBS}/{'1' * 64}"})
    del plan["hash"]
    canonical = json.dumps(plan, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    plan["hash"] = hashlib.sha256(canonical.encode()).hexdigest()
    planned.file.write_text(json.dumps(planned.plan))
    before = planned.seen()
    planned.apply(32)
    assert planned.seen() == before


def test_a_clock_that_was_set_back(planned, monkeypatch):
    """The clock is earlier than the newest record when the plan is carried out: refused."""
    import time

    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000 * 10**9)
    before = planned.seen()
    planned.apply(32)
    assert planned.seen() == before


def test_a_time_before_the_newest_record_gives_no_plan(tmp_path):
    """Plan with --now of last year: status 32, no file."""
    host = unpack(capture(ONE), tmp_path)
    run("plan", "--now", "2020-01-01T00:00:00Z", "-o", tmp_path / "plan", host, status=32)
    assert not (tmp_path / "plan").exists()


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", EACH)
def test_an_error_at_any_call_is_reported_and_a_later_run_finishes(number, tmp_path):
    """Each call that changes something fails in turn, one run each.

    The status says it, what the journal says was done is done, databases are sound, and a clean afterwards ends as if
    nothing had happened.
    """
    trial = Planned(ONE, _folder(tmp_path, "trial"))
    whole = run_counted(*trial.command())
    assert whole.status == 0
    end = dumps(trial.root), data(trial.root)
    # What differs is how each call takes an error, more than which; ./run prove tries all.
    points = range(1, len(whole.calls) + 1, 1 if "DRYDOCK_TEST_EVERY_ERROR" in os.environ else EACH[number])
    for point in points:
        planned = Planned(ONE, _folder(tmp_path, f"{number}-{point}"))

        def fail(at, _, point=point):
            # A file system that turned read-only stays so.
            if at == point or (at > point and number == errno.EROFS):
                raise OSError(number, os.strerror(number))

        ended = run_counted(*planned.command(), hook=fail)
        assert ended.signal == 0
        assert "Traceback" not in ended.output, ended.output
        where = f"{errno.errorcode[number]} at call {point}, {whole.calls[point - 1]}: {ended.output}"
        for path in databases(planned.root):
            assert gobbolt.check(path) == (0, ""), where
        if (dumps(planned.root), data(planned.root)) != end:
            assert ended.status in {4, 32}, where
        if ended.status == 0:
            assert (dumps(planned.root), data(planned.root)) == end, where
        else:
            assert os.strerror(number) in ended.output, where
        _check_journal(planned, where)
        run("clean", "--end-leases", "temporary", "--apply", "--yes", "--now", planned.capture.taken_at,
            "--state", planned.path / "state", planned.path, status=0)  # fmt: skip
        assert (dumps(planned.root), data(planned.root)) == end, where
        found = scan(planned.capture, planned.path, "--state", planned.path / "state")
        assert [each for each in found["findings"] if each["code"] == "unfinished-run"] == [], where
        shutil.rmtree(planned.path)


def _folder(above, name):
    folder = above / name
    folder.mkdir()
    return folder


def _check_journal(planned, where):
    """What it says was done is done, and what is gone it said before."""
    for journal in planned.path.glob("state/*/journal.jsonl"):
        lines = [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1]]
        intended = {line["n"]: line for line in lines if "n" in line}
        for line in lines:
            if line.get("status") == "done" and intended[line["ended"]]["do"] == "remove":
                assert not os.path.lexists(planned.root / intended[line["ended"]]["path"]), where
        named = {line["path"] for line in intended.values()}
        for removal in planned.plan["plans"][0]["removals"]:
            if not os.path.lexists(planned.root / removal["path"]):
                assert removal["path"] in named, where


# -- policies --------------------------------------------------------------------------------------------------------


def leases(root):
    """Every lease by namespace, and its labels, by Go's reading."""
    found = {}
    for path, value in values(root / METADATA).items():
        match path:
            case (b"v1", namespace, b"leases", name, b"labels", label):
                found.setdefault((namespace.decode(), name.decode()), {})[label.decode()] = value.decode()
            case (b"v1", namespace, b"leases", name, *_):
                found.setdefault((namespace.decode(), name.decode()), {})
    return found


def planned_leases(host, of, *options, status=None):
    """The ids of the leases that a plan ends."""
    document = json.loads(run("plan", "--now", of.taken_at, *options, host, status=status))
    return {lease["id"] for plan in document["plans"] for lease in plan["leases"]}


def test_each_class_includes_the_ones_before_it(unpacked):
    """Expired by default; temporary adds those that end or are marked, by their labels as Go reads them."""
    of = capture("containerd-1.6-namespaces")
    host = unpacked(of)
    assert planned_leases(host, of) == {"expired"}
    by_label = {name for (_, name), labels in leases(host / of.root).items() if "containerd.io/gc.expire" in labels}
    assert {"day", "pull", "expired"} <= by_label
    assert planned_leases(host, of, "--end-leases", "temporary") == by_label
    assert planned_leases(host, of, "--end-leases", "ownerless") >= by_label


def test_a_named_lease_ends_and_no_other(unpacked):
    """A lease without an end goes when it is named; the expired one goes with it, as ever."""
    of = capture("containerd-1.6-namespaces")
    host = unpacked(of)
    assert planned_leases(host, of, "--end-lease", "plain") == {"plain", "expired"}


def test_older_than_spares_the_young(unpacked):
    """The pull is seconds old: an hour spares it, no time at all does not; the expired lease ends in any case."""
    of = capture("containerd-1.6-namespaces")
    host = unpacked(of)
    assert planned_leases(host, of, "--older-than", "1h") == {"expired"}
    assert planned_leases(host, of, "--older-than", "0s") >= {"pull", "day", "expired"}


@pytest.mark.parametrize("name", ["day", "expired"])
def test_a_kept_lease_keeps_all_it_holds(unpacked_anew, name):
    """With --keep the lease stays, an expired one too, and so does each blob and snapshot it holds, by Go's reading."""
    of = capture("containerd-1.6-namespaces")
    host = unpacked_anew(of)
    root = host / of.root
    held = {path for path in values(root / METADATA) if path[:4] == (b"v1", b"default", b"leases", name.encode())}
    digests = {path[-1] for path in held if path[4:5] == (b"content",)}
    before = set(on_disk(root))
    run("clean", "--end-leases", "temporary", "--keep", name, "--apply", "--yes", "--now", of.taken_at, "--state",
        host / "state", host, status=0)  # fmt: skip
    after = values(root / METADATA)
    assert held <= set(after)
    for digest in digests:
        assert any(path[:5] == (b"v1", b"default", b"content", b"blob", digest) for path in after)
        path = f"{BLOBS}/{digest.decode().partition(':')[2]}"
        assert (path in set(on_disk(root))) == (path in before)


def test_a_kept_orphan_stays(unpacked_anew):
    """What no record names is kept by its name or its path as well; the rest goes."""
    of = capture("containerd-1.6-planted-orphans")
    host = unpacked_anew(of)
    document = json.loads(run("plan", "--now", of.taken_at, host))
    removals = {each["kind"]: each["path"] for each in document["plans"][0]["removals"] if not each["after_edit"]}
    assert set(removals) == {"blob", "ingest", "snapshot"}
    keep = [word for path in removals.values() for word in ("--keep", path)]
    run("clean", *keep, "--apply", "--yes", "--now", of.taken_at, "--state", host / "state", host, status=0)
    assert set(removals.values()) <= set(on_disk(host / of.root))
    assert scan(of, host)["totals"]["orphaned"]["count"] == len(removals)


@pytest.mark.parametrize("option", ["--keep", "--end-lease"])
def test_an_unknown_name_is_a_usage_error(unpacked_anew, option):
    """Status 16, and nothing is removed: a mistyped name must not end in something going."""
    of = capture(ONE)
    host = unpacked_anew(of)
    before = data(host / of.root), dumps(host / of.root)
    run("clean", "--end-leases", "temporary", option, "no-such-thing", "--apply", "--yes", "--now", of.taken_at, host,
        status=16)  # fmt: skip
    assert (data(host / of.root), dumps(host / of.root)) == before


def test_an_owned_lease_is_not_ended_by_name(unpacked):
    """The stopped container's lease, named: status 32."""
    of = capture(ONE)
    (container,) = (unpacked(of) / of.docker / "containers").iterdir()
    run("plan", "--end-lease", container.name, "--now", of.taken_at, unpacked(of), status=32)


def test_a_lease_to_be_ended_and_kept(unpacked):
    """Status 16."""
    of = capture("containerd-1.6-namespaces")
    run("plan", "--end-lease", "day", "--keep", "day", "--now", of.taken_at, unpacked(of), status=16)
