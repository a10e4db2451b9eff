"""What a clean would remove, and what became of it, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from drydock.model.plans import Outcome, Removal, Status
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.report.amounts import show_bytes, show_count

_LISTED = 40


def removal_lines(scan: Scan) -> Iterator[str]:
    """What would be removed of one root, largest first."""
    total = scan.reclaimable()
    root = shown(scan.verdict.store.root.path)
    if not total.count:
        yield f"{root}: nothing to remove"
        return
    yield f"{root}: {show_bytes(total.bytes)} in {show_count(total.count, 'object')} that no record names"
    removals = sorted(scan.removals, key=lambda removal: -removal.bytes)
    for removal in removals[:_LISTED]:
        yield f"  {show_bytes(removal.bytes):>10}  {removal.target.value:8}  {shown(removal.path)}"
        yield f"              {removal.why}"
    if len(removals) > _LISTED:
        yield f"  and {len(removals) - _LISTED} more: --format json has all"


def withheld_lines(scan: Scan) -> Iterator[str]:
    """What looks free and is kept, counted by reason."""
    reasons = Counter(withheld.reason for withheld in scan.withheld)
    for reason, count in reasons.most_common(_LISTED):
        yield f"  kept: {show_count(count, 'object')} that no record names, because {reason}"


def outcome_lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What became of the removals: those that failed in full, the others counted."""
    for outcome in outcomes:
        if outcome.status in (Status.FAILED, Status.CHANGED):
            yield f"  {_name(outcome.action)}: {outcome.status.value}{': ' + outcome.detail if outcome.detail else ''}"
    counts = Counter(outcome.status for outcome in outcomes)
    freed = sum(outcome.freed for outcome in outcomes)
    said = ", ".join(f"{count} {status.value}" for status, count in counts.items())
    yield f"  {said or 'nothing was to be done'}; {show_bytes(freed)} freed"


def _name(removal: Removal) -> str:
    return f"{removal.target.value} {shown(removal.path)}"
