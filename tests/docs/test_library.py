"""Every Python snippet of docs/library.md runs, each as a script of its own on a fresh host made of a capture."""

import pytest
from tests.support.captures import capture
from tests.support.newcomer import TOP, Newcomer, python_blocks

HOST = "docker-28.5-interrupted-pull"
SNIPPETS = python_blocks((TOP / "docs/library.md").read_text())


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs(snippet, unpacked_anew, tmp_path):
    """It ends without an error; one that prints prints something."""
    of = capture(HOST)
    host = unpacked_anew(of)
    work = tmp_path / "work"
    work.mkdir()
    (work / "snippet.py").write_text(snippet)
    with Newcomer(host / of.docker, work, {}) as newcomer:
        printed = newcomer.types("python snippet.py")
    assert printed or "if hit" in snippet
