"""The page about other tools says what was recorded of them, and of each what decided it."""

import re

from tests.engines.modules import Module
from tests.support.newcomer import TOP
from tests.support.peers import BEGIN, END, PAGE, QUESTIONS, page_section, read_record


def test_the_table_is_what_was_recorded():
    """Made anew from the record, the table of the page is the same."""
    text = PAGE.read_text(encoding="utf-8")
    assert text[text.index(BEGIN) : text.index(END) + len(END)] == page_section(read_record())


def test_each_answer_has_its_evidence():
    """Commands and the line that decided, a version and a day; for what drydock does, a test that is there."""
    for trial in read_record():
        assert trial.question in QUESTIONS
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", trial.day)
        assert trial.said
        assert re.match(r"\d+\.\d+", trial.version), trial.tool
        if not trial.commands:
            assert trial.tool == "drydock"
            assert (TOP / trial.said).exists()


def test_the_versions_are_those_of_the_engines():
    """A newer nerdctl, crictl or containers-storage in tests/engines is to be asked anew."""
    said = {trial.tool: trial.version for trial in read_record()}
    modules = TOP / "tests/engines/modules"
    for tool, module, path in (
        ("nerdctl", Module.NERDCTL, r"github.com/containerd/nerdctl/v2"),
        ("crictl", Module.CRICTL, r"sigs.k8s.io/cri-tools"),
        ("containers-storage", Module.CONTAINERS_STORAGE, r"github.com/containers/storage"),
    ):
        text = (modules / module.value / "go.mod").read_text()
        (version,) = set(re.findall(rf"^\s*(?:require )?{path} v(\S+)", text, re.MULTILINE))
        assert said[tool] == version, tool
