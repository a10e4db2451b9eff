"""Scan documents as rows of one wide table, and such tables in Parquet files: for a fleet, DuckDB, Spark and others."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from types import NoneType
from typing import IO, TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin

import msgspec

from drydock.model.documents.fleet import (
    ReportedEntry,
    ReportedHead,
    ReportedRootHead,
    ReportedScan,
)
from drydock.model.documents.scan import ScanRow
from drydock.model.errors import Usage
from drydock.report.document import ScanLine

if TYPE_CHECKING:
    import pyarrow as pa

MISSING: Final = "this needs pyarrow and DuckDB: pip install 'containerd-drydock[fleet]'"
"""What to do where the extra is not installed."""
_BATCH: Final = 50_000
"""Rows of one table."""


def _bare(kind: Any) -> Any:  # noqa: ANN401 - a type, as msgspec gives it
    """``int`` of ``Annotated[int | None, …]``."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return next((each for each in get_args(kind) if each is not NoneType), kind) if NoneType in get_args(kind) else kind


COLUMNS: Final[dict[str, Any]] = {each.encode_name: _bare(each.type) for each in msgspec.structs.fields(ScanRow)}
"""The columns of the table, in their order, each ``str``, ``list[str]``, ``int`` or ``bool``."""


def document_rows(document: ReportedScan) -> Iterator[ScanRow]:
    """The rows of a scan document: of each root one row, then one for each thing in it."""
    for root in document.roots:
        yield root_row(document, root)
        for type_, entries in (
            ("object", root.objects),
            ("lease", root.leases),
            ("finding", root.findings),
            ("withheld", root.withheld),
            ("holder", root.holders),
        ):
            for entry in entries:
                yield entry_row(document, type_, root.path, entry)


def line_rows(lines: Iterable[ScanLine]) -> Iterator[ScanRow]:
    """The rows of the lines of a scan that was just made."""
    head = ReportedHead()
    for line in lines:
        values = msgspec.to_builtins(line.part)
        if line.type == "scan":
            head = msgspec.convert(values, ReportedHead)
        elif line.root is None:
            yield root_row(head, msgspec.convert(values, ReportedRootHead))
        else:
            yield entry_row(head, line.type, line.root, msgspec.convert(values, ReportedEntry))


def root_row(head: ReportedHead, root: ReportedRootHead) -> ScanRow:
    """The row of a root."""
    return ScanRow(
        type_="root",
        host=head.host,
        now=head.now,
        drydock=head.drydock,
        root=root.path,
        engine=root.engine,
        live=root.live,
        complete=root.complete,
        database_bytes=root.database_bytes,
        reclaimable_bytes=None if root.reclaimable is None else root.reclaimable.bytes,
        namespaces=root.namespaces,
    )


def entry_row(head: ReportedHead, type_: str, root: str, entry: ReportedEntry) -> ScanRow:
    """The row of one object, lease, finding, withheld thing or holder.

    Args:
        head: the head of the scan.
        type_: ``object``, ``lease``, ``finding``, ``withheld`` or ``holder``.
        root: path of the root that it belongs to.
        entry: the thing.
    """
    is_finding = type_ == "finding"
    return ScanRow(
        type_=type_,
        host=head.host,
        now=head.now,
        drydock=head.drydock,
        root=root,
        kind=entry.kind,
        id=entry.subject if is_finding else entry.id,
        state=entry.state,
        class_=entry.class_,
        namespaces=entry.namespaces if entry.namespace is None else [entry.namespace],
        names=entry.names,
        count=entry.objects if type_ == "holder" else entry.resources,
        bytes=entry.bytes,
        only_bytes=entry.only_bytes,
        snapshotter=entry.snapshotter,
        path=entry.path,
        reach=entry.reach,
        held_by=None if entry.held_by is None else [f"{each.kind}:{each.id}" for each in entry.held_by],
        owner=entry.owner,
        reason=entry.reason,
        created=entry.created,
        expires=entry.expires,
        code=entry.code,
        severity=entry.severity,
        note=entry.message if is_finding else entry.note,
    )


def arrow_schema() -> pa.Schema:
    """The columns as Arrow has them, all nullable.

    Raises:
        Usage: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to load
    except ImportError as error:
        raise Usage(MISSING) from error
    types = {str: pa.string(), list[str]: pa.list_(pa.string()), int: pa.int64(), bool: pa.bool_()}
    return pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])


def tables(rows: Iterable[ScanRow], columns: pa.Schema) -> Iterator[pa.Table]:
    """Rows as tables of a bounded size."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    left = iter(rows)
    attributes = ScanRow.__struct_fields__
    while part := list(itertools.islice(left, _BATCH)):
        arrays = [
            pa.array([getattr(row, attribute) for row in part], column.type)
            for attribute, column in zip(attributes, columns, strict=True)
        ]
        yield pa.Table.from_arrays(arrays, schema=columns)


def write_parquet(rows: Iterable[ScanRow], file: IO[bytes]) -> None:
    """Write rows to an open file.

    Raises:
        Usage: pyarrow is not installed.
        OSError: it cannot be written.
    """
    columns = arrow_schema()
    from pyarrow.parquet import ParquetWriter  # noqa: PLC0415 - see above

    with ParquetWriter(file, columns, compression="zstd") as writer:
        for table in tables(rows, columns):
            writer.write_table(table)
