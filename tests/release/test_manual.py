"""The man pages: a page for each command, which groff and man read without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from release.manual import pages

from drydock.cli import main


def _paths(command: click.Command, words: tuple[str, ...]) -> list[str]:
    found = ["-".join(words)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found += _paths(below, (*words, name))
    return found


def test_each_command_has_a_page() -> None:
    """Each command has one, with its options, examples, the exit statuses, and the files it writes."""
    made = pages(0)
    assert sorted(made) == sorted(f"{name}.1" for name in _paths(main, ("drydock",)))
    for page in made.values():
        for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS", "FILES"):
            assert f".SH {section}\n" in page
    assert "\\-\\-quarantine" in made["drydock-clean.1"]


@pytest.mark.parametrize("name", sorted(pages(0)))
def test_roff(name: str, tmp_path: Path) -> None:
    """A page formats without a warning, and each option's name is in what a reader sees."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    path = tmp_path / name
    path.write_text(pages(0)[name])
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-P-cbou", "-ww", path], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "EXIT STATUS" in done.stdout
    assert re.search(r"^ +drydock ", done.stdout, re.MULTILINE)
