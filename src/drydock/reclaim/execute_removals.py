"""Carrying out removals in batches, each written to the journal before it is made."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Final

from drydock.evidence.files.worker import can_start
from drydock.interrupts import Deferral, defer_interrupt
from drydock.model.errors import ActionFailed
from drydock.model.plans import (
    NOT_TRIED,
    TREES,
    Outcome,
    Removal,
    Status,
)
from drydock.reclaim import removals
from drydock.reclaim.journal_writer import JournalWriter
from drydock.reclaim.quarantine import Quarantine
from drydock.reclaim.removal_pool import remove_together
from drydock.reclaim.root_dir import RootDir

BATCH: Final = 64
"""Removals that are written to the journal with one sync."""
_TOGETHER: Final = 4
"""Trees that are removed at once, by as many processes or, if this one may not be forked, by threads: all cores work,
and where unlink waits for the disk, as on ext4 that has no journal and is mounted with discard, they wait together."""
_MANY: Final = 5000
"""So many files and directories must be left for other processes to help: to start them takes as long as a thousand."""
_WAITS: Final = 2
"""Unlink waits where so many times the processor's time passes. Elsewhere, threads would only take turns, which takes
longer."""


def run_removals(
    planned: Sequence[Removal],
    root_dir: RootDir,
    journal: JournalWriter,
    quarantine: Quarantine | None = None,
    progress: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Carry out removals in their order, or move the data to ``quarantine``.

    Each removal is written to the journal and synced before it is made. A removal that fails does not stop the others.
    A journal that cannot be written does: removals that were not tried are then FAILED with that reason.

    Args:
        planned: removals in the root of ``root_dir``.
        root_dir: the open containerd root.
        journal: the journal of the run.
        quarantine: an open quarantine, to move data instead of deleting it.
        progress: receives each outcome, in order, in this thread.

    Returns:
        One outcome for each removal, in their order.

    Raises:
        KeyboardInterrupt: or another exception of a signal handler; the journal then has what was intended and ended.
    """
    outcomes: list[Outcome] = []
    try:
        for batch in _batches(planned):
            places = [None if quarantine is None else quarantine.place(removal) for removal in batch]
            numbers = journal.intend(batch, places, None if quarantine is None else quarantine.note(root_dir, batch))
            with closing(_cut(batch, root_dir, quarantine)) as cut:
                for number, outcome in zip(numbers, cut, strict=True):
                    outcomes.append(outcome)
                    # An intention that is on disk may be carried out; a broken journal refuses the next one.
                    with suppress(ActionFailed):
                        journal.end_removal(number, outcome)
                    if progress is not None:
                        progress(outcome)
    except ActionFailed as error:
        outcomes += [Outcome(removal, Status.FAILED, f"{NOT_TRIED}{error}") for removal in planned[len(outcomes) :]]
    return outcomes


def _batches(planned: Sequence[Removal]) -> Iterator[list[Removal]]:
    for _, group in itertools.groupby(planned, key=lambda removal: removal.target):
        while batch := list(itertools.islice(group, BATCH)):
            yield batch


def _cut(batch: Sequence[Removal], root_dir: RootDir, quarantine: Quarantine | None) -> Generator[Outcome, None, None]:
    if quarantine is not None:
        return (quarantine.take(root_dir, removal) for removal in batch)
    if batch[0].target in TREES and len(batch) > 1 and (os.cpu_count() or 1) > 1:
        return _cut_trees(batch, root_dir)
    return (removals.remove(root_dir, removal) for removal in batch)


def _cut_trees(batch: Sequence[Removal], root_dir: RootDir) -> Generator[Outcome, None, None]:
    with defer_interrupt() as deferral:
        passed = worked = 0.0
        entries = 0
        for done, removal in enumerate(batch, 1):
            clock, processor = time.perf_counter(), time.thread_time()
            outcome = removals.remove(root_dir, removal, deferral)
            passed += time.perf_counter() - clock
            worked += time.thread_time() - processor
            entries += outcome.entries
            yield outcome
            left = batch[done:]
            if entries * len(left) > _MANY * done and can_start():
                together = remove_together(left, root_dir, deferral, _TOGETHER)
            elif left and passed > _WAITS * worked:
                together = _cut_in_threads(left, root_dir, deferral)
            else:
                continue
            with closing(together):
                yield from together
            return


def _cut_in_threads(batch: Sequence[Removal], root_dir: RootDir, deferral: Deferral) -> Generator[Outcome, None, None]:
    with ThreadPoolExecutor(_TOGETHER) as pool:
        futures = [pool.submit(removals.remove, root_dir, removal, deferral) for removal in batch]
        try:
            for future in futures:
                yield future.result()
        finally:
            # If the caller stops early, nothing more is begun, and running removals end early.
            deferral.stop()
            for future in futures:
                future.cancel()
