"""Scan documents as rows of one wide table: for Parquet files, and for questions about a fleet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import NoneType
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec

from drydock.model.documents.fleet import (
    ReportedEntry,
    ReportedFileSystem,
    ReportedHead,
    ReportedRootHead,
    ReportedScan,
    ReportedUsage,
)
from drydock.model.documents.scan import ScanRow
from drydock.report.document import ScanLine


def _bare(kind: Any) -> Any:  # noqa: ANN401 - a type, as msgspec gives it
    """``int`` of ``Annotated[int | None, …]``."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return next((each for each in get_args(kind) if each is not NoneType), kind) if NoneType in get_args(kind) else kind


COLUMNS: Final[dict[str, Any]] = {each.encode_name: _bare(each.type) for each in msgspec.structs.fields(ScanRow)}
"""The columns of the table, in their order, each ``str``, ``list[str]``, ``int`` or ``bool``."""


def document_rows(document: ReportedScan) -> Iterator[ScanRow]:
    """The rows of a scan document: of each root one row, then one for each thing in it; usage and file systems."""
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
    yield from (usage_row(document, usage) for usage in document.usage)
    yield from (file_system_row(document, found) for found in document.file_systems)


def line_rows(lines: Iterable[ScanLine]) -> Iterator[ScanRow]:
    """The rows of the lines of a scan that was just made."""
    head = ReportedHead()
    for line in lines:
        values = msgspec.to_builtins(line.part)
        if line.type == "scan":
            head = msgspec.convert(values, ReportedHead)
        elif line.type == "usage":
            yield usage_row(head, msgspec.convert(values, ReportedUsage))
        elif line.type == "file_system":
            yield file_system_row(head, msgspec.convert(values, ReportedFileSystem))
        elif line.type == "store":
            continue  # the table has no columns for it
        elif line.root is None:
            yield root_row(head, msgspec.convert(values, ReportedRootHead))
        else:
            yield entry_row(head, line.type, line.root, msgspec.convert(values, ReportedEntry))


def _row(head: ReportedHead, type_: str, **values: Any) -> ScanRow:  # noqa: ANN401 - each column has its type
    """A row of a scan, with the columns that every row has."""
    return ScanRow(type_=type_, host=head.host, now=head.now, drydock=head.drydock, **values)


def root_row(head: ReportedHead, root: ReportedRootHead) -> ScanRow:
    """The row of a root."""
    return _row(
        head,
        "root",
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
    return _row(
        head,
        type_,
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


def usage_row(head: ReportedHead, usage: ReportedUsage) -> ScanRow:
    """The row of something that takes space; ``root`` is the place that it is in."""
    return _row(
        head,
        "usage",
        root=usage.place,
        category=usage.category,
        id=usage.name,
        path=usage.path,
        bytes=usage.bytes,
        note=usage.note,
        used_by=usage.used_by,
        driver=usage.driver,
    )


def file_system_row(head: ReportedHead, found: ReportedFileSystem) -> ScanRow:
    """The row of a file system; ``root`` is the first place that lies on it."""
    return _row(
        head,
        "file_system",
        root=found.path,
        path=found.path,
        bytes=found.used,
        size_bytes=found.size,
        free_bytes=found.free,
    )
