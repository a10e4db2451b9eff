"""The removals of a plan, carried out in its order: journalled first, each on its own, going on after a failure."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from typing import Final

from drydock.interrupts import defer_interrupt
from drydock.model.errors import ActionFailed
from drydock.model.plans import Outcome, Removal, Status, Target
from drydock.reclaim import removals
from drydock.reclaim.journal import JournalWriter
from drydock.reclaim.quarantine import Quarantine
from drydock.reclaim.root_dir import Anchor

_BATCH: Final = 64
"""Intended at a time: one sync each."""
_THREADS: Final = 2
"""Trees removed at once: unlink waits for the disk's journal more than for the processor; more did not help."""


def remove(
    removals: Sequence[Removal],
    anchor: Anchor,
    journal: JournalWriter,
    quarantine: Quarantine | None = None,
    progress: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Carry out ``removals`` in their order, or move them to ``quarantine``.

    Each is written to the journal and synced before its cut. A removal that fails does not stop the others; a journal
    that cannot be written does, and what was not tried then is FAILED with that reason.

    Args:
        removals: all of the root that ``anchor`` holds.
        anchor: the open containerd root.
        journal: where it is written down.
        quarantine: an open quarantine, to move instead of to delete.
        progress: told each outcome, in order, in this thread.

    Returns:
        One outcome for each removal, in their order.

    Raises:
        KeyboardInterrupt: or what else a signal handler raises; the journal then says what was intended and what ended.
    """
    outcomes: list[Outcome] = []
    try:
        for batch in _batches(removals):
            places = [None if quarantine is None else quarantine.place(removal) for removal in batch]
            numbers = journal.intend(batch, places, None if quarantine is None else quarantine.note(anchor, batch))
            with closing(_cut(batch, anchor, quarantine)) as cut:
                for number, outcome in zip(numbers, cut, strict=True):
                    outcomes.append(outcome)
                    # What is intended on disk may be cut; a journal that broke refuses the next intention.
                    with suppress(ActionFailed):
                        journal.end_removal(number, outcome)
                    if progress is not None:
                        progress(outcome)
    except ActionFailed as error:
        outcomes += [Outcome(removal, Status.FAILED, f"not tried: {error}") for removal in removals[len(outcomes) :]]
    return outcomes


def _batches(removals: Sequence[Removal]) -> Iterator[list[Removal]]:
    for _, group in itertools.groupby(removals, key=lambda removal: removal.target):
        while batch := list(itertools.islice(group, _BATCH)):
            yield batch


def _cut(batch: Sequence[Removal], anchor: Anchor, quarantine: Quarantine | None) -> Generator[Outcome, None, None]:
    if quarantine is not None:
        return (quarantine.take(anchor, removal) for removal in batch)
    if batch[0].target is Target.SNAPSHOT and len(batch) > 1 and (os.cpu_count() or 1) > 1:
        return _cut_trees(batch, anchor)
    return (removals.remove(anchor, removal) for removal in batch)


def _cut_trees(batch: Sequence[Removal], anchor: Anchor) -> Generator[Outcome, None, None]:
    with defer_interrupt() as deferral:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - 10 ms, and most commands remove nothing

        with ThreadPoolExecutor(_THREADS) as pool:
            futures = [pool.submit(removals.remove, anchor, removal, deferral) for removal in batch]
            try:
                for future in futures:
                    yield future.result()
            finally:
                # Where this one is not asked for the rest: nothing more is begun, and what runs ends early.
                deferral.stops = True
                for future in futures:
                    future.cancel()
