"""A run: state directory, journal, quarantine, and the removals of one root in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from drydock.model.names import RawPath
from drydock.model.plans import Outcome, Removal
from drydock.reclaim.anchor import open_anchor
from drydock.reclaim.apply import remove
from drydock.reclaim.journal import JournalWriter
from drydock.reclaim.quarantine import open_quarantine
from drydock.reclaim.state import open_state

Told = Callable[[Outcome], None]


@dataclass(slots=True)
class Run:
    """What a run did to one root."""

    root: RawPath
    outcomes: list[Outcome]
    journal: RawPath
    state: str
    """Why the journal is where it is; one shown line."""


def execute(
    root: RawPath,
    removals: Sequence[Removal],
    *,
    state: RawPath | None = None,
    quarantine: RawPath | None = None,
    told: Told | None = None,
) -> Run:
    """Carry out the removals of one root, whose locks the caller holds.

    Args:
        root: absolute path of the containerd root.
        removals: in their order.
        state: the state directory the user chose.
        quarantine: where to move things instead of deleting them.
        told: called with each outcome.

    Raises:
        Refused: there is no place for the journal, or the quarantine will not do.
        ActionFailed: the journal cannot be begun.
    """
    with ExitStack() as stack:
        anchor = open_anchor(root)
        stack.callback(anchor.close)
        kept = open_state(state, 0)
        stack.callback(kept.close)
        apart = None
        if quarantine is not None:
            apart = open_quarantine(quarantine, anchor, kept.run)
            stack.callback(apart.close)
        journal = JournalWriter(kept.fd, kept.path, root, None)
        stack.callback(journal.close)
        outcomes = remove(removals, anchor, journal, apart, told)
        journal.finish()
        return Run(root, outcomes, journal.path, f"{kept.why}; lost with a reboot" if kept.volatile else kept.why)
