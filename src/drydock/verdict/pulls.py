"""Which leases belong to interrupted pulls, which of them are tries of the same pull, and what each pull holds.

Sources: containerd core/remotes/handlers.go, core/unpack/unpacker.go, core/remotes/docker/handler.go, client/lease.go
(v2.1); moby daemon/containerd/image_pull.go, leases.go, daemon/images/image_pull.go (v28.5); buildkit
util/leaseutil/manager.go (v0.25).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from drydock.model.data import BlobFile, IngestDirectory
from drydock.model.leases import Holding
from drydock.model.names import EXTRACTING, Digest, Kind, Ref, UnixNano, ingest_name, is_digest, snapshot_ref
from drydock.model.objects import StoreObject, Verdict
from drydock.model.oci import Config, Descriptor, Documents, Index, Manifest, chain_ids
from drydock.model.pulls import Downloads, LayerState, Pull, PulledLayer, PulledPart
from drydock.model.records import Blob, Ingest, Labels, Lease
from drydock.verdict.blind_spots import is_kept_blindly
from drydock.verdict.graph import Flat, visited
from drydock.verdict.judge import Reach
from drydock.verdict.labels import FLAT, SOURCE
from drydock.verdict.leases import names_owner
from drydock.verdict.reach import mark
from drydock.verdict.states import is_unpacked

_CLASSIC = b"moby.lease/temporary"
"""On every lease of a pull of dockerd with a graphdriver, and on no other lease."""
_NO_DOWNLOADS = Downloads()

_UNCOMPRESSED = b"containerd.io/uncompressed"
# containerd core/remotes/handlers.go MakeRefKey (v2.1): a kind, then the digest, with the descriptor's name and "@"
# before it if it has one. The kinds are those of v2.1 and of BuildKit.
_DOWNLOAD = re.compile(
    rb"(index|manifest|config|layer|attestation|unknown)-(?:(.+)@)?([a-z0-9]+:[0-9a-f]+)\Z", re.DOTALL
)
# containerd core/images/mediatypes.go ChildGCLabels (v2.1): one for each child, fetched or not.
_CHILD = re.compile(rb"containerd\.io/gc\.ref\.content\.(?:(m|l)\.([0-9]{1,6})|(config))\Z")


def list_pull_blobs(verdict: Verdict, reached: Reach) -> list[BlobFile]:
    """The blobs whose documents :func:`find_pulls` needs, each once."""
    wanted: dict[Digest, None] = {}
    for lease in _pull_leases(verdict, reached):
        wanted.update(dict.fromkeys(lease.blobs))
    files = verdict.store.content.blobs
    return [files[digest] for digest in wanted if digest in files]


def find_pulls(
    verdict: Verdict, reached: Reach, documents: Documents, downloads: Downloads = _NO_DOWNLOADS
) -> list[Pull]:
    """Find the interrupted pulls of one root, sorted by the bytes that only they hold.

    Args:
        verdict: from :func:`drydock.verdict.judge.judge`.
        reached: the same.
        documents: the documents of :func:`list_pull_blobs`.
        downloads: the unfinished downloads of Docker's classic image store.
    """
    leases_of_pulls = list(_pull_leases(verdict, reached))
    if not leases_of_pulls:
        return []  # the evidence takes memory for each object
    evidence = PullEvidence(verdict, reached, documents)
    groups: dict[tuple[object, ...], list[Lease]] = {}
    for lease in leases_of_pulls:
        groups.setdefault(_key(evidence, lease), []).append(lease)
    holdings = {holding.ref: holding for holding in verdict.leases}
    pulls = [
        _into_classic_store(pull, downloads) if all(_CLASSIC in lease.labels for lease in leases) else pull
        for leases in groups.values()
        for pull in (_pull(evidence, leases, holdings),)
    ]
    return sorted(pulls, key=lambda pull: (-pull.bytes, -pull.held, pull.namespace, pull.leases[0].ref.key))


def _pull_leases(verdict: Verdict, reached: Reach) -> Iterator[Lease]:
    for lease in verdict.store.metadata.leases:
        if not reached.classes[lease.ref].kind.is_owned and _is_pull(lease, reached):
            yield lease


def _is_pull(lease: Lease, reached: Reach) -> bool:
    """Whether a lease holds something that only pulls make and that no root reaches.

    BuildKit also leases the documents of a base image that exists already. Its cache records are flat leases that hold
    pulled layers for as long as the cache keeps them.
    """
    if FLAT in lease.labels or names_owner(lease):
        return False
    return any(ref not in reached.live and Flat(ref) not in reached.live for ref in _marks(lease, reached))


def _marks(lease: Lease, reached: Reach) -> Iterator[Ref]:
    for name in lease.ingests:
        if split_download(name) is not None:
            yield Ref(Kind.INGEST, lease.namespace, name)
    blobs, known = reached.graph.records.blobs, reached.graph.records.places.get(lease.namespace, {})
    for digest in lease.blobs:
        place = known.get(digest)
        labels = None if place is None else blobs.labels.get(place)
        if labels and _sources(labels):
            yield Ref(Kind.BLOB, lease.namespace, digest)
    for snapshotter, key in lease.snapshots:
        if key.startswith(EXTRACTING):
            yield snapshot_ref(lease.namespace, snapshotter, key)


def _key(evidence: PullEvidence, lease: Lease) -> tuple[object, ...]:
    """A key that tries of one pull share: its targets, or else its source and downloads, or else the lease alone."""
    parts = PullParts(evidence, [lease])
    if parts.targets:
        return lease.namespace, parts.targets
    if parts.ingests or parts.blobs:
        return lease.namespace, _origin(parts), tuple(sorted({*parts.ingests, *parts.blobs}))
    return (lease.ref,)


def _pull(evidence: PullEvidence, leases: list[Lease], holdings: dict[Ref, Holding]) -> Pull:
    parts = PullParts(evidence, leases)
    layers = parts.layers()
    only, held = _amounts(evidence, leases)
    targets = parts.targets
    names = {*parts.names, *(name for lease in leases for name in lease.images)}
    names |= {
        image.name
        for image in evidence.store.metadata.images
        if image.namespace == parts.namespace and image.target in targets
    }
    findings = evidence.documents.findings
    return Pull(
        evidence.store.root.path,
        parts.namespace,
        tuple(sorted((holdings[lease.ref] for lease in leases), key=lambda each: (each.created or 0, each.ref.key))),
        targets,
        _origin(parts),
        tuple(sorted(names)),
        parts.platforms,
        layers,
        parts.others(layers),
        only,
        held,
        parts.updated,
        tuple(findings[digest] for digest in parts.blobs if digest in findings),
    )


def _into_classic_store(pull: Pull, downloads: Downloads) -> Pull:
    """The same pull into the classic image store, whose layers containerd has only if something else put them there."""
    layers = (
        layer._replace(state=LayerState.CLASSIC) if layer.state is LayerState.ABSENT else layer for layer in pull.layers
    )
    return pull._replace(layers=tuple(layers), downloads=downloads)


def _origin(parts: PullParts) -> tuple[bytes, ...]:
    """The sources of a pull: those in the labels of its targets, as far as the labels of its other blobs agree.

    A blob that was pulled from several repositories has a label for each of them.
    """
    found: set[bytes] = set()
    for digest in (*parts.targets, *parts.blobs):
        blob = parts.blobs.get(digest)
        sources = set() if blob is None else _sources(blob.labels)
        found = (found & sources or found) if found else sources
    return tuple(sorted(found))


def _sources(labels: Labels) -> set[bytes]:
    return {
        key[len(SOURCE) :] + b"/" + repository
        for key, value in labels.items()
        if key.startswith(SOURCE)
        for repository in value.split(b",")
        if repository
    }


def _amounts(evidence: PullEvidence, leases: list[Lease]) -> tuple[int, int]:
    """The bytes that are freed when these leases end, and the bytes of everything that they reach."""
    group = {lease.ref for lease in leases}
    found: dict[int, StoreObject] = {}
    for node in mark(evidence.reached.graph, group):
        for place in evidence.places_of(visited(node)):
            found[place] = evidence.objects[place]
    only = sum(each.allocated for each in found.values() if _goes(evidence, each, group))
    return only, sum(each.allocated for each in found.values())


def _goes(evidence: PullEvidence, found: StoreObject, group: set[Ref]) -> bool:
    if is_kept_blindly(evidence.store, found):
        return False
    leased = evidence.reached.leased
    return all(not evidence.is_live(ref) and group.issuperset(leased.get(ref, ())) for ref in found.refs)


def split_download(name: bytes) -> tuple[bytes, bytes, Digest] | None:
    """Kind, name (often empty) and digest in the ref of a client's download; None for another ingest."""
    match = _DOWNLOAD.match(name)
    if match is None or not is_digest(match[3]):
        return None
    return match[1], match[2] or b"", Digest(match[3])


class PullEvidence:
    """The evidence of one root, looked up by all its pulls."""

    def __init__(self, verdict: Verdict, reached: Reach, documents: Documents) -> None:
        self.store = verdict.store
        self.reached = reached
        self.documents = documents
        self.objects = verdict.objects
        # Nearly all records have one object.
        self._places: dict[Ref, int] = {}
        self._others: dict[Ref, list[int]] = {}
        for place, found in enumerate(verdict.objects):
            for ref in found.refs:
                if self._places.setdefault(ref, place) != place:
                    self._others.setdefault(ref, []).append(place)
        self.directories: Mapping[bytes, IngestDirectory] = {
            directory.name: directory for directory in verdict.store.content.ingests
        }
        self._unpacked: set[tuple[bytes, bytes]] = set()
        for snapshot in verdict.store.metadata.snapshots:
            if all(is_unpacked(self.store, found) for found in self.objects_of(snapshot.ref)):
                self._unpacked.add((snapshot.namespace, snapshot.key))

    def blob(self, namespace: bytes, digest: Digest) -> Blob | None:
        """The record of a blob."""
        record = self.reached.graph.records.get(Ref(Kind.BLOB, namespace, digest))
        return record if isinstance(record, Blob) else None

    def is_unpacked(self, namespace: bytes, chain: bytes) -> bool:
        """Whether a committed snapshot without damage has this chain id."""
        return (namespace, chain) in self._unpacked

    def is_live(self, ref: Ref) -> bool:
        """Whether a root reaches a record."""
        return ref in self.reached.live or Flat(ref) in self.reached.live

    def places_of(self, ref: Ref) -> list[int]:
        """Where in :attr:`objects` those of a record are: one, or two if an ingest waits for a blob."""
        first = self._places.get(ref)
        return [] if first is None else [first, *self._others.get(ref, ())]

    def objects_of(self, ref: Ref) -> list[StoreObject]:
        """The objects of a record."""
        return [self.objects[place] for place in self.places_of(ref)]


class PullParts:
    """What the leases of one pull hold: indexes, manifests, layers, downloads."""

    def __init__(self, evidence: PullEvidence, leases: Iterable[Lease]) -> None:
        self._evidence = evidence
        self.blobs: dict[Digest, Blob] = {}
        self.ingests: dict[Digest, tuple[bytes, Ingest]] = {}
        self.names: set[bytes] = set()
        self._extracting: set[bytes] = set()
        self.namespace = b""
        for lease in leases:
            self.namespace = lease.namespace
            self._add(lease)
        self.indexes = {digest: index for digest in self.blobs if (index := self._index(digest)) is not None}
        self.manifests = {
            digest: manifest
            for digest in self.blobs
            if digest not in self.indexes and (manifest := self._manifest(digest)) is not None
        }
        self._children = {child.digest: child for index in self.indexes.values() for child in index.manifests}

    @property
    def targets(self) -> tuple[Digest, ...]:
        """The indexes and manifests, complete or downloading, that none of the others names."""
        coming = {digest for digest, (kind, _) in self.ingests.items() if kind in (b"index", b"manifest")}
        return tuple(sorted({*self.indexes, *self.manifests, *coming} - self._children.keys()))

    @property
    def platforms(self) -> tuple[bytes, ...]:
        """The platforms of the complete manifests."""
        found: dict[bytes, None] = {}
        for digest, manifest in self._images():
            child, config = self._children.get(digest), self._config(manifest)
            platform = (child.platform if child is not None else b"") or (config.platform if config else b"")
            if platform:
                found[platform] = None
        return tuple(found)

    @property
    def updated(self) -> UnixNano | None:
        """When the last bytes of an unfinished download arrived."""
        directories = (self._directory(ingest) for _, ingest in self.ingests.values())
        return max(
            (each.updated for each in directories if each is not None and each.updated is not None), default=None
        )

    def layers(self) -> tuple[PulledLayer, ...]:
        """Every layer of the manifests, and the layers whose manifest is missing."""
        sizes: dict[Digest, int | None] = {}
        unpacked: dict[Digest, bool] = {}
        for _, manifest in self._images():
            chains = list(self._chains(manifest))
            for number, layer in enumerate(manifest.layers):
                whole = number < len(chains) and self._evidence.is_unpacked(self.namespace, chains[number])
                unpacked[layer.digest] = whole and unpacked.get(layer.digest, True)
                sizes.setdefault(layer.digest, layer.size)
        alone = [digest for digest, (kind, _) in self.ingests.items() if kind == b"layer"]
        alone += [digest for digest, blob in self.blobs.items() if _UNCOMPRESSED in blob.labels]
        for digest in sorted(alone):
            sizes.setdefault(digest, None)
        return tuple(self._layer(digest, size, unpacked.get(digest, False)) for digest, size in sizes.items())

    def others(self, layers: Iterable[PulledLayer]) -> tuple[tuple[PulledPart, int], ...]:
        """Counts of everything except layers, by kind."""
        known = {layer.digest for layer in layers}
        configs = {manifest.config.digest for manifest in self.manifests.values() if manifest.config is not None}
        configs |= {digest for digest in self.blobs if isinstance(self._document(digest), Config)}
        counts: Counter[PulledPart] = Counter()
        for digest in self.blobs:
            if digest in self.indexes:
                counts[PulledPart.INDEX] += 1
            elif digest in self.manifests:
                counts[PulledPart.ATTESTATION if self._is_attestation(digest) else PulledPart.MANIFEST] += 1
            elif digest in configs:
                counts[PulledPart.CONFIG] += 1
            elif digest not in known:
                counts[PulledPart.UNKNOWN] += 1
        counts[PulledPart.DAMAGED] = sum(
            digest not in known and self._is_damaged(blob) for digest, blob in self.blobs.items()
        )
        counts[PulledPart.UNFINISHED] = sum(kind != b"layer" for kind, _ in self.ingests.values())
        counts[PulledPart.EXTRACTING] = len(self._extracting)
        return tuple((part, counts[part]) for part in sorted(counts, key=lambda part: part.value) if counts[part])

    def _add(self, lease: Lease) -> None:
        for digest in lease.blobs:
            blob = self._evidence.blob(lease.namespace, digest)
            if blob is not None:
                self.blobs[digest] = blob
        for name in lease.ingests:
            download = split_download(name)
            record = self._evidence.reached.graph.records.get(Ref(Kind.INGEST, lease.namespace, name))
            if download is not None and isinstance(record, Ingest):
                kind, image, digest = download
                self.ingests[digest] = (kind, record)
                if image:
                    self.names.add(image)
        self._extracting.update(key for _, key in lease.snapshots if key.startswith(EXTRACTING))

    def _document(self, digest: Digest) -> Index | Manifest | Config | None:
        return self._evidence.documents.found.get(digest)

    def _index(self, digest: Digest) -> Index | None:
        document = self._document(digest)
        if document is not None:
            return document if isinstance(document, Index) else None
        # If the file of an index is missing, the labels of its record still name its children.
        children = _children(self.blobs[digest].labels, b"m")
        return Index(children) if children else None

    def _manifest(self, digest: Digest) -> Manifest | None:
        document = self._document(digest)
        if document is not None:
            return document if isinstance(document, Manifest) else None
        labels = self.blobs[digest].labels
        layers, config = _children(labels, b"l"), _children(labels, b"config")
        return Manifest(config[0] if config else None, layers) if layers or config else None

    def _images(self) -> Iterator[tuple[Digest, Manifest]]:
        for digest, manifest in self.manifests.items():
            if not self._is_attestation(digest):
                yield digest, manifest

    def _is_attestation(self, digest: Digest) -> bool:
        child = self._children.get(digest)
        return child is not None and child.is_attestation

    def _config(self, manifest: Manifest) -> Config | None:
        document = None if manifest.config is None else self._document(manifest.config.digest)
        return document if isinstance(document, Config) else None

    def _chains(self, manifest: Manifest) -> Iterator[bytes]:
        """The chain ids of the layers, as far as the digests of their uncompressed bytes are known.

        Source: opencontainers image-spec v1.1, config.md, "Layer ChainID".
        """
        config = self._config(manifest)
        if config is not None and len(config.diff_ids) == len(manifest.layers):
            diffs: list[bytes | None] = list(config.diff_ids)
        else:
            blobs = (self._evidence.blob(self.namespace, layer.digest) for layer in manifest.layers)
            diffs = [None if blob is None else blob.labels.get(_UNCOMPRESSED) for blob in blobs]
        return chain_ids(diffs)

    def _layer(self, digest: Digest, size: int | None, unpacked: bool) -> PulledLayer:
        file = self._evidence.store.content.blobs.get(digest)
        blob = self._evidence.blob(self.namespace, digest)
        there = 0 if file is None else file.size
        if blob is not None:
            size = blob.size if size is None else size
            if self._is_damaged(blob):
                return PulledLayer(digest, size, there, LayerState.DAMAGED, unpacked)
            alone = digest in self.blobs and not self._evidence.is_live(blob.ref)
            return PulledLayer(digest, size, there, LayerState.WHOLE if alone else LayerState.EXISTING, unpacked)
        _, ingest = self.ingests.get(digest, (b"", None))
        if ingest is None:
            return PulledLayer(digest, size, 0, LayerState.ABSENT, unpacked)
        if ingest.expected is not None and file is not None:
            return PulledLayer(digest, file.size if size is None else size, there, LayerState.EXISTING, unpacked)
        directory = self._directory(ingest)
        if directory is None:
            return PulledLayer(digest, size, 0, LayerState.ABSENT, unpacked)
        total = directory.total if size is None else size
        return PulledLayer(digest, total, directory.received, LayerState.PARTIAL, unpacked)

    def _is_damaged(self, blob: Blob) -> bool:
        return any(found.is_damaged for found in self._evidence.objects_of(blob.ref))

    def _directory(self, ingest: Ingest) -> IngestDirectory | None:
        return self._evidence.directories.get(ingest_name(ingest.backend_ref))


def _children(labels: Labels, wanted: bytes) -> tuple[Descriptor, ...]:
    """The children of one kind (``m``, ``l`` or ``config``) that the labels of a document name, in their order."""
    found: list[tuple[int, Digest]] = []
    for label, value in labels.items():
        match = _CHILD.match(label)
        if match is not None and (match[1] or match[3]) == wanted and is_digest(value):
            found.append((int(match[2] or 0), Digest(value)))
    return tuple(Descriptor(digest) for _, digest in sorted(found))
