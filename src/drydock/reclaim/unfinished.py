"""Runs that were killed: what a scan says of them, and the end of their journals once nothing is left to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drydock.model.findings import Finding, Place, Severity
from drydock.model.names import RawPath
from drydock.model.text import shown
from drydock.reclaim.state import find_unfinished, places_with

if TYPE_CHECKING:
    from drydock.evidence.store import Held
    from drydock.model.store import Store


def unfinished_runs(root: RawPath, state: RawPath | None = None) -> list[Finding]:
    """One note for each journal of a killed run on ``root``, in the default places and in ``state``."""
    return [
        Finding(
            "unfinished-run",
            Severity.NOTE,
            f"a run of {journal.time} was stopped before its end: {len(journal.pending)} of "
            f"{len(journal.entries)} actions it wrote down may not be done; journal {shown(journal.path)}",
            Place(journal.path),
            remedy="drydock clean --apply, with the options it had: it finishes the run",
        )
        for journal in find_unfinished(root, places_with(state))
    ]


def close_unfinished(held: Held, store: Store, state: RawPath | None = None) -> None:
    """Write into the journals of killed runs on a root that they are over, where nothing they began is left to do.

    Args:
        held: the databases of the root, locked exclusively.
        store: what was read of it under these locks.
        state: the state directory the user chose.

    Raises:
        ActionFailed: one cannot be written.
    """
    from drydock.reclaim.journal_writer import close_abandoned  # noqa: PLC0415 - a scan must start fast
    from drydock.reclaim.leftover import find_left  # noqa: PLC0415 - the same

    for journal in find_unfinished(held.root.path, places_with(state)):
        if not find_left(journal, held, store):
            close_abandoned(journal)
