"""A verification as text and as the document ``drydock.verify/1``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import structs

from drydock.model import messages
from drydock.model.documents.common import LazyList
from drydock.model.documents.verify import (
    AffectingFinding,
    CoveragePart,
    ImagePart,
    PlatformPart,
    SecondReadingPart,
    VerifyDocument,
    VerifyRoot,
)
from drydock.model.findings import FindingCode, Severity
from drydock.model.names import Digest, RawPath, UnixNano
from drydock.model.text import quoted_path, shown
from drydock.model.times import show_time
from drydock.model.verifications import Completeness, Coverage, Hit, ImageState, Platform, SecondReading, Verification
from drydock.report.document import finding_part
from drydock.report.wording import show_bytes, show_count, target_of
from drydock.version import __version__

_LISTED = 40
_NAMED = 6
_NOTES = {FindingCode.CORRUPT_ORPHAN: "Corrupt, and needed by nothing"}
_TITLES = {Severity.DAMAGE: "Damage", Severity.BLIND: "Could not be read or understood"}


def verification_lines(
    roots: Sequence[Verification], where: RawPath | None, state: RawPath | None = None
) -> Iterator[str]:
    """What was found, as text: damage and whom it affects, then images, then how much each tier checked.

    Args:
        roots: what was found.
        where: what was checked, for the commands in the text.
        state: the chosen state directory, for the same commands.
    """
    target = target_of(where)
    for number, root in enumerate(roots):
        if number:
            yield ""
        yield shown(root.root)
        for severity, title in _TITLES.items():
            yield from _hits([hit for hit in root.hits if hit.finding.severity is severity], title)
        for code, title in _NOTES.items():
            yield from _hits([hit for hit in root.hits if hit.finding.code is code], title)
        if not any(hit.finding.severity in _TITLES for hit in root.hits):
            yield "  No damage found."
        yield from _images(root.images)
        yield from _coverage("blobs", root.data, root)
        yield from _coverage("unpacked layers", root.unpacked, root)
        yield from _second_reading(root.second_reading, root.hits)
        yield from (f"  {warning}" for warning in root.warnings)
        yield from _next(root, target, state)


def verification_document(roots: Iterable[Verification], now: UnixNano) -> VerifyDocument:
    """One document about every root."""
    return VerifyDocument(
        drydock=__version__,
        now=show_time(now),
        roots=[
            VerifyRoot(
                path=shown(root.root),
                unread=root.unread or "",
                findings=LazyList(root.hits, _affecting_finding),
                images=[_image_part(image) for image in root.images],
                data=_coverage_part(root.data),
                unpacked=_coverage_part(root.unpacked),
                second_reading=_second_reading_part(root.second_reading),
                warnings=root.warnings,
            )
            for root in roots
        ],
    )


def _hits(hits: Sequence[Hit], title: str) -> Iterator[str]:
    if not hits:
        return
    yield f"  {title}: {len(hits)}"
    for hit in hits[:_LISTED]:
        yield f"      {hit.finding.code}: {hit.finding.message}"
        for what, names in (("image", hit.images), ("container", hit.containers)):
            if names:
                more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
                yield f"          affects {what}{'s' if len(names) > 1 else ''} {', '.join(names[:_NAMED])}{more}"
    if len(hits) > _LISTED:
        yield f"      and {len(hits) - _LISTED} more; --format json lists all"
    for remedy in dict.fromkeys(hit.finding.remedy for hit in hits if hit.finding.remedy):
        yield f"      what to do: {remedy}"


def _images(images: Sequence[ImageState]) -> Iterator[str]:
    if not images:
        return
    yield f"  Images: {len(images)}"
    for image in images[:_LISTED]:
        yield f"      {shown(image.name)} (namespace {shown(image.namespace)})"
        adoptable = frozenset(image.adoptable)
        others = 0
        for platform in image.platforms:
            # Of an image for ten platforms, usually one was pulled.
            is_absent = platform.state is Completeness.ABSENT and platform.manifest not in adoptable
            if is_absent and len(image.platforms) > 1:
                others += 1
            else:
                yield f"          {_platform(platform, adoptable)}"
        if others:
            # An index without a record keeps none of its manifests.
            word = "without a record too" if image.target in adoptable else "never fetched"
            yield f"          {show_count(others, 'platform')} {word}"
        for digest in image.adoptable[:_LISTED]:
            yield f"          {shown(digest)}: without a record in this namespace; drydock repair --adopt adds one"
        if len(image.adoptable) > _LISTED:
            yield f"          and {len(image.adoptable) - _LISTED} more"
    if len(images) > _LISTED:
        yield f"      and {len(images) - _LISTED} more; --format json lists all"


def _platform(platform: Platform, adoptable: frozenset[Digest]) -> str:
    name = shown(platform.platform) or "platform unknown"
    where = ", ".join(map(shown, platform.unpacked))
    unrecorded = sum(digest in adoptable for digest in platform.absent)
    counts = [
        (len(platform.damaged), "damaged"),
        (len(platform.absent) - unrecorded, "absent"),
        (unrecorded, "without a record"),
    ]
    parts = "".join(f", {show_count(count, 'blob')} {word}" for count, word in counts if count)
    return f"{name}: {platform.state.value}{parts}; {f'unpacked in {where}' if where else 'not unpacked'}"


def _coverage(what: str, coverage: Coverage | None, root: Verification) -> Iterator[str]:
    if coverage is None:
        return
    parts = [f"{coverage.done} checked"]
    if coverage.resumed:
        parts.append(f"{coverage.resumed} of them by an earlier run")
    if coverage.skipped:
        parts.append(f"{coverage.skipped} without a layer to compare with")
    if coverage.left:
        parts.append(
            f"{coverage.left} not checked: time was up{'' if root.forgotten else ', and the next run continues'}"
        )
    yield f"  {what}: {', '.join(parts)}; {show_bytes(coverage.bytes)} read"


def _second_reading(reading: SecondReading | None, hits: Sequence[Hit]) -> Iterator[str]:
    if reading is None:
        return
    differences = sum(hit.finding.code is FindingCode.READERS_DISAGREE for hit in hits)
    counts = f"{show_count(reading.databases, 'database')}, {show_count(reading.keys, 'key')}"
    yield f"  second reading: {counts}; {show_count(differences, 'difference') if differences else 'no difference'}"


def _next(root: Verification, target: str, state: RawPath | None) -> Iterator[str]:
    if root.uneditable:
        yield f"      drydock cannot repair records here: it edits no database, because {root.uneditable}"
        if root.unread:
            yield "      docs/salvage.md describes how to rebuild a database from what can be read"
        yield f"      drydock ls images{target}   # lists what can be read; drydock export takes it out"
        return
    if any(
        hit.finding.severity is Severity.DAMAGE and hit.finding.code is not FindingCode.READERS_DISAGREE
        for hit in root.hits
    ):
        # The record of wrong bytes is in that state directory only.
        remembered = "" if state is None else f" --state {quoted_path(state)}"
        options = f" {root.forgotten}" if root.forgotten else remembered
        if any(hit.finding.remedy == messages.SNAPSHOT_DIFFERS.remedy for hit in root.hits):
            yield f"      drydock repair --restore-files{options}{target}   # shows which layers it unpacks again"
        yield f"      drydock repair{options}{target}   # shows what repairs it, and what would be lost"
    if any(image.adoptable for image in root.images):
        yield f"      drydock repair --adopt{target}   # hashes blobs without a record, and shows the records to add"


def _affecting_finding(hit: Hit) -> AffectingFinding:
    return AffectingFinding(**structs.asdict(finding_part(hit.finding)), images=hit.images, containers=hit.containers)


def _image_part(image: ImageState) -> ImagePart:
    return ImagePart(
        shown(image.namespace),
        shown(image.name),
        shown(image.target),
        [shown(digest) for digest in image.adoptable],
        [
            PlatformPart(
                manifest=shown(platform.manifest),
                platform=shown(platform.platform),
                state=platform.state,
                unpacked=[shown(snapshotter) for snapshotter in platform.unpacked],
                absent=[shown(digest) for digest in platform.absent],
                damaged=[shown(digest) for digest in platform.damaged],
            )
            for platform in image.platforms
        ],
    )


def _second_reading_part(reading: SecondReading | None) -> SecondReadingPart | None:
    return None if reading is None else SecondReadingPart(reading.databases, reading.keys)


def _coverage_part(coverage: Coverage | None) -> CoveragePart | None:
    if coverage is None:
        return None
    return CoveragePart(
        done=coverage.done,
        resumed=coverage.resumed,
        left=coverage.left,
        not_comparable=coverage.skipped,
        bytes=coverage.bytes,
    )
