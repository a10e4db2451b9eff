"""Indented documents, written piece by piece."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from drydock.report.indented import indented

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


@given(VALUES)
def test_it_is_the_text_that_json_writes(value):
    """Byte for byte, whatever the document holds."""
    assert "".join(indented(value)) == json.dumps(value, indent=1, ensure_ascii=False)


@given(st.lists(st.dictionaries(st.text(), st.lists(VALUES, max_size=3), max_size=3), max_size=3))
def test_iterators_are_lists(roots):
    """Also those in what an iterator gives, and empty ones."""
    streamed = {"roots": ({name: iter(part) for name, part in root.items()} for root in roots)}
    assert "".join(indented(streamed)) == json.dumps({"roots": roots}, indent=1, ensure_ascii=False)


def test_nothing_is_made_before_it_is_written():
    """The first piece of a list comes before its second entry is asked for."""
    asked = []

    def entries():
        for number in range(3):
            asked.append(number)
            yield {"number": number}

    pieces = indented({"entries": entries()})
    while "".join(next(pieces)).strip("[ \n{") != '"number": 0\n  }':
        pass
    assert asked == [0]
