"""Which leases a policy ends, and what it keeps whatever else it says."""

from __future__ import annotations

from dataclasses import dataclass, field

from drydock.model.errors import Refused, Usage
from drydock.model.leases import Holding, LeaseClass
from drydock.model.names import RawPath, Ref
from drydock.model.objects import StoreObject, Verdict
from drydock.model.plans import Withheld
from drydock.model.policies import Policy
from drydock.model.text import shown
from drydock.model.times import age, show_span
from drydock.verdict.find import find
from drydock.verdict.judge import Reach


@dataclass(slots=True)
class Kept:
    """What the policy names to be kept, with the reason; empty where no name fits anything here."""

    refs: dict[Ref, str] = field(default_factory=dict)
    rows: dict[tuple[bytes, bytes], str] = field(default_factory=dict)
    """By snapshotter and name."""
    paths: dict[RawPath, str] = field(default_factory=dict)


def keep(verdict: Verdict, reached: Reach, policy: Policy) -> Kept:
    """What the policy names to be kept: records, and also rows and data that no record names."""
    kept = Kept()
    for word in policy.keep:
        reason = f"kept by --keep {shown(word)}"
        for subject in find(verdict, reached, word):
            if not isinstance(subject, StoreObject):
                kept.refs[subject] = reason
                continue
            kept.refs.update(dict.fromkeys(subject.refs, reason))
            if subject.row is not None:
                kept.rows[subject.snapshotter, subject.row] = reason
            if subject.path is not None:
                kept.paths[subject.path] = reason
    return kept


def end(verdict: Verdict, reached: Reach, kept: dict[Ref, str], policy: Policy) -> tuple[list[Holding], list[Withheld]]:
    """The leases that the policy ends, the expired ones included; none that is kept, or that holds what is kept.

    What is kept with nothing to hold it any more, the engine would drop at its next collection. An expired lease holds
    nothing to begin with.

    Returns:
        Those that end, and those that would, but for what is kept: with the bytes that only they hold.

    Raises:
        Refused: a lease was named whose owner exists.
        Usage: a lease was named to be ended, and it or what it holds to be kept.
    """
    ended: list[Holding] = []
    stay: list[Withheld] = []
    kept = {**{lease: reason for ref, reason in kept.items() for lease in reached.leased.get(ref, ())}, **kept}
    for holding in verdict.leases:
        named = any(holding.is_called(name) for name in policy.leases)
        if named and holding.ref in kept:
            raise Usage(f"lease {shown(holding.ref.key)} is named to be ended, and it or what it holds to be kept")
        if named and holding.kind.is_owned:
            raise Refused(f"lease {shown(holding.ref.key)} belongs to {holding.owner}: remove that with its engine")
        name = shown(holding.ref.key)
        if not named and not _is_due(holding, verdict, policy):
            why = _incomparable(holding, verdict, policy)
            if why:
                stay.append(Withheld("lease", name, holding.only, f"lease {name} stays: {why}"))
            continue
        if holding.ref not in kept:
            ended.append(holding)
        elif holding.kind is not LeaseClass.EXPIRED:
            stay.append(
                Withheld("lease", name, holding.only, f"lease {name} stays with all that it holds: {kept[holding.ref]}")
            )
    return ended, stay


def describe(holding: Holding, verdict: Verdict) -> str:
    """Why a lease ends, on one shown line."""
    known = age(holding.created, verdict.now)
    old = "" if known is None else f", {show_span(known)} old"
    return f"{holding.kind.value}: {holding.reason}{old}"


def _incomparable(holding: Holding, verdict: Verdict, policy: Policy) -> str:
    """Which of the times of a lease that is not due cannot be compared with now; empty where none decides about it."""
    if holding.kind.is_owned:
        return ""
    if holding.expires is not None and holding.expires < verdict.now:
        return "it ended before it was made, or was made after the clock, so its end cannot be judged"
    if policy.older_than is None or not policy.end.includes(holding.kind) or holding.created is None:
        return ""
    return "" if age(holding.created, verdict.now) is not None else "it was made after the clock: its age is not known"


def _is_due(holding: Holding, verdict: Verdict, policy: Policy) -> bool:
    if holding.kind is LeaseClass.EXPIRED:
        return True
    if not policy.end.includes(holding.kind):
        return False
    if policy.older_than is None:
        return True
    known = age(holding.created, verdict.now)
    return known is not None and known >= policy.older_than
