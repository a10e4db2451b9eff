"""A place as a tree of items, for a view that shows one level at a time. It knows nothing of a terminal.

An item below an image, a container, a lease or a pull is everything that this one reaches, so that a layer of two
images is below both. Items of groups and stores have each byte once, as the map of the page has it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from typing import Final, TypeAlias

from drydock.model.disk_usage import UsageCategory, UsageEntry
from drydock.model.inventories import Holder
from drydock.model.leases import Holding
from drydock.model.names import RawPath, Ref
from drydock.model.objects import DAMAGED, DataRootObject, State, StoreObject
from drydock.model.pulls import Pull, pulled_name
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.report.holder_tree import HolderNode, ObjectRoles, holder_tree
from drydock.report.usage_text import KINDS, UsageGroup, usage_texts

_VOLUMES: Final = (UsageCategory.NAMED_VOLUMES, UsageCategory.ANONYMOUS_VOLUMES)
RawNames: TypeAlias = tuple[bytes, ...]
_RUN: Final = 20_000
"""Items that are sorted at once: a sort of more would not let the keys in for too long."""


class Order(enum.Enum):
    """What the items of a level are sorted by; the value is shown."""

    SIZE = "size"
    UNIQUE = "unique"
    NAME = "name"
    STATE = "state"
    COUNT = "count"


@dataclass(slots=True, eq=False)
class Item:
    """One row: a thing, or a group of things. Every text is shown."""

    kind: str
    """``engine``, ``store``, ``namespace``, ``group``, ``image``, ``container``, ``pull``, ``lease``, ``blob`` …"""
    name: str
    root: int = 0
    """Which of the scans it is of."""
    bytes: int = 0
    """Everything that it has or reaches."""
    unique: int | None = None
    """The bytes of it that nothing else reaches, which are free once it is gone; None where nothing can say."""
    count: int = 0
    """Objects in it."""
    state: State | None = None
    """None for a group of several states, and for what has none."""
    above: Item | None = None
    refs: tuple[Ref, ...] = ()
    """Its records."""
    names: RawNames = ()
    """All names of an image; the name of a volume, a log or a container."""
    leases: tuple[Ref, ...] = ()
    """The leases of a pull or a lease."""
    found: StoreObject | None = None
    """The object, if it is one."""
    entry: UsageEntry | None = None
    """What was measured, if it is beside the stores."""
    places: Sequence[int] = ()
    """Objects below it that have no item of their own yet, as places in the verdict."""
    below: list[Item] = field(default_factory=list)
    """The items below it, without those of ``places``; the largest first."""

    @property
    def title(self) -> str:
        """Its kind and name. The name of an object begins with its role, which says more than its kind."""
        return self.name if self.kind == "group" or self.found is not None else f"{self.kind} {self.name}"

    @property
    def shared(self) -> int:
        """The bytes that something else reaches as well."""
        return 0 if self.unique is None else max(0, self.bytes - self.unique)

    @property
    def is_open(self) -> bool:
        """Whether there is something below it."""
        return bool(self.below or len(self.places))

    def path(self) -> Iterator[Item]:
        """The items above it and itself, the top first."""
        if self.above is not None:
            yield from self.above.path()
        yield self


class Tree:
    """The items of a place."""

    def __init__(self, scans: Sequence[Scan]) -> None:
        """Make it.

        Args:
            scans: made with their inventories.
        """
        self._roots = [_Root(number, scan) for number, scan in enumerate(scans)]
        self.top = Item("host", "everything", below=[root.item() for root in self._roots])
        _sort(self.top.below)
        self.top.bytes = sum(each.bytes for each in self.top.below)
        self.top.count = sum(each.count for each in self.top.below)
        if len(self.top.below) == 1:
            self.top = self.top.below[0]
        _set_above(self.top)

    def level(self, item: Item) -> list[Item]:
        """The items below an item, the largest first; those of many objects are made when they are first asked for."""
        if len(item.places):
            objects = self._roots[item.root].objects(item.places)
            if item.kind in ("image", "container", "pull", "lease"):
                return sorted_by([*item.below, *objects], Order.SIZE)
            for each in objects:
                each.above = item
            item.below = sorted_by([*item.below, *objects], Order.SIZE)
            item.places = ()
        return item.below

    def matching(self, item: Item, word: str) -> list[Item]:
        """The items below an item, at any depth, whose names or kinds have a word; each once, the largest first."""
        wanted = word.casefold()
        found: dict[Item, None] = {}
        queue = [item]
        while queue:
            for each in self.level(queue.pop()):
                if wanted in each.name.casefold() or wanted == each.kind:
                    found[each] = None
                if each.is_open:
                    queue.append(each)
        return sorted_by(list(found), Order.SIZE)

    def again(self, item: Item, former: Tree) -> Item | None:
        """The item of the same thing as an item of a tree that was made before; None if it is gone."""
        path = former._roots[item.root].path
        root = next((each for each in self._roots if each.path == path), None)
        if root is None:
            return None
        if item.found is not None:
            return root.object_again(item.found)
        queue = [self.top]
        while queue:
            each = queue.pop()
            if each.root == root.number and _is_same(each, item):
                return each
            queue += each.below
        return None


def sorted_by(items: list[Item], order: Order) -> list[Item]:
    """Items in an order; keys stay quick while very many are sorted in another thread."""

    def key(item: Item) -> tuple[int, str]:
        match order:
            case Order.SIZE:
                return -item.bytes, item.name
            case Order.UNIQUE:
                return -(item.unique or 0), item.name
            case Order.COUNT:
                return -item.count, item.name
            case Order.STATE:
                return _STATES.index(item.state), item.name
            case Order.NAME:
                return 0, item.name

    if len(items) <= _RUN:
        return sorted(items, key=key)
    runs = [sorted(items[begin : begin + _RUN], key=key) for begin in range(0, len(items), _RUN)]
    # Slower than one more sort, but other threads have their turns meanwhile.
    return list(merge(*runs, key=key))


_STATES: Final = (*State, None)


def _is_same(one: Item, other: Item) -> bool:
    """Whether two items that are no objects are of the same thing: with one of its records, or the same group."""
    if one.kind != other.kind or one.found is not None:
        return False
    if one.refs or other.refs:
        return not set(one.refs).isdisjoint(other.refs)
    return _group_path(one) == _group_path(other)


def _group_path(item: Item) -> list[str]:
    """Names from the store on: that of an engine says where all its places are, which may change."""
    return [each.name for each in item.path() if each.kind not in ("host", "engine")]


def _object_key(found: StoreObject) -> tuple[object, ...]:
    base = found.data_root if isinstance(found, DataRootObject) else b""
    return found.kind, found.id, found.snapshotter, base, found.path, found.refs if found.path is None else ()


def _sort(items: list[Item]) -> None:
    items.sort(key=lambda each: (-each.bytes, each.name))


def _set_above(item: Item) -> None:
    queue = [item]
    while queue:
        above = queue.pop()
        for each in above.below:
            each.above = above
        queue += above.below


class _Root:
    """The items of one scan."""

    def __init__(self, number: int, scan: Scan) -> None:
        self.number = number
        self._scan = scan
        self._all = scan.verdict.objects
        self._roles = ObjectRoles(scan.verdict)
        self._made: dict[int, Item] = {}
        assert scan.inventory is not None
        self._reached = [0] * len(self._all)
        for holder in scan.inventory.holders:
            for place in holder.objects:
                self._reached[place] += 1
        self._pulls: dict[Ref, Pull] = {lease.ref: pull for pull in scan.inventory.pulls for lease in pull.leases}
        self._leases: dict[Ref, Holding] = {holding.ref: holding for holding in scan.verdict.leases}
        self.path = scan.verdict.store.root.path

    def item(self) -> Item:
        """The engine, with its store and what lies beside it."""
        root = self._scan.verdict.store.root
        store = self._branch(holder_tree(self._scan))
        store.kind = "store"
        ended = [self._lease(each) for each in self._scan.verdict.leases if each.kind.holds_nothing]
        if ended:
            store.below.append(Item("group", "ended leases", self.number, below=ended, count=len(ended)))
        places = [shown(place.path) for place in self._scan.places] or [shown(root.path)]
        engine = Item("engine", f"{root.engine.value} {', '.join(places)}", self.number, below=[store])
        engine.below += [self._group(each) for text in usage_texts(self._scan) for each in text.groups]
        _sort(engine.below)
        engine.bytes = sum(each.bytes for each in engine.below)
        engine.count = store.count
        return engine

    def object_again(self, found: StoreObject) -> Item | None:
        """The item of an object that was read before."""
        wanted = _object_key(found)
        place = next((place for place, each in enumerate(self._all) if _object_key(each) == wanted), None)
        return None if place is None else self._made.get(place) or self._object(place)

    def objects(self, places: Iterable[int]) -> list[Item]:
        """The items of objects."""
        return [self._made.get(place) or self._object(place) for place in places]

    def _object(self, place: int) -> Item:
        found = self._all[place]
        role = self._roles.of(found)
        made = Item(
            found.kind.value, f"{role} {shown(found.id)}", self.number, found.allocated,
            found.allocated if self._reached[place] < 2 else 0, 1, found.state,
            refs=found.refs, names=(found.id,), found=found,
        )  # fmt: skip
        self._made[place] = made
        return made

    def _branch(self, node: HolderNode) -> Item:
        if node.holder is not None:
            return self._holder(node, node.holder)
        made = Item(node.kind, node.name, self.number, node.bytes, None, node.count, places=node.objects)
        pulls: dict[int, None] = {}
        for each in node.children:
            pull = None if each.holder is None else self._pulls.get(each.holder.ref)
            if pull is None:
                made.below.append(self._branch(each))
            elif id(pull) not in pulls:
                pulls[id(pull)] = None
                made.below.append(self._pull(pull))
        _sort(made.below)
        states = {each.state for each in made.below} | {self._all[place].state for place in node.objects}
        if len(states) == 1:
            (made.state,) = states
        return made

    def _holder(self, node: HolderNode, holder: Holder) -> Item:
        leased = holder.lease is not None and not holder.lease.is_owned
        is_lease = holder.lease is not None and node.kind != "container"
        refs = tuple(holder.ref._replace(key=name) for name in holder.names)
        return Item(
            node.kind, node.name, self.number, node.reached, node.only, len(holder.objects),
            self._state(holder.objects, State.LEASED if leased else State.LIVE),
            refs=refs, names=holder.names, leases=refs if is_lease else (), places=holder.objects,
        )  # fmt: skip

    def _pull(self, pull: Pull) -> Item:
        assert self._scan.inventory is not None
        leases = tuple(lease.ref for lease in pull.leases)
        holders = (each for each in self._scan.inventory.holders if each.ref in leases)
        places = tuple(sorted({place for holder in holders for place in holder.objects}))
        return Item(
            "pull", shown(pulled_name(pull)), self.number, pull.held, pull.bytes, len(places),
            self._state(places, State.LEASED), refs=leases, names=(pulled_name(pull),), leases=leases, places=places,
        )  # fmt: skip

    def _lease(self, holding: Holding) -> Item:
        ref = holding.ref
        return Item(
            "lease", shown(ref.key), self.number, 0, 0, holding.resources, State.UNREACHABLE,
            refs=(ref,), names=(ref.key,), leases=(ref,),
        )  # fmt: skip

    def _group(self, group: UsageGroup) -> Item:
        made = Item("group", group.name, self.number, group.bytes, count=len(group.entries))
        for entry in group.entries:
            if entry.bytes:
                kind = "volume" if entry.category in _VOLUMES else KINDS.get(entry.category, entry.category.value)
                name = shown(entry.name) or shown(entry.path)
                made.below.append(
                    Item(kind, name, self.number, entry.bytes, entry.bytes, 1, names=(entry.name,), entry=entry)
                )
        _sort(made.below)
        return made

    def _state(self, places: Iterable[int], otherwise: State) -> State:
        """The state of what reaches objects: damaged if one of them is."""
        states = {self._all[place].state for place in places}
        return next((state for state in DAMAGED if state in states), otherwise)


def absolute(found: StoreObject, root: RawPath) -> RawPath | None:
    """Where an object is on disk; None if nothing of it is."""
    if found.path is None:
        return None
    base = found.data_root if isinstance(found, DataRootObject) else root
    return RawPath(base.rstrip(b"/") + b"/" + found.path)
