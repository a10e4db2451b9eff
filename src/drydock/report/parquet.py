"""Scans as a Parquet file: the rows of :mod:`drydock.report.rows`, compressed, for DuckDB, Spark and the like."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Final

from drydock.model.errors import Usage
from drydock.report.rows import COLUMNS, Row

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 50_000
MISSING: Final = "this needs pyarrow and DuckDB: pip install 'containerd-drydock[fleet]'"
"""Said where the extra is not installed."""


def schema() -> pa.Schema:
    """The columns, all nullable.

    Raises:
        Usage: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to load
    except ImportError as error:
        raise Usage(MISSING) from error
    types = {
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "number": pa.int64(),
        "truth": pa.bool_(),
    }
    return pa.schema([(name, types[kind]) for name, kind in COLUMNS])


def tables(rows: Iterable[Row], columns: pa.Schema) -> Iterator[pa.Table]:
    """Rows as tables of a bounded size."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    left = iter(rows)
    while part := list(itertools.islice(left, _ROWS)):
        arrays = [pa.array([row.get(field.name) for row in part], field.type) for field in columns]
        yield pa.Table.from_arrays(arrays, schema=columns)


def write_parquet(rows: Iterable[Row], file: IO[bytes]) -> None:
    """Write rows to an open file.

    Raises:
        Usage: pyarrow is not installed.
        OSError: it cannot be written.
    """
    columns = schema()
    from pyarrow.parquet import ParquetWriter  # noqa: PLC0415 - see above

    with ParquetWriter(file, columns, compression="zstd") as writer:
        for table in tables(rows, columns):
            writer.write_table(table)
