"""Scan documents as rows of one wide table, and such tables in Parquet files: for a fleet, DuckDB, Spark and others."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Final

from drydock.model.errors import Usage

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS: Final = (
    # name, type: text, texts, number or truth
    ("type", "text"),
    ("host", "text"),
    ("now", "text"),
    ("drydock", "text"),
    ("root", "text"),
    ("engine", "text"),
    ("live", "truth"),
    ("complete", "truth"),
    ("database_bytes", "number"),
    ("reclaimable_bytes", "number"),
    ("kind", "text"),
    ("id", "text"),
    ("state", "text"),
    ("class", "text"),
    ("namespaces", "texts"),
    ("names", "texts"),
    ("count", "number"),
    ("bytes", "number"),
    ("only_bytes", "number"),
    ("snapshotter", "text"),
    ("path", "text"),
    ("reach", "text"),
    ("held_by", "texts"),
    ("owner", "text"),
    ("reason", "text"),
    ("created", "text"),
    ("expires", "text"),
    ("code", "text"),
    ("severity", "text"),
    ("note", "text"),
)
"""``type`` is ``root``, ``object``, ``lease``, ``finding``, ``withheld`` or ``holder``; what a type has no word for is
null. ``count`` is what a lease names and what a holder reaches."""

Row = dict[str, Any]
_PARTS: Final = (
    ("objects", "object"),
    ("leases", "lease"),
    ("findings", "finding"),
    ("withheld", "withheld"),
    ("holders", "holder"),
)
_PLAIN: Final = {name: type_ for name, type_ in COLUMNS if name not in ("type", "host", "now", "drydock", "root")}
_LARGEST: Final = 2**63 - 1


def document_rows(document: Row) -> Iterator[Row]:
    """The rows of one ``drydock.scan/1`` document.

    Raises:
        ValueError: it is not of that shape.
    """
    head = head_row(document)
    for root in _list(document, "roots"):
        yield from root_rows(head, root)


def head_row(document: Row) -> Row:
    """What every row of a document begins with.

    Raises:
        ValueError: it is no scan document.
    """
    if document.get("schema") != "drydock.scan/1":
        raise ValueError("not a drydock.scan/1 document")
    return {name: _cell(document, name, "text") for name in ("host", "now", "drydock")}


def root_rows(head: Row, root: Row) -> Iterator[Row]:
    """The row of a root, and those of what lies in it.

    Raises:
        ValueError: it is not of that shape.
    """
    if not isinstance(root, dict):
        raise ValueError("a root is no object")  # noqa: TRY004 - a document's fault, like any other
    base = base_row(head, root, "path")
    yield {**part_row(base, "root", root), "path": None}
    for part, type_ in _PARTS:
        for entry in _list(root, part):
            yield part_row(base, type_, entry)


def base_row(head: Row, entry: Row, name: str) -> Row:
    """What every row of a root begins with.

    Args:
        head: from :func:`head_row`.
        entry: what says which root it is, or is in.
        name: the field that does.

    Raises:
        ValueError: it does not.
    """
    path = _cell(entry, name, "text")
    if path is None:
        raise ValueError("a root has no path")
    return {**head, "root": path}


def part_row(base: Row, type_: str, entry: Row) -> Row:
    """The row of one object, lease, finding, withheld thing, holder or root.

    Raises:
        ValueError: it is not of that shape.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"a {type_} is no object")  # noqa: TRY004 - a document's fault, like any other
    row = {**base, "type": type_}
    for name, kind in _PLAIN.items():
        if name in entry and name != "held_by":
            row[name] = _cell(entry, name, kind)
    if "namespace" in entry:
        row["namespaces"] = [_cell(entry, "namespace", "text")]
    if "held_by" in entry:
        row["held_by"] = [_held_by(each) for each in _list(entry, "held_by")]
    if type_ == "root":
        free = entry.get("reclaimable")
        row["reclaimable_bytes"] = _cell(free, "bytes", "number") if isinstance(free, dict) else None
    elif type_ == "lease":
        row["count"] = _cell(entry, "resources", "number")
    elif type_ == "holder":
        row["count"] = _cell(entry, "objects", "number")
    elif type_ == "finding":
        row["note"], row["id"] = _cell(entry, "message", "text"), _cell(entry, "subject", "text")
    return row


def _list(entry: Row, name: str) -> list[Any]:
    value = entry.get(name, [])
    if not isinstance(value, list):
        raise ValueError(f"{name} is no list")  # noqa: TRY004 - a document's fault, like any other
    return value


def _held_by(holder: object) -> str:
    kind, id_ = (_cell(holder, name, "text") for name in ("kind", "id")) if isinstance(holder, dict) else (None, None)
    if kind is None or id_ is None:
        raise ValueError("held_by names no record")
    return f"{kind}:{id_}"


def _cell(entry: Row, name: str, kind: str) -> Any:  # noqa: ANN401 - JSON's own
    value: Any = entry.get(name)
    if value is None:
        return None
    if kind == "texts":
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return [_storable(each) for each in value]
    elif kind == "text" and isinstance(value, str):
        return _storable(value)
    elif (kind == "truth" and isinstance(value, bool)) or (
        kind == "number" and type(value) is int and abs(value) <= _LARGEST
    ):
        return value
    raise ValueError(f"{name} is no {kind}")


def _storable(text: str) -> str:
    # JSON can spell lone surrogates, which are no UTF-8; a document of drydock's has none.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


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
