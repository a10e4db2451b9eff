"""A store as a tree in which every byte is once: root, namespace, image (or what else keeps it), layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from drydock.model.inventories import Holder, Inventory
from drydock.model.leases import LeaseClass
from drydock.model.objects import Verdict
from drydock.model.scans import Scan
from drydock.model.text import shown

_LEASES = {
    LeaseClass.TEMPORARY: "temporary leases",
    LeaseClass.BUILD_CACHE: "build cache",
    LeaseClass.BUILD_HISTORY: "build history",
    LeaseClass.IMAGE: "images of the graphdriver",
    LeaseClass.OWNERLESS: "leases whose owner is gone",
    LeaseClass.UNKNOWN: "leases of unknown owner",
}

_Step = tuple[str, str]
"""Kind and name: a namespace may be called like a group."""


@dataclass(slots=True)
class Branch:
    """A part of the tree."""

    kind: str
    """``root``, ``namespace``, ``image``, ``container``, ``lease`` …; ``group`` for what has no record of its own."""
    name: str
    """Shown."""
    holder: Holder | None = None
    branches: list[Branch] = field(default_factory=list)
    """The largest first."""
    objects: list[int] = field(default_factory=list)
    """Places in ``Verdict.objects``, the largest first; those of ``branches`` not among them."""
    bytes: int = 0
    """Of everything below."""
    count: int = 0
    """Objects below."""
    only: int = 0
    """Of a holder: bytes that nothing else reaches."""
    reached: int = 0
    """Of a holder: bytes of all that it reaches, wherever in the tree that is."""
    is_shared: bool = False
    """Whether several holders reach what is in it."""


def grow(scan: Scan) -> Branch:
    """The tree of one root.

    An object is below the one holder that reaches it. An image goes before a container and a container before leases,
    so that a layer which a container of the image uses is the image's. What several of a kind reach is in a group of
    its own, once.

    Args:
        scan: made with its inventory.

    Raises:
        ValueError: it was made without.
    """
    if scan.inventory is None:
        raise ValueError("the scan was made without its inventory")
    return _Tree(scan.verdict, scan.inventory).grow()


def kind_of(holder: Holder) -> str:
    """What a holder is to people: a lease that stands for a container is one."""
    return "container" if holder.lease is LeaseClass.CONTAINER else holder.ref.kind.value


def name_of(holder: Holder) -> str:
    """What a holder is called, shown; an owned lease by its owner."""
    if holder.owner:
        # A container's owner is called by its kind too.
        return holder.owner.removeprefix(f"{kind_of(holder)} ")
    more = len(holder.names) - 1
    name = shown(holder.names[0])
    return f"{name} and {more} more {'name' if more == 1 else 'names'}" if more else name


class _Tree:
    def __init__(self, verdict: Verdict, inventory: Inventory) -> None:
        self._objects = verdict.objects
        self._database_bytes = verdict.store.database_bytes
        self._top = Branch("root", shown(verdict.store.root.path))
        self._holders = inventory.holders
        self._of: list[list[int]] = [[] for _ in self._objects]
        for number, holder in enumerate(self._holders):
            for place in holder.objects:
                self._of[place].append(number)
        self._branches: dict[tuple[_Step, ...], Branch] = {}

    def grow(self) -> Branch:
        for number, holder in enumerate(self._holders):
            branch = self._branch(self._path(holder), holder)
            branch.reached = self._sum(holder.objects)
            branch.only = self._sum(place for place in holder.objects if self._of[place] == [number])
        for place in range(len(self._objects)):
            self._place(place)
        if self._database_bytes:
            self._top.branches.append(Branch("group", "databases", bytes=self._database_bytes))
        self._measure(self._top)
        return self._top

    def _sum(self, places: Iterable[int]) -> int:
        return sum(self._objects[place].allocated for place in places)

    def _place(self, place: int) -> None:
        found = self._objects[place]
        if len(found.namespaces) != 1:
            name = "in several namespaces" if found.namespaces else "that no record names"
            branch = self._branch((("group", name),))
            branch.is_shared = bool(found.namespaces)
        else:
            branch = self._within(("namespace", shown(found.namespaces[0])), self._of[place])
        branch.objects.append(place)

    def _within(self, namespace: _Step, numbers: Sequence[int]) -> Branch:
        if not numbers:
            return self._branch((namespace, ("group", "held by nothing")))
        for wanted in ("image", "container", ""):
            holders = [self._holders[number] for number in numbers if wanted in ("", kind_of(self._holders[number]))]
            if len(holders) == 1:
                return self._branch(self._path(holders[0]), holders[0])
            if holders:
                branch = self._branch((namespace, ("group", f"shared by several {wanted or 'lease'}s")))
                branch.is_shared = True
                return branch
        raise AssertionError("every holder is some holder")

    def _path(self, holder: Holder) -> tuple[_Step, ...]:
        namespace = ("namespace", shown(holder.ref.namespace))
        own = (holder.ref.kind.value, shown(holder.ref.key))
        if holder.lease in _LEASES:
            return namespace, ("group", _LEASES[holder.lease]), own
        return namespace, own

    def _branch(self, path: tuple[_Step, ...], holder: Holder | None = None) -> Branch:
        branch = self._branches.get(path)
        if branch is None:
            branch = Branch(*path[-1]) if holder is None else Branch(kind_of(holder), name_of(holder), holder)
            self._branches[path] = branch
            above = self._branch(path[:-1]) if len(path) > 1 else self._top
            above.branches.append(branch)
        return branch

    def _measure(self, branch: Branch) -> None:
        for each in branch.branches:
            self._measure(each)
        branch.bytes += self._sum(branch.objects) + sum(each.bytes for each in branch.branches)
        branch.count = len(branch.objects) + sum(each.count for each in branch.branches)
        branch.objects.sort(key=lambda place: -self._objects[place].allocated)
        branch.branches.sort(key=lambda each: -(each.bytes or each.reached))
