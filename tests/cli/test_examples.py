"""The examples at the end of each --help: they fit the command line, and those without a name of its own are run."""

from __future__ import annotations

import shlex
import shutil

import click
import pytest
from click.testing import CliRunner
from tests.support.captures import capture
from tests.support.newcomer import Newcomer

from drydock.cli import main

HOST = "docker-28.5-interrupted-pull"
_NAMES = {"/mnt", "pgdata", "app:1", "/mnt/usb", "web", "nginx:latest", "docker.io/library/nginx:latest",
          "sha256:4bcff63911fc", "LEASE", "snapshots/105", "/var/lib/drydock/RUN/journal.jsonl"}  # fmt: skip
"""Words that stand for what a host has, and that a test has not."""
_ELSEWHERE = ("apply", "browse", "completion")
"""Commands that need what another one wrote, a terminal, or a shell."""


def commands(command=main, words=()):
    """Each command and group, with its words."""
    yield words, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            yield from commands(command.get_command(ctx, name), (*words, name))


COMMANDS = [pytest.param(words, command, id=" ".join(words) or "drydock") for words, command in commands()]


def typed(example):
    """The words after drydock, as a shell gives them."""
    words = shlex.split(example.removeprefix('eval "$(').removesuffix(')"').partition(" > ")[0])
    assert words[0] == "drydock"
    return words[1:]


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_each_help_has_examples(words, command):
    """Two to four, each on a line of its own that can be copied, within 80 columns."""
    text = CliRunner().invoke(main, [*words, "--help"], terminal_width=80).output
    section = text.partition("\nExamples:\n")[2].partition("\n\n")[0].splitlines()
    assert 2 <= len(command.examples) <= 4
    expected = [line for what, each in command.examples.items() for line in (f"  {what}:", f"    {each}")]
    assert section == expected
    assert max(map(len, section)) <= 80


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_each_example_fits_the_command_line(words, command):
    """Its options are there, and its values are among the choices; some example is of the command itself."""
    for example in command.examples.values():
        called, rest = main, typed(example)
        ctx = click.Context(main)
        while isinstance(called, click.Group):
            called = called.get_command(ctx, rest.pop(0))
            assert called is not None, example
        # A command keeps the option for help that it had first: that of the program, not click's own.
        with called.make_context(called.name, rest, **main.context_settings):
            pass
    assert any(tuple(typed(example)[: len(words)]) == words for example in command.examples.values())


@pytest.mark.root
@pytest.mark.slow
def test_the_examples_work(unpacked_anew, tmp_path):
    """On a host made of a capture; without those that ask, or name something."""
    of = capture(HOST)
    host = unpacked_anew(of)
    work = tmp_path / "work"
    (work / "reports").mkdir(parents=True)
    shutil.copy(host / of.root / "io.containerd.metadata.v1.bolt/meta.db", work)
    ran = set()
    with Newcomer(host / of.docker, work, {}) as newcomer:
        newcomer.types("drydock scan --format json -o reports/host.json")
        for _, command in commands():
            for example in command.examples.values():
                rest = typed(example)
                if (
                    "--apply" in rest
                    or _NAMES & set(rest)
                    or rest[0] in ("apply", "browse", "completion")
                    or example in ran
                ):
                    continue
                newcomer.types(example)
                ran.add(example)
    assert len(ran) >= 35
    for name in ("plan.json", "fleet.html", "drydock.prom"):
        assert (work / name).stat().st_size > 0
