"""Reports from hosts, in JSON, JSON lines or Parquet, as tables of rows."""

from __future__ import annotations

import itertools
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from drydock.model.documents.fleet import (
    ReportedFileSystem,
    ReportedHead,
    ReportedLine,
    ReportedRootHead,
    ReportedScan,
    ReportedUsage,
)
from drydock.model.documents.scan import ScanRow
from drydock.model.errors import EvidenceUnreadable
from drydock.model.progress import Progress, counter
from drydock.model.text import shown
from drydock.report.parquet import read_parquet, tables, with_reports
from drydock.report.rows import document_rows, entry_row, file_system_row, root_row, usage_row
from drydock.report.scan_files import (
    LineKind,
    decode_line,
    host_of,
    open_scan,
    opened_scan,
    why_unread,
    without_lone_surrogates,
)

if TYPE_CHECKING:
    import pyarrow as pa

_ENDINGS = (b".json", b".jsonl", b".parquet")
_UNUSED: Final = ("store",)
"""Lines of which there is no row."""
_TYPES = ("root", "object", "lease", "finding", "withheld", "holder")


def find_reports(paths: Sequence[bytes]) -> list[bytes]:
    """The files that are named, and, sorted by name, the files in a named folder that end like a report.

    Raises:
        EvidenceUnreadable: a name is not there, or a folder cannot be listed.
    """
    return list(dict.fromkeys(each for path in paths for each in _named(path)))


def _named(path: bytes) -> list[bytes]:
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(_ENDINGS)]
    except OSError as error:
        raise EvidenceUnreadable(f"{shown(path)}: {error.strerror}") from error
    return [path]


def report_tables(
    paths: Sequence[bytes], refused: Callable[[int, str], None], progress: Progress | None = None
) -> Iterator[pa.Table]:
    """The rows of every report, with the number of each in a column ``report``.

    Args:
        paths: files.
        refused: called for each file that is not a report or is damaged, with its number and the reason in one shown
            line. Nothing of such a file may be used: tables of a Parquet file may come before its damage is found.
        progress: called with the bytes of the files.

    """
    sizes = [file_size(path) for path in paths]
    step = counter(progress, "bytes of reports read", sum(sizes))

    numbers: deque[int] = deque()

    def rows() -> Iterator[ScanRow]:
        for number, path in enumerate(paths):
            if path.endswith(b".parquet"):
                continue
            try:
                found = list(_rows(path))
            except (OSError, ValueError, RecursionError) as error:
                refused(number, why_unread(path, error))
                continue
            if step is not None:
                step(sizes[number])
            numbers.extend(itertools.repeat(number, len(found)))
            yield from found

    for table in tables(rows()):
        yield with_reports(table, [numbers.popleft() for _ in range(table.num_rows)])
    for number, path in enumerate(paths):
        if not path.endswith(b".parquet"):
            continue
        try:
            with open(path, "rb", opener=open_scan) as file:
                for table in read_parquet(file):
                    yield with_reports(table, [number] * table.num_rows)
        except (OSError, ValueError) as error:
            refused(number, why_unread(path, error))
        if step is not None:
            step(sizes[number])


def file_size(path: bytes) -> int:
    """Bytes of a file; 0 if it cannot be looked at."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _rows(path: bytes) -> Iterator[ScanRow]:
    """The rows of a JSON or JSON lines file; a document without a host's name gets the name of its file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a scan, or a field of it has a wrong type.
    """
    with opened_scan(path) as found:
        if isinstance(found, ReportedScan):
            yield from document_rows(found)
        else:
            yield from line_reports(found, host_of(path))


def line_reports(lines: Iterable[bytes], name: str) -> Iterator[ScanRow]:
    """The rows of JSON lines.

    Args:
        lines: as ``drydock scan --format jsonl`` writes them.
        name: of the host, where the lines do not say it.

    Raises:
        ValueError: they are not those of a scan, or a field has a wrong type.
    """
    head: ReportedHead | None = None
    for line in map(without_lone_surrogates, lines):
        type_ = decode_line(line, LineKind).type
        if type_ == "scan":
            head = decode_line(line, ReportedHead)
            head.host = head.host or name
        elif head is not None and type_ in _UNUSED:
            continue
        elif head is not None and type_ == "usage":
            yield usage_row(head, decode_line(line, ReportedUsage))
        elif head is not None and type_ == "file_system":
            yield file_system_row(head, decode_line(line, ReportedFileSystem))
        elif head is None or type_ not in _TYPES:
            raise ValueError("not a drydock.scan/1 document")
        elif type_ == "root":
            yield root_row(head, decode_line(line, ReportedRootHead))
        else:
            entry = decode_line(line, ReportedLine)
            yield entry_row(head, type_, entry.root, entry)
