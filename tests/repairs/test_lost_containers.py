"""Containers that an older meta.db does not have: which get their records back; compared with Go's reading."""

import json
import os
import re
import shutil

import pytest
from tests.support import gobbolt
from tests.support.boltwriter import write
from tests.support.captures import capture, unpack
from tests.support.documents import run
from tests.support.records import METADATA, nested, sequences

import drydock
from drydock.model.plans import Status
from drydock.model.times import parse_time

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

TAKEN = capture("docker-28.5-interrupted-pull")
OLDER = capture("docker-28.5-restored-backup")
ROWS = "io.containerd.snapshotter.v1.overlayfs/metadata.db"
TIMES = (b"createdat", b"updatedat")


@pytest.fixture
def host(tmp_path):
    """The capture, unpacked, without its leftover links to deleted snapshots."""
    (tmp_path / "host").mkdir()
    host = unpack(TAKEN, tmp_path / "host")
    repair(host, "--apply", "--yes", status=0)
    return host


@pytest.fixture
def web():
    """The id of the container."""
    return TAKEN.facts["dockerd"]["containers"][0]["id"].encode()


def repair(host, *options, status, taken=TAKEN):
    """Its text."""
    state = ("--now", taken.taken_at, "--state", host.parent / "state")
    return run("repair", *options, *state, host, status=status)


def untimed(tree):
    """The contents of a database without the times of records."""
    return {
        key: untimed(value) if isinstance(value, dict) else value for key, value in tree.items() if key not in TIMES
    }


def base(host):
    """Keys of the parents of the container's snapshots, the base last."""
    records = nested(host / TAKEN.root / METADATA)[b"v1"][b"moby"][b"snapshots"][b"overlayfs"]
    (key,) = [record[b"parent"] for name, record in records.items() if name.endswith(b"-init")]
    keys = []
    while key:
        keys.append(key)
        key = records[key].get(b"parent", b"")
    return keys


def rewrite(path, change):
    """Change the contents of a database; sequences stay."""
    tree = nested(path)
    change(tree)
    write(path, tree, sequences=sequences(path))


def forget(host, web, also=()):
    """Remove the container's lease and snapshots from meta.db, and from the children of their parent."""
    (above, *_) = base(host)

    def change(tree):
        space = tree[b"v1"][b"moby"]
        snapshots = space[b"snapshots"][b"overlayfs"]
        del space[b"leases"][web], snapshots[web], snapshots[web + b"-init"]
        del snapshots[above][b"children"][web + b"-init"]
        for key in also:
            del snapshots[key]

    rewrite(host / TAKEN.root / METADATA, change)


def test_a_container_gets_its_records_back(host, web):
    """Lease, snapshots and the entry in their parent are as before, except for times; undo removes them."""
    meta = host / TAKEN.root / METADATA
    before = untimed(nested(meta))
    forget(host, web)
    broken = gobbolt.dump(meta)
    said = repair(host, "--adopt", "--apply", "--yes", status=0)
    assert "container web" in said.partition("so that the engine has again")[2]
    assert "WOULD BE LOST" not in said
    assert untimed(nested(meta)) == before
    assert gobbolt.check(meta) == (0, "")
    (journal,) = re.findall(r"journal: (\S+\.jsonl)", said)
    run("undo", journal, status=0)
    assert gobbolt.dump(meta) == broken


def test_what_it_stands_on_comes_back_too(host, web):
    """Records of the image are put in too: rows have their names, parents and labels."""
    meta = host / TAKEN.root / METADATA
    before = untimed(nested(meta))
    keys = base(host)
    forget(host, web, keys[:-1])
    repair(host, "--adopt", "--apply", "--yes", status=0)
    after = untimed(nested(meta))
    for key in (web, web + b"-init", keys[0]):
        expected = before[b"v1"][b"moby"][b"snapshots"][b"overlayfs"][key]
        found = after[b"v1"][b"moby"][b"snapshots"][b"overlayfs"][key]
        known = set(found.get(b"children", {}))
        assert known <= set(expected.get(b"children", {}))
        assert web + b"-init" in known or not key.startswith(b"sha256:")
        assert {**found, b"children": {}} == {**expected, b"children": {}}
    assert after[b"v1"][b"moby"][b"leases"] == before[b"v1"][b"moby"][b"leases"]
    assert gobbolt.check(meta) == (0, "")


def test_without_the_option_it_is_named_with_what_saves_it(host, web):
    """Verify and repair name the container and the command that exports it, which works."""
    forget(host, web)
    (found,) = json.loads(
        run("verify", "--format", "json", "--now", TAKEN.taken_at, "--state", host.parent / "s", host, status=2)
    )["roots"]
    assert ("lost-container", "web") in {(each["code"], each["subject"]) for each in found["findings"]}
    said = repair(host, status=2)
    lost = said.partition("WOULD BE LOST")[2]
    assert "container web (namespace moby)" in lost
    assert "--adopt" in lost
    assert f"drydock export container web -o web.tar {host}" in lost
    run("export", "container", "web", "-o", host.parent / "web.tar", host, status=0)
    assert "WOULD BE LOST" not in repair(host, "--accept-loss", "web", status=0)


@pytest.mark.parametrize("way", ["directory", "row", "several", "lease", "record"])
def test_what_does_not_agree_is_not_given_back(way, host, web):
    """If a directory or row of a parent is missing, or a record contradicts them, no record is put in."""
    root = host / TAKEN.root
    keys = base(host)
    forget(host, web)
    database = (
        root / METADATA if way in ("lease", "record") else root / "io.containerd.snapshotter.v1.overlayfs/metadata.db"
    )

    def change(tree):
        if way == "lease":
            leases = tree[b"v1"][b"moby"][b"leases"]
            leases[web] = {b"createdat": next(iter(leases.values()))[b"createdat"]}
        elif way == "record":
            tree[b"v1"][b"moby"][b"snapshots"][b"overlayfs"][keys[0]][b"name"] = b"moby/2/" + keys[-1]
        else:
            rows = tree[b"v1"][b"snapshots"]
            (name,) = [name for name in rows if name.endswith(b"/" + web)]
            if way == "row":
                rows[name][b"kind"] = b"\x03"
            elif way == "several":
                rows[b"moby/99/" + web] = {**rows[name], b"id": b"\x63"}
                tree[b"v1"][b"parents"][b"\x03\x00\x63"] = b"moby/99/" + web

    if way == "directory":
        shutil.rmtree(root / "io.containerd.snapshotter.v1.overlayfs/snapshots/3")
    else:
        rewrite(database, change)
    said = repair(host, "--adopt", status=2)
    assert "container web (namespace moby)" in said.partition("WOULD BE LOST")[2]
    assert "so that the engine has again" not in said
    repair(host, "--adopt", "--apply", "--yes", status=2)
    assert (web in nested(root / METADATA)[b"v1"][b"moby"][b"leases"]) is (way == "lease")


def test_a_container_that_no_row_knows_either(tmp_path):
    """If both databases are older, nothing names its directory; the message has that, and what to do."""
    (tmp_path / "host").mkdir()
    host = unpack(OLDER, tmp_path / "host")
    for options in ((), ("--adopt",), ("--adopt", "--apply", "--yes")):
        said = repair(host, *options, status=2, taken=OLDER)
        lost = said.partition("WOULD BE LOST")[2]
        assert "container newer (namespace moby)" in lost
        assert "snapshots/18" in lost
        assert "drydock export container newer" in lost
    assert "WOULD BE LOST" not in repair(host, "--adopt", "--accept-loss", "newer", status=0, taken=OLDER)


def test_a_container_that_is_known_is_not_lost(host):
    """A container with lease and snapshot is no finding."""
    said = run("verify", "--format", "json", "--now", TAKEN.taken_at, "--state", host.parent / "s", host, status=0)
    assert "lost-container" not in said


def test_a_directory_that_changes_before_the_edit(host, web):
    """If the directory changes before the edit, no record is put in."""
    forget(host, web)
    meta = host / TAKEN.root / METADATA
    before = gobbolt.dump(meta)

    def agree(repairs):
        (record,) = [each for each in repairs[0].plan.snapshots if each.ref.key.endswith(web)]
        folder = host / TAKEN.root / os.fsdecode(record.path)
        folder.rename(folder.with_name("apart"))
        folder.mkdir()
        return True

    (done,) = drydock.repair(
        os.fsencode(host), agree=agree, adopt=True, apply=True, now=parse_time(TAKEN.taken_at.encode()),
        state=os.fsencode(host.parent / "state"),
    )  # fmt: skip
    assert [each.status for each in done.edits] == [Status.FAILED]
    assert "no record was added" in done.edits[0].detail
    assert gobbolt.dump(meta) == before
