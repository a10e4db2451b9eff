"""The Ansible role, on hosts that are folders of this machine: copied, scanned, brought back; cleaned where allowed."""

import copy
import fcntl
import json
import os
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


@pytest.mark.skipif("DRYDOCK_TEST_LONG" not in os.environ, reason="long: ./run prove runs it")
def test_the_wheels_are_installed(wheels, roots, tmp_path):
    """The tool is copied and installed from its wheels, a host is scanned, and nothing in its store changes."""
    before = tree(roots["odd"])
    # One host of the three: to look at each wheel on a host takes long.
    play = player(tmp_path, {"odd": roots["odd"]}, drydock_wheels=str(wheels), drydock_python=sys.executable)
    recap, reports, _ = play()
    check_document(reports, "odd")
    assert recap["odd"]["failed"] == recap["odd"]["unreachable"] == 0
    assert tree(roots["odd"]) == before
    # Played again, only the document is new.
    again, _, _ = play()
    assert again["odd"]["changed"] <= 1


def check_document(reports, name):
    """The document of a host has come back, and is its own."""
    document = json.loads((reports / f"{name}.json").read_text())
    assert document["host"] == name
    assert document["roots"][0]["live"] is True
    assert document["roots"][0]["reclaimable"]["bytes"] > 0


def test_only_a_stopped_host_is_cleaned(roots, tmp_path):
    """Every host is scanned. Where a lock is held, as an engine's, nothing changes; the others are cleaned.

    What is copied stands for the one file, which tests/release has.
    """
    dist = tmp_path / "dist"
    dist.mkdir()
    program = dist / f"drydock-0-linux-{os.uname().machine}"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m drydock "$@"\n')
    work = tmp_path / "work"
    work.mkdir()
    play = player(work, roots, drydock_dist=str(dist))
    before = tree(roots["busy"])
    with (roots["busy"] / META).open("rb") as database:
        fcntl.flock(database, fcntl.LOCK_EX)
        recap, reports, output = play(drydock_clean=True)
    assert sorted(path.name for path in reports.iterdir()) == ["busy.json", "idle.json", "odd.json"]
    for name in roots:
        check_document(reports, name)
        assert recap[name]["failed"] == recap[name]["unreachable"] == 0
    assert json.loads(run("fleet", "--format", "json", reports))["hosts"] == len(roots)
    assert tree(roots["busy"]) == before
    assert "left alone: drydock: " in output
    assert f"kept: drydock: {roots['odd'] / METADATA_DB}: " in output
    assert len(list((reports.parent / "state").glob("*/journal.jsonl"))) == 2
    free = {name: json.loads(run("scan", "--live", "--format", "json", root)) for name, root in roots.items()}
    assert free["idle"]["roots"][0]["reclaimable"]["bytes"] == free["odd"]["roots"][0]["reclaimable"]["bytes"] == 0
    assert free["busy"]["roots"][0]["reclaimable"]["bytes"] > 0
