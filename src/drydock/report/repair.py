"""A repair as text, losses first, and as the document ``drydock.repair/1``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import structs

from drydock.model.documents.plan import RootPlan
from drydock.model.documents.repair import (
    EditPart,
    LossPart,
    NotAdoptedPart,
    RemovalPart,
    RepairDocument,
    RepairRoot,
    RestorePart,
    RunPart,
)
from drydock.model.names import RawPath, UnixNano
from drydock.model.plans import Plan
from drydock.model.repairs import Loss, Repair
from drydock.model.runs import Run
from drydock.model.text import quoted_name, quoted_path, shown, unshown
from drydock.model.times import show_time
from drydock.report.document import finding_part, record_part
from drydock.report.plan_text import edit_lines, kept_lines, removal_lines
from drydock.report.wording import show_bytes, show_count, target_of
from drydock.version import __version__

_LISTED = 40
_SHORT = (
    "these run, because their unpacked files are intact, but lack a layer that save and push need; Docker 29.9 and "
    "later pull that layer, with older versions remove the image and pull it again"
)
_UNPROVED = (
    "cannot be proved: a layer is damaged, and nothing here proves that its unpacked files are intact; "
    "--drop-unproved deletes both, or only the layer if a container needs the files"
)


def repair_lines(repair: Repair, where: RawPath | None = None) -> Iterator[str]:
    """The repair of one root.

    Args:
        repair: what is planned.
        where: what was checked, for the commands in the text.
    """
    plan = repair.plan
    if plan.is_empty and not repair.left and not repair.losses and not repair.unadopted:
        yield f"{shown(plan.root)}: nothing to repair"
        return
    yield f"{shown(plan.root)}:"
    yield from _losses(
        "WOULD BE LOST; kept, with all data that they need, unless you give them up with --accept-loss:",
        repair,
        accepted=False,
    )
    yield from _at_start(repair, target_of(where))
    yield from _losses("is lost, as accepted:", repair, accepted=True)
    yield from edit_lines(plan)
    yield from _adoptions(plan)
    yield from _given_back(repair)
    yield from removal_lines(plan, "drydock repair --format json")
    yield from _restores(plan)
    yield from _names("not unpacked again:", repair.unrestored)
    if repair.restorable:
        what = f"{show_count(repair.restorable, 'damaged layer')} from what was downloaded: no loss, and no pull"
        yield f"      drydock repair --restore-files{target_of(where)}   # rather unpacks again {what}"
    yield from _names("complete again, without a pull:", repair.whole)
    yield from _names("pull again afterwards:", repair.refetch)
    yield from _names(f"{_SHORT}:", repair.short)
    yield from _names(f"{_UNPROVED}:", repair.unproved)
    yield from _names(
        "unpacked again by the engine at the next start of a container, from what is there:", repair.unpack
    )
    yield from kept_lines(plan)
    left = [f"{each.id} (namespace {shown(each.namespace)}): {each.reason}" for each in repair.unadopted]
    yield from _names("blobs without a record that are not adopted:", left)
    if repair.left:
        yield f"  not repaired: {show_count(len(repair.left), 'finding')}"
        for finding in repair.left[:_LISTED]:
            yield f"      {finding.code}: {finding.message}"
        if len(repair.left) > _LISTED:
            yield f"      and {len(repair.left) - _LISTED} more; drydock verify --format json lists all"


def repair_document(
    repairs: Sequence[Repair], plans: Sequence[RootPlan], runs: Sequence[Run], now: UnixNano
) -> RepairDocument:
    """One document about every root.

    Args:
        repairs: what is planned.
        plans: the published form of the plan of each.
        runs: how those ended that were carried out.
        now: what expiries were compared with.
    """
    done = {run.root: run for run in runs}
    return RepairDocument(
        drydock=__version__,
        now=show_time(now),
        roots=[
            RepairRoot(
                path=shown(each.plan.root),
                unread=each.unread or each.blind or "",
                plan=plan,
                losses=[_loss_part(loss) for loss in each.losses],
                whole=each.whole,
                pull_again=each.refetch,
                stay_incomplete=each.short,
                unproved=each.unproved,
                given_back=each.given_back,
                unpacked_again=each.unpack,
                not_adopted=[NotAdoptedPart(shown(left.namespace), left.id, left.reason) for left in each.unadopted],
                not_restored=each.unrestored,
                left=[finding_part(finding) for finding in each.left],
                run=_run_part(done[each.plan.root]) if each.plan.root in done else None,
            )
            for each, plan in zip(repairs, plans, strict=True)
        ],
    )


def _loss_part(loss: Loss) -> LossPart:
    return LossPart(
        **structs.asdict(record_part(loss.ref)),
        name=loss.name,
        what=loss.kind.value,
        why=loss.why,
        accepted=loss.accepted,
        at_start=loss.at_start,
    )


def _run_part(run: Run) -> RunPart:
    return RunPart(
        failed=run.failed,
        journal=None if run.journal is None else shown(run.journal),
        state=run.state,
        edits=[
            EditPart(
                path=shown(edited.path),
                status=edited.status,
                detail=edited.detail,
                backup=None if edited.backup is None else shown(edited.backup),
                records=edited.records,
                fields=edited.fields,
                added=edited.added,
            )
            for edited in run.edits
        ],
        removals=[
            RemovalPart(
                kind=outcome.action.target,
                path=shown(outcome.action.path),
                status=outcome.status,
                detail=outcome.detail,
                freed=outcome.freed,
            )
            for outcome in run.outcomes
        ],
        freed=run.freed,
        warnings=run.warnings,
        restores=[
            RestorePart(
                path=shown(each.restore.path),
                layer=shown(each.restore.layer),
                status=each.status,
                detail=each.detail,
            )
            for each in run.restores
        ],
    )


def _losses(title: str, repair: Repair, *, accepted: bool) -> Iterator[str]:
    losses: Sequence[Loss] = [
        loss for loss in repair.losses if loss.accepted is accepted and (accepted or not loss.at_start)
    ]
    if losses:
        yield f"  {title}"
    for loss in losses:
        yield f"      {loss.kind.value} {loss.name} (namespace {shown(loss.ref.namespace)}): {loss.why}"


def _at_start(repair: Repair, target: str) -> Iterator[str]:
    """Containers that the engine would delete at its start, with the command that saves each."""
    losses = [loss for loss in repair.losses if loss.at_start and not loss.accepted]
    if losses:
        yield "  WOULD BE LOST when the engine starts, because it deletes data without a record in meta.db:"
    for loss in losses:
        yield f"      container {loss.name} (namespace {shown(loss.ref.namespace)}): {loss.why}"
        first = "" if loss.exportable else "after a newer metadata.db is put back: "
        name = unshown(loss.name)
        command = f"drydock export container {quoted_name(name)} -o {quoted_path(name + b'.tar')}{target}"
        yield f"          {first}{command}"


def _adoptions(plan: Plan) -> Iterator[str]:
    """The records of blobs that are added."""
    if plan.adoptions:
        size = show_bytes(sum(each.expect.size for each in plan.adoptions))
        yield f"  adds to meta.db the records of {show_count(len(plan.adoptions), 'intact blob')}, {size}:"
    for each in plan.adoptions[:_LISTED]:
        yield f"      {shown(each.ref.key)} (namespace {shown(each.ref.namespace)}): {each.why}"
    if len(plan.adoptions) > _LISTED:
        yield f"      and {len(plan.adoptions) - _LISTED} more"


def _restores(plan: Plan) -> Iterator[str]:
    """The layers that are unpacked again."""
    if plan.restores:
        size = show_bytes(sum(each.bytes for each in plan.restores))
        count = show_count(len(plan.restores), "layer")
        yield f"  unpacks again {count}, compressed {size}; containers keep what they wrote:"
    for each in plan.restores[:_LISTED]:
        yield f"  {show_bytes(each.bytes):>10}  {'files':8}  {shown(each.path)}"
        yield f"              {each.why}"
    if len(plan.restores) > _LISTED:
        yield f"      and {len(plan.restores) - _LISTED} more: drydock repair --format json lists all"


def _given_back(repair: Repair) -> Iterator[str]:
    """The containers whose records are added."""
    plan = repair.plan
    if repair.given_back:
        parts = (show_count(len(plan.snapshots), "snapshot"), show_count(len(plan.lease_records), "lease"))
        yield f"  adds to meta.db the records of {' and '.join(parts)}, so that the engine has again:"
    for name in repair.given_back[:_LISTED]:
        yield f"      container {name}"
    if len(repair.given_back) > _LISTED:
        yield f"      and {len(repair.given_back) - _LISTED} more"


def _names(title: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"  {title}"
    for name in names[:_LISTED]:
        yield f"      {name}"
    if len(names) > _LISTED:
        yield f"      and {len(names) - _LISTED} more"
