"""Images as their engine sees them: which of their blobs are there, and which snapshotter has their layers unpacked.

A blob of another platform that was never fetched is not damage: containerd writes the labels of all children before it
fetches any (containerd core/images/mediatypes.go ChildGCLabels, core/remotes/handlers.go, v2.1).
"""

from __future__ import annotations

from collections.abc import Iterator

from drydock.model.data import BlobFile
from drydock.model.names import Digest, Kind, Ref, split_snapshot_key
from drydock.model.objects import ObjectKind, StoreObject, Verdict
from drydock.model.oci import (
    Config,
    Descriptor,
    Documents,
    Index,
    Manifest,
    chain_ids,
    child_labels,
    is_parent,
    list_children,
)
from drydock.model.records import Image
from drydock.model.verifications import Completeness, ImageState, Platform, Unpacked
from drydock.verdict.blind_spots import backend_blindness, edit_blindness
from drydock.verdict.graph import visited
from drydock.verdict.judge import Reach
from drydock.verdict.reach import mark
from drydock.verdict.states import is_unpacked


def list_image_blobs(verdict: Verdict, reached: Reach) -> list[BlobFile]:
    """The blobs whose documents :class:`Images` needs, each once."""
    nodes = mark(reached.graph, [image.ref for image in verdict.store.metadata.images])
    files = verdict.store.content.blobs
    wanted = dict.fromkeys(Digest(ref.key) for ref in map(visited, nodes) if ref.kind is Kind.BLOB)
    return [files[digest] for digest in wanted if digest in files]


class Images:
    """The images of one root, with their platforms and layers."""

    def __init__(self, verdict: Verdict, reached: Reach, documents: Documents) -> None:
        self._verdict = verdict
        self._reached = reached
        self._documents = documents.found
        self._blobs: dict[Ref, StoreObject] = {}
        self._snapshots: dict[tuple[bytes, bytes, bytes], StoreObject] = {}
        for found in verdict.objects:
            for ref in found.refs:
                if ref.kind is Kind.BLOB:
                    self._blobs[ref] = found
                elif ref.kind is Kind.SNAPSHOT and is_unpacked(self._verdict.store, found):
                    snapshotter, key = split_snapshot_key(ref.key)
                    self._snapshots[ref.namespace, snapshotter, key] = found

    def states(self) -> list[ImageState]:
        """Every image record, with its platforms."""
        return [
            ImageState(
                image.namespace,
                image.name,
                image.target,
                tuple(self._platform(image.namespace, *each) for each in self._manifests(image)),
                tuple(self._adoptable(image)),
            )
            for image in self._verdict.store.metadata.images
        ]

    def unpacked(self) -> list[Unpacked]:
        """Each directory that holds an unpacked layer of an image, with that layer's blob, each once."""
        found: dict[tuple[bytes, bytes], Unpacked] = {}
        store = self._verdict.store
        files = store.content.blobs
        known = [name for name in store.backends if backend_blindness(store, name) is None]
        for image in store.metadata.images:
            for digest, _ in self._manifests(image):
                for chain, layer, is_base in self._layers(digest):
                    file = files.get(layer)
                    blob = self._blobs.get(Ref(Kind.BLOB, image.namespace, layer))
                    if file is None or (blob is not None and blob.is_damaged):
                        continue
                    for snapshotter in known:
                        each = self._snapshots.get((image.namespace, snapshotter, chain))
                        if each is None or each.row is None or each.path is None or each.fingerprint is None:
                            continue
                        print_ = each.fingerprint
                        found[snapshotter, each.row] = Unpacked(
                            snapshotter, each.row, chain, each.refs, each.path,
                            print_.inode, print_.ctime_ns, file, is_base,
                        )  # fmt: skip
        return list(found.values())

    def committed(self) -> int:
        """How many committed snapshots have a record."""
        return sum(
            found.kind is ObjectKind.SNAPSHOT
            for found in {id(each): each for each in self._snapshots.values()}.values()
        )

    def _manifests(self, image: Image) -> Iterator[tuple[Digest, bytes]]:
        """The manifests of an image with their platforms, each once; without attestations."""
        seen = {image.target}
        pending = [(image.target, b"")]
        while pending:
            digest, platform = pending.pop(0)
            document = self._documents.get(digest)
            if not isinstance(document, Index):
                yield digest, platform
                continue
            for child in document.manifests:
                if child.digest not in seen and not child.is_attestation:
                    seen.add(child.digest)
                    pending.append((child.digest, child.platform))

    def _adoptable(self, image: Image) -> Iterator[Digest]:
        """The blobs that ``repair --adopt`` would adopt first, as far as that is known without hashing."""
        if edit_blindness(self._verdict.store) is not None:
            return
        pending = [Descriptor(image.target, image.media_type, image.target_size)]
        seen: set[Digest] = set()
        while pending:
            named = pending.pop(0)
            if named.digest in seen:
                continue
            seen.add(named.digest)
            ref = Ref(Kind.BLOB, image.namespace, named.digest)
            if ref in self._blobs:
                # A client may leave out an attestation: without a record it is not damage if its index has one.
                children = list_children(self._documents.get(named.digest))
                pending += [child for child in children if not child.is_attestation]
            elif ref in self._reached and self._is_there(named):
                yield named.digest

    def _is_there(self, named: Descriptor) -> bool:
        """Whether a blob's file fits its descriptor: the size, the media type, and no known wrong bytes."""
        store = self._verdict.store
        file = store.content.blobs.get(named.digest)
        if file is None or named.size not in (None, file.size) or named.digest in store.wrong:
            return False
        return not is_parent(named.media_type) or bool(
            child_labels(named.media_type, self._documents.get(named.digest))
        )

    def _platform(self, namespace: bytes, digest: Digest, platform: bytes) -> Platform:
        blob = self._blobs.get(Ref(Kind.BLOB, namespace, digest))
        if blob is None:
            return Platform(digest, platform, Completeness.ABSENT, (), (digest,))
        if blob.is_damaged:
            return Platform(digest, platform, Completeness.DAMAGED, (), (), (digest,))
        manifest = self._documents.get(digest)
        if not isinstance(manifest, Manifest):
            return Platform(digest, platform, Completeness.UNREADABLE, ())
        needed = [*([manifest.config.digest] if manifest.config else []), *(layer.digest for layer in manifest.layers)]
        absent: dict[Digest, None] = {}
        damaged: dict[Digest, None] = {}
        for each in needed:
            part = self._blobs.get(Ref(Kind.BLOB, namespace, each))
            if part is None:
                absent[each] = None
            elif part.is_damaged:
                damaged[each] = None
        state = Completeness.DAMAGED if damaged else Completeness.INCOMPLETE if absent else Completeness.COMPLETE
        config = None if manifest.config is None else self._documents.get(manifest.config.digest)
        if not platform and isinstance(config, Config):
            platform = config.platform
        # An engine that has no config cannot tell which snapshots are meant (core/images/image.go RootFS, v2.1).
        without = manifest.config is not None and manifest.config.digest in absent
        chains = tuple(chain for chain, _, _ in self._layers(digest))
        unpacked = tuple(
            snapshotter
            for snapshotter in sorted({snapshotter for _, snapshotter, _ in self._snapshots})
            if chains and not without and all((namespace, snapshotter, chain) in self._snapshots for chain in chains)
        )
        return Platform(digest, platform, state, unpacked, tuple(absent), tuple(damaged), chains, tuple(needed))

    def _layers(self, digest: Digest) -> Iterator[tuple[bytes, Digest, bool]]:
        """Chain id and blob of each layer, and whether it is the base layer; nothing without a readable config."""
        manifest = self._documents.get(digest)
        if not isinstance(manifest, Manifest) or manifest.config is None:
            return
        config = self._documents.get(manifest.config.digest)
        if not isinstance(config, Config) or len(config.diff_ids) != len(manifest.layers):
            return
        for number, (chain, layer) in enumerate(zip(chain_ids(config.diff_ids), manifest.layers, strict=True)):
            yield chain, layer.digest, number == 0
