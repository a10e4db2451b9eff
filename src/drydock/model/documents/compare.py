"""``drydock.compare/1``: what changed between two scans.

A comparison reads of the scans what a fleet reads of them (:mod:`drydock.model.documents.fleet`).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from drydock.model.documents.common import Line, ReportPart, Shown, Time


class ComparedKind(enum.Enum):
    """What a change is about."""

    PULL = "pull"
    """An interrupted pull."""
    IMAGE = "image"
    CONTAINER = "container"
    LEASE = "lease"
    """Any lease but those of interrupted pulls."""
    USAGE = "usage"
    """What takes space beside containerd's stores, or one of them as a whole: a volume, a log, a cache."""
    OBJECT = "object"
    """A blob, an ingest or a snapshot."""
    FINDING = "finding"


class DifferenceKind(enum.Enum):
    """What happened to something between two scans."""

    CAME = "came"
    WENT = "went"
    GREW = "grew"
    SHRANK = "shrank"
    CHANGED = "changed"
    """Its size is the same, and its state or class is not."""


class AmountPart(ReportPart):
    """Bytes then and now."""

    name: Annotated[str, Meta(description="of a state or a category; of a file system its path")]
    old_bytes: Annotated[int | None, Meta(description="in the old scan; null where it was not measured")]
    new_bytes: Annotated[int | None, Meta(description="in the new scan; null where it was not measured")]


class DifferencePart(ReportPart, kw_only=True):
    """Something that is not as it was."""

    kind: Annotated[ComparedKind, Meta(description="what it is")]
    change: Annotated[DifferenceKind, Meta(description="what happened to it")]
    root: Annotated[Shown, Meta(description="path of its root in the new scan, or else in the old; empty for usage")]
    namespace: Annotated[Shown, Meta(description="the containerd namespace of a record; else empty")]
    name: Annotated[Shown, Meta(description="an image's name, an id, a path; of usage its category and name")]
    old_bytes: Annotated[int | None, Meta(description="bytes before; null if it was not there, or not measured")]
    new_bytes: Annotated[int | None, Meta(description="bytes after; null if it is not there, or not measured")]
    note: Annotated[Line, Meta(description="state or class before and after, or a message; else empty")]


class ComparedPart(ReportPart):
    """One of the two scans."""

    host: Annotated[Shown, Meta(description="name of the host")]
    now: Annotated[Time | None, Meta(description="when it was scanned; null if the scan does not say it")]


class CompareDocument(ReportPart, tag_field="schema", tag="drydock.compare/1", kw_only=True):
    """What changed between two scans."""

    drydock: Annotated[str, Meta(description="version of drydock that wrote it")]
    old: Annotated[ComparedPart, Meta(description="the earlier scan")]
    new: Annotated[ComparedPart, Meta(description="the later scan")]
    notes: Annotated[Sequence[Line], Meta(description="why a part of the scans cannot be compared, or is misleading")]
    states: Annotated[Sequence[AmountPart], Meta(description="objects of all roots by state, if either has any")]
    categories: Annotated[Sequence[AmountPart], Meta(description="usage by category, the largest change first")]
    used: Annotated[Sequence[AmountPart], Meta(description="bytes in use of each file system that both scans name")]
    differences: Annotated[Sequence[DifferencePart], Meta(description="by kind, the largest change first")]
