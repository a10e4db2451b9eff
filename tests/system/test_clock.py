"""The clock: a wrong one is refused by whatever judges age or expiry, one record with a wrong time stops nothing."""

import json
import os
import re
import time

import pytest
from fuzz.stores import META_DB, METADATA, NOW, lay_out, put
from tests.support import boltwriter
from tests.support.captures import capture, unpack
from tests.support.documents import run
from tests.support.gowriting import go_time

import drydock
from drydock.model.names import Kind, RawPath, UnixNano

EARLY = "1970-01-01T00:00:01Z"
LATER = "2001-09-09T02:00:00Z"
JUDGING = {
    "scan": ("scan",),
    "scan --live": ("scan", "--live"),
    "ls leases": ("ls", "leases"),
    "ls images": ("ls", "images"),
    "pulls": ("pulls",),
    "explain": ("explain", "c1"),
    "plan": ("plan",),
    "clean": ("clean",),
    "verify": ("verify",),
    "repair": ("repair",),
}
IMAGE = b"docker.io/library/app:1"
FAR = go_time(90_000_000_000)


@pytest.fixture
def root(tmp_path):
    """The small root."""
    put(tmp_path / "root")
    return tmp_path / "root"


@pytest.mark.parametrize("command", JUDGING.values(), ids=JUDGING)
def test_a_clock_before_most_records_is_refused(root, command):
    """Every command that judges ages or expiries refuses, and suggests no time to judge by."""
    run(*command, "--now", EARLY, root, status=32)


@pytest.mark.parametrize(
    "command", [("export", "container", "c1", "-o", "-"), ("diff", "container", "c1"), ("bolt", "check", META_DB)]
)
def test_what_judges_no_time_asks_no_clock(root, monkeypatch, command):
    """Taking something out, and looking at a database, work with any clock."""
    monkeypatch.setattr(time, "time_ns", lambda: 10**9)
    *words, last = command
    there = [root / last] if words[0] == "bolt" else [last, root]
    run(*words, *there, status=0)


@pytest.mark.parametrize("command", ["apply", "clean"])
def test_a_clock_set_back_is_refused_before_anything_is_removed(root, tmp_path, monkeypatch, command):
    """The plan is of a right clock, the clock at the time of the removal is not."""
    run("plan", "--now", LATER, "-o", tmp_path / "plan", root)
    monkeypatch.setattr(time, "time_ns", lambda: 10**9)
    what = (tmp_path / "plan",) if command == "apply" else ("--apply", "--yes", root)
    before = sorted(root.rglob("*"))
    run(command, "--state", tmp_path / "state", *what, status=32)
    assert sorted(root.rglob("*")) == before


def with_image_made(far):
    """The small root's records, an image of them made at another time."""
    images = METADATA[b"v1"][b"moby"][b"images"]
    moby = {**METADATA[b"v1"][b"moby"], b"images": {**images, IMAGE: {**images[IMAGE], b"createdat": far}}}
    return {b"v1": {**METADATA[b"v1"], b"moby": moby}}


@pytest.mark.parametrize("command", JUDGING.values(), ids=JUDGING)
def test_one_record_with_a_time_to_come_stops_no_command(root, command):
    """Each command does what it does without that record, and gives no advice to judge by the time of the record."""
    before = run(*command, "--now", LATER, root)
    boltwriter.write(root / META_DB, with_image_made(FAR))
    after = run(*command, "--now", LATER, root)
    assert "--now" not in after
    assert len(after.splitlines()) >= len(before.splitlines())


def test_a_time_to_come_is_a_finding_with_its_place(root):
    """The finding names the record and the byte of the file at which the time lies."""
    boltwriter.write(root / META_DB, with_image_made(FAR))
    (scanned,) = json.loads(run("scan", "--format", "json", "--now", LATER, root))["roots"]
    (found,) = [each for each in scanned["findings"] if each["code"] == "time-ahead"]
    assert found["severity"] == "note"
    assert IMAGE.decode() in found["message"]
    assert found["bucket"] == ["v1", "moby", "images", IMAGE.decode(), "createdat"]
    data = (root / META_DB).read_bytes()
    assert data[found["offset"] :].startswith(FAR)
    assert found["page"] == found["offset"] // 4096


@pytest.mark.parametrize("form", ["table", "tree", "html", "csv", "markdown", "prometheus", "jsonl"])
def test_every_report_shows_a_store_with_a_time_to_come(root, form):
    """Times no calendar has are shown or left out; the page's line of time has none of them."""
    tree = with_image_made(b"\x01\x7f" + FAR[2:])
    lease = {b"createdat": b"\x01\x7f" + FAR[2:], b"labels": {b"moby/prune.images": b"true"}, b"content": {}}
    tree[b"v1"][b"moby"][b"leases"] = {b"pull": lease}
    boltwriter.write(root / META_DB, tree)
    text = run("scan", "--format", form, "--now", LATER, root)
    assert text
    for seconds in re.findall(r'"(?:blob|image|lease)"[^\]]*?,(\d{10,}),', text):
        assert int(seconds) <= time.time()  # files of the test are of today


def test_half_of_the_records_with_a_time_to_come_is_a_wrong_clock(tmp_path):
    """A clock set back behind more than half of them is refused; behind half, each of them is a finding."""
    lay_out(tmp_path)
    blob = {b"createdat": go_time(5_000), b"updatedat": go_time(5_000), b"size": b"\x02"}
    digests = [b"sha256:" + f"{number:064x}".encode() for number in range(8)]
    for ahead, status in ((4, 1), (5, 32)):
        late = {**blob, b"updatedat": go_time(9_000)}
        blobs = {digest: late if number < ahead else blob for number, digest in enumerate(digests)}
        tree = {b"v1": {b"version": b"\x08", b"moby": {b"content": {b"blob": blobs}}}}
        boltwriter.write(tmp_path / META_DB, tree)
        text = run("scan", "--format", "json", "--now", "1970-01-01T01:30:00Z", tmp_path)
        assert (not text) == (status == 32)
        if text:
            (scanned,) = json.loads(text)["roots"]
            assert [each["code"] for each in scanned["findings"]].count("time-ahead") == ahead


def lease_of(created, **labels):
    """The small root's records, one lease of them with another time and other labels; it holds a snapshot alone."""
    held = {
        b"createdat": created,
        b"labels": {key.replace("_", ".").encode(): value for key, value in labels.items()},
        b"snapshots": {b"overlayfs": {b"lost": b""}},
    }
    moby = {**METADATA[b"v1"][b"moby"], b"leases": {b"pull": held}}
    return {b"v1": {**METADATA[b"v1"], b"moby": moby}}


EXPIRY = "containerd.io/gc.expire"


@pytest.mark.parametrize(
    ("created", "end", "codes"),
    [
        (FAR, b"1970-01-01T02:00:00Z", {"time-ahead"}),  # made by another clock than the one that it is compared with
        (go_time(500_000_000), b"1970-01-01T02:00:00Z", {"ended-before-made"}),  # one digit of its end is wrong
    ],
)
def test_an_expiry_that_cannot_be_judged_ends_no_lease(root, created, end, codes):
    """A lease that ended before it was made, or was made after the clock, is kept with what it holds."""
    tree = lease_of(created)
    tree[b"v1"][b"moby"][b"leases"][b"pull"][b"labels"] = {EXPIRY.encode(): end}
    boltwriter.write(root / META_DB, tree)
    (scan,) = drydock.plan(RawPath(os.fsencode(root)), now=UnixNano(NOW))
    assert not scan.plan.leases
    assert not [each for each in scan.plan.records if each.ref.key == b"overlayfs/lost"]
    assert {each.code for each in scan.verdict.findings} >= codes
    assert [each.id for each in scan.plan.withheld if each.kind is Kind.LEASE] == ["pull"]
    tree[b"v1"][b"moby"][b"leases"][b"pull"][b"createdat"] = go_time(1_000)
    boltwriter.write(root / META_DB, tree)
    (scan,) = drydock.plan(RawPath(os.fsencode(root)), now=UnixNano(NOW))
    assert [each.ref.key for each in scan.plan.leases] == [b"pull"]


def test_a_lease_of_unknown_age_is_not_older_than_anything(root):
    """``--older-than`` ends no lease that was made after the clock; without it the lease ends as others do."""
    tree = lease_of(FAR)
    tree[b"v1"][b"moby"][b"leases"][b"pull"][b"labels"] = {b"moby/prune.images": b"true"}
    boltwriter.write(root / META_DB, tree)
    text = run("plan", "--older-than", "1s", "--now", LATER, root)
    (made,) = json.loads(text)["plans"]
    assert not made["leases"]
    assert "its age is not known" in next(each["reason"] for each in made["withheld"] if each["id"] == "pull")
    (made,) = json.loads(run("plan", "--end-leases", "temporary", "--now", LATER, root))["plans"]
    assert [each["id"] for each in made["leases"]] == ["pull"]
    assert "old" not in made["leases"][0]["why"]
    assert " ago" not in run("explain", "pull", "--now", LATER, root)


@pytest.mark.root
def test_one_byte_of_a_real_image_changes_no_plan(tmp_path):
    """The byte that makes an image of a capture come from the year 16 million: the plan is the same, with a finding."""
    of = capture("docker-28.5-interrupted-pull")
    host = unpack(of, tmp_path)
    asked = ("plan", "--end-leases", "ownerless", "--now", of.taken_at, host)
    (sound,) = json.loads(run(*asked))["plans"]
    path = host / of.root / META_DB
    data = bytearray(path.read_bytes())
    at = data.index(b"createdat", data.index(b"images")) + len(b"createdat") + 2
    data[at] ^= 0x80
    path.write_bytes(data)
    (made,) = json.loads(run(*asked, status=1))["plans"]
    for part in ("leases", "records", "rows"):
        assert made[part] == sound[part]
    (scanned,) = json.loads(run("scan", "--format", "json", "--now", of.taken_at, host))["roots"]
    (found,) = [each for each in scanned["findings"] if each["code"] == "time-ahead"]
    assert found["offset"] == at - 2
