"""What is marked to go: the policy that marks make, and what the planner answers to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from drydock.browse.tree import Item, absolute
from drydock.model.drops import Drop, DropKind
from drydock.model.names import RawPath, Ref
from drydock.model.objects import State
from drydock.model.plans import Plan, Withheld
from drydock.model.policies import EndLeases, Policy
from drydock.model.text import shown
from drydock.report.wording import show_bytes, show_count
from drydock.verdict.leases import is_dockers

_LOG: Final = 10 << 20
"""Bytes of each log that stay, as the advice of a scan has it."""


class Wish(NamedTuple):
    """What one mark asks of a plan: options of ``drydock clean``."""

    end: EndLeases = EndLeases.EXPIRED
    leases: tuple[bytes, ...] = ()
    drops: tuple[Drop, ...] = ()
    truncate_logs: int | None = None


def _drop(kind: DropKind) -> Callable[[Item], Wish]:
    return lambda _: Wish(drops=(Drop(kind),))


def _drop_named(kind: DropKind) -> Callable[[Item], Wish]:
    return lambda item: Wish(drops=tuple(Drop(kind, name) for name in item.names))


def _end(item: Item) -> Wish:
    return Wish(leases=tuple(ref.namespace + b"/" + ref.key for ref in item.leases))


def _drop_container(item: Item) -> Wish:
    """By the namespace, too: another one may have the same id."""
    (name, *_), (ref, *_) = item.names, item.refs
    whole = ref.namespace + b"/" + name if ref.namespace and not is_dockers(ref.namespace) else name
    return Wish(drops=(Drop(DropKind.CONTAINER, whole),))


def _unreferenced(_: Item) -> Wish:
    return Wish()


WISHES: Final[Mapping[str, Callable[[Item], Wish]]] = {
    "image": _drop_named(DropKind.IMAGE),
    "container": _drop_container,
    "pull": _end,
    "lease": _end,
    "group held by nothing": _unreferenced,
    "group without a record": _unreferenced,
    "group ended leases": _unreferenced,
    "group temporary leases": lambda _: Wish(end=EndLeases.TEMPORARY),
    "group leases whose owner is gone": lambda _: Wish(end=EndLeases.OWNERLESS),
    "group build cache": _drop(DropKind.ALL_BUILD_CACHE),
    "group build history": _drop(DropKind.BUILD_HISTORY),
    "group logs": lambda _: Wish(truncate_logs=_LOG),
}
"""What a mark on each kind of items means; of groups, by name. Whether it goes is the planner's answer."""

STAYS: Final[Mapping[str, str]] = {
    "engine": "clean removes parts of a store, not the store: go down with Enter",
    "store": "clean removes parts of a store, not the store: go down with Enter",
    "namespace": "clean removes no namespace: go down with Enter",
    "volume": "drydock never removes a volume: docker volume rm does",
    "log": "logs are cut together: mark the group above it",
    "unknown": "drydock does not know what it is, and never removes it",
}
"""Why what has no mark stays, by kind."""
_OTHER: Final = "no option of drydock clean frees it"
_GROUP: Final = "it cannot be marked as a whole: go down with Enter"


def wish_of(item: Item) -> Wish | str:
    """What a mark on an item asks; or why it cannot be marked, in one shown line."""
    if item.found is not None:
        return Wish()
    made = WISHES.get(f"group {item.name}" if item.kind == "group" else item.kind)
    return made(item) if made is not None else STAYS.get(item.kind, _GROUP if _has_parts(item) else _OTHER)


def _has_parts(item: Item) -> bool:
    """Whether a group has things of a store in it, which have marks of their own."""
    return bool(item.places) or any(each.entry is None for each in item.below)


def policy_of(items: Iterable[Item], accepted: Iterable[bytes] = ()) -> Policy:
    """The policy that marks make.

    Args:
        items: the marked ones.
        accepted: names of images that the user accepted to lose.
    """
    end, leases, drops, logs = EndLeases.EXPIRED, dict[bytes, None](), dict[Drop, None](), None
    for item in items:
        wish = wish_of(item)
        if isinstance(wish, str):
            continue
        end = wish.end if list(EndLeases).index(wish.end) > list(EndLeases).index(end) else end
        leases.update(dict.fromkeys(wish.leases))
        drops.update(dict.fromkeys(wish.drops))
        logs = wish.truncate_logs if wish.truncate_logs is not None else logs
    return Policy(end, None, leases, drops=drops, truncate_logs=logs, accept_loss=accepted)


@dataclass(slots=True)
class Answer:
    """What the planner answers to a policy: what goes of each root."""

    plans: Sequence[Plan]
    _paths: set[RawPath] = field(default_factory=set)
    _refs: set[tuple[int, Ref]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for number, plan in enumerate(self.plans):
            self._paths.update(RawPath(each.root.rstrip(b"/") + b"/" + each.path) for each in plan.removals)
            self._refs.update((number, each.ref) for each in plan.records)
            self._refs.update((number, each.ref) for each in plan.leases)

    @property
    def bytes(self) -> int:
        """Bytes that carrying all of it out is expected to free."""
        return sum(plan.bytes for plan in self.plans)

    def goes(self, item: Item) -> bool:
        """Whether a thing goes; of a group, never."""
        if item.found is not None:
            path = absolute(item.found, self.plans[item.root].root)
            if path is not None:
                return path in self._paths
            return bool(item.refs) and all((item.root, ref) in self._refs for ref in item.refs)
        wanted = item.leases or item.refs
        return bool(wanted) and all((item.root, ref) in self._refs for ref in wanted)

    def why_not(self, item: Item, before: Answer) -> str | None:
        """Why a mark on an item frees nothing, by the planner's words; None if it does.

        Args:
            item: marked in this answer.
            before: the answer without the mark.
        """
        if item.found is None and item.kind == "group":
            if self._does_more(before) or any(self.goes(each) for each in item.below):
                return None
            if item.name in ("held by nothing", "without a record") and self.plans[item.root].removals:
                return None
        elif self.goes(item):
            return None
        elif item.found is None and any(not ref.namespace for ref in item.refs) and self._does_more(before):
            # What Docker's classic store holds has no record that a plan names: its files go.
            return self._withheld(item)
        return self._reason(item)

    def _does_more(self, before: Answer) -> bool:
        return any(_differs(*pair) for pair in zip(self.plans, before.plans, strict=True))

    def _withheld(self, item: Item) -> str | None:
        ids = {item.name, *(shown(name) for name in item.names)}
        ids.update(shown(ref.key) for ref in item.refs)
        withheld: Iterable[Withheld] = self.plans[item.root].withheld
        return next((each.reason for each in withheld if each.id in ids), None)

    def _reason(self, item: Item) -> str:
        withheld = self._withheld(item)
        if withheld is not None:
            return withheld
        if item.found is not None and item.found.state is State.LIVE:
            return "something holds it: e shows what; what holds it can go, or it stays"
        if item.found is not None and item.found.state is State.LEASED:
            return "a lease holds it: e shows which; mark the lease or the pull"
        if item.kind == "group" and item.name == "logs":
            return f"no log of a stopped container is longer than {show_bytes(_LOG)}"
        return "the plan removes nothing of it; e shows why it is there"


def _differs(plan: Plan, former: Plan) -> bool:
    """Whether two plans do different things."""
    return plan._replace(policy=former.policy, withheld=(), kept=()) != former._replace(withheld=(), kept=())


def foot(marked: int, answer: Answer | None, base: Answer | None) -> str:
    """What is marked, what that frees, and what else goes with it, on one shown line."""
    if not marked or answer is None or base is None:
        free = "" if base is None or not base.bytes else f"; {show_bytes(base.bytes)} are held by nothing"
        return f"nothing is marked{free}"
    parts = [
        show_count(sum(len(plan.leases) for plan in answer.plans), "lease"),
        show_count(sum(len(plan.records) for plan in answer.plans), "record"),
        show_count(sum(len(plan.removals) for plan in answer.plans), "file or directory"),
        show_count(sum(len(plan.log_cuts) for plan in answer.plans), "log file"),
    ]
    counted = ", ".join(part for part in parts if not part.startswith("0 "))
    unasked = f"; {show_bytes(base.bytes)} of it is held by nothing and goes with any plan" if base.bytes else ""
    return f"{marked} marked: frees {show_bytes(answer.bytes)} ({counted}){unasked}"
