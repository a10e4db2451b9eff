"""Commands that drydock prints to be copied: a shell hands them on, and they find what they are about."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from tests.support import adoptable
from tests.support.documents import run
from tests.support.hostile import NOW, lay_out
from tests.support.shell import words

COMMAND = re.compile(
    r"^ *(?:what to do: )?(drydock (?:clean|repair|apply|bolt check) .*?)(?:   (?:# .*|does it))?$", re.MULTILINE
)
FOLDERS = [
    b"plain",
    b"with blank",
    b"b\\x",
    b"b\\x41",
    b"it's",
    b"-dash",
    b"caf\xe9",
    b"new\nline\x1b[31m",
    "日\u202e".encode(),
]


@pytest.fixture(params=FOLDERS, ids=repr)
def folder(request, tmp_path):
    """A store in a folder of such a name, seen from the folder above."""
    root = tmp_path / os.fsdecode(request.param)
    root.mkdir()
    lay_out(root)
    return root


def commands(folder, *asked):
    """The commands that a command prints, started beside the folder and asked about it."""
    done = subprocess.run(
        [sys.executable, "-m", "drydock", *asked, "--now", NOW, "--", folder.name], cwd=folder.parent, check=False,
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.returncode < 64, done.stderr
    found = COMMAND.findall(done.stdout.decode())
    assert found, done.stdout
    return found


def read(folder, command):
    """The words that a shell makes of a command, and the file that the last of them names."""
    found = words(command)
    assert not found[-1].startswith(b"-")
    return found, os.path.join(os.fsencode(folder.parent), found[-1])


@pytest.mark.parametrize("asked", [("scan",), ("scan", "--format", "markdown"), ("pulls",)], ids=" ".join)
def test_a_command_names_the_place_it_was_asked_about(folder, asked):
    """The last word of each is a path of the same folder, whatever that is called."""
    for command in commands(folder, *asked):
        assert os.path.samefile(read(folder, command)[1], folder), command


def test_so_does_what_mends_a_broken_image(folder):
    """The repairs that verify names."""
    shutil.rmtree(folder)
    adoptable.lay_out(folder, {b"default": adoptable.namespace()})
    adoptable.blob_path(folder, adoptable.IMAGE.layers[0]).unlink()
    for command in commands(folder, "verify"):
        assert os.path.samefile(read(folder, command)[1], folder), command


def test_a_plan_can_be_applied_by_the_command_that_is_shown(folder, tmp_path):
    """Whatever its file is called."""
    name = f"-{folder.name}.plan"
    (command,) = commands(folder, "plan", f"--output={name}")
    assert os.path.samefile(read(folder, command)[1], tmp_path / name)


def test_what_to_do_about_a_damaged_database_can_be_copied(folder):
    """The check that a finding names looks at the database that it is about."""
    database = next(folder.glob("*/meta.db"))
    with database.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * (database.stat().st_size - 4096 * 2))
    found = [read(folder, command) for command in commands(folder, "scan") if "bolt check" in command]
    assert [typed[:2] for typed, _ in found] == [[b"bolt", b"check"]]
    assert os.path.samefile(found[0][1], database)


def test_no_repair_is_named_where_no_database_is_edited(folder):
    """A verification of a meta.db that cannot be read names salvage and what can be taken out instead."""
    database = next(folder.glob("*/meta.db"))
    with database.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * (database.stat().st_size - 4096 * 2))
    said = run("verify", "--now", NOW, folder, status=2 | 8)
    assert "drydock repair" not in said
    assert "docs/salvage.md" in said
    assert "drydock ls images" in said
