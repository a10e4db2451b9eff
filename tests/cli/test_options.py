"""Options that several commands share: lengths of time as somebody types them, and the policy."""

import pytest
from click.testing import CliRunner

from drydock.cli import main
from drydock.cli.options import span


def test_a_span_has_a_unit():
    """In nanoseconds."""
    said = [span(None, None, words) for words in ("90min", "90m", "1h", "2d", "30s", None)]
    assert said == [5400 * 10**9, 5400 * 10**9, 3600 * 10**9, 172800 * 10**9, 30 * 10**9, None]


@pytest.mark.parametrize("digits", [10, 310, 5000])
@pytest.mark.parametrize("words", [("clean", "--older-than"), ("verify", "--data", "--max-duration")])
def test_a_number_without_end_is_no_span(digits, words):
    """Words that do not fit, whatever no float and no integer of Python's can hold."""
    said = CliRunner().invoke(main, [*words, "9" * digits + "d", "/nowhere"])
    assert said.exit_code == 16
    assert "is not a length of time" in said.stderr


@pytest.mark.parametrize("words", [("clean", "--older-than"), ("verify", "--data", "--max-duration")])
def test_the_longest_span_is_taken(words, tmp_path):
    """And is more than anybody waits."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "var/lib").mkdir(parents=True)
    said = CliRunner().invoke(main, [*words, "9" * 9 + "d", str(tmp_path)])
    assert (said.exit_code, said.stdout) == (0, f"No containerd storage below {tmp_path}.\n")
