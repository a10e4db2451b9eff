"""Rows of scans in Parquet files: written by a scan, read by a fleet."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Final

from drydock.model.documents.scan import ScanRow
from drydock.model.errors import Usage
from drydock.report.rows import COLUMNS

MISSING: Final = "this needs pyarrow and DuckDB: pip install 'containerd-drydock[fleet]'"
"""What to do if the extra is not installed."""

try:
    import pyarrow as pa
    from pyarrow import types
    from pyarrow.parquet import ParquetFile, ParquetWriter
except ImportError as error:
    raise Usage(MISSING) from error

_BATCH: Final = 50_000
"""Rows of one table."""
_TYPES: Final = {str: pa.string(), list[str]: pa.list_(pa.string()), int: pa.int64(), bool: pa.bool_()}
ARROW_SCHEMA: Final = pa.schema([(name, _TYPES[kind]) for name, kind in COLUMNS.items()])
"""The columns as Arrow has them, all nullable."""
_ADDED: Final = ("category", "driver", "used_by", "size_bytes", "free_bytes")
"""Columns that files of drydock 0.1.0 do not have."""


def tables(rows: Iterable[ScanRow]) -> Iterator[pa.Table]:
    """Rows as tables of a bounded size."""
    left = iter(rows)
    attributes = ScanRow.__struct_fields__
    while part := list(itertools.islice(left, _BATCH)):
        arrays = [
            pa.array([getattr(row, attribute) for row in part], column.type)
            for attribute, column in zip(attributes, ARROW_SCHEMA, strict=True)
        ]
        yield pa.Table.from_arrays(arrays, schema=ARROW_SCHEMA)


def with_reports(table: pa.Table, numbers: Sequence[int]) -> pa.Table:
    """A table with a column ``report``: for each row the number of the report that it is from."""
    return table.append_column("report", pa.array(numbers, pa.int64()))


def write_parquet(rows: Iterable[ScanRow], file: IO[bytes]) -> None:
    """Write rows to an open file.

    Raises:
        OSError: it cannot be written.
    """
    with ParquetWriter(file, ARROW_SCHEMA, compression="zstd") as writer:
        for table in tables(rows):
            writer.write_table(table)


def read_parquet(file: IO[bytes]) -> Iterator[pa.Table]:
    """The tables of a Parquet file with the columns of :data:`ARROW_SCHEMA`, as drydock or another program wrote it.

    Raises:
        ValueError: it has other columns, or it is damaged.
        OSError: it cannot be read.
    """
    try:
        with ParquetFile(file) as opened:
            if not _fits(opened.schema_arrow):
                raise ValueError("not written by drydock scan --format parquet")
            there = [name for name in ARROW_SCHEMA.names if name in opened.schema_arrow.names]
            for batch in opened.iter_batches(_BATCH, columns=there):
                table = pa.Table.from_batches([batch])
                for name in ARROW_SCHEMA.names:
                    if name not in there:
                        table = table.append_column(name, pa.nulls(table.num_rows, ARROW_SCHEMA.field(name).type))
                table = table.select(ARROW_SCHEMA.names).cast(ARROW_SCHEMA)
                table.validate(full=True)  # text that is not UTF-8 ends DuckDB
                yield table
    except (LookupError, pa.ArrowException) as error:
        raise ValueError(str(error)) from error


def _fits(there: pa.Schema) -> bool:
    """Whether a file has each column once, and of its type."""
    for column in ARROW_SCHEMA:
        places = there.get_all_field_indices(column.name)
        if not places and column.name in _ADDED:
            continue
        if len(places) != 1 or not _means(there.field(places[0]).type, column.type):
            return False
    return True


def _means(has: pa.DataType, due: pa.DataType) -> bool:
    """Whether two types mean the same: other programs write text, lists and numbers in other widths."""
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
