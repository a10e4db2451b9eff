"""Past runs, as a table and as the document ``drydock.runs/1``."""

from __future__ import annotations

from collections.abc import Iterator

from drydock.model.documents.runs import PastRunPart, RunsDocument
from drydock.model.runs import PastRun, PastRuns, UndoState
from drydock.model.text import shown
from drydock.report.wording import align, show_bytes
from drydock.version import __version__

_TITLES = ("BEGAN", "END", "DELETED", "MOVED", "EDITS", "FAILED", "UNDO", "ROOT", "JOURNAL")
_SECONDS = len("2026-01-31T12:00:00")


def runs_document(found: PastRuns) -> RunsDocument:
    """The published form of past runs."""
    return RunsDocument(drydock=__version__, runs=[_part(run) for run in found.runs], unread=found.unread)


def _part(run: PastRun) -> PastRunPart:
    fields = {name: value for name, value in run._asdict().items() if name != "databases"}
    return PastRunPart(**{**fields, "journal": shown(run.journal), "root": shown(run.root)})


def runs_lines(found: PastRuns) -> Iterator[str]:
    """One line for each run, then the reasons why runs cannot be undone."""
    if not found.runs:
        yield "No journal of a past run."
        return
    yield from align([_TITLES, *map(_cells, found.runs)])
    for run in found.runs:
        if run.undo is UndoState.IMPOSSIBLE:
            yield f"{shown(run.journal)}: cannot be undone: {run.reason}"


def _cells(run: PastRun) -> tuple[str, ...]:
    # A time that is none, in a journal that was changed, stays as it is.
    began = f"{run.began[:_SECONDS]}Z" if run.began[10:11] == "T" else run.began
    amounts = ((run.deleted, run.freed), (run.moved, run.moved_bytes))
    return (
        began,
        run.end.value,
        *(f"{count}, {show_bytes(amount)}" if count else "-" for count, amount in amounts),
        str(run.edited or "-"),
        str(run.failed or "-"),
        run.undo.value,
        shown(run.root),
        shown(run.journal),
    )
