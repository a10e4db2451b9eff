"""Removing many trees in several processes.

Each helper is a worker that calls :func:`drydock.reclaim.removals.remove` for trees that are in the journal already.
It keeps the locks of the process that started it and does not outlive it, so no engine starts while it removes. It
writes neither to the journal nor to a stream. It hands over how each tree ended, and the process that started it
reports these in the order of the journal.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Final

from drydock.evidence.files.worker import Worker, Write, drawn, tickets
from drydock.interrupts import Deferral
from drydock.model.plans import Outcome, Removal, Status
from drydock.reclaim import removals
from drydock.reclaim.remove_tree import RemovalStopped
from drydock.reclaim.root_dir import RootDir

_ENDED: Final = "the process that removed it ended before it was done"


def remove_together(
    batch: Sequence[Removal], root_dir: RootDir, deferral: Deferral, processes: int
) -> Generator[Outcome, None, None]:
    """Remove trees in this process and in forks of it.

    Args:
        batch: removals that are in the journal.
        root_dir: the root that they are in.
        deferral: ends the work of all processes after the folder that each is at. If the caller stops early, this
            does it.
        processes: how many are to work, this one among them; fewer do if a fork fails.

    Returns:
        One outcome for each removal, in their order. A tree whose process was killed is FAILED.

    Raises:
        RemovalStopped: ``deferral`` says so; trees may be removed in part by then.
    """

    def remove(removal: Removal) -> Outcome:
        if deferral():
            raise RemovalStopped
        return removals.remove(root_dir, removal, deferral)

    found: dict[int, Outcome] = {}
    told = 0
    helpers: list[_Helper] = []
    try:
        shares = tickets(len(batch))
    except OSError:  # no more descriptors: this process removes all
        yield from map(remove, batch)
        return
    try:
        with suppress(OSError):  # those that could be started do the work
            while len(helpers) < processes - 1:
                helpers.append(_Helper(batch, remove, shares))
        with suppress(RemovalStopped):
            for number in drawn(shares, len(batch)):
                found[number] = remove(batch[number])
                for helper in helpers:
                    found |= helper.outcomes()
                while told in found:
                    yield found.pop(told)
                    told += 1
        for helper in helpers:
            helper.wait()
            found |= helper.outcomes()
        signals = sorted({helper.killed_by for helper in helpers} - {0})
        by = f" (signal {', '.join(map(str, signals))})" if signals else ""
        for number in range(told, len(batch)):
            outcome = found.get(number)
            if outcome is None and deferral():
                raise RemovalStopped
            yield outcome or Outcome(batch[number], Status.FAILED, _ENDED + by)
    finally:
        deferral.stop()
        os.close(shares)
        with ExitStack() as stack:
            for helper in helpers:
                stack.callback(helper.close)
            # If this is interrupted, those that still run are killed: they may wait for a disk that is gone.
            for helper in helpers:
                helper.wait()


class _Helper(Worker):
    """A worker that removes trees."""

    def __init__(self, batch: Sequence[Removal], remove: Callable[[Removal], Outcome], shares: int) -> None:
        super().__init__(partial(_help, batch, remove, shares))
        self._batch = batch

    def outcomes(self) -> dict[int, Outcome]:
        """What it ended since this was last asked, by place in the batch."""
        return {number: Outcome(self._batch[number], Status(status), *rest) for number, status, *rest in self.news()}


def _help(batch: Sequence[Removal], remove: Callable[[Removal], Outcome], shares: int, write: Write) -> None:
    # Ctrl-C in a terminal reaches all processes: this one stops when the one that started it says so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # a collection would copy all memory that the processes share
    for number in drawn(shares, len(batch)):
        outcome = remove(batch[number])
        write((number, outcome.status.value, *outcome[2:]))
