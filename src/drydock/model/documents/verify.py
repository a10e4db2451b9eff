"""``drydock.verify/1``: what a verification found, as ``drydock verify --format json`` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from drydock.model.documents.common import Line, Report, ReportPart, Shown
from drydock.model.documents.scan import Amount, FindingPart
from drydock.model.verifications import Completeness


class AffectingFinding(FindingPart, kw_only=True):
    """A finding with the images and containers that it affects."""

    images: Annotated[Sequence[Shown], Meta(description="names of the images that need what it is about")]
    containers: Annotated[Sequence[Shown], Meta(description="names of the containers that need what it is about")]


class PlatformPart(ReportPart, kw_only=True):
    """An image for one platform."""

    manifest: Annotated[Shown, Meta(description="digest")]
    platform: Annotated[Shown, Meta(description="os/architecture; empty where it is not known")]
    state: Annotated[Completeness, Meta(description="how much of it is there")]
    unpacked: Annotated[Sequence[Shown], Meta(description="the snapshotters that hold every layer unpacked")]
    absent: Annotated[Sequence[Shown], Meta(description="its blobs that no record of the namespace names")]
    damaged: Annotated[Sequence[Shown], Meta(description="its blobs that are recorded, and missing or corrupt")]


class ImagePart(ReportPart):
    """An image as its engine sees it."""

    namespace: Annotated[Shown, Meta(description="the containerd namespace that has it")]
    name: Annotated[Shown, Meta(description="its name")]
    target: Annotated[Shown, Meta(description="digest")]
    adoptable: Annotated[
        Sequence[Shown],
        Meta(description="blobs on disk, not known to be wrong, without a record: drydock repair --adopt records them"),
    ]
    platforms: Annotated[Sequence[PlatformPart], Meta(description="the platforms that it is for")]


class CoveragePart(ReportPart, kw_only=True):
    """How much of what was asked for was checked."""

    done: Annotated[Amount, Meta(description="blobs or snapshots that were checked")]
    resumed: Annotated[Amount, Meta(description="how many of them an earlier run had checked")]
    left: Annotated[Amount, Meta(description="not checked, because time was up")]
    not_comparable: Annotated[Amount, Meta(description="not checked, because there is no layer to compare them with")]
    bytes: Annotated[Amount, Meta(description="bytes that were read")]


class SecondReadingPart(ReportPart):
    """What two readers of databases read and compared."""

    databases: Annotated[Amount, Meta(description="how many databases")]
    keys: Annotated[Amount, Meta(description="how many keys")]


class VerifyRoot(ReportPart, kw_only=True):
    """One root."""

    path: Annotated[Shown, Meta(description="absolute path of the containerd root")]
    unread: Annotated[Line, Meta(description="why not all records could be read; empty where they could")]
    findings: Annotated[Sequence[AffectingFinding], Meta(description="damage and other findings")]
    images: Annotated[Sequence[ImagePart], Meta(description="every image")]
    data: Annotated[CoveragePart | None, Meta(description="of blobs; null without --data")]
    unpacked: Annotated[CoveragePart | None, Meta(description="of unpacked layers; null without --unpacked")]
    second_reading: Annotated[SecondReadingPart | None, Meta(description="null with --no-second-reading")]
    warnings: Annotated[Sequence[Line], Meta(description="what else to know, such as progress that was not saved")]


class VerifyDocument(Report, tag="drydock.verify/1"):
    """A verification."""

    roots: Annotated[Sequence[VerifyRoot], Meta(description="what was found in each root")]
