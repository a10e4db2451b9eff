"""``drydock.runs/1``: past runs, as ``drydock runs --format json`` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from drydock.model.documents.common import Count, Line, ReportPart, Shown, Time
from drydock.model.runs import RunEnd, UndoState


class PastRunPart(ReportPart, kw_only=True):
    """A past run, by its journal."""

    journal: Annotated[Shown, Meta(description="path of its journal, which undo takes")]
    root: Annotated[Shown, Meta(description="absolute path of the containerd root that it worked on")]
    tool: Annotated[str, Meta(description="version of drydock that ran")]
    began: Annotated[Time, Meta(description="when it began")]
    end: Annotated[RunEnd, Meta(description="whether it ended; finished later: a later run or an undo did the rest")]
    finished: Annotated[Time | None, Meta(description="when it finished; null if it did not")]
    deleted: Annotated[Count, Meta(description="files and directories that it deleted")]
    freed: Annotated[Count, Meta(description="bytes of allocated blocks that the deletions freed")]
    moved: Annotated[Count, Meta(description="files and directories that it moved to quarantine")]
    moved_bytes: Annotated[Count, Meta(description="bytes that removing the moved data would free")]
    edited: Annotated[Count, Meta(description="edits of databases")]
    failed: Annotated[Count, Meta(description="files, directories and edits that failed, or changed since the plan")]
    undo: Annotated[UndoState, Meta(description="whether undo can put back all that the run did")]
    reason: Annotated[Line, Meta(description="why undo cannot; else empty")]


class RunsDocument(ReportPart, tag_field="schema", tag="drydock.runs/1"):
    """The runs that have a journal."""

    drydock: Annotated[str, Meta(description="version of drydock that wrote it")]
    runs: Annotated[Sequence[PastRunPart], Meta(description="the oldest first")]
    unread: Annotated[Sequence[Line], Meta(description="journals, and places with journals, that could not be read")]
