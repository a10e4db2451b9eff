"""``drydock.fleet/1``: the answers of ``drydock fleet --format json``; and what it reads of the scans of many hosts.

The scans may be of any version. So each field that is read may be absent, and fields that are not read here are passed
over. A field of another type than it has in :mod:`drydock.model.documents.scan` is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, field

from drydock.model.documents.common import Line, ReportPart
from drydock.model.documents.scan import Amount

Value = str | int | float | bool | list[Any] | None
"""A value of an answer: of a column of the scans, or of what an own question selects."""
Number = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""A number that fits a column of 64 bits."""


class AnswerPart(ReportPart):
    """The answer to one question, as a table."""

    title: Annotated[Line, Meta(description="the question; empty for an own question (--sql)")]
    columns: Annotated[Sequence[str], Meta(description="columns whose name ends in `bytes` are bytes")]
    rows: Annotated[
        Sequence[Sequence[Value]],
        Meta(description="each as long as columns; times are as in ISO 8601, in UTC"),
    ]
    note: Annotated[Line, Meta(description="what to know about the answer; else empty")]


class FleetDocument(ReportPart, tag_field="schema", tag="drydock.fleet/1", kw_only=True):
    """The answers about a fleet."""

    drydock: Annotated[str, Meta(description="version of drydock that wrote it")]
    hosts: Annotated[Amount, Meta(description="different hosts in the reports that count")]
    objects: Annotated[Amount, Meta(description="objects in the reports that count")]
    reports: Annotated[int, Meta(ge=1, description="files that were read, older ones about the same root included")]
    refused: Annotated[Amount, Meta(description="files that are not reports, or not whole")]
    answers: Annotated[Sequence[AnswerPart], Meta(min_length=1, description="one for each question")]


class ReportedRecord(ReportPart):
    """What a fleet reads of a record that holds an object."""

    kind: str
    id: str


class ReportedTotal(ReportPart):
    """What a fleet reads of a total."""

    bytes: Number | None = None


class ReportedHead(ReportPart, tag_field="schema", tag="drydock.scan/1"):
    """What a fleet reads of the head of a scan."""

    host: str | None = None
    now: str | None = None
    drydock: str | None = None


class ReportedEntry(ReportPart, kw_only=True):
    """What a fleet reads of an object, a lease, a finding, something withheld, or a holder."""

    kind: str | None = None
    id: str | None = None
    state: str | None = None
    class_: str | None = field(name="class", default=None)
    namespace: str | None = None
    namespaces: list[str] | None = None
    names: list[str] | None = None
    bytes: Number | None = None
    only_bytes: Number | None = None
    snapshotter: str | None = None
    path: str | None = None
    reach: str | None = None
    held_by: list[ReportedRecord] | None = None
    owner: str | None = None
    reason: str | None = None
    created: str | None = None
    expires: str | None = None
    code: str | None = None
    severity: str | None = None
    note: str | None = None
    message: str | None = None
    subject: str | None = None
    resources: Number | None = None
    pull: str | None = None
    objects: Number | None = None


class ReportedRootHead(ReportPart, kw_only=True):
    """What a fleet reads of a root, without what is in it."""

    path: str
    engine: str | None = None
    namespaces: list[str] | None = None
    live: bool | None = None
    complete: bool | None = None
    database_bytes: Number | None = None
    reclaimable: ReportedTotal | None = None


class ReportedRoot(ReportedRootHead, kw_only=True):
    """What a fleet reads of a root."""

    objects: tuple[ReportedEntry, ...] = ()
    leases: tuple[ReportedEntry, ...] = ()
    findings: tuple[ReportedEntry, ...] = ()
    withheld: tuple[ReportedEntry, ...] = ()
    holders: tuple[ReportedEntry, ...] = ()


class ReportedUsage(ReportPart, kw_only=True):
    """What is read of something that takes space."""

    category: str
    name: str = ""
    path: str = ""
    bytes: Number | None = None
    note: str = ""
    used_by: list[str] | None = None
    driver: str = ""
    place: str = ""


class ReportedFileSystem(ReportPart, kw_only=True):
    """What is read of a file system."""

    path: str
    size: Number = 0
    used: Number = 0
    free: Number = 0


class ReportedScan(ReportedHead, tag="drydock.scan/1"):
    """What a fleet reads of a scan."""

    roots: tuple[ReportedRoot, ...] = ()
    usage: tuple[ReportedUsage, ...] = ()
    file_systems: tuple[ReportedFileSystem, ...] = ()


class ReportedLine(ReportedEntry, kw_only=True):
    """What a fleet reads of one of the JSON lines that are about an object, a lease and so on."""

    root: str
