"""What the program does with words that name no command."""

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
