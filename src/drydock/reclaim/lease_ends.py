"""Which leases a policy ends, and why one stays."""

from __future__ import annotations

from collections.abc import Mapping

from drydock.model.drops import PRUNING
from drydock.model.errors import Refused, Usage
from drydock.model.leases import Holding, LeaseClass
from drydock.model.names import Kind, Ref
from drydock.model.objects import Verdict
from drydock.model.plans import (
    Decision,
    Keep,
    LeaseEnd,
    Remove,
    Withheld,
    Withhold,
    assert_never,
)
from drydock.model.policies import Policy
from drydock.model.store_drops import DROPPED, IMAGE_STORE_NAMESPACES
from drydock.model.store_modes import StoreMode
from drydock.model.text import shown
from drydock.model.times import age, show_span
from drydock.verdict.judge import Reach


def end_leases(
    verdict: Verdict, reached: Reach, kept: dict[Ref, str], policy: Policy, pruned: Mapping[Ref, str]
) -> tuple[list[LeaseEnd], list[Withheld]]:
    """The leases that the policy ends, the expired ones included, except those that hold what is kept by name.

    Without such a lease the engine would drop what it holds at its next GC. An expired lease holds nothing. The leases
    in ``pruned`` end although they have an owner, for the reason there.

    Returns:
        The leases that end, and those that would end if nothing that they hold were kept.

    Raises:
        Refused: a lease was named whose owner exists.
        Usage: the policy ends a lease by name, and keeps it or something that it holds.
    """
    ended: list[LeaseEnd] = []
    withheld: list[Withheld] = []
    kept = {**{lease: reason for ref, reason in kept.items() for lease in reached.leased.get(ref, ())}, **kept}
    dropped = dropped_namespaces(policy)
    for holding in verdict.leases:
        if holding.data_root:
            continue
        if holding.ref.namespace in dropped and holding.kind is not LeaseClass.IMAGE:  # that one is the classic store's
            ended.append(LeaseEnd(holding.ref, holding.kind, DROPPED))
            continue
        if holding.ref in pruned and holding.ref not in kept:
            ended.append(LeaseEnd(holding.ref, holding.kind, pruned[holding.ref]))
            continue
        match decide_on_lease(holding, verdict, kept, policy):
            case Remove(reason):
                ended.append(LeaseEnd(holding.ref, holding.kind, reason))
            case Withhold(reason):
                withheld.append(Withheld(Kind.LEASE, shown(holding.ref.key), holding.only, reason))
            case Keep():
                pass
            case never:
                assert_never(never)
    return ended, withheld


def decide_on_lease(holding: Holding, verdict: Verdict, kept: dict[Ref, str], policy: Policy) -> Decision:
    """Whether a lease ends; ``kept`` has the leases that are kept, or that hold what is kept, with the reason."""
    name = shown(holding.ref.key)
    named = any(holding.is_called(name) for name in policy.leases)
    if named and holding.ref in kept:
        raise Usage(f"--end-lease names lease {name}, and --keep names it or something that it holds")
    if named and holding.kind.is_owned:
        raise Refused(f"lease {name} belongs to {holding.owner}: remove {holding.owner} with its engine")
    if not named and not _is_due(holding, verdict, policy):
        why = _incomparable(holding, verdict, policy)
        return Keep("the policy does not end it") if why is None else Withhold(f"lease {name} stays: {why}")
    if holding.ref not in kept:
        return Remove(_describe(holding, verdict))
    if holding.kind.holds_nothing:
        return Keep(kept[holding.ref])
    return Withhold(f"lease {name} stays, with all that it holds: {kept[holding.ref]}")


def _describe(holding: Holding, verdict: Verdict) -> str:
    """Why a lease ends, on one shown line."""
    known = age(holding.created, verdict.now)
    old = "" if known is None else f", {show_span(known)} old"
    return f"{holding.kind.value}: {holding.reason}{old}"


def _incomparable(holding: Holding, verdict: Verdict, policy: Policy) -> str | None:
    """Which time of a lease that does not end cannot be compared with now; None if no time decides about it."""
    if holding.kind.is_owned:
        return None
    if holding.expires is not None and holding.expires < verdict.now:
        return "its record says that it was made after it ended, or after the clock, so its end cannot be judged"
    if policy.older_than is None or not policy.end.includes(holding.kind) or holding.created is None:
        return None
    if age(holding.created, verdict.now) is not None:
        return None
    return "it was made after the clock, so its age is not known"


def _is_due(holding: Holding, verdict: Verdict, policy: Policy) -> bool:
    if holding.kind.holds_nothing:
        return True
    if holding.is_pruned and not holding.kind.is_owned and any(drop.kind in PRUNING for drop in policy.drops):
        return True
    if not policy.end.includes(holding.kind):
        return False
    if policy.older_than is None:
        return True
    known = age(holding.created, verdict.now)
    return known is not None and known >= policy.older_than


def dropped_namespaces(policy: Policy) -> frozenset[bytes]:
    """The namespaces of containerd that a policy empties."""
    return frozenset(IMAGE_STORE_NAMESPACES if policy.drop is StoreMode.IMAGE_STORE else ())
