"""What docs/findings.md says of findings."""

import re
from pathlib import Path

from tests.docs.findings_page import findings_page

from drydock.model.findings import FindingCode, Severity
from drydock.model.guidance import GUIDANCE

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_generated():
    """docs/findings.md is what the registry gives: ``python -m tests.docs`` writes it."""
    assert (DOCS / "findings.md").read_text() == findings_page()


def test_every_code_is_explained_once():
    """No code is left out or explained twice, and each explanation is a sentence."""
    codes = [code for group in GUIDANCE.values() for code in group]
    assert sorted(codes) == sorted(FindingCode)
    for group in GUIDANCE.values():
        for code, guidance in group.items():
            assert guidance.meaning.endswith("."), code
            assert guidance.to_do.endswith((".", "")), code


def test_every_code_has_its_section_and_links_lead_somewhere():
    """Each code has one heading, whose anchor is the code; links name such headings and pages that exist."""
    page = findings_page()
    headings = re.findall(r"^### (.+)$", page, re.MULTILINE)
    assert sorted(headings) == sorted(FindingCode)
    links = set(re.findall(r"\]\(([^)]+)\)", page))
    assert len(links) > len(FindingCode)
    for link in links:
        assert (link.startswith("#") and link[1:] in headings) or (DOCS / link).is_file(), link


def test_a_severity_that_the_context_decides_is_explained():
    """Where a code can have another severity than its usual one, the page says when."""
    words = {Severity.NOTE: "is a note where", Severity.DAMAGE: "is damage where"}
    for group in GUIDANCE.values():
        for code, guidance in group.items():
            for severity in code.severities[1:]:
                assert words[severity] in guidance.meaning, code
