"""Every command in README.md and docs/ is run, block by block, each on a fresh host made of a capture."""

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.support.captures import capture
from tests.support.newcomer import TOP, Newcomer, blocks, without_blocks

import drydock
from drydock.cli.schema import schema

DOCUMENTS = sorted([TOP / "README.md", TOP / "CONTRIBUTING.md", *(TOP / "docs").glob("*.md")])
HOST = "docker-28.5-interrupted-pull"


def _runnable():
    return [
        pytest.param(block, id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, block in enumerate(blocks(document.read_text()), 1)
    ]


def test_every_fence_says_what_it_is():
    """A block of commands is marked sh, so that this file runs it; no other block has a line that is a command."""
    for document in DOCUMENTS:
        rest = without_blocks(document.read_text())
        for block in re.findall(r"```\n(.*?)```", rest, re.DOTALL):
            assert not re.search(r"^ *(sudo )?drydock ", block, re.MULTILINE), (document.name, block)


def test_every_command_is_documented():
    """Each command of the program is in the table of docs/overview.md."""
    from drydock.cli import main

    table = (TOP / "docs/overview.md").read_text()
    for name in main.list_commands(None):
        assert f"`drydock {name}" in table


def test_every_schema_is_documented():
    """The names that drydock schema takes are the files there are, and those that two documents list."""
    (name,) = schema.params
    there = {path.stem for path in Path(drydock.__file__).parent.glob("schemas/*.json")}
    assert set(name.type.choices) == there
    (row,) = re.findall(
        r"^\| `drydock schema NAME` \|.*: (.*) \|$", (TOP / "docs/overview.md").read_text(), re.MULTILINE
    )
    assert row.split(", ") == list(name.type.choices)
    first = (TOP / "docs/json.md").read_text().partition("No field changes its meaning")[0]
    assert set(re.findall(r"`(?:drydock schema )?([a-z]+)`", first)) == there


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("block", _runnable())
def test_the_commands_work_in_their_order(block, unpacked_anew, tmp_path):
    """No step of a block fails for someone who types it."""
    of = capture(HOST)
    host = unpacked_anew(of)
    work = tmp_path / "work"
    work.mkdir()
    shutil.copytree(TOP / "examples", work / "examples")
    words = {
        "LEASE": next(iter(of.facts["leases_ended"]["moby"])),
        "IMAGE": of.namespaces["moby"]["images"][0]["name"],
        "DIGEST": of.namespaces["moby"]["content"][0]["digest"],
        "CONTAINER": of.facts["dockerd"]["containers"][0]["name"],
    }
    with Newcomer(host / of.docker, work, words) as newcomer:
        for line in block:
            newcomer.types(line)


def test_shown_documents_are_json():
    """The facts of the capture that the placeholders are filled from are there."""
    facts = json.loads((TOP / f"fixtures/{HOST}.json").read_text())
    assert facts["leases_ended"]["moby"]
