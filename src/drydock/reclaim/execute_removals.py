"""Carrying out removals in batches, each written to the journal before it is made."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Final

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
from drydock.reclaim.journal import JournalWriter
from drydock.reclaim.quarantine import Quarantine
from drydock.reclaim.root_dir import RootDir

BATCH: Final = 64
"""Removals that are written to the journal with one sync."""
_THREADS: Final = 4
"""Trees that are removed at once where unlink waits for the disk: then they wait together."""
_WAITS: Final = 2
"""It waits where so many times the processor's time passes, as with ext4 that has no journal and is mounted with
discard: the disk drops the blocks of each file. Where it does not wait, threads only take turns, which takes longer."""


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
        done = 0
        while done < len(batch) and passed <= _WAITS * worked:
            clock, processor = time.perf_counter(), time.thread_time()
            outcome = removals.remove(root_dir, batch[done], deferral)
            passed += time.perf_counter() - clock
            worked += time.thread_time() - processor
            done += 1
            yield outcome
        if done < len(batch):
            yield from _cut_together(batch[done:], root_dir, deferral)


def _cut_together(batch: Sequence[Removal], root_dir: RootDir, deferral: Deferral) -> Iterator[Outcome]:
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = [pool.submit(removals.remove, root_dir, removal, deferral) for removal in batch]
        try:
            for future in futures:
                yield future.result()
        finally:
            # If the caller stops early, nothing more is begun, and running removals end early.
            deferral.stops = True
            for future in futures:
                future.cancel()
