"""The second reading of verify: every database once more, by the reader that is made of construct's declarations."""

from __future__ import annotations

from functools import partial

from bbolt_reader import BoltError, DeclaredDatabase, Difference, compare
from drydock.evidence.store import File, Held, database_name
from drydock.model.findings import Finding, Place, Severity
from drydock.model.progress import Progress, counter
from drydock.model.text import quoted_path, shown
from drydock.model.verifications import SecondReading


def read_again(held: Held, progress: Progress | None) -> tuple[SecondReading, list[Finding]]:
    """Read each database of a root with both readers, and compare what they read.

    Args:
        held: the databases, locked.
        progress: told how many pages were read again.

    Returns:
        How much was compared, and a finding for each difference.
    """
    reading, findings = SecondReading(), []
    for file in held.files():
        found = _compare(file, reading, progress)
        findings += found
        reading.databases += 1
    return reading, findings


def _compare(file: File, reading: SecondReading, progress: Progress | None) -> list[Finding]:
    differ = partial(_finding, file)
    try:
        second = DeclaredDatabase.from_fd(file.fd, file.path)
    except BoltError as error:
        # The first reader's finding is there already where neither can open it.
        return [] if file.database is None else [differ(f"only the first reader opens it: {error}", Place(file.path))]
    with second:
        if file.database is None:
            return [differ("only the second reader opens it", Place(file.path))]
        told = counter(progress, f"pages of {database_name(file.path)} read again", _pages(second))
        read = 0

        def count(keys: int) -> None:
            nonlocal read
            reading.keys += keys
            if told is not None:
                told(second.read - read)
                read = second.read

        found = [
            differ(_message(each), Place(file.path, each.page, each.offset, each.path[:-1]))
            for each in compare(file.database, second, count)
        ]
    file.database.release()
    return found


def _pages(database: DeclaredDatabase) -> int:
    # The high-water mark of a damaged file is any number.
    return min(database.pages, database.meta.high_water)


def _message(each: Difference) -> str:
    place = "" if each.offset is None else f"page {each.page} offset {each.offset:#x}: "
    path = "/".join(shown(name).replace("/", r"\x2f") for name in each.path)
    return f"{place}{path}{': ' if path else ''}{each.message}"


def _finding(file: File, message: str, place: Place) -> Finding:
    return Finding(
        "readers-disagree",
        Severity.DAMAGE,
        f"{shown(file.path)}: {message}",
        place,
        remedy=f"keep a copy of {quoted_path(file.path)} and report this: one of drydock's two readers is wrong",
    )
