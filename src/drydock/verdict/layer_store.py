"""The state of everything in a classic layer store: layers, records of mounts, directories and links.

A layer is referenced by an image, by the record of a mount, by BuildKit, or as the parent of such a layer. A directory
of ``overlay2`` is referenced by a layer, a record of a mount, BuildKit, or the ``lower`` of such a directory.
Sources: moby layer/layer_store.go, layer/filestore.go, daemon/graphdriver/overlay2/overlay.go,
builder/builder-next/adapters/snapshot/{snapshot,layer,leasemanager}.go, daemon/volumes.go (v28.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from drydock.model.findings import Finding
from drydock.model.layer_store import (
    BUILDS,
    SNAPSHOTTER,
    BuildSnapshot,
    DirectoryKind,
    LayerDirectory,
    LayerRecord,
    LayerStore,
    MountRecord,
)
from drydock.model.leases import Holding, LeaseClass
from drydock.model.names import Digest, Kind, RawPath, Ref, UnixNano, hash_hex, is_container_id, snapshot_ref
from drydock.model.objects import LayerObject, ObjectKind, State
from drydock.model.records import Lease
from drydock.model.roots import BuildOwners, Owners
from drydock.model.text import shown
from drydock.verdict.classic_builds import find_let_go
from drydock.verdict.labels import expiry
from drydock.verdict.layer_doubts import LayerDoubts
from drydock.verdict.leases import Judgement, build_record, classify_build

_IMAGE_MOUNT: Final = re.compile(rb"([0-9a-f]{64})-.", re.DOTALL)
_BUILD: Final = re.compile(rb"[0-9a-z]{25}\Z")
_RANK: Final = {State.LIVE: 2, State.LEASED: 1, State.UNREACHABLE: 0}
_NO_RECORD: Final = "no layer, container or build names it"


@dataclass(slots=True)
class LayerVerdict:
    """What a classic layer store holds, by state, and what must stay although it looks unused."""

    objects: list[LayerObject] = field(default_factory=list)
    leases: list[Holding] = field(default_factory=list)
    """The leases of BuildKit, and the records of mounts whose container is gone or not known."""
    findings: list[Finding] = field(default_factory=list)
    """What is damaged."""
    kept: dict[RawPath, str] = field(default_factory=dict)
    """Paths of objects that look unused and stay: the reason, one shown line."""
    let_go: dict[RawPath, str] = field(default_factory=dict)
    """Paths of unreachable objects that the builder's databases name still: the reason, one shown line."""


@dataclass(slots=True)
class _Held:
    """How a layer, a directory or the record of a mount is reached: as an object's ``state`` and ``held_by``."""

    state: State
    by: list[Ref]

    def is_added(self, state: State, holder: Ref | None) -> bool:
        """Add a holder; whether that tells anything new."""
        if _RANK[state] < _RANK[self.state] or (state is self.state and state is not State.LEASED):
            return False
        if state is not self.state:
            self.state, self.by = state, []
        if holder is None or holder in self.by:
            return False
        self.by.append(holder)
        return True


def judge_layer_store(store: LayerStore, now: UnixNano) -> LayerVerdict:
    """Judge everything in a classic layer store.

    Args:
        store: as it was read.
        now: the time that the ends of BuildKit's leases are compared with.
    """
    return _Judge(store, now).judge()


class _Judge:
    """Judges one store."""

    def __init__(self, store: LayerStore, now: UnixNano) -> None:
        self._store = store
        self._now = now
        self._classes: dict[Ref, Judgement] = {}
        """Of the leases, and of the records of mounts that no container has."""
        self._named: dict[Ref, int] = {}
        """How many snapshots or directories each of them names."""
        self._layers: dict[Digest, _Held] = {}
        self._directories: dict[bytes, _Held] = {}
        self._mounts: dict[bytes, _Held] = {}
        self._links = {each.link: name for name, each in store.directories.items() if each.link is not None}
        """The directory whose file ``link`` has a name."""
        self._lowers = {name for each in store.directories.values() for name in each.lower}
        self._broken = {each.chain_id: why for each in store.layers.values() if (why := _broken(each))}
        """Why the record of a layer cannot be trusted."""
        self._below = dict(self._find_below())
        """The directory that each is to be mounted on by its record; empty for none."""
        self._let_go = find_let_go(store)
        self._unbuilt: dict[bytes, str] = {}
        """The layers and directories that only snapshots reach which go by themselves, with the reason."""

    def judge(self) -> LayerVerdict:
        """Judge the store."""
        self._hold_by_images()
        self._hold_by_mounts()
        self._hold_by_builds()
        self._hold_what_goes()
        for layer in self._store.layers.values():
            self._hold_layer(layer.chain_id, State.UNREACHABLE, None)
        for rest in self._store.rests:
            if rest.is_removing and rest.cache_id is not None:
                self._hold_directory(rest.cache_id, State.UNREACHABLE, None)
        found = LayerVerdict()
        found.objects += self._judge_layers()
        found.objects += self._judge_rests()
        found.objects += self._judge_mounts()
        found.objects += self._judge_directories()
        found.objects += self._judge_links()
        for path in self._store.foreign:
            kind = ObjectKind.LAYER_LINK if path.startswith(b"overlay2/") else ObjectKind.LAYER
            name = path.rpartition(b"/")[2]
            found.objects.append(LayerObject(kind, name, State.FOREIGN, 0, None, note="dockerd makes no such entry"))
        found.leases += self._holdings(found.objects)
        layers = {chain: held.state for chain, held in self._layers.items()}
        directories = {name: held.state for name, held in self._directories.items()}
        doubts = LayerDoubts(self._store, layers, directories, self._broken, self._resolve)
        found.findings += doubts.findings(found.objects)
        found.kept.update(doubts.keep(found.objects))
        found.let_go.update(self._paths_of_unbuilt(found.objects))
        for each in found.objects:
            each.data_root = self._store.data
        return found

    # Marking

    def _hold_layer(self, chain: Digest, state: State, holder: Ref | None) -> None:
        """Note that something reaches a layer, with its parents and their directories."""
        below: Digest | None = chain
        while below is not None:
            held = self._layers.get(below)
            if held is None:
                self._layers[below] = _Held(state, [] if holder is None else [holder])
            elif not held.is_added(state, holder):
                return
            layer = self._store.layers.get(below)
            if layer is None:
                return
            if layer.cache_id is not None:
                self._hold_directory(layer.cache_id, state, holder)
            below = layer.parent if state is not State.UNREACHABLE else None

    def _hold_directory(self, name: bytes, state: State, holder: Ref | None) -> None:
        """Note that something reaches a directory, with those that are mounted below it."""
        pending = [name]
        while pending:
            each = pending.pop()
            held = self._directories.get(each)
            if held is None:
                self._directories[each] = _Held(state, [] if holder is None else [holder])
            elif holder is None or not held.is_added(state, holder):
                continue
            directory = self._store.directories.get(each)
            if directory is not None:
                pending += [below for link in directory.lower if (below := self._resolve(link)) is not None]

    def _resolve(self, link: bytes) -> bytes | None:
        """The directory that a name in ``l`` stands for: by the link, or else by the directory's own file."""
        found = self._store.links.get(link)
        if found is not None and found.directory in self._store.directories:
            return found.directory
        return self._links.get(link)

    def _hold_by_images(self) -> None:
        for image in self._store.images.values():
            holder = Ref(Kind.IMAGE, b"", image.names[0] if image.names else image.id)
            for chain in image.chain:
                self._hold_layer(chain, State.LIVE, holder)

    def _hold_by_mounts(self) -> None:
        for name, mount in self._store.mounts.items():
            container = mount_owner(self._store, name)
            if container is not None:
                state, holder = State.LIVE, Ref(Kind.CONTAINER, b"", container)
            else:
                ref, judgement = Ref(Kind.LAYER_MOUNT, b"", name), self._judge_mount(mount)
                if judgement is None:
                    state, holder = State.UNREACHABLE, None
                else:
                    state, holder = State.LEASED, ref
                    self._classes[ref] = judgement
                    self._named[ref] = len(mount.directories) + (mount.parent is not None)
            self._mounts[name] = _Held(state, [] if holder is None else [holder])
            for each in mount.directories:
                if each in (mount.mount_id, mount.init_id) or each in self._store.directories:
                    self._hold_directory(each, state, holder)
            if mount.parent is not None and holder is not None:
                self._hold_layer(mount.parent, state, holder)

    def _judge_mount(self, mount: MountRecord) -> Judgement | None:
        """The class of a record that no container has; None if it is a rest that holds nothing of anybody."""
        store = self._store
        if not store.containers_known:
            return Judgement(LeaseClass.UNKNOWN, "not all of Docker's containers could be read")
        if not any(map(is_container_id, store.containers)):
            return Judgement(LeaseClass.UNKNOWN, "dockerd has no containers: their folder may have been emptied")
        if mount.problem:
            return Judgement(LeaseClass.UNKNOWN, f"its record cannot be read whole: {mount.problem}")
        if store.is_written(mount):
            return Judgement(LeaseClass.OWNERLESS, "it was written by a container whose folder is gone")
        if _BUILD.match(mount.name):
            return None
        if not (is_container_id(mount.name) or _IMAGE_MOUNT.match(mount.name)):
            return Judgement(LeaseClass.UNKNOWN, "dockerd gives no such name")
        if not all(each.mounts_known for each in store.containers.values()):
            return Judgement(
                LeaseClass.UNKNOWN, "it may be an image mount of a container whose configuration could not be read"
            )
        return None

    def _hold_by_builds(self) -> None:
        builds = self._let_go.left
        for lease in self._store.builds.leases:
            why = self._let_go.leases.get(lease.id)
            if why is not None:
                owner = f"cache record {shown(build_record(lease) or b'')}"
                self._classes[lease.ref] = Judgement(LeaseClass.DROPPED, why, owner)
                self._named[lease.ref] = len(lease.snapshots)
        owners = Owners(buildkitd=BuildOwners(builds.records, records_changed=builds.records_changed))
        by_key: dict[bytes, Ref] = {}
        leased: list[tuple[bytes, State, Ref]] = []
        for lease in builds.leases:
            keys = [key for snapshotter, key in lease.snapshots if snapshotter == SNAPSHOTTER]
            if not keys:
                continue
            judgement = classify_build(lease, owners, self._now)
            self._classes[lease.ref], self._named[lease.ref] = judgement, len(keys)
            if judgement.kind is LeaseClass.EXPIRED:
                continue
            state = State.LIVE if judgement.kind.is_owned else State.LEASED
            for key in keys:
                if state is State.LIVE or key not in by_key:
                    by_key[key] = lease.ref
                leased.append((key, state, lease.ref))
        used = builds.used_keys()
        for snapshot in builds.snapshots.values():
            if used is not None and snapshot.key not in used and not self._has_directory(snapshot):
                continue  # dockerd has forgotten this name of a layer
            holder = by_key.get(snapshot.key, snapshot_ref(BUILDS, SNAPSHOTTER, snapshot.key))
            if holder in self._classes and not self._classes[holder].kind.is_owned:
                holder = snapshot_ref(BUILDS, SNAPSHOTTER, snapshot.key)
            for chain in (snapshot.key, snapshot.parent, snapshot.chain_id):
                if chain is not None and chain.startswith(b"sha256:"):
                    self._hold_layer(Digest(chain), State.LIVE, holder)
            for each in snapshot.directories:
                # A lease has a bucket too, and no directory.
                if each in self._store.directories or (each == snapshot.committed and not snapshot.is_committed):
                    self._hold_directory(each, State.LIVE, holder)
        for key, state, ref in leased:
            if key.startswith(b"sha256:"):
                self._hold_layer(Digest(key), state, ref)
            elif key in self._store.directories:
                self._hold_directory(key, state, ref)

    def _hold_what_goes(self) -> None:
        """Note what only snapshots reach that go by themselves: it is recorded until their buckets are deleted."""
        store = self._store
        for key, why in self._let_go.snapshots.items():
            snapshot, before = store.builds.snapshots[key], set(self._directories)
            for each in (snapshot.key, snapshot.parent, snapshot.chain_id):
                layer = store.layers.get(Digest(each or b""))
                while layer is not None and layer.chain_id not in self._layers:
                    self._hold_layer(layer.chain_id, State.UNREACHABLE, None)
                    self._unbuilt[layer.chain_id] = why
                    layer = store.layers.get(layer.parent or Digest(b""))
            for name in snapshot.directories:
                if name in store.directories:
                    self._hold_directory(name, State.UNREACHABLE, None)
            self._unbuilt.update(dict.fromkeys(self._directories.keys() - before, why))

    def _paths_of_unbuilt(self, objects: list[LayerObject]) -> Iterator[tuple[RawPath, str]]:
        for found in objects:
            name = found.id
            if found.kind is ObjectKind.LAYER_LINK and name in self._store.links:
                name = self._store.links[name].directory or name
            if found.path is not None and found.reach is State.UNREACHABLE and name in self._unbuilt:
                found.note = found.note or self._unbuilt[name]
                yield found.path, self._unbuilt[name]

    def _has_directory(self, snapshot: BuildSnapshot) -> bool:
        """Whether the snapshot may have a directory; else its bucket only names a layer."""
        return snapshot.committed is not None or snapshot.is_committed or snapshot.key in self._store.directories

    # States

    def _judge_layers(self) -> Iterator[LayerObject]:
        for chain, held in self._layers.items():
            layer = self._store.layers.get(chain)
            if layer is None:
                note = "it is referenced, but layerdb has no record of it"
                yield LayerObject(
                    ObjectKind.LAYER, chain, State.MISSING, 0, None, (), held.state, held_by=tuple(held.by), note=note
                )
                continue
            found = LayerObject(
                ObjectKind.LAYER, chain, held.state, layer.allocated, layer, (), held.state, held_by=tuple(held.by)
            )
            problem = self._broken.get(chain) or self._incomplete(layer)
            if problem:
                found.state, found.note = State.CORRUPT, problem
            yield found

    def _incomplete(self, layer: LayerRecord) -> str:
        """Why dockerd cannot load a layer whose own record is whole: of what is missing below it."""
        seen = {layer.chain_id}
        below = layer.parent
        while below is not None and below not in seen:
            parent = self._store.layers.get(below)
            if parent is None:
                return f"layerdb has no record of {shown(below)} below it"
            if below in self._broken:
                return f"{shown(below)} below it cannot be loaded: {self._broken[below]}"
            seen.add(below)
            below = parent.parent
        return ""

    def _judge_rests(self) -> Iterator[LayerObject]:
        for rest in self._store.rests:
            state = State.UNREACHABLE if rest.is_removing else State.ORPHANED
            note = "its removal began" if rest.is_removing else "it was never finished, and nothing reads it"
            yield LayerObject(ObjectKind.LAYER_REST, rest.name, state, rest.allocated, rest, note=note)

    def _judge_mounts(self) -> Iterator[LayerObject]:
        for name, mount in self._store.mounts.items():
            held = self._mounts[name]
            found = LayerObject(
                ObjectKind.LAYER_MOUNT, name, held.state, mount.allocated, mount, (), held.state, held_by=tuple(held.by)
            )
            if mount.problem:
                found.state, found.note = State.CORRUPT, mount.problem
            yield found

    def _judge_directories(self) -> Iterator[LayerObject]:
        store = self._store
        recorded = store.recorded_sizes()
        for name, directory in store.directories.items():
            size = recorded.get(name, 0) if directory.allocated is None else directory.allocated
            held = self._directories.get(name)
            found = LayerObject(ObjectKind.LAYER_DIRECTORY, name, State.ORPHANED, size, directory)
            if held is not None:
                found.state = found.reach = held.state
                found.held_by = tuple(held.by)
                # A removal takes the link first, and then the directory in part; a killed build may have half of one.
                problem = self._damage(directory) if held.state is State.LIVE else ""
                if problem:
                    found.state, found.note = State.CORRUPT, problem
            elif directory.kind is DirectoryKind.FOREIGN:
                found.state, found.note = State.FOREIGN, "dockerd makes no directory of such a name"
            else:
                is_probe = directory.kind is DirectoryKind.PROBE
                found.note = "a test of the file system that a killed dockerd left" if is_probe else _NO_RECORD
            yield found
        for name, held in self._directories.items():
            if name not in store.directories:
                note = "it is referenced, but overlay2 has no such directory"
                yield LayerObject(
                    ObjectKind.LAYER_DIRECTORY,
                    name,
                    State.MISSING,
                    0,
                    None,
                    reach=held.state,
                    held_by=tuple(held.by),
                    note=note,
                )

    def _damage(self, directory: LayerDirectory) -> str:
        """What keeps the driver from mounting a directory that is referenced; empty if nothing does."""
        if directory.problem:
            return directory.problem
        if not directory.has_diff:
            return "it has no folder diff"
        if directory.link is None:
            return "it has no file link, so that nothing can be mounted on it"
        link = self._store.links.get(directory.link)
        if link is None:
            return f"its link l/{shown(directory.link)} is missing"
        if link.directory != directory.name:
            return f"its link l/{shown(directory.link)} does not lead to it"
        for each in directory.lower:
            below = self._store.links.get(each)
            if below is None:
                return f"its lower names l/{shown(each)}, which is missing"
            if below.directory not in self._store.directories:
                return f"its lower names l/{shown(each)}, which leads to no directory"
        return self._other_lower(directory)

    def _other_lower(self, directory: LayerDirectory) -> str:
        """Whether a directory is mounted on another than its record says; empty if not, or if nothing says it.

        BuildKit makes its directories on its own ones, also where a layer of that chain has another one.
        """
        wanted = self._below.get(directory.name)
        if wanted is None or directory.kind is DirectoryKind.BUILD:
            return ""
        found = self._resolve(directory.lower[0]) if directory.lower else b""
        if found == wanted:
            return ""
        on, record = (f"on {shown(each)}" if each else "on nothing" for each in (found or b"", wanted))
        return f"it is mounted {on}; by its record it should be mounted {record}"

    def _find_below(self) -> Iterator[tuple[bytes, bytes]]:
        """The directory that each is to be mounted on by its record, empty for a base; only where that is known."""
        layers = self._store.layers
        for layer in layers.values():
            below = None if layer.parent is None else layers.get(layer.parent)
            if layer.cache_id is not None and layer.chain_id not in self._broken:
                if layer.parent is None:
                    yield layer.cache_id, b""
                elif below is not None and below.cache_id is not None:
                    yield layer.cache_id, below.cache_id
        for mount in self._store.mounts.values():
            parent = None if mount.parent is None else layers.get(mount.parent)
            if mount.mount_id is None or mount.problem or parent is None or parent.cache_id is None:
                continue
            if mount.init_id is not None:
                yield mount.init_id, parent.cache_id
            yield mount.mount_id, mount.init_id or parent.cache_id

    def _judge_links(self) -> Iterator[LayerObject]:
        for name, link in self._store.links.items():
            found = LayerObject(ObjectKind.LAYER_LINK, name, State.ORPHANED, link.allocated, link)
            owner = self._links.get(name)
            if link.directory is None:
                found.state, found.note = State.FOREIGN, "it does not lead to the diff of a directory beside it"
            elif link.directory in self._store.directories:
                held = self._directories.get(link.directory)
                if held is not None:
                    found.state = found.reach = held.state
                    found.held_by = tuple(held.by)
                else:
                    found.note = f"nothing names its directory {shown(link.directory)}"
            elif link.directory in self._directories:
                found.state, found.note = State.CORRUPT, "it leads to a directory that is referenced and missing"
            elif name in self._lowers or owner is not None:
                used = "the link of directory " + shown(owner) if owner is not None else "in the lower of a directory"
                found.state, found.note = State.CORRUPT, f"it leads to no directory, and is {used}"
            else:
                found.note = "it leads to no directory, and no directory names it"
            yield found

    def _holdings(self, objects: list[LayerObject]) -> Iterator[Holding]:
        only: dict[Ref, int] = {}
        for found in objects:
            if found.reach is State.LEASED and len(found.held_by) == 1:
                only[found.held_by[0]] = only.get(found.held_by[0], 0) + found.allocated
        holding = {ref for found in objects for ref in found.held_by}
        leases = {lease.ref: lease for lease in self._store.builds.leases}
        for ref, (kind, reason, owner) in self._classes.items():
            if ref not in holding and not kind.is_owned and kind is not LeaseClass.DROPPED:
                continue  # a killed build left it, and what it named is gone: dockerd is fine with it
            lease: Lease | None = leases.get(ref)
            created = None if lease is None else lease.created
            expires = None if lease is None else expiry(lease.labels)
            named, size = self._named[ref], only.get(ref, 0)
            yield Holding(ref, kind, reason, owner, created, expires, named, size, data_root=self._store.data)


def mount_owner(store: LayerStore, name: bytes) -> bytes | None:
    """The id of the container that has the record of a mount: its own, or that of an image that it mounts."""
    if name in store.containers:
        return name
    mounting = _IMAGE_MOUNT.match(name)
    if mounting is not None and mounting[1] in store.containers:
        return mounting[1]
    return next((each.id for each in store.containers.values() if name in each.mounts), None)


def _broken(layer: LayerRecord) -> str:
    """Why the record of a layer cannot be trusted; empty if it can."""
    if layer.problem or layer.diff_id is None:
        return layer.problem
    chain = layer.diff_id
    if layer.parent is not None:
        chain = Digest(b"sha256:" + hash_hex(layer.parent + b" " + layer.diff_id))
    return "" if chain == layer.chain_id else "its diff id and its parent do not give its chain id"
