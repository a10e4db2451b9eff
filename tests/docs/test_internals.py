"""docs/internals.md leads to code that is there."""

import ast
import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PAGE = (TOP / "docs/internals.md").read_text()
QUESTIONS = re.findall(r"^\| ([^|]+\?) \| `([^`]+)` \| `([^`]+)` \|$", PAGE, re.MULTILINE)


def place(path):
    """A file as the page names it."""
    return TOP / "src" / path if path.startswith("bbolt_") else TOP / "src/drydock" / path


def test_each_question_leads_to_a_definition():
    """The file has a function or a class of that name, at its top."""
    assert len(QUESTIONS) >= 20
    for question, path, name in QUESTIONS:
        body = ast.parse(place(path).read_text()).body
        assert name in {getattr(each, "name", None) for each in body}, question


def test_each_file_that_the_page_names_is_there():
    """Also those outside of the questions, and the rooms of the picture."""
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", PAGE))
    assert len(named) > 25
    assert [path for path in sorted(named) if not (place(path).exists() or (TOP / path).exists())] == []
    picture = PAGE.split("```")[1]
    rooms = re.findall(r"^ {2}(\w+(?:/|\.py)) ", picture, re.MULTILINE)
    there = {f"{path.name}/" if path.is_dir() else path.name for path in (TOP / "src/drydock").iterdir()}
    silent = {"__init__.py", "__main__.py", "__pycache__/", "py.typed", "schemas/", "version.py"}
    assert set(rooms) == there - silent
