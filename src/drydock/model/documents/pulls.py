"""``drydock.pulls/1``: interrupted pulls, as ``drydock pulls --format json`` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, field

from drydock.model.documents.common import Line, Report, ReportPart, Shown, Time
from drydock.model.documents.scan import Amount
from drydock.model.leases import LeaseClass
from drydock.model.pulls import LayerState


class PullLeasePart(ReportPart, kw_only=True):
    """A lease of a pull."""

    id: Annotated[Shown, Meta(description="its id")]
    class_: Annotated[LeaseClass, Meta(description="its class")] = field(name="class")
    reason: Annotated[Line, Meta(description="why it is of this class")]
    created: Annotated[Time | None, Meta(description="when it was created; null where that is not known")]
    expires: Annotated[Time | None, Meta(description="when it ends by itself; null for never")]
    only_bytes: Annotated[Amount, Meta(description="what ending this lease alone would free")]


class PullLayerPart(ReportPart, kw_only=True):
    """A layer of an image that was being pulled."""

    digest: Annotated[Shown, Meta(description="its digest")]
    size: Annotated[int | None, Meta(description="bytes of the whole layer; null where that is not known")]
    got: Annotated[Amount, Meta(description="bytes that are on disk")]
    state: Annotated[LayerState, Meta(description="how much of it is there")]
    unpacked: Annotated[bool, Meta(description="whether a committed snapshot holds it unpacked")]


class DownloadsPart(ReportPart):
    """What pulls into Docker's classic image store left; nothing tells which pull a file belongs to."""

    folders: Annotated[Sequence[Shown], Meta(description="`tmp` of each data root")]
    files: Annotated[Amount, Meta(description="files of all such pulls together")]
    bytes: Annotated[Amount, Meta(description="bytes of these files on disk")]


class PullPart(ReportPart, kw_only=True):
    """A pull that left leases behind."""

    namespace: Annotated[Shown, Meta(description="the containerd namespace that has its leases")]
    sources: Annotated[Sequence[Shown], Meta(description="registry and repository, without a port")]
    images: Annotated[Sequence[Shown], Meta(description="image names, where one is known")]
    targets: Annotated[Sequence[Shown], Meta(description="digests of the index or manifest that was asked for")]
    platforms: Annotated[Sequence[Shown], Meta(description="os/architecture of the manifests that came")]
    leases: Annotated[Sequence[PullLeasePart], Meta(min_length=1, description="the oldest first")]
    created: Annotated[Time | None, Meta(description="when the first try began; null where that is not known")]
    expires: Annotated[Time | None, Meta(description="when the last lease ends by itself; null where one never does")]
    updated: Annotated[Time | None, Meta(description="when the last bytes of a partial download came; else null")]
    bytes: Annotated[Amount, Meta(description="what ending all leases of the pull frees")]
    held_bytes: Annotated[Amount, Meta(description="all that these leases hold, what others hold too included")]
    layers: Annotated[Sequence[PullLayerPart], Meta(description="each once, from the base up")]
    others: Annotated[
        dict[str, Amount], Meta(description="what else the leases hold, counted by kind: index, manifest, config …")
    ]
    downloads: Annotated[
        DownloadsPart | None, Meta(description="of a pull into Docker's classic image store; else null")
    ]
    findings: Annotated[Sequence[Line], Meta(description="what could not be read of its documents")]


class PullsRoot(ReportPart):
    """The interrupted pulls of one root."""

    path: Annotated[Shown, Meta(description="absolute path of the containerd root")]
    unread: Annotated[Line, Meta(description="why not all could be read, so that pulls may be missing; else empty")]
    pulls: Annotated[Sequence[PullPart], Meta(description="the one first that holds most for itself")]


class PullsDocument(Report, tag="drydock.pulls/1"):
    """Interrupted pulls."""

    roots: Annotated[Sequence[PullsRoot], Meta(description="the pulls of each root")]
