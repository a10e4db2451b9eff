"""Measuring many folders on every core."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from types import MappingProxyType, TracebackType
from typing import NamedTuple

from drydock.evidence.files.sizes import DiskUsage, Measure, Share, TooMany
from drydock.evidence.files.worker import Worker, Write, can_start, drawn, tickets
from drydock.model.data import Occupancy

_FEWEST = 8
_MOST = 4
FEW = 4
"""Folders of a part that are walked at once; the rest is left to all cores together."""
_FIRST = 2
"""As :data:`FEW`, for what is measured ahead: enough for a volume and its ``_data``. All else waits meanwhile."""
_MOST_AHEAD = 10_000
"""Shares that are measured ahead: each takes memory until its reader asks for it."""


class WalkPool:
    """Workers that measure folders, from the moment they are made until they are closed.

    Args:
        shares: the folders to measure; their descriptors stay open until the pool is closed.
    """

    def __init__(self, shares: Sequence[Share]) -> None:
        self.shares = shares
        self._workers: list[_Worker] = []
        self._tickets = -1
        self._found: dict[int, DiskUsage] = {}
        self._own: Iterator[int] = iter(())
        if len(shares) < _FEWEST or not can_start():
            return
        try:
            self._tickets = tickets(len(shares))
        except OSError:  # no more descriptors: the caller has every folder
            return
        self._own = drawn(self._tickets, len(shares))
        try:
            with suppress(OSError):  # the workers that could be started do the work
                for _ in range(min(os.cpu_count() or 1, _MOST) - 1):
                    self._workers.append(_Worker(shares, self._tickets))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> WalkPool:  # noqa: PYI034 - Self is in typing since 3.11 only
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers that still run."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        if self._tickets >= 0:
            os.close(self._tickets)
            self._tickets = -1

    @property
    def is_at_work(self) -> bool:
        """Whether there are workers: else every folder is left to the caller."""
        return bool(self._workers)

    def finish(
        self,
        measure: Measure,
        numbers: Collection[int] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> dict[int, DiskUsage]:
        """Measure what no worker has begun until some shares are done, and wait for the workers that have the rest.

        Args:
            measure: measures here.
            numbers: the places of these shares among all; None for all of them.
            progress: called with the number of these shares done since its last call.

        Returns:
            The usage of each of them by its place, once. A folder that could not be measured is left out; the caller
            tries again.
        """
        found: dict[int, DiskUsage] = {}
        if self._tickets < 0:
            return found
        missing = set(range(len(self.shares)) if numbers is None else numbers)

        def take(results: Iterable[tuple[int, DiskUsage | None]]) -> None:
            told = len(found)
            for number, usage in results:
                if usage is not None:
                    (found if number in missing else self._found)[number] = usage
                missing.discard(number)
            if progress is not None and len(found) > told:
                progress(len(found) - told)

        def collect() -> None:
            for worker in self._workers:
                take(worker.results())

        take([(number, self._found.pop(number)) for number in missing & self._found.keys()])
        collect()
        while missing and (own := next(self._own, None)) is not None:
            usage = None
            with suppress(OSError):
                usage = measure.go_on(self.shares[own])
            take([(own, usage)])
            collect()
        if missing:
            # Each worker has its last share, if it has one.
            for worker in self._workers:
                worker.wait()
            collect()
        return found


class AheadPart(NamedTuple):
    """A folder that is measured ahead."""

    pool: WalkPool
    numbers: range
    """The places of its shares."""
    begun: DiskUsage | None
    """What was counted of it before the pool began; None for nothing."""


class WalkAhead:
    """Folders that workers measure before their readers ask for their sizes, so that no reader waits for another.

    Where there can be no workers, nothing is measured ahead.
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[int, int], dict[bytes, AheadPart]] = {}
        self._added: list[tuple[dict[bytes, AheadPart], bytes, range, DiskUsage | None]] = []
        self._shares: list[Share] = []
        self._stack = ExitStack()

    def __enter__(self) -> WalkAhead:  # noqa: PYI034 - Self is in typing since 3.11 only
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers that still run; what they found is forgotten."""
        self._parts.clear()
        self._stack.close()

    def add(self, names: Iterable[bytes], parent: int, *, split: bool = False) -> None:
        """Have what lies in an open folder measured from :meth:`start` on; what was added before is not added again.

        Args:
            names: what to measure.
            parent: descriptor of the folder, which may be closed afterwards.
            split: each may be very large: several workers have parts of it, unless it has very many folders at its
                top. Its :class:`DiskUsage` may have no occupancy.
        """
        if not can_start():
            return
        parts = self._parts.setdefault(_identity(parent), {})
        held = os.dup(parent)
        self._stack.callback(os.close, held)
        for name in names:
            first = len(self._shares)
            if name in parts or first >= _MOST_AHEAD:
                continue
            begun = None
            if split:
                try:
                    begun, left = Measure().begin(name, held, _FIRST, strictly=True)
                except OSError:  # its reader tries again, and reports the error
                    continue
                except TooMany:  # to walk on here would keep all else waiting
                    left = [Share(name, held)]
                self._shares += left
            else:
                self._shares.append(Share(name, held))
            self._added.append((parts, name, range(first, len(self._shares)), begun))

    def start(self) -> None:
        """Begin to measure what was added since the last call."""
        pool = self._stack.enter_context(WalkPool(self._shares))
        for parts, name, numbers, begun in self._added if pool.is_at_work else ():
            parts[name] = AheadPart(pool, numbers, begun)
        self._added, self._shares = [], []

    def take(self, names: Iterable[bytes], parent: int) -> dict[bytes, AheadPart]:
        """Which of these in an open folder are measured ahead; each is given once."""
        parts = self._parts.get(_identity(parent))
        return {name: parts.pop(name) for name in names if name in parts} if parts else {}

    def measured(
        self, names: Iterable[bytes], parent: int, measure: Measure, progress: Callable[[int], None] | None = None
    ) -> dict[bytes, DiskUsage]:
        """The usage of each of these that is measured ahead, by name; waits for it.

        Args:
            names: what to look for.
            parent: descriptor of the folder that they are in.
            measure: measures what no worker has begun.
            progress: called with the number of folders done since its last call.
        """
        parts = self.take(names, parent)
        usages = finish_parts(parts.values(), measure, progress)
        return {name: usage for name, usage in zip(parts, usages, strict=True) if isinstance(usage, DiskUsage)}


def finish_parts(
    parts: Collection[AheadPart], measure: Measure, progress: Callable[[int], None] | None = None
) -> list[DiskUsage | OSError]:
    """The usage of each of these, or why it could not be measured. Waits for it.

    Args:
        parts: from :meth:`WalkAhead.take`.
        measure: measures what no worker has begun.
        progress: called with the number of shares done since its last call.
    """
    found: dict[WalkPool, dict[int, DiskUsage]] = {}
    for pool in dict.fromkeys(part.pool for part in parts):
        numbers = [number for part in parts if part.pool is pool for number in part.numbers]
        found[pool] = pool.finish(measure, numbers, progress)
    return [_whole(part, found[part.pool], measure) for part in parts]


def _whole(part: AheadPart, found: dict[int, DiskUsage], measure: Measure) -> DiskUsage | OSError:
    whole = part.begun
    for number in part.numbers:
        usage = found.pop(number, None)
        if usage is None:
            try:
                usage = measure.go_on(part.pool.shares[number])
            except OSError as error:
                return error
        if whole is None:
            whole = usage
        else:
            whole.include(usage)
    return DiskUsage() if whole is None else whole


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def measure_folders(
    measure: Measure,
    names: Sequence[bytes],
    parent: int,
    progress: Callable[[int], None] | None = None,
    known: Mapping[bytes, DiskUsage] = MappingProxyType({}),
) -> Iterator[DiskUsage]:
    """The usage of each of ``names`` in the open folder ``parent``, in their order, as :meth:`Measure.folder` has it.

    Args:
        measure: counts inodes with several links once.
        names: of the folders to measure.
        parent: the folder they are in.
        progress: called with the number of folders done since its last call.
        known: what workers have measured already.

    Raises:
        OSError: one of the folders is missing.
    """
    found = dict(known)
    left = [name for name in names if name not in found]
    with WalkPool([Share(name, parent) for name in left]) as pool:
        found |= {left[number]: usage for number, usage in pool.finish(measure, progress=progress).items()}
    for name in names:
        usage = found.pop(name, None)
        if usage is not None:
            measure.add(usage)
        else:
            usage = measure.folder(name, parent)
            if progress is not None:
                progress(1)
        yield usage


class _Worker(Worker):
    """A worker that measures."""

    def __init__(self, shares: Sequence[Share], tickets: int) -> None:
        needed = {tickets, *(share.parent for share in shares)}
        super().__init__(partial(_measure, shares, tickets), needed)

    def results(self) -> Iterator[tuple[int, DiskUsage | None]]:
        """What the worker has found since it was last asked: places of shares; None for one it could not measure."""
        for number, counted in self.news():
            if counted is None:
                yield number, None
                continue
            allocated, entries, skipped, skips, linked, *parts = counted
            whole, upper = (part and Occupancy(*part) for part in parts)
            yield number, DiskUsage(allocated, entries, skipped, skips, linked, all=whole, upper=upper)


def _measure(shares: Sequence[Share], tickets: int, write: Write) -> None:
    measure = Measure()
    for number in drawn(tickets, len(shares)):
        counted = None
        with suppress(OSError):  # the starter tries again, and reports the error
            usage = measure.go_on(shares[number])
            whole, upper = (part and tuple(part) for part in (usage.all, usage.upper))
            counted = usage.allocated, usage.entries, usage.skipped, usage.skips, usage.linked, whole, upper
        write((number, counted))
