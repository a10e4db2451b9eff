"""Lists of records and of changes, as tables and as the documents ``drydock.ls/1`` and ``drydock.diff/1``."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, Final

from drydock.model.documents.common import LazyList, ReportPart
from drydock.model.documents.ls import (
    ChangePart,
    DiffDocument,
    ListDocument,
    ListedBlob,
    ListedContainer,
    ListedImage,
    ListedIngest,
    ListedLayer,
    ListedLease,
    ListedLog,
    ListedSnapshot,
    ListedVolume,
    ListRoot,
)
from drydock.model.exports import Change, Exported
from drydock.model.listings import Cell, Listing, ListKind
from drydock.model.names import UnixNano
from drydock.model.text import shown
from drydock.model.times import show_time
from drydock.report.wording import short_ids, show_bytes, show_count
from drydock.version import __version__

_SIZES = frozenset(("bytes", "size", "received", "total", "only_bytes"))
_ROWS = {
    ListKind.IMAGES: "image",
    ListKind.CONTAINERS: "container",
    ListKind.SNAPSHOTS: "snapshot",
    ListKind.LEASES: "lease",
    ListKind.CONTENT: "blob",
    ListKind.INGESTS: "ingest",
    ListKind.LAYERS: "layer",
    ListKind.LOGS: "log",
    ListKind.VOLUMES: "volume",
}
_ENTRIES: Final[dict[ListKind, type[ReportPart]]] = {
    ListKind.IMAGES: ListedImage,
    ListKind.CONTAINERS: ListedContainer,
    ListKind.SNAPSHOTS: ListedSnapshot,
    ListKind.LEASES: ListedLease,
    ListKind.CONTENT: ListedBlob,
    ListKind.INGESTS: ListedIngest,
    ListKind.LAYERS: ListedLayer,
    ListKind.LOGS: ListedLog,
    ListKind.VOLUMES: ListedVolume,
}
_COLUMNS = {
    ListKind.IMAGES: ("namespace", "name", "digest", "bytes", "platforms", "damaged", "store"),
    ListKind.CONTAINERS: ("namespace", "id", "name", "image", "engine", "snapshotter", "bytes", "state"),
    ListKind.SNAPSHOTS: ("namespace", "snapshotter", "key", "parent", "kind", "bytes", "state", "held_by"),
    ListKind.LEASES: ("namespace", "id", "class", "created", "expires", "resources", "only_bytes", "owner"),
    ListKind.CONTENT: ("namespace", "digest", "size", "state", "held_by"),
    ListKind.INGESTS: ("namespace", "ref", "received", "total", "updated", "state", "held_by"),
    ListKind.LAYERS: ("directory", "layer", "container", "bytes", "state", "held_by"),
    ListKind.LOGS: ("container", "name", "driver", "bytes", "files", "max_size", "max_file", "since", "until"),
    ListKind.VOLUMES: ("name", "driver", "anonymous", "mounted_by", "created", "device"),
}


def listing_document(listings: Iterable[Listing], kind: ListKind, now: UnixNano) -> ListDocument:
    """The lists of every root."""

    def root(listing: Listing) -> ListRoot:
        entries: dict[str, Any] = {kind.value: LazyList(listing.rows, functools.partial(_entry, _ENTRIES[kind]))}
        return ListRoot(path=shown(listing.root), unread=listing.unread or "", **entries)

    return ListDocument(drydock=__version__, now=show_time(now), kind=kind, roots=[root(each) for each in listings])


def _entry(part: type[ReportPart], row: dict[str, Cell]) -> ReportPart:
    """The published form of a row, whose fields have the names that are written."""
    attributes = zip(part.__struct_encode_fields__, part.__struct_fields__, strict=True)
    return part(**{attribute: row[name] for name, attribute in attributes})


def listing_lines(listings: Iterable[Listing], width: int | None = None) -> Iterator[str]:
    """Each list as a table, with two blanks between columns.

    Args:
        listings: one for each root.
        width: columns of a terminal: where a table would be wider, ids are cut to 12 characters; None: whole lines.
    """
    for number, listing in enumerate(listings):
        if number:
            yield ""
        yield f"{shown(listing.root)}: {show_count(len(listing.rows), _ROWS[listing.kind])}"
        columns = _COLUMNS[listing.kind]
        cells = [[_cell(column, row[column]) for column in columns] for row in listing.rows]
        titles = [column.upper().replace("_", " ") for column in columns]
        widths = _widths(titles, cells)
        if width is not None and sum(widths) + 2 * len(widths) - 2 > width:
            cells = [[short_ids(cell) for cell in line] for line in cells]
            widths = _widths(titles, cells)
        if cells:
            for line in (titles, *cells):
                yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _widths(titles: list[str], cells: list[list[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(titles, *cells, strict=True)]


def _cell(column: str, value: Cell) -> str:
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and column in _SIZES:
        return show_bytes(value)
    if isinstance(value, list):
        return (
            value[0]
            if len(value) == 1
            else f"{value[0]} +{len(value) - 1}"
            if column != "platforms"
            else ",".join(value)
        )
    return str(value)


def changes_document(changes: Iterable[Change], damage: list[str]) -> DiffDocument:
    """What a container changed, and what could not be compared."""
    return DiffDocument([ChangePart(change.kind, shown(change.path)) for change in changes], damage)


def change_lines(changes: Iterable[Change]) -> Iterator[str]:
    """One line for each path, as ``docker diff`` prints it."""
    return (f"{change.kind.value} {shown(change.path)}" for change in changes)


def export_problems(done: Exported) -> Iterator[str]:
    """What an export left out, and the first damages of what it wrote."""
    yield from done.remarks
    yield from done.damage
    if done.damages > len(done.damage):
        yield f"and {done.damages - len(done.damage)} more"


def export_line(done: Exported, unit: str) -> str:
    """What an export wrote, from where; ``unit`` is what it counts."""
    platforms = "".join(f", {shown(each)}" for each in done.platforms if each)
    return f"{done.what}: {done.count} {unit}{platforms}, from {shown(done.root)}"
