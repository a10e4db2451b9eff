"""A repair as text: what would be lost first, then what is done, then what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from drydock.model.plans import Plan
from drydock.model.repairs import Loss, Repair
from drydock.model.text import shown
from drydock.report.amounts import show_bytes, show_count
from drydock.report.cleaning import edit_lines, kept_lines, removal_lines

_LISTED = 40


def repair_lines(repair: Repair) -> Iterator[str]:
    """One root's repair."""
    plan = repair.plan
    if plan.is_empty and not repair.left and not repair.losses and not repair.unadopted:
        yield f"{shown(plan.root)}: nothing to mend"
        return
    yield f"{shown(plan.root)}:"
    yield from _losses("WOULD BE LOST, so what they need is kept; --accept-loss gives one up:", repair, accepted=False)
    yield from _losses("is lost:", repair, accepted=True)
    yield from edit_lines(plan)
    yield from _adoptions(plan)
    yield from removal_lines(plan)
    yield from _names("whole again, with nothing to pull:", repair.whole)
    yield from _names("pull again afterwards:", repair.again)
    yield from _names("unpacked again by the engine when it is next run, from what is there:", repair.unpack)
    yield from kept_lines(plan)
    left = [f"{each.id} (namespace {shown(each.namespace)}): {each.reason}" for each in repair.unadopted]
    yield from _names("without a record, and not adopted:", left)
    if repair.left:
        yield f"  not mended: {show_count(len(repair.left), 'damage')}"
        for finding in repair.left[:_LISTED]:
            yield f"      {finding.code}: {finding.message}"
        if len(repair.left) > _LISTED:
            yield f"      and {len(repair.left) - _LISTED} more: drydock verify --format json has all"


def _losses(title: str, repair: Repair, *, accepted: bool) -> Iterator[str]:
    losses: Sequence[Loss] = [loss for loss in repair.losses if loss.accepted is accepted]
    if losses:
        yield f"  {title}"
    for loss in losses:
        yield f"      {loss.kind} {loss.name} (namespace {shown(loss.ref.namespace)}): {loss.why}"


def _adoptions(plan: Plan) -> Iterator[str]:
    """The records that are put in, by namespace."""
    if plan.adoptions:
        size = show_bytes(sum(each.expect.size for each in plan.adoptions))
        yield f"  puts into meta.db {show_count(len(plan.adoptions), 'record')} of blobs that are whole, {size}:"
    for each in plan.adoptions[:_LISTED]:
        yield f"      {shown(each.ref.key)} (namespace {shown(each.ref.namespace)}): {each.why}"
    if len(plan.adoptions) > _LISTED:
        yield f"      and {len(plan.adoptions) - _LISTED} more"


def _names(title: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"  {title}"
    for name in names[:_LISTED]:
        yield f"      {name}"
    if len(names) > _LISTED:
        yield f"      and {len(names) - _LISTED} more"
