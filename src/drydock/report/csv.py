"""Objects as CSV, for spreadsheets: RFC 4180, one object a row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Final

from drydock.model.objects import StoreObject
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.report.document import reference

COLUMNS: Final = (
    "root", "kind", "id", "state", "bytes", "namespaces", "snapshotter", "path", "reach", "held_by", "note", "live",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@")


def csv_lines(scans: Iterable[Scan]) -> Iterator[str]:
    """A header, then one object a line, each with its end.

    A cell that a spreadsheet would take for a formula begins with an apostrophe (OWASP, "CSV Injection"): names come
    from whoever made the image. Several values of a cell are separated by a blank.
    """
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for scan in scans:
        root = shown(scan.verdict.store.root.path)
        for found in scan.verdict.objects:
            yield writer.writerow([*(_safe(cell) for cell in _cells(root, found)), "true" if scan.live else "false"])


class _Echo:
    """Gives each line back instead of writing it."""

    def write(self, line: str) -> str:
        return line


def _cells(root: str, found: StoreObject) -> tuple[str, ...]:
    holders = (reference(ref) for ref in found.held_by)
    return (
        root,
        found.kind.value,
        shown(found.id),
        found.state.value,
        str(found.allocated),
        " ".join(shown(namespace) for namespace in found.namespaces),
        shown(found.snapshotter),
        "" if found.path is None else shown(found.path),
        "" if found.reach is None else found.reach.value,
        " ".join(f"{each['kind']}:{each['id']}" for each in holders),
        found.note,
    )


def _safe(cell: str) -> str:
    return "'" + cell if cell.startswith(_FORMULA) else cell
