"""Reading every database a second time, with the reader that is built from construct's declarations."""

from __future__ import annotations

from contextlib import ExitStack, suppress

from bbolt_reader import BoltError, Database, DeclaredDatabase, Difference, compare
from drydock.evidence.buildkit.records import BuildKit, build_databases, find_buildkits
from drydock.evidence.containerd.database_file import database_name
from drydock.evidence.containerd.store import Held
from drydock.evidence.host.locks import hold
from drydock.model import messages
from drydock.model.errors import DrydockError
from drydock.model.findings import Finding, Place
from drydock.model.names import RawPath
from drydock.model.progress import Progress, counter
from drydock.model.text import shown
from drydock.model.verifications import SecondReading


def compare_readers(held: Held, progress: Progress | None) -> tuple[SecondReading, list[Finding]]:
    """Read each database of a root with both readers, and compare what they read.

    Args:
        held: the databases, locked.
        progress: called with the pages that were read again.

    Returns:
        The amount of data that was compared, and a finding for each difference.
    """
    reading, findings = SecondReading(), []
    for file in held.files():
        findings += _compare(file.path, file.fd, file.database, reading, progress)
        if file.database is not None:
            file.database.release()
    for buildkits in find_buildkits(held.root):
        for each in buildkits:
            findings += _builds(each, reading, progress)
    return reading, findings


def _builds(of: BuildKit, reading: SecondReading, progress: Progress | None) -> list[Finding]:
    """Compare the databases of a BuildKit. The first reading reported those that cannot be read."""
    findings: list[Finding] = []
    with suppress(OSError):
        for path in build_databases(of):
            with suppress(OSError, DrydockError), ExitStack() as stack:
                fd = stack.enter_context(hold(path, exclusive=False)).fd
                database: Database | None = None
                with suppress(BoltError):
                    database = stack.enter_context(Database.from_fd(fd, path, bounded=True))
                findings += _compare(path, fd, database, reading, progress)
    return findings


def _compare(
    path: RawPath, fd: int, first: Database | None, reading: SecondReading, progress: Progress | None
) -> list[Finding]:
    reading.databases += 1
    try:
        second = DeclaredDatabase.from_fd(fd, path)
    except BoltError as error:
        # If no reader opens it, the first reading has reported that.
        place, why = Place(path), f": {error}"
        return [] if first is None else [messages.ONE_READER_OPENS(file=path, which="first", why=why).at(place)]
    with second:
        if first is None:
            return [messages.ONE_READER_OPENS(file=path, which="second", why="").at(Place(path))]
        told = counter(progress, f"pages of {database_name(path)} read again", _pages(second))
        read = 0

        def count(keys: int) -> None:
            nonlocal read
            reading.keys += keys
            if told is not None:
                told(second.read - read)
                read = second.read

        return [
            messages.READERS_DISAGREE(file=path, difference=_difference(each)).at(
                Place(path, each.page, each.offset, each.path[:-1])
            )
            for each in compare(first, second, count)
        ]


def _pages(database: DeclaredDatabase) -> int:
    # The high-water mark of a damaged file may be any number.
    return min(database.pages, database.meta.high_water)


def _difference(each: Difference) -> str:
    place = "" if each.offset is None else f"page {each.page} offset {each.offset:#x}: "
    path = "/".join(shown(name).replace("/", r"\x2f") for name in each.path)
    return f"{place}{path}{': ' if path else ''}{each.message}"
