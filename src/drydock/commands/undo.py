"""Undoing a run."""

from __future__ import annotations

from drydock.model.access import Access
from drydock.model.names import RawPath
from drydock.model.runs import Run
from drydock.reclaim.journal import read_journal
from drydock.reclaim.undo import undo as undo_run
from drydock.session import find_root, hold_caches, hold_root


def undo(journal: RawPath, access: Access) -> Run:
    """Put back what a journal says was moved, and each edited database as it was before.

    Args:
        journal: path of the journal.
        access: how to read the root, which is held as by a writer.

    Raises:
        EvidenceUnreadable: the journal is damaged or cannot be read, or its root is not there.
        Refused: an engine, a shim or a mount uses the root, or a lock is held.
    """
    found, access = read_journal(journal), access.to_change()
    edited = [entry.path for entry in found.entries if entry.do == "edit"]
    with hold_root(find_root(found.root, access), access) as held, hold_caches(held, edited, access):
        return undo_run(found, held, access.progress)
