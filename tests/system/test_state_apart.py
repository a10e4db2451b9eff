"""No command keeps its state, or a quarantine, in a folder that an engine owns."""

import os

import pytest
from tests.support.captures import capture
from tests.support.documents import run
from tests.support.trees import tree

pytestmark = pytest.mark.root
ONE = capture("docker-28.5-interrupted-pull")


def commands(host, *options):
    """Every command that takes them."""
    now = ("--now", ONE.taken_at)
    yield "clean", "--apply", "--yes", *now, *options, host
    yield "repair", "--apply", "--yes", *now, *options, host
    if "--state" in options:
        yield "scan", *now, *options, host
        yield "clean", *now, *options, host
        yield "verify", "--data", *options, host


@pytest.mark.parametrize("option", ["--state", "--quarantine"])
@pytest.mark.parametrize("folder", ["snapshots", "containers"])
def test_every_command_refuses_a_folder_of_an_engine(unpacked_anew, tmp_path, option, folder):
    """Status 32 with the folder's name, and nothing is made or changed."""
    host = unpacked_anew(ONE)
    root, data = host / ONE.root, host / ONE.docker
    inside = root / "io.containerd.snapshotter.v1.overlayfs/snapshots" if folder == "snapshots" else data / folder
    plan = tmp_path / "plan.json"
    run("plan", "--end-leases", "temporary", "--now", ONE.taken_at, "-o", plan, host)
    before = tree(data)
    place = inside / "drydock"
    for command in (*commands(host, option, place), ("apply", option, place, plan)):
        run(*command, status=32)
        assert not os.path.lexists(place)
    assert tree(data) == before


def test_a_new_folder_right_in_the_data_root_is_taken(unpacked_anew):
    """Both may be there: on Docker's own file system, and beside what it owns."""
    host = unpacked_anew(ONE)
    data = host / ONE.docker
    (data / "aside").mkdir(mode=0o700)
    run("clean", "--end-leases", "temporary", "--apply", "--yes", "--now", ONE.taken_at, "--state", data / "drydock",
        "--quarantine", data / "aside", host, status=0)  # fmt: skip
    (journal,) = data.glob("drydock/*/journal.jsonl")
    run("undo", journal, status=0)
