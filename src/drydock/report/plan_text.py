"""Plans, and how carrying them out ended, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from drydock.model.findings import FindingCode
from drydock.model.layer_store import BUILD_HISTORY, BUILD_LEASES, BUILD_SNAPSHOTS, REFERENCES
from drydock.model.names import Kind, RawPath
from drydock.model.plans import CACHE_RECORDS, TREES, FieldDrop, Plan, Removal, Status, Target
from drydock.model.runs import EditOutcome, Run
from drydock.model.scans import Scan
from drydock.model.store_drops import DROPPED, LossKind
from drydock.model.text import quoted_name, shown
from drydock.report.wording import show_bytes, show_count

_LISTED = 40
_REMOVED = " removed from other records"
_UNDONE = {Status.DONE: "put back", Status.GONE: "in place", Status.FAILED: "not put back"}
"""How the actions of an undo ended."""
_BUILDERS = tuple(b"/" + each for each in (BUILD_LEASES, BUILD_SNAPSHOTS, BUILD_HISTORY))


def scan_lines(scan: Scan) -> Iterator[str]:
    """Findings about one root that matter before anything is removed, then its plan."""
    # A newer copy can be put back only before anything is removed.
    older = [finding for finding in scan.verdict.findings if finding.code is FindingCode.OLDER_DATABASE]
    for finding in older[:_LISTED]:
        yield f"note: {finding.message}"
    for remedy in dict.fromkeys(finding.remedy for finding in older):
        yield f"  what to do: {remedy}"
    yield from plan_lines(scan.plan)
    for line in scan.lacks_room:
        yield f"note: {line}"


def plan_lines(plan: Plan) -> Iterator[str]:
    """The plan of one root: leases, then paths with their bytes, largest first, then what is kept and why."""
    root = shown(plan.root)
    yield from drop_lines(plan)
    if plan.is_empty:
        yield f"{root}: nothing to remove"
    else:
        # Sizes of layers are those that containerd recorded; links, holes and compression change what removal frees.
        about = "about " if any(removal.target in TREES for removal in plan.removals) else ""
        count = len(plan.removals) + len(plan.log_cuts)
        yield f"{root}: {about}{show_bytes(plan.bytes)} in {show_count(count, 'file or directory')}"
        yield from container_lines(plan)
        yield from written_lines(plan)
        yield from edit_lines(plan)
        yield from removal_lines(plan)
        yield from cut_lines(plan)
    yield from compact_lines(plan)
    yield from kept_lines(plan)


def compact_lines(plan: Plan) -> Iterator[str]:
    """The databases to compact, with what cannot be done afterwards."""
    for each in plan.compactions:
        size, used = show_bytes(each.size), show_bytes(each.used)
        yield f"  compacts {shown(each.path)}: {size}, of which pages in use take {used}"
    if plan.compactions:
        yield "      undo cannot take this back, nor any other change of this run"


def drop_lines(plan: Plan) -> Iterator[str]:
    """The stores that go whole, what exists only there, and which store dockerd chooses then."""
    for drop in plan.drops:
        yield f"{shown(drop.data)}: the {drop.mode.shown} of Docker goes, with all that is in it"
        for loss in drop.losses[:_LISTED]:
            what = ", ".join(map(shown, loss.names)) or "without a name"
            if loss.kind is LossKind.WRITTEN_LAYER:
                what = "what a container wrote whose folder is gone"
            yield f"  WOULD BE LOST: {show_bytes(loss.bytes):>10}  {loss.kind.value} {shown(loss.id)}: {what}"
        if len(drop.losses) > _LISTED:
            yield f"  and {len(drop.losses) - _LISTED} more: drydock plan --drop-store {drop.mode.value} lists all"
        if not drop.losses:
            yield f"  nothing would be lost: every image in it is in the {drop.mode.other.shown} too"
        yield f"  the next start of dockerd chooses the {drop.following.shown}, as before: {drop.following_reason}"


def run_lines(run: Run) -> Iterator[str]:
    """How carrying out a plan ended: each failure, and counts of the rest."""
    yield f"{shown(run.root)}:"
    for edited in run.edits:
        if edited.path.endswith(b"/" + REFERENCES):
            yield _names_line(edited)
            continue
        where = " of cache records removed" if edited.path.endswith(b"/metadata_v2.db") else _REMOVED
        where = " removed" if edited.path.endswith(_BUILDERS) else where
        counted = (
            (edited.records, "entry", ""),
            (edited.leases, "lease", ""),
            (edited.fields, "key", where),
            (edited.added, "record", " marked" if edited.path.endswith(b"/metadata_v2.db") else " added"),
        )
        # Of an edit that was undone or not made the detail tells what happened.
        made = edited.status is Status.DONE
        what = ", ".join(show_count(count, noun) + rest for count, noun, rest in counted if count and made)
        detail = f" ({edited.detail})" if edited.detail else ""
        backup = f". Backup: {shown(edited.backup)}" if edited.backup else ""
        yield f"  database {shown(edited.path)}: {edited.status.value}{what and f': {what}'}{detail}{backup}"
    for outcome in run.outcomes:
        if outcome.status in (Status.FAILED, Status.CHANGED):
            detail = f": {outcome.detail}" if outcome.detail else ""
            path = _show_path(outcome.action, run.root)
            yield f"  {outcome.action.target.value} {path}: {outcome.status.value}{detail}"
    for cut in run.cuts:
        if cut.status in (Status.FAILED, Status.CHANGED):
            yield f"  log {shown(cut.cut.path)}: {cut.status.value}{cut.detail and f': {cut.detail}'}"
    for each in run.restores:
        if each.status in (Status.FAILED, Status.CHANGED):
            detail = f": {each.detail}" if each.detail else ""
            yield f"  files of a layer {shown(each.restore.path)}: {each.status.value}{detail}"
    for line in (*run.warnings, *run.notes):
        yield f"  {line}"
    if run.cuts:
        yield f"  files of logs: {_count_ends(run, (cut.status for cut in run.cuts))}"
    for done in run.compactions:
        sizes = f"{show_bytes(done.before)} before, {show_bytes(done.after)} after"
        ended = f"compacted, {sizes}" if done.status is Status.DONE else f"{done.status.value}: {done.detail}"
        yield f"  database {shown(done.path)}: {ended}"
    if run.restores:
        yield f"  layers unpacked again: {_count_ends(run, (each.status for each in run.restores))}"
    ended = _count_ends(run, (outcome.status for outcome in run.outcomes), moves=run.quarantine is not None)
    freed = "" if run.is_undo else f"; {show_bytes(run.freed)} freed"
    yield f"  files and directories: {ended or 'none'}{freed}"
    if run.quarantine is not None:
        yield f"  quarantine: {shown(run.quarantine)}"
    if run.journal is not None:
        yield f"  journal: {shown(run.journal)} ({run.state})"


def _count_ends(run: Run, ends: Iterable[Status], *, moves: bool = False) -> str:
    """How many actions ended in each way; empty for none."""
    words = {Status.DONE: "moved to quarantine"} if moves else _UNDONE if run.is_undo else {}
    return ", ".join(f"{count} {words.get(status, status.value)}" for status, count in Counter(ends).items())


def _names_line(edited: EditOutcome) -> str:
    what = f": {show_count(edited.fields, 'name')} removed" if edited.fields else ""
    detail = f" ({edited.detail})" if edited.detail else ""
    backup = f". Backup: {shown(edited.backup)}" if edited.backup else ""
    return f"  names of images, {shown(edited.path)}: {edited.status.value}{what}{detail}{backup}"


def kept_lines(plan: Plan) -> Iterator[str]:
    """How many objects are kept, by reason."""
    reasons = Counter(withheld.reason for withheld in plan.withheld)
    for reason, count in reasons.most_common(_LISTED):
        yield f"  kept: {show_count(count, 'object')} that would otherwise be removed: {reason}"


def container_lines(plan: Plan) -> Iterator[str]:
    """The containers that go, with what each wrote, and how to save that."""
    for drop in plan.containers:
        called = shown(drop.called)
        where = f"namespace {shown(drop.namespace)}" if drop.namespace else "Docker"
        yield f"  removes container {called} ({where}): {drop.why}"
        # Of several containers with a name, or of one of Kubernetes, only the id is surely this one's.
        saved = quoted_name(drop.id if drop.namespace else drop.called)
        wrote = f"{show_bytes(drop.written):>10}  what it wrote"
        yield f"  WOULD BE LOST: {wrote}; to save it first: drydock export container {saved} -o FILE"


def written_lines(plan: Plan) -> Iterator[str]:
    """What containers wrote and nothing else has, each with its bytes: it cannot be pulled or built again."""
    chosen = {drop.id for drop in plan.containers}
    for removal in plan.removals:
        if removal.target is Target.WRITTEN_LAYER and removal.named_by.rpartition(b"/")[2] not in chosen:
            where = _show_path(removal, plan.root)
            container = shown(removal.named_by.rpartition(b"/")[2])
            yield f"  removes what container {container} wrote, {show_bytes(removal.bytes)}: {where}"


def edit_lines(plan: Plan) -> Iterator[str]:
    """The edits of the databases."""
    for end in plan.leases[:_LISTED]:
        yield f"  ends lease {shown(end.ref.key)} (namespace {shown(end.ref.namespace)}): {end.why}"
    if len(plan.leases) > _LISTED:
        yield f"  and {len(plan.leases) - _LISTED} more leases"
    images = [drop for drop in plan.records if drop.ref.kind is Kind.IMAGE]
    for drop in images[:_LISTED]:
        yield f"  removes image {shown(drop.ref.key)} (namespace {shown(drop.ref.namespace)}): {drop.why}"
    if len(images) > _LISTED:
        yield f"  and {len(images) - _LISTED} more images"
    if plan.records:
        kinds = Counter(drop.ref.kind.value for drop in plan.records)
        dropped = ", ".join(show_count(count, kind) for kind, count in sorted(kinds.items()))
        yield f"  deletes from meta.db the records of {dropped}"
    for snapshotter, count in Counter(row.snapshotter for row in plan.rows).items():
        yield f"  deletes {show_count(count, 'row')} from the metadata.db of {shown(snapshotter)}"
    yield from image_lines(plan)
    for kind, count in Counter(mark.why for mark in plan.marks).items():
        marked = show_count(count, "cache record")
        yield f"  marks {marked} of BuildKit as deleted, which it removes when it starts: {kind}"
    cached = [field for field in plan.fields if field.database is not None]
    for why, count in Counter(field.why for field in cached if field.bucket == CACHE_RECORDS).items():
        yield f"  deletes {show_count(count, 'cache record')} of BuildKit: {why}"
    builder = Counter((_noun(field), field.why) for field in cached if (field.database or b"").endswith(_BUILDERS))
    for (noun, why), count in builder.most_common(_LISTED):
        yield f"  removes {show_count(count, noun)} of dockerd's builder (classic store): {why}"
    for why, count in Counter(field.why for field in plan.fields if field.database is None).most_common(_LISTED):
        yield f"  removes {show_count(count, 'key')} from records that stay: {why}"


def _noun(field: FieldDrop) -> str:
    """What a key of a database of dockerd's builder stands for."""
    if not field.bucket:
        return "snapshot"
    return {b"leases": "lease", b"blob": "blob", b"ingests": "ingest"}.get(field.bucket[-1], "build")


def image_lines(plan: Plan) -> Iterator[str]:
    """The images of classic stores that go, and the names that go of images that stay."""
    going: dict[tuple[RawPath, bytes], str] = {}
    for removal in plan.removals:
        is_config = removal.path.startswith(b"image/overlay2/imagedb/content/")
        if removal.target is Target.STORE_FILE and is_config and removal.why != DROPPED:
            going[removal.root, b"sha256:" + removal.path.rpartition(b"/")[2]] = removal.why
    names: dict[tuple[RawPath, bytes], list[str]] = {}
    for drop in plan.names:
        names.setdefault((drop.data, drop.image), []).append(shown(drop.name))
    lines = [
        f"  removes image {' '.join(names.get(image, ())) or shown(image[1])} (classic store): {why}"
        for image, why in reversed(going.items())
    ]
    lines += [
        f"  removes the name {shown(drop.name)} of image {shown(drop.image)} (classic store): {drop.why}"
        for drop in plan.names
        if (drop.data, drop.image) not in going
    ]
    yield from lines[:_LISTED]
    if len(lines) > _LISTED:
        yield f"  and {len(lines) - _LISTED} more images and names"


def cut_lines(plan: Plan, whole: str = "drydock plan -o FILE") -> Iterator[str]:
    """The logs to cut, the largest first; ``whole`` as for :func:`removal_lines`."""
    cuts = sorted(plan.log_cuts, key=lambda cut: -cut.bytes)
    for cut in cuts[:_LISTED]:
        yield f"  {show_bytes(cut.bytes):>10}  {'log':8}  {shown(cut.data)}/{shown(cut.path)}"
        yield f"              {cut.why}"
    if len(cuts) > _LISTED:
        yield f"  and {len(cuts) - _LISTED} more: {whole} lists all"


def removal_lines(plan: Plan, whole: str = "drydock plan -o FILE") -> Iterator[str]:
    """The paths to remove, the largest first; ``whole`` is the command that lists all."""
    removals = sorted(plan.removals, key=lambda removal: -removal.bytes)
    for removal in removals[:_LISTED]:
        yield f"  {show_bytes(removal.bytes):>10}  {removal.target.value:8}  {_show_path(removal, plan.root)}"
        yield f"              {removal.why}"
    if len(removals) > _LISTED:
        yield f"  and {len(removals) - _LISTED} more: {whole} lists all"


def _show_path(removal: Removal, root: RawPath) -> str:
    """The path of a removal below the containerd root; what is in a Docker data root has its whole path."""
    return shown(removal.path if removal.root == root else RawPath(removal.root + b"/" + removal.path))
