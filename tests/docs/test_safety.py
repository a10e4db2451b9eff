"""docs/safety.md: each rule names tests, and these are there."""

import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
_ROW = re.compile(r"^\| (\d[a-z]?) \| (.+) \| (.+) \|$", re.MULTILINE)
RULES = 9


def test_each_rule_names_tests_that_exist():
    """No rule without a test, and none that points to a file that was moved or taken away."""
    rows = _ROW.findall((TOP / "docs/safety.md").read_text())
    assert {int(number[0]) for number, _, _ in rows} == set(range(1, RULES + 1))
    for number, _, places in rows:
        named = [name for word in re.findall(r"`([^`]+)`", places) for name in _alternatives(word)]
        assert named, number
        for name in named:
            assert (TOP / name).exists(), (number, name)


def test_security_names_rules_that_exist():
    """Each rule that SECURITY.md refers to has a row in docs/safety.md."""
    rules = {number for number, _, _ in _ROW.findall((TOP / "docs/safety.md").read_text())}
    named = re.findall(r"\((rules? [^)]*)\)", (TOP / "SECURITY.md").read_text())
    numbers = {number for each in named for number in re.findall(r"\d[a-z]?", each)}
    assert len(numbers) >= 5
    assert numbers <= rules


def _alternatives(word):
    """``a/{b,c}.py`` as a shell would write it out."""
    inner = re.search(r"\{(.*)\}", word)
    return [word.replace(inner[0], each) for each in inner[1].split(",")] if inner else [word]
