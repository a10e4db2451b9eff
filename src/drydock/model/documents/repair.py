"""``drydock.repair/1``: what a repair would do or did, as ``drydock repair --format json`` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from drydock.model.documents.common import Line, Report, ReportPart, Shown
from drydock.model.documents.plan import RootPlan
from drydock.model.documents.scan import Amount, FindingPart, RecordPart
from drydock.model.plans import Status, Target


class LossPart(RecordPart, kw_only=True):
    """Something that is lost once a record that it needs is dropped. The record of a Docker container is a lease."""

    name: Annotated[Line, Meta(description="the name that --accept-loss takes")]
    what: Annotated[
        str,
        Meta(description="what is lost", extra_json_schema={"enum": ["image", "container", "snapshot"]}),
    ]
    why: Annotated[Line, Meta(description="why it is lost")]
    accepted: Annotated[bool, Meta(description="whether --accept-loss names it; else it is not in the plan")]
    at_start: Annotated[bool, Meta(description="whether the next start of the engine loses it, and not the repair")]


class NotAdoptedPart(ReportPart):
    """A blob without a record, which a manifest names and which gets no record."""

    namespace: Annotated[Shown, Meta(description="containerd namespace of the manifest")]
    id: Annotated[Shown, Meta(description="digest of the blob")]
    reason: Annotated[Line, Meta(description="why it gets no record")]


class EditPart(ReportPart, kw_only=True):
    """The edit of one database."""

    path: Annotated[Shown, Meta(description="absolute")]
    status: Annotated[Status, Meta(description="how it ended")]
    detail: Annotated[Line, Meta(description="more about the status; else empty")]
    backup: Annotated[Shown | None, Meta(description="path of a copy from before the edit; null without one")]
    records: Annotated[Amount, Meta(description="deleted records of meta.db, or deleted rows of a metadata.db")]
    fields: Annotated[Amount, Meta(description="keys deleted from records and rows that stay")]
    added: Annotated[Amount, Meta(description="records that were put in")]


class RemovalPart(ReportPart, kw_only=True):
    """The removal of a file or directory."""

    kind: Annotated[Target, Meta(description="kind of the data")]
    path: Annotated[Shown, Meta(description="relative to the root")]
    status: Annotated[Status, Meta(description="how it ended")]
    detail: Annotated[Line, Meta(description="more about the status; else empty")]
    freed: Annotated[Amount, Meta(description="bytes of allocated blocks that went away")]


class RestorePart(ReportPart, kw_only=True):
    """A layer that was unpacked again."""

    path: Annotated[Shown, Meta(description="relative to the root")]
    layer: Annotated[Shown, Meta(description="digest of its blob")]
    status: Annotated[Status, Meta(description="how it ended")]
    detail: Annotated[Line, Meta(description="more about the status; else empty")]


class RunPart(ReportPart, kw_only=True):
    """How carrying out the plan ended."""

    failed: Annotated[bool, Meta(description="whether part of the plan was not carried out")]
    journal: Annotated[Shown | None, Meta(description="path of the journal; null where nothing was begun")]
    state: Annotated[Line, Meta(description="why the journal is where it is")]
    edits: Annotated[Sequence[EditPart], Meta(description="the edited databases")]
    removals: Annotated[Sequence[RemovalPart], Meta(description="the removed files and directories")]
    freed: Annotated[Amount, Meta(description="bytes of allocated blocks that went away")]
    warnings: Annotated[Sequence[Line], Meta(description="what else went wrong")]
    restores: Annotated[Sequence[RestorePart], Meta(description="the layers whose files were unpacked again")]


class RepairRoot(ReportPart, kw_only=True):
    """One root."""

    path: Annotated[Shown, Meta(description="absolute path of the containerd root")]
    unread: Annotated[Line, Meta(description="why not everything could be read; empty where it could")]
    plan: Annotated[RootPlan, Meta(description="as in drydock.plan/1; drydock apply does not take it")]
    losses: Annotated[
        Sequence[LossPart],
        Meta(description="what is lost if all damage is repaired; what is not accepted is not in the plan"),
    ]
    whole: Annotated[
        Sequence[Shown], Meta(description="images that need no pull once their blobs have their records back")
    ]
    pull_again: Annotated[Sequence[Shown], Meta(description="images to pull after the repair")]
    stay_incomplete: Annotated[
        Sequence[Shown],
        Meta(description="images that run, and lack a layer that Docker before 29.9 does not pull again"),
    ]
    unproved: Annotated[
        Sequence[Shown],
        Meta(description="images with a damaged layer that stays: nothing proves its unpacked files intact"),
    ]
    given_back: Annotated[Sequence[Shown], Meta(description="containers whose records are put in again")]
    unpacked_again: Annotated[Sequence[Shown], Meta(description="images that the engine unpacks again by itself")]
    not_adopted: Annotated[Sequence[NotAdoptedPart], Meta(description="blobs without a record that get none")]
    not_restored: Annotated[
        Sequence[Line], Meta(description="damaged layers that --restore-files does not unpack again, and why")
    ]
    left: Annotated[Sequence[FindingPart], Meta(description="damage that the plan does not repair")]
    run: Annotated[RunPart | None, Meta(description="how carrying out the plan ended; null where nothing was done")]


class RepairDocument(Report, tag="drydock.repair/1"):
    """A repair."""

    roots: Annotated[Sequence[RepairRoot], Meta(description="the repair of each root")]
