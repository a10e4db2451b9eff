"""A store as a tree that has every byte once: root, namespace, image (or another holder), layer.

It also has the words for what is in the tree: ``layer 3``, ``config``, ``unpacked layer``, ``build cache``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from drydock.model.data import RowKind
from drydock.model.inventories import Holder, Inventory
from drydock.model.leases import LeaseClass
from drydock.model.names import Kind, Ref
from drydock.model.objects import LayerObject, ObjectKind, PluginObject, StoreObject, Verdict
from drydock.model.scans import Scan
from drydock.model.text import shown

# containerd core/images/mediatypes.go ChildGCLabels (v2.1): one for each child, fetched or not.
_CHILD = re.compile(rb"containerd\.io/gc\.ref\.content\.(?:(m|l)\.([0-9]{1,6})|(config))\Z")
_ROWS = {
    RowKind.COMMITTED: "unpacked layer",
    RowKind.ACTIVE: "writable layer",
    RowKind.VIEW: "view of a layer",
    RowKind.UNKNOWN: "snapshot",
}
_LAYER_ROLES = {
    ObjectKind.LAYER: "layer record",
    ObjectKind.LAYER_REST: "rest of a layer record",
    ObjectKind.LAYER_MOUNT: "record of a mount",
    ObjectKind.LAYER_DIRECTORY: "layer directory",
    ObjectKind.LAYER_LINK: "layer link",
    ObjectKind.PLUGIN_BLOB: "plugin blob",
    ObjectKind.PLUGIN_REST: "rest of a plugin",
}
_LEASES = {
    LeaseClass.TEMPORARY: "temporary leases",
    LeaseClass.BUILD_CACHE: "build cache",
    LeaseClass.BUILD_HISTORY: "build history",
    LeaseClass.IMAGE: "images of the graphdriver",
    LeaseClass.OWNERLESS: "leases whose owner is gone",
    LeaseClass.UNKNOWN: "leases of unknown owner",
}

_Step = tuple[str, str]
"""Kind and name: a namespace may have the name of a group."""

_CLASSIC: _Step = ("group", "classic layer store")


@dataclass(slots=True)
class HolderNode:
    """A part of the tree."""

    kind: str
    """``root``, ``namespace``, ``image``, ``container``, ``lease`` …; ``group`` for a node without a record."""
    name: str
    """Shown."""
    holder: Holder | None = None
    children: list[HolderNode] = field(default_factory=list)
    """The largest first."""
    objects: list[int] = field(default_factory=list)
    """Places in ``Verdict.objects``, the largest first; without those of ``children``."""
    bytes: int = 0
    """Bytes of all objects below."""
    count: int = 0
    """Number of objects below."""
    only: int = 0
    """Of a holder: bytes that nothing else reaches."""
    reached: int = 0
    """Of a holder: bytes of all objects that it reaches, anywhere in the tree."""
    is_shared: bool = False
    """Whether several holders reach the objects in it."""


def holder_tree(scan: Scan) -> HolderNode:
    """The tree of one root.

    An object is below the one holder that reaches it. An image takes precedence over a container, and a container over
    a lease: a layer that a container of the image uses is below the image. An object that several holders of one kind
    reach is below a group, once.

    Args:
        scan: made with its inventory.

    Raises:
        ValueError: it has no inventory.
    """
    if scan.inventory is None:
        raise ValueError("the scan was made without its inventory")
    return _TreeBuilder(scan.verdict, scan.inventory).build()


def kind_of(holder: Holder) -> str:
    """The word for a holder: the lease of a container counts as the container."""
    return "container" if holder.lease is LeaseClass.CONTAINER else holder.ref.kind.value


def name_of(holder: Holder) -> str:
    """The shown name of a holder; of an owned lease, the name of its owner."""
    if holder.owner:
        # The owner of a container's lease includes its kind: container NAME.
        return holder.owner.removeprefix(f"{kind_of(holder)} ")
    more = len(holder.names) - 1
    name = shown(holder.names[0])
    return f"{name} and {more} more {'name' if more == 1 else 'names'}" if more else name


class _TreeBuilder:
    def __init__(self, verdict: Verdict, inventory: Inventory) -> None:
        self._objects = verdict.objects
        self._database_bytes = verdict.store.database_bytes
        self._top = HolderNode("root", shown(verdict.store.root.path))
        self._holders = inventory.holders
        self._reached_by: list[list[int]] = [[] for _ in self._objects]
        for number, holder in enumerate(self._holders):
            for place in holder.objects:
                self._reached_by[place].append(number)
        self._nodes: dict[tuple[_Step, ...], HolderNode] = {}

    def build(self) -> HolderNode:
        for number, holder in enumerate(self._holders):
            node = self._node(self._path(holder), holder)
            node.reached = self._sum(holder.objects)
            node.only = self._sum(place for place in holder.objects if self._reached_by[place] == [number])
        for place in range(len(self._objects)):
            self._place(place)
        if self._database_bytes:
            self._top.children.append(HolderNode("group", "databases", bytes=self._database_bytes))
        self._measure(self._top)
        return self._top

    def _sum(self, places: Iterable[int]) -> int:
        return sum(self._objects[place].allocated for place in places)

    def _place(self, place: int) -> None:
        found = self._objects[place]
        if isinstance(found, LayerObject) and found.reach is not None:
            node = self._within(_CLASSIC, self._reached_by[place])
        elif isinstance(found, PluginObject):
            node = self._node((("group", "plugins"),))
        elif len(found.namespaces) != 1:
            name = "in several namespaces" if found.namespaces else "without a record"
            node = self._node((("group", name),))
            node.is_shared = bool(found.namespaces)
        else:
            node = self._within(("namespace", shown(found.namespaces[0])), self._reached_by[place])
        node.objects.append(place)

    def _within(self, namespace: _Step, numbers: Sequence[int]) -> HolderNode:
        if not numbers:
            return self._node((namespace, ("group", "held by nothing")))
        for wanted in ("image", "container", ""):
            holders = [self._holders[number] for number in numbers if wanted in ("", kind_of(self._holders[number]))]
            if len(holders) == 1:
                return self._node(self._path(holders[0]), holders[0])
            if holders:
                node = self._node((namespace, ("group", f"shared by several {wanted or 'lease'}s")))
                node.is_shared = True
                return node
        raise AssertionError("every holder is some holder")

    def _path(self, holder: Holder) -> tuple[_Step, ...]:
        namespace = ("namespace", shown(holder.ref.namespace)) if holder.ref.namespace else _CLASSIC
        own = (holder.ref.kind.value, shown(holder.ref.key))
        if holder.lease in _LEASES:
            return namespace, ("group", _LEASES[holder.lease]), own
        return namespace, own

    def _node(self, path: tuple[_Step, ...], holder: Holder | None = None) -> HolderNode:
        node = self._nodes.get(path)
        if node is None:
            node = HolderNode(*path[-1]) if holder is None else HolderNode(kind_of(holder), name_of(holder), holder)
            self._nodes[path] = node
            above = self._node(path[:-1]) if len(path) > 1 else self._top
            above.children.append(node)
        return node

    def _measure(self, node: HolderNode) -> None:
        for each in node.children:
            self._measure(each)
        node.bytes += self._sum(node.objects) + sum(each.bytes for each in node.children)
        node.count = len(node.objects) + sum(each.count for each in node.children)
        node.objects.sort(key=lambda place: -self._objects[place].allocated)
        node.children.sort(key=lambda each: -(each.bytes or each.reached))


class ObjectRoles:
    """The roles of the objects of one root: ``layer 3``, ``config``, ``unpacked layer``."""

    def __init__(self, verdict: Verdict) -> None:
        self._store = verdict.store
        self._roles: dict[Ref, str] = {}
        metadata = verdict.store.metadata
        for place, labels in metadata.blobs.labels.items():
            namespace = metadata.blobs.namespace(place)
            for label, value in labels.items():
                match = _CHILD.match(label)
                if match is not None:
                    what = "manifest" if match[1] == b"m" else f"layer {int(match[2]) + 1}" if match[1] else "config"
                    self._roles.setdefault(Ref(Kind.BLOB, namespace, value), what)
        for image in metadata.images:
            what = "index" if b"index" in image.media_type or b"manifest.list" in image.media_type else "manifest"
            self._roles.setdefault(Ref(Kind.BLOB, image.namespace, image.target), what)

    def of(self, found: StoreObject) -> str:
        """The role of one object; its kind where nothing more is known."""
        if found.kind in _LAYER_ROLES:
            return _LAYER_ROLES[found.kind]
        if found.kind is ObjectKind.INGEST:
            return "unfinished write"
        if found.kind is ObjectKind.SNAPSHOT:
            backend = self._store.backends.get(found.snapshotter)
            row = None if backend is None or found.row is None else backend.rows.get(found.row)
            return "snapshot" if row is None else _ROWS[row.kind]
        return next((self._roles[ref] for ref in found.refs if ref in self._roles), "blob")
