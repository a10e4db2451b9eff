"""docs/json.md and docs/pulls.md have the fields of every document."""

import re
from pathlib import Path

import pytest

from drydock.model.documents.common import json_schema
from drydock.model.documents.schemas import DOCUMENTS
from drydock.model.objects import State

DOCS = Path(__file__).resolve().parents[2] / "docs"


def fields(name):
    """All fields of a document and of its parts."""
    parts = json_schema(name, *DOCUMENTS[name][:1], *DOCUMENTS[name][1])["$defs"]
    return {field for part in parts.values() for field in part.get("properties", {})}


def section(name):
    """What is said of it."""
    if name == "pulls":
        return (DOCS / "pulls.md").read_text()
    sections = re.split(r"^## ", (DOCS / "json.md").read_text(), flags=re.MULTILINE)
    (found,) = [text for text in sections if f"drydock.{name}/1" in text.partition("\n")[0]]
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_field_is_in_the_docs(name):
    """By its name; a repair has a plan, and totals are by state."""
    known = {"scan": {state.value for state in State}, "repair": fields("plan")}.get(name, set())
    assert fields(name) - known
    assert {field for field in fields(name) - known if not re.search(rf'["`]{field}["`]', section(name))} == set()


@pytest.mark.parametrize("name", sorted(set(DOCUMENTS) - {"journal"}))
def test_the_docs_have_no_other_fields(name):
    """What is quoted in the blocks is a field of the document; the block of lists has that of changes beside it."""
    known = fields(name) | {"ls": fields("diff"), "diff": fields("ls")}.get(name, set())
    blocks = re.findall(r"^```\n(\{.*?)^```", section(name), re.DOTALL | re.MULTILINE)
    assert blocks
    quoted = {word for block in blocks for word in re.findall(r'"([a-z_]+)"', block)}
    values = {"index", "manifest", "attestation", "config", "unknown", "damaged", "unfinished", "extracting"}
    assert quoted - known == (values - known if name == "pulls" else set())
