"""Runs that were killed: what a scan says of them."""

from __future__ import annotations

from drydock.model.findings import Finding, Place, Severity
from drydock.model.names import RawPath
from drydock.model.text import shown
from drydock.reclaim.state import find_unfinished


def unfinished_runs(root: RawPath) -> list[Finding]:
    """One note for each journal of a killed run on ``root``, in the default places."""
    return [
        Finding(
            "unfinished-run",
            Severity.NOTE,
            f"a run of {journal.time} was stopped before its end: {len(journal.pending)} of "
            f"{len(journal.entries)} actions it wrote down may not be done; journal {shown(journal.path)}",
            Place(journal.path),
            remedy="drydock clean --apply, with the options it had: it finishes the run",
        )
        for journal in find_unfinished(root)
    ]
