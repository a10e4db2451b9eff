"""What the program does with words that name no command."""

import re

import click
import pytest
from click.testing import CliRunner

from drydock.cli import main


@pytest.mark.parametrize("words", [[], ["bolt"], ["export"], ["diff"]], ids=lambda words: " ".join(words) or "none")
def test_without_a_command_it_shows_its_help(words):
    """Line by line, as --help has it, and with the status of words that do not fit."""
    said = CliRunner().invoke(main, words)
    assert said.exit_code == 16
    assert said.stderr == CliRunner().invoke(main, [*words, "--help"]).stdout


def test_a_word_that_was_pasted_is_escaped():
    """What is no command is named, and moves nothing on a terminal."""
    said = CliRunner().invoke(main, ["\x1b[2J\nscan"])
    assert said.exit_code == 16
    assert said.stderr.replace("\n", "").isprintable()
    assert r"\x1b[2J" in said.stderr


def every_command(command=main, words=()):
    """The words of each command and group."""
    yield words
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            yield from every_command(command.get_command(ctx, name), (*words, name))


@pytest.mark.parametrize("words", list(every_command()), ids=lambda words: " ".join(words) or "drydock")
def test_the_short_option_for_help(words):
    """-h and --help are one option of every command, and stand in its help."""
    short, long = (CliRunner().invoke(main, [*words, option]) for option in ("-h", "--help"))
    assert short.exit_code == long.exit_code == 0
    assert short.stdout == long.stdout
    assert re.search(r"^  -h, --help +Show this message and exit\.$", short.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["scna"], "scan"), (["pull"], "pulls"), (["bolt", "infoo"], "info"), (["export", "contaner"], "container"),
        (["diff", "contianer"], "container"), (["scan", "--formt", "json"], "--format"),
        (["clean", "--end-leasses", "temporary"], "--end-leases"),
    ],
    ids=lambda words: words if isinstance(words, str) else " ".join(words),
)  # fmt: skip
def test_what_a_mistyped_word_may_have_meant(words, meant):
    """Commands, commands of a group, and options."""
    said = CliRunner().invoke(main, words)
    assert said.exit_code == 16
    line = said.stderr.splitlines()[-1]
    assert "did you mean" in line.lower()
    assert meant in line.replace("'", " ").replace("?", " ").split()


def test_a_word_that_is_like_nothing():
    """Then nothing is guessed."""
    said = CliRunner().invoke(main, ["qqqq"])
    assert said.exit_code == 16
    assert "did you mean" not in said.stderr.lower()


def test_every_command_and_option_is_described():
    """Each command has a first sentence that ends, each option a text that does, and no line is wider than 80."""
    seen = []

    def look(command, words):
        if words:
            assert re.match(r"[A-Z][^\n]*?\.(\s|$)", " ".join(command.help.split())), words
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert re.search(r"[.)\]]$", option.help), (words, option.name, option.help)
        done = CliRunner().invoke(main, [*words, "--help"], terminal_width=80)
        assert done.exit_code == 0
        assert max(map(len, done.output.splitlines())) <= 80, words
        seen.append(words)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                look(command.get_command(context, name), [*words, name])

    look(main, [])
    assert len(seen) > 20


def test_too_little_memory_is_no_bug(monkeypatch):
    """One line, and the status of what could not be read."""

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(click.Group, "main", fail)
    said = CliRunner().invoke(main, ["scan"])
    assert (said.exit_code, said.stdout, said.stderr) == (8, "", "drydock: not enough memory\n")
