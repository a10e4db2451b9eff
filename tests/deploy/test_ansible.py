"""The Ansible role, on hosts that are folders of this machine: copied, scanned, brought back; cleaned where allowed."""

import copy
import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.stores import METADATA_DB, ROWS, SEQUENCES, put
from tests.support import boltwriter
from tests.support.ansible import player
from tests.support.captures import capture, unpack
from tests.support.documents import run
from tests.support.trees import tree

TOP = Path(__file__).resolve().parents[2]
PLANTED = "containerd-1.6-planted-orphans"
META = "io.containerd.metadata.v1.bolt/meta.db"
pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Wheels of this tree and of what it needs, as docs/fleet.md says to make them."""
    place = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(place), str(TOP)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the wheels cannot be made here: {done.stderr.strip().splitlines()[-1:]}")
    return place


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """The containerd roots of three hosts: ``idle``; ``busy``, whose database is held; ``odd``, with a new field."""
    of = capture(PLANTED)
    found = {}
    for name in ("idle", "busy"):
        place = tmp_path_factory.mktemp(name)
        found[name] = unpack(of, place) / of.root
    found["odd"] = tmp_path_factory.mktemp("odd")
    put(found["odd"])
    rows = copy.deepcopy(ROWS)
    rows[b"v1"][b"snapshots"][min(rows[b"v1"][b"snapshots"])][b"future"] = b"x"
    boltwriter.write(found["odd"] / METADATA_DB, rows, sequences=SEQUENCES)
    return found


@pytest.fixture(scope="module")
def play(wheels, roots, tmp_path_factory):
    """Plays the role with the wheels."""
    return player(tmp_path_factory.mktemp("play"), roots, drydock_wheels=str(wheels), drydock_python=sys.executable)


def test_the_documents_come_back(play, roots):
    """The tool is copied and installed from its wheels, every host is scanned, and nothing in a store changes."""
    before = {name: tree(root) for name, root in roots.items()}
    recap, reports, _ = play()
    assert sorted(path.name for path in reports.iterdir()) == ["busy.json", "idle.json", "odd.json"]
    for name in roots:
        document = json.loads((reports / f"{name}.json").read_text())
        assert document["host"] == name
        assert document["roots"][0]["live"] is True
        assert document["roots"][0]["reclaimable"]["bytes"] > 0
        assert recap[name]["failed"] == recap[name]["unreachable"] == 0
    answers = json.loads(run("fleet", "--format", "json", reports))
    assert answers["hosts"] == 3
    assert {name: tree(root) for name, root in roots.items()} == before
    # Played again, only the documents are new.
    again, _, _ = play()
    assert all(counts["changed"] <= 1 for counts in again.values())


def test_only_a_stopped_host_is_cleaned(play, roots):
    """Where a lock is held, as an engine's, nothing changes and the play goes on; the others are cleaned."""
    before = tree(roots["busy"])
    with (roots["busy"] / META).open("rb") as database:
        fcntl.flock(database, fcntl.LOCK_EX)
        recap, reports, output = play(drydock_clean=True)
    assert tree(roots["busy"]) == before
    assert "left alone: drydock: " in output
    assert all(counts["failed"] == 0 for counts in recap.values())
    assert f"kept: drydock: {roots['odd'] / METADATA_DB}: " in output
    assert len(list((reports.parent / "state").glob("*/journal.jsonl"))) == 2
    free = {name: json.loads(run("scan", "--live", "--format", "json", root)) for name, root in roots.items()}
    assert free["idle"]["roots"][0]["reclaimable"]["bytes"] == free["odd"]["roots"][0]["reclaimable"]["bytes"] == 0
    assert free["busy"]["roots"][0]["reclaimable"]["bytes"] > 0
