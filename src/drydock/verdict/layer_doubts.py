"""What of a classic layer store is damaged, and what stays because of it although it looks unused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from drydock.model import messages
from drydock.model.findings import Finding, Place, Severity
from drydock.model.layer_store import OVERLAY2, DirectoryKind, LayerStore
from drydock.model.names import Digest, Kind, RawPath, Ref
from drydock.model.objects import LayerObject, ObjectKind, State
from drydock.model.roots import DockerContainer
from drydock.model.text import shown
from drydock.verdict.similar_names import find_near

_BUILD: Final = re.compile(rb"[0-9a-z]{25}\Z")
_DAMAGED: Final = {
    (ObjectKind.LAYER, State.MISSING): messages.MISSING_LAYER,
    (ObjectKind.LAYER, State.CORRUPT): messages.CORRUPT_LAYER,
    (ObjectKind.LAYER_MOUNT, State.CORRUPT): messages.UNREADABLE_MOUNT,
    (ObjectKind.LAYER_DIRECTORY, State.MISSING): messages.MISSING_DIRECTORY,
    (ObjectKind.LAYER_DIRECTORY, State.CORRUPT): messages.CORRUPT_DIRECTORY,
    (ObjectKind.LAYER_LINK, State.CORRUPT): messages.BROKEN_LINK,
}


class LayerDoubts:
    """Contradictions in one store: whatever the missing or damaged part may have meant is kept.

    Args:
        store: as it was read.
        layers: how each layer is reached that something names, whether layerdb has it or not.
        directories: how each directory is reached that something names, whether overlay2 has it or not.
        broken: why the record of a layer cannot be trusted.
        resolve: gives the directory that a name in ``l`` stands for.
    """

    def __init__(
        self,
        store: LayerStore,
        layers: Mapping[Digest, State],
        directories: Mapping[bytes, State],
        broken: Mapping[Digest, str],
        resolve: Callable[[bytes], bytes | None],
    ) -> None:
        self._store = store
        self._layers = layers
        self._directories = directories
        self._broken = broken
        self._resolve = resolve

    def findings(self, objects: list[LayerObject]) -> Iterator[Finding]:
        """What is damaged: dockerd does not start, does not list an image, or fails on a layer."""
        store = self._store
        image_store = Place(RawPath(store.data + b"/image/overlay2"))
        layers = {each.id: each for each in objects if each.kind is ObjectKind.LAYER}
        for image in store.images.values():
            problem = image.problem
            for chain in image.chain:
                found = layers.get(chain)
                if found is not None and found.is_damaged:
                    problem = problem or f"its layer {shown(chain)} cannot be loaded: {found.note}"
            if problem:
                place = Place(RawPath(store.data + b"/" + image.path))
                called = image.names[0] if image.names else image.id
                yield messages.UNLISTED_IMAGE(image=called, problem=problem).at(place, image.id)
        for name, identity in store.references.items():
            if identity not in store.images:
                yield messages.LOST_IMAGE(name=name, image=identity).at(image_store, identity)
        for container in store.containers.values():
            if store.containers_known and _is_without_layer(container, store):
                yield messages.LOST_LAYER(container=container.id).at(image_store, container.id)
        if self._has_no_records():
            place = Place(RawPath(store.data + b"/" + OVERLAY2))
            yield messages.LAYERS_WITHOUT_RECORDS(store=place.file).at(place)
        for found in objects:
            if found.is_damaged:
                yield self._damaged(found)

    def _damaged(self, found: LayerObject) -> Finding:
        path = found.path or OVERLAY2
        place = Place(RawPath(self._store.data + b"/" + path))
        text = _DAMAGED[found.kind, found.state](layer=found.id, problem=found.note)
        severity = Severity.DAMAGE if found.reach in (State.LIVE, State.LEASED) else Severity.NOTE
        return text.at(place, found.id, severity=severity, remedy=None if severity is Severity.DAMAGE else "")

    def keep(self, objects: list[LayerObject]) -> Iterator[tuple[RawPath, str]]:
        """What stays although nothing but leases, if anything, reaches it: something unread or missing may mean it."""
        everything = self._everything()
        layers, directories, builds = self._layers_in_doubt(), self._directories_in_doubt(), self._builds_in_doubt()
        near = self._near_names(objects)
        removing = {each.cache_id for each in self._store.rests if each.is_removing}
        for found in objects:
            if found.path is None or found.reach is State.LIVE or found.state is State.FOREIGN:
                continue
            name = found.id
            reason = everything
            if found.kind is ObjectKind.LAYER_LINK:
                reason = reason or (found.note if found.state is State.CORRUPT else None)
                name = self._store.links[name].directory or name
            if found.kind is ObjectKind.LAYER:
                reason = reason or layers or builds
            elif found.kind in (ObjectKind.LAYER_DIRECTORY, ObjectKind.LAYER_LINK):
                is_layers = name in self._directories and name not in removing
                reason = reason or near.get(name) or (layers or builds if is_layers else directories)
                if found.reach is State.LEASED:
                    reason = reason or directories
                if _BUILD.match(name):
                    reason = reason or builds
            if reason is not None:
                yield found.path, reason

    def _everything(self) -> str | None:
        """Why nothing of the store goes; None if something may."""
        store = self._store
        if store.unlisted:
            return store.unlisted[0]
        if not store.containers_known:
            return "Docker's containers could not be listed"
        if self._has_no_records():
            return "layerdb has no layer, but overlay2 has directories of layers: layerdb may be lost"
        return None

    def _has_no_records(self) -> bool:
        """Whether layerdb is empty and overlay2 is not."""
        directories = self._store.directories.values()
        return not self._store.layers and any(each.kind is DirectoryKind.LAYER for each in directories)

    def _layers_in_doubt(self) -> str | None:
        """Why no layer goes that nothing reaches; None if such layers may go."""
        store = self._store
        for image in store.images.values():
            if image.problem:
                return f"image {shown(image.id)} may use it: {image.problem}"
            for chain in image.chain:
                if chain not in store.layers:
                    return f"image {shown(image.id)} names layer {shown(chain)}, of which layerdb has no record"
        if store.images_unknown:
            return f"an image that is not known may use it: {store.images_unknown}"
        for reference, identity in store.references.items():
            if identity not in store.images:
                return f"{shown(reference)} names image {shown(identity)}, of which imagedb has no config"
        for chain, problem in self._broken.items():
            return f"the record of layer {shown(chain)} cannot be trusted: {problem}"
        for mount in store.mounts.values():
            if mount.problem:
                return f"the record of mount {shown(mount.name)} cannot be read whole: {mount.problem}"
            if mount.parent is not None and mount.parent not in store.layers:
                return f"mount {shown(mount.name)} names layer {shown(mount.parent)}, of which layerdb has no record"
        for layer in store.layers.values():
            if layer.parent is not None and layer.parent not in store.layers:
                return f"layer {shown(layer.chain_id)} names {shown(layer.parent)}, of which layerdb has no record"
        return None

    def _directories_in_doubt(self) -> str | None:
        """Why no directory goes that nothing names; None if such directories may go."""
        store = self._store
        for layer in store.layers.values():
            if layer.cache_id is None:
                return f"layer {shown(layer.chain_id)} may name it: {layer.problem}"
        for mount in store.mounts.values():
            if mount.mount_id is None:
                return f"mount {shown(mount.name)} may name it: {mount.problem}"
        for container in store.containers.values():
            if _is_without_layer(container, store):
                return f"container {shown(container.name or container.id)} has no record in layerdb/mounts"
        for chain, state in self._layers.items():
            if state is not State.UNREACHABLE and chain not in store.layers:
                return f"layer {shown(chain)} is referenced, and layerdb has no record of it"
        for name, state in self._directories.items():
            if state is not State.UNREACHABLE and name not in store.directories:
                return f"directory {shown(name)} is referenced, and overlay2 has no such directory"
        for name, directory in store.directories.items():
            if name in self._directories:
                if directory.problem:
                    return f"directory {shown(name)} may be mounted on it: {directory.problem}"
                lost = next((each for each in directory.lower if self._resolve(each) is None), None)
                if lost is not None:
                    return f"directory {shown(name)} is mounted on l/{shown(lost)}, which leads to no directory"
        return None

    def _builds_in_doubt(self) -> str | None:
        """Why nothing goes that BuildKit may use; None if such things may go."""
        builds = self._store.builds
        if not builds.snapshots_known:
            return "not all of BuildKit's snapshots.db could be read"
        return None if builds.leases_known else "not all of BuildKit's containerdmeta.db could be read"

    def _near_names(self, objects: list[LayerObject]) -> dict[bytes, str]:
        """Directories that nothing names, and whose name is similar to that of a missing one."""
        kind = Kind.LAYER_DIRECTORY
        directories = [each for each in objects if each.kind is ObjectKind.LAYER_DIRECTORY]
        missing = [Ref(kind, b"", each.id) for each in directories if each.state is State.MISSING]
        there = [Ref(kind, b"", each.id) for each in directories if each.state is State.ORPHANED] if missing else []
        return {
            ref.key: f"its name is similar to that of {shown(wanted.key)}, which is missing"
            for wanted, ref in find_near(missing, there)
        }


def _is_without_layer(container: DockerContainer, store: LayerStore) -> bool:
    """Whether a container has, or may have, a writable layer in a store that has no record of it."""
    may_be = container.driver == OVERLAY2 or (container.driver is None and not container.mounts_known)
    return may_be and container.id not in store.mounts
