"""Objects and usage as CSV, for spreadsheets: RFC 4180, one of them in each row."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Final

from drydock.model.disk_usage import FileSystem, UsageEntry
from drydock.model.documents.scan import ObjectPart
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.report.document import object_part

COLUMNS: Final = (
    "root", "kind", "id", "state", "bytes", "namespaces", "snapshotter", "path", "reach", "held_by", "note", "live",
    "category",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@")


def csv_lines(scans: Sequence[Scan]) -> Iterator[str]:
    """A header, then one object in each line, one thing that takes space (``usage``), and one file system.

    The blocks of an object are also in usage: a sum is of one of both kinds.

    Names come from whoever made the image. So a cell that a spreadsheet would take for a formula begins with an
    apostrophe (OWASP, "CSV Injection"). Several values of a cell are separated by a blank.
    """
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for scan in scans:
        root = shown(scan.verdict.store.root.path)
        for found in map(object_part, scan.verdict.objects):
            yield writer.writerow([*(_safe(cell) for cell in _cells(root, found)), _word(scan), ""])
    for scan in scans:
        for place in scan.places:
            for entry in place.entries:
                cells = map(_safe, _usage_cells(shown(place.path), entry))
                yield writer.writerow([*cells, _word(scan), entry.category.value])
            if place.file_system is not None:
                cells = map(_safe, _file_system_cells(place.file_system))
                yield writer.writerow([*cells, _word(scan), ""])


def _word(scan: Scan) -> str:
    return "true" if scan.live else "false"


class _Echo:
    """Gives each line back instead of writing it."""

    def write(self, line: str) -> str:
        return line


def _cells(root: str, found: ObjectPart) -> tuple[str, ...]:
    return (
        root,
        found.kind.value,
        found.id,
        found.state.value,
        str(found.bytes),
        " ".join(found.namespaces),
        found.snapshotter or "",
        found.path or "",
        found.reach or "",
        " ".join(f"{each.kind.value}:{each.id}" for each in found.held_by),
        found.note,
    )


def _usage_cells(place: str, entry: UsageEntry) -> tuple[str, ...]:
    return (
        place,
        "usage",
        shown(entry.name),
        "",
        "" if entry.bytes is None else str(entry.bytes),
        "",
        shown(entry.driver),
        shown(entry.path),
        "",
        " ".join(f"container:{shown(name)}" for name in entry.used_by or ()),
        entry.note,
    )


def _file_system_cells(found: FileSystem) -> tuple[str, ...]:
    note = f"size {found.size}, free {found.free}, inodes {found.inodes}, free inodes {found.inodes_free}"
    path = shown(found.path)
    return path, "file_system", path, "", str(found.used), "", "", path, "", "", note


def _safe(cell: str) -> str:
    return "'" + cell if cell.startswith(_FORMULA) else cell
