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
    """Plays deploy/ansible/site.yml with these settings; gives its recap by host, the reports, and the output."""
    program = Path(sys.executable).with_name("ansible-playbook")
    if not program.exists():
        pytest.skip("ansible-core is not installed")
    work = tmp_path_factory.mktemp("play")
    hosts = {
        name: {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "drydock_where": str(root),
        }
        for name, root in roots.items()
    }
    settings = {
        "drydock_wheels": str(wheels),
        # One place for both: they are one machine, and are done one after the other.
        "drydock_home": str(work / "home"),
        "drydock_python": sys.executable,
        "drydock_reports": str(work / "reports"),
        "drydock_state": str(work / "state"),
        "ansible_become": False,
    }
    inventory = work / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": settings}}))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment.update(
        ANSIBLE_LOCAL_TEMP=str(work / "local"), ANSIBLE_REMOTE_TMP=str(work / "remote"), ANSIBLE_NOCOLOR="1",
        ANSIBLE_LOCALHOST_WARNING="0", ANSIBLE_STDOUT_CALLBACK="default", HOME=str(work), LC_ALL="C.UTF-8",
    )  # fmt: skip

    def play_it(**more):
        command = [str(program), "-i", str(inventory), "--forks", "1", "-e", json.dumps(more), "site.yml"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=TOP / "deploy/ansible", env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        recap = {}
        for line in done.stdout.split("PLAY RECAP")[1].splitlines()[1:]:
            name, _, counts = line.partition(":")
            if counts:
                recap[name.strip()] = {key: int(value) for key, value in (each.split("=") for each in counts.split())}
        return recap, work / "reports", done.stdout

    return play_it


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
