"""``drydock.explain/1``: what holds a thing, or why nothing does, as ``drydock explain --format json`` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from drydock.model.documents.common import Line, Report, ReportPart, Shown
from drydock.model.documents.scan import Amount


class ExplanationPart(ReportPart, kw_only=True):
    """One thing of one root, and what holds it."""

    root: Annotated[Shown, Meta(description="absolute path of the containerd root, or of the place that a path is in")]
    unread: Annotated[Line, Meta(description="why not all records could be read, so that more may hold it; else empty")]
    title: Annotated[Line, Meta(description="kind, id and namespace")]
    state: Annotated[
        Line,
        Meta(
            description="its state; of a lease its class and the word lease; `root` for an image; of a path that "
            "belongs to no object the category of its usage"
        ),
    ]
    bytes: Annotated[
        Amount | None, Meta(description="bytes on disk; of a lease what only it holds; null for other records")
    ]
    facts: Annotated[dict[str, str], Meta(description="more about it, such as path, times and owner, by name")]
    chains: Annotated[
        Sequence[Annotated[Sequence[Line], Meta(min_length=1)]],
        Meta(description="ways from what holds it down to it, one line for each step"),
    ]
    nothing: Annotated[Line, Meta(description="why nothing holds it; empty where something does")]
    refers_to: Annotated[Sequence[Line], Meta(description="what it references itself")]
    more: Annotated[Amount, Meta(description="how many more things it references than refers_to lists")]


class ExplainDocument(Report, tag="drydock.explain/1"):
    """Every thing that the word means."""

    explanations: Annotated[Sequence[ExplanationPart], Meta(min_length=1, description="one for each such thing")]
