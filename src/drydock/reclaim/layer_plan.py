"""The part of a plan that is about the classic layer store of Docker: what goes, in which order, and what stays.

A record goes only together with all that it names, and only if nothing that stays is built on it: dockerd mounts
directories by what is written in ``lower`` and through the links in ``l``, whatever layerdb says (moby
daemon/graphdriver/overlay2/overlay.go Get, v28.5).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from drydock.model.layer_store import LayerLink, LayerRecord, LayerRest, LayerStore, MountRecord
from drydock.model.names import Digest, Kind, RawPath, Ref
from drydock.model.objects import ObjectKind, State, StoreObject
from drydock.model.plans import CLASSIC_DATA, CLASSIC_RECORDS, Removal, Target, Withheld
from drydock.model.text import shown

LAYER_KINDS = (
    ObjectKind.LAYER,
    ObjectKind.LAYER_MOUNT,
    ObjectKind.LAYER_REST,
    ObjectKind.LAYER_DIRECTORY,
    ObjectKind.LAYER_LINK,
)


@dataclass(slots=True)
class LayerPlan:
    """What goes of a layer store, in order, and what looks unused and stays."""

    removals: list[Removal] = field(default_factory=list)
    withheld: list[Withheld] = field(default_factory=list)


def plan_layers(
    store: LayerStore,
    objects: Iterable[StoreObject],
    *,
    ended: Collection[Ref],
    kept: Mapping[RawPath, str],
    records: bool,
    dropped: str = "",
    released: Mapping[RawPath, str] = {},
    chosen: Mapping[Ref, str] = {},
) -> LayerPlan:
    """Decide what goes of a layer store.

    Args:
        store: as it was read.
        objects: what it holds, by state.
        ended: the leases that end, and the records of mounts whose writable layers are given up.
        kept: what looks unused and stays, by path: the reason, one shown line.
        records: whether what a record names may go; else only what nothing names.
        dropped: why all of it goes, used or not; empty if only what is not used goes.
        released: what images or builds use that go with this plan, with the reason; ``objects`` are judged without
            them.
        chosen: those of ``ended`` that the user chose, with the reason.
    """
    planner = _LayerPlanner(
        store, objects, ended=ended, kept=kept, records=records, dropped=dropped, released=released, chosen=chosen
    )
    return planner.plan()


class _LayerPlanner:
    """Plans one store."""

    def __init__(
        self,
        store: LayerStore,
        objects: Iterable[StoreObject],
        *,
        ended: Collection[Ref],
        kept: Mapping[RawPath, str],
        records: bool,
        dropped: str,
        released: Mapping[RawPath, str],
        chosen: Mapping[Ref, str],
    ) -> None:
        self._store = store
        self._objects = {each.path: each for each in objects if each.kind in LAYER_KINDS and each.path is not None}
        self._ended = ended
        self._kept = kept
        self._records = records
        self._dropped = dropped
        self._released = released
        self._chosen = chosen
        self._going: dict[RawPath, str] = {}
        """The reasons why paths go."""
        self._written = {each.mount_id for each in store.mounts.values() if store.is_written(each)}
        self._stays: dict[RawPath, str] = {}
        """The reasons why paths stay that look unused."""
        self._named: dict[bytes, list[RawPath]] = {}
        """The records that name each directory."""
        naming: list[LayerRecord | MountRecord | LayerRest] = [*store.layers.values(), *store.mounts.values()]
        naming += (each for each in store.rests if each.is_removing)
        for record in naming:
            for name in _directories(record):
                self._named.setdefault(name, []).append(record.path)

    def plan(self) -> LayerPlan:
        """Make the plan."""
        for path, found in self._objects.items():
            reason = self._why(found)
            if reason is None:
                continue
            if path in self._kept:
                self._stays[path] = self._kept[path]
            else:
                self._going[path] = reason
        while needed := dict(self._needed()):
            for path, reason in needed.items():
                del self._going[path]
                self._stays[path] = reason
        made = LayerPlan()
        made.removals += self._removals()
        for path, reason in self._stays.items():
            found = self._objects[path]
            made.withheld.append(Withheld(Kind(found.kind.value), shown(found.id), found.allocated, reason))
        return made

    def _why(self, found: StoreObject) -> str | None:
        """Why an object may go; None if it may not."""
        if found.state is State.FOREIGN:
            return None
        if self._dropped:
            return self._dropped
        if found.reach is State.LIVE:
            return None
        if found.reach is State.LEASED:
            if not self._records or not all(ref in self._ended for ref in found.held_by):
                return None
            why = self._chosen.get(found.held_by[0])
            if why is not None:
                return why
            return "only " + " and ".join(sorted(map(_shown_holder, found.held_by))) + " needs it"
        if not self._records and (found.state is not State.ORPHANED or found.reach is not None):
            return None
        if found.path is not None and found.path in self._released:
            return self._released[found.path]
        if found.kind is ObjectKind.LAYER:
            return "no image, container or build uses it"
        if found.kind is ObjectKind.LAYER_MOUNT:
            return "it is of no container and no build"
        named = found.state is not State.ORPHANED and found.kind is not ObjectKind.LAYER_REST
        return "nothing that stays names it" if named or not found.note else found.note

    def _needed(self) -> Iterator[tuple[RawPath, str]]:
        """What may not go because of something that stays, with the reason; none once all that stays is whole."""
        store = self._store
        holders: dict[RawPath, RawPath | None] = {}
        parents: dict[Digest, RawPath] = {}
        built: list[LayerRecord | MountRecord] = [*store.layers.values(), *store.mounts.values()]
        for record in built:
            if record.parent is not None and record.path not in self._going:
                parents.setdefault(record.parent, record.path)
        for layer in store.layers.values():
            holders[layer.path] = parents.get(layer.chain_id) or self._staying_directory(layer)
        for mount in store.mounts.values():
            holders[mount.path] = self._staying_directory(mount)
        below = dict(self._mounted_below())
        for directory in store.directories.values():
            names = self._named.get(directory.name, ())
            holder = next((each for each in names if each not in self._going), None)
            holders[directory.path] = holder or below.get(directory.name)
        links = {each.link: each.path for each in store.directories.values() if each.path not in self._going}
        for link in store.links.values():
            own = store.directories.get(link.directory or b"")
            leads = None if own is None or own.path in self._going else own.path
            holders[link.path] = links.get(link.name) or leads
        for path, needing in holders.items():
            if needing is not None and path in self._going:
                yield path, f"{shown(needing)} stays, and needs it"

    def _staying_directory(self, record: LayerRecord | MountRecord) -> RawPath | None:
        """A directory that a record names and that stays; None if there is none."""
        for name in _directories(record):
            directory = self._store.directories.get(name)
            if directory is not None and directory.path not in self._going:
                return directory.path
        return None

    def _mounted_below(self) -> Iterator[tuple[bytes, RawPath]]:
        """The directories in the ``lower`` of those that stay, each with one that needs it."""
        store = self._store
        links = {each.link: each.name for each in store.directories.values() if each.link is not None}
        for directory in store.directories.values():
            if directory.path in self._going:
                continue
            for name in directory.lower:
                link = store.links.get(name)
                for below in (None if link is None else link.directory, links.get(name)):
                    if below is not None:
                        yield below, directory.path

    def _removals(self) -> Iterator[Removal]:
        """What goes: records, children before parents, then links, then directories, those on top first."""
        depths = {path: self._depth(path) for path in self._going}
        order = (*CLASSIC_RECORDS, *CLASSIC_DATA)
        made = [self._removal(path, reason) for path, reason in self._going.items()]
        yield from sorted(made, key=lambda each: (order.index(each.target), -depths[each.path], each.path))

    def _depth(self, path: RawPath) -> int:
        data = self._objects[path].data
        if isinstance(data, LayerRecord):
            depth, below = 0, data.parent
            while below is not None and depth <= len(self._store.layers):
                depth += 1
                parent = self._store.layers.get(below)
                below = None if parent is None else parent.parent
            return depth
        return len(getattr(data, "lower", ()))

    def _removal(self, path: RawPath, reason: str) -> Removal:
        found = self._objects[path]
        assert found.fingerprint is not None, "what goes is on disk"
        name = found.id
        if isinstance(found.data, LayerLink):
            name = found.data.directory or b""
        namer = next((each for each in self._named.get(name, ()) if each in self._going), RawPath(b""))
        named_by = namer if found.kind in (ObjectKind.LAYER_DIRECTORY, ObjectKind.LAYER_LINK) else RawPath(b"")
        return Removal(
            self._target(found), self._store.data, path, found.fingerprint, found.allocated, reason, named_by=named_by
        )

    def _target(self, found: StoreObject) -> Target:
        match found.kind:
            case ObjectKind.LAYER:
                return Target.LAYER_RECORD
            case ObjectKind.LAYER_MOUNT:
                return Target.MOUNT_RECORD
            case ObjectKind.LAYER_LINK:
                return Target.LINK
            case ObjectKind.LAYER_REST:
                is_removing = isinstance(found.data, LayerRest) and found.data.is_removing
                return Target.LAYER_RECORD if is_removing else Target.WRITE_SET
        return Target.WRITTEN_LAYER if found.id in self._written else Target.LAYER


def _directories(record: LayerRecord | MountRecord | LayerRest) -> tuple[bytes, ...]:
    """The directories that a record names."""
    if isinstance(record, MountRecord):
        return record.directories
    return () if record.cache_id is None else (record.cache_id,)


def _shown_holder(ref: Ref) -> str:
    if ref.kind is Kind.LEASE:
        return f"lease {shown(ref.key)}"
    return f"the written layer {shown(ref.key)}, whose container is gone,"
