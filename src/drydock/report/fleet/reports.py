"""Reports as they come from hosts, JSON, JSON lines or Parquet, as tables of rows."""

from __future__ import annotations

import errno
import itertools
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from drydock.model.errors import EvidenceUnreadable
from drydock.model.progress import Progress, counter
from drydock.model.text import shown
from drydock.report.parquet import Row, base_row, document_rows, head_row, part_row, schema, tables

if TYPE_CHECKING:
    import pyarrow as pa

_ENDINGS = (b".json", b".jsonl", b".parquet")
_TYPES = ("root", "object", "lease", "finding", "withheld", "holder")
_BATCH = 50_000


def find_reports(paths: Sequence[bytes]) -> list[bytes]:
    """The files that were named, and of folders those in them that end like a report, by name.

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
        refused: told of each file that is no report, or not a whole one: its number, and why in one shown line. Nothing
            of it is to be used: of a Parquet file, tables may have been given before its damage was met.
        progress: told of the bytes of the files.

    Raises:
        Usage: pyarrow is not installed.
    """
    columns = schema()
    import pyarrow as pa  # noqa: PLC0415 - an extra; schema() says so where it is missing

    sizes = [_size(path) for path in paths]
    step = counter(progress, "bytes of reports read", sum(sizes))

    def rows() -> Iterator[Row]:
        for number, path in enumerate(paths):
            if path.endswith(b".parquet"):
                continue
            try:
                found = list(_rows(path))
            except (OSError, ValueError, RecursionError) as error:
                refused(number, _reason(path, error))
                continue
            if step is not None:
                step(sizes[number])
            for row in found:
                row["report"] = number
                yield row

    yield from tables(rows(), columns.append(pa.field("report", pa.int64())))
    for number, path in enumerate(paths):
        if path.endswith(b".parquet"):
            yield from _parquet(path, columns, number, refused)
            if step is not None:
                step(sizes[number])


def _size(path: bytes) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _rows(path: bytes) -> Iterator[Row]:
    """The rows of a JSON or JSON lines file; a document without a host's name is called as its file is."""
    with open(path, encoding="utf-8", opener=_open) as file:
        first = file.readline()
        name = shown(os.path.splitext(os.path.basename(path))[0])
        if '"type"' in first and first.rstrip().endswith("}"):
            yield from _lines(itertools.chain((first,), file), name)
        else:
            document = json.loads(first + file.read())
            if not isinstance(document, dict):
                raise ValueError("not a drydock.scan/1 document")
            for row in document_rows(document):
                row["host"] = row["host"] or name
                yield row


def _lines(lines: Iterable[str], name: str) -> Iterator[Row]:
    head: Row | None = None
    for line in lines:
        entry = json.loads(line)
        if not isinstance(entry, dict):
            raise ValueError("not a drydock.scan/1 document")  # noqa: TRY004 - a document's fault, like any other
        type_ = entry.pop("type", None)
        if type_ == "scan":
            head = head_row(entry)
            head["host"] = head["host"] or name
        elif head is None:
            raise ValueError("not a drydock.scan/1 document")
        else:
            if type_ not in _TYPES:
                raise ValueError("not a drydock.scan/1 document")
            base = base_row(head, entry, "path" if type_ == "root" else "root")
            if type_ == "root":
                del entry["path"]
            yield part_row(base, type_, entry)


def _parquet(path: bytes, columns: pa.Schema, number: int, refused: Callable[[int, str], None]) -> Iterator[pa.Table]:
    import pyarrow as pa  # noqa: PLC0415 - an extra; schema() says so where it is missing
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415 - the same

    try:
        with open(path, "rb", opener=_open) as raw, ParquetFile(raw) as file:
            if not _fits(file.schema_arrow, columns):
                refused(number, f"{shown(path)}: not written by drydock scan --format parquet")
                return
            for batch in file.iter_batches(_BATCH, columns=columns.names):
                table = pa.Table.from_batches([batch]).select(columns.names).cast(columns)
                table.validate(full=True)  # text that is no UTF-8 ends DuckDB
                numbers = pa.repeat(pa.scalar(number, pa.int64()), table.num_rows)
                yield table.append_column("report", numbers)
    except (OSError, ValueError, LookupError, pa.ArrowException) as error:
        refused(number, _reason(path, error))


def _fits(there: pa.Schema, columns: pa.Schema) -> bool:
    """Whether a file has each column once, and of its type."""
    for column in columns:
        places = there.get_all_field_indices(column.name)
        if len(places) != 1 or not _means(there.field(places[0]).type, column.type):
            return False
    return True


def _means(has: pa.DataType, due: pa.DataType) -> bool:
    """Whether two types mean the same: other programs write text, lists and numbers in other widths."""
    from pyarrow import types  # noqa: PLC0415 - an extra; schema() says so where it is missing

    if types.is_list(due):
        return types.is_null(has) or (
            (types.is_list(has) or types.is_large_list(has)) and _means(has.value_type, due.value_type)
        )
    return bool(
        has == due
        or types.is_null(has)
        or (types.is_string(due) and types.is_large_string(has))
        or (types.is_integer(due) and types.is_integer(has))
    )


def _open(path: str | bytes, flags: int) -> int:
    """A descriptor of a regular file; anything else is not opened, or not waited for."""
    if stat.S_ISREG(os.stat(path).st_mode):
        fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
    raise OSError(errno.EINVAL, "not a regular file")


def _reason(path: bytes, error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return f"{shown(path)}: no JSON"
    if isinstance(error, OSError) and error.strerror:
        return f"{shown(path)}: {error.strerror}"
    return f"{shown(path)}: {shown(str(error).encode())}"
