"""Explanations as text and as the document ``drydock.explain/1``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from drydock.model.documents.explain import ExplainDocument, ExplanationPart
from drydock.model.explanations import Explanation
from drydock.model.names import UnixNano
from drydock.model.objects import State
from drydock.model.text import shown
from drydock.model.times import show_time
from drydock.report.wording import show_bytes, show_count
from drydock.version import __version__

_STATES = {"root": "GC root"}
"""States that have another word in text, where "root" is the directory of a store."""


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    """One explanation, for a terminal or a pipe."""
    yield f"{explanation.title}: {_STATES.get(explanation.state, explanation.state)}"
    yield f"  root: {shown(explanation.root)}"
    if explanation.bytes is not None:
        what = "only it holds" if explanation.state.endswith(" lease") else "size"
        yield f"  {what}: {show_bytes(explanation.bytes)} ({show_count(explanation.bytes, 'byte')})"
    for word, value in explanation.facts:
        yield f"  {word}: {value}"
    for chain in explanation.chains:
        yield "  held by:"
        for depth, step in enumerate(chain):
            yield f"    {'  ' * depth}{step}"
    if explanation.nothing:
        label = "not judged" if explanation.state == State.FOREIGN.value else "held by nothing"
        yield f"  {label}: {explanation.nothing}"
    if explanation.refers_to:
        yield "  refers to:"
        for line in explanation.refers_to:
            yield f"    {line}"
        if explanation.more:
            yield f"    and {explanation.more} more"


def explanation_document(explanations: Iterable[Explanation], now: UnixNano) -> ExplainDocument:
    """One document about all explanations, as it was at ``now``."""
    return ExplainDocument(
        drydock=__version__,
        now=show_time(now),
        explanations=[
            ExplanationPart(
                root=shown(explanation.root),
                unread=explanation.unread or "",
                title=explanation.title,
                state=explanation.state,
                bytes=explanation.bytes,
                facts=dict(explanation.facts),
                chains=explanation.chains,
                nothing=explanation.nothing or "",
                refers_to=explanation.refers_to,
                more=explanation.more,
            )
            for explanation in explanations
        ],
    )
