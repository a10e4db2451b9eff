"""Which parts of containers' logs are cut, so that of each log its newest bytes stay.

A log of json-file is cut after a line. One of the driver local has frames: its rotated files go whole, and the current
file is emptied if it is larger than what is to stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from drydock.evidence.docker.logs import LEFTOVER, find_line, read_logs, time_at
from drydock.evidence.files.regular import open_below
from drydock.model.logs import ContainerLog, LogFile, LogFormat
from drydock.model.names import Kind, RawPath, UnixNano
from drydock.model.plans import LogCut, Withheld
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.model.times import show_time
from drydock.verdict.logs import find_logs

_PAGE: Final = 4096


class LogPlan(NamedTuple):
    """What becomes of the logs."""

    cuts: tuple[LogCut, ...] = ()
    """In their order: whole files, then emptied ones, then those of which a part stays."""
    withheld: tuple[Withheld, ...] = ()
    """Logs that stay although they are larger."""
    kept: tuple[bytes, ...] = ()
    """The words that name a log that is kept."""


def plan_log_cuts(store: Store, data_roots: Iterable[RawPath], most: int, keep: Sequence[bytes] = ()) -> LogPlan:
    """Plan the cuts of every log.

    Args:
        store: has the names of the containers.
        data_roots: the Docker data roots with the logs.
        most: bytes of each log that stay.
        keep: names of what stays; those of containers, and paths of logs, keep the logs.
    """
    cuts: list[LogCut] = []
    withheld: list[Withheld] = []
    kept: set[bytes] = set()
    for data in data_roots:
        logs = read_logs(data, store.owners.containers).found
        named: dict[RawPath, bytes] = {}
        for word in keep:
            for log in find_logs(logs, word):
                named.setdefault(log.path, word)
                kept.add(word)
        for log in logs:
            try:
                planned = [*_leftovers(log), *_cuts_of(log, most)]
            except OSError as error:
                withheld.append(_withhold(log, f"its log cannot be read: {error.strerror}"))
                continue
            if planned and log.path in named:
                withheld.append(_withhold(log, f"its log is kept by --keep {shown(named[log.path])}"))
            elif planned and any(file.links > 1 for file in log.files):
                withheld.append(_withhold(log, "its log has more hard links, through which something else may use it"))
            else:
                cuts += planned
    return LogPlan(tuple(sorted(cuts, key=_order)), tuple(withheld), tuple(word for word in keep if word in kept))


def _leftovers(log: ContainerLog) -> Iterator[LogCut]:
    return (_whole(log, file, "left by an interrupted cut of its log") for file in log.leftovers)


def find_lacking_room(cuts: Sequence[LogCut], freed: int) -> list[str]:
    """Where the end of a log does not fit once more, even after everything else that a plan removes is gone.

    It is copied to cut the log; only if it is at most half of the log, drydock does without a copy.

    Args:
        cuts: of the plan.
        freed: bytes that its other removals free.

    Returns:
        One shown line for each data root.
    """
    found: list[str] = []
    for data in dict.fromkeys(cut.data for cut in cuts):
        of_root = [cut for cut in cuts if cut.data == data]
        need = max(cut.keep if 2 * cut.keep > cut.expect.size else 0 for cut in of_root)
        freed_here = freed + sum(cut.bytes for cut in of_root if not cut.keep)
        with suppress(OSError):  # cutting the logs there fails with that reason
            room = os.statvfs(data)
            free = room.f_frsize * room.f_bfree
            if need > free + freed_here:
                found.append(
                    f"the disk of {shown(data)} has {free} bytes free, and what stays of a log needs up to {need}: "
                    "where it does not fit, the log stays as it is; --truncate-logs 0 needs no room"
                )
    return found


def _order(cut: LogCut) -> tuple[bool, int, RawPath, RawPath]:
    # What a killed run left comes before the cut that needs its name.
    is_left = os.path.basename(cut.path).startswith(LEFTOVER)
    return not is_left, 0 if cut.is_removed else 1 if not cut.keep else 2, cut.data, cut.path


def _cuts_of(log: ContainerLog, most: int) -> Iterator[LogCut]:
    """The cuts of one log: its newest file first, whatever is older than the first cut goes whole.

    Raises:
        OSError: a file cannot be read.
    """
    left = most
    for file in log.files:
        if file.size <= left:
            left -= file.size
            continue
        keep, since = 0, None
        if log.format is LogFormat.JSON_FILE and left and not file.is_compressed:
            descriptor = open_below(log.data, file.path)
            try:
                start = find_line(descriptor, file.size, left)
                keep, since = file.size - start, time_at(descriptor, start)
            finally:
                os.close(descriptor)
        left = 0
        if keep or file.number == 0:
            why = f"log of container {_name(log)}: {_what_goes(log, keep, since)}"
            yield LogCut(log.data, file.path, file.fingerprint, keep, file.number == 0, _freed(file, keep), why)
        else:
            yield _whole(log, file, "rotated part of its log")


def _whole(log: ContainerLog, file: LogFile, what: str) -> LogCut:
    written = show_time(UnixNano(file.fingerprint.mtime_ns))
    why = f"container {_name(log)}: {what}, last written to {written}"
    return LogCut(log.data, file.path, file.fingerprint, 0, False, file.allocated, why)


def _what_goes(log: ContainerLog, keep: int, since: UnixNano | None) -> str:
    if not keep:
        return "all of it goes" + ("" if log.since is None else f", from {show_time(log.since)} on")
    before = "older" if since is None else f"before {show_time(since)}"
    return f"its newest {keep} bytes stay, what is {before} goes"


def _freed(file: LogFile, keep: int) -> int:
    return max(0, file.allocated - (keep + -keep % _PAGE))


def _withhold(log: ContainerLog, reason: str) -> Withheld:
    return Withheld(Kind.CONTAINER, shown(log.container), log.allocated, reason)


def _name(log: ContainerLog) -> str:
    return shown(log.name or log.container)
