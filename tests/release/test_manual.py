"""The man pages: a page for each command, which groff and man read without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from release.manual import pages

from drydock.cli import main
from drydock.cli.options import Command, Group


def _commands(
    command: click.Command = main, words: tuple[str, ...] = ("drydock",)
) -> Iterator[tuple[tuple[str, ...], Command | Group]]:
    assert isinstance(command, Command | Group)
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands(below, (*words, name))


def test_each_command_has_a_page() -> None:
    """Each command has one, with its options, examples, the exit statuses, and the files it writes."""
    made = pages(0)
    assert sorted(made) == sorted(f"{'-'.join(words)}.1" for words, _ in _commands())
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
    assert re.search(r"^ +drydock |^ +eval ", done.stdout, re.MULTILINE)
    _, command = next(each for each in _commands() if "-".join(each[0]) == name.removesuffix(".1"))
    for example in command.examples.values():
        # As one line that can be copied, with its quotes.
        assert f" {example}\n" in done.stdout


@pytest.mark.parametrize("name", sorted(pages(0)))
def test_lint(name: str, tmp_path: Path) -> None:
    """A second reader of man pages has no warning either."""
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    path = tmp_path / name
    path.write_text(pages(0)[name])
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
