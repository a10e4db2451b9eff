"""Which leases are interrupted pulls, which of them are tries of the same one, and what each pull comes to.

Sources: containerd core/remotes/handlers.go, core/unpack/unpacker.go, core/remotes/docker/handler.go, client/lease.go
(v2.1); moby daemon/containerd/image_pull.go, leases.go, daemon/images/image_pull.go (v28.5); buildkit
util/leaseutil/manager.go (v0.25).
"""

from __future__ import annotations

from collections.abc import Iterator

from drydock.model.data import BlobFile
from drydock.model.leases import Holding
from drydock.model.names import EXTRACTING, Digest, Kind, Ref, snapshot_ref
from drydock.model.objects import StoreObject, Verdict
from drydock.model.oci import Documents
from drydock.model.pulls import Downloads, LayerState, Pull
from drydock.model.records import Blob, Labels, Lease
from drydock.verdict.blind_spots import is_kept_blindly
from drydock.verdict.graph import Flat, visited
from drydock.verdict.judge import Reach
from drydock.verdict.labels import FLAT, SOURCE
from drydock.verdict.leases import names_owner
from drydock.verdict.pull_layers import Facts, PullParts, split_download
from drydock.verdict.reach import mark

_CLASSIC = b"moby.lease/temporary"
"""On every lease of dockerd's pulls with a graphdriver, and on no other."""
_NO_DOWNLOADS = Downloads()


def list_pull_blobs(verdict: Verdict, reached: Reach) -> list[BlobFile]:
    """The blobs whose documents :func:`find_pulls` wants to be read, each once."""
    wanted: dict[Digest, None] = {}
    for lease in _pull_leases(verdict, reached):
        wanted.update(dict.fromkeys(lease.blobs))
    files = verdict.store.content.blobs
    return [files[digest] for digest in wanted if digest in files]


def find_pulls(
    verdict: Verdict, reached: Reach, documents: Documents, downloads: Downloads = _NO_DOWNLOADS
) -> list[Pull]:
    """The interrupted pulls of one root, the one that holds most for itself first.

    Args:
        verdict: from :func:`drydock.verdict.judge.judge`.
        reached: the same.
        documents: what was read of :func:`list_pull_blobs`.
        downloads: of Docker's classic image store.
    """
    facts = Facts(verdict, reached, documents)
    groups: dict[tuple[object, ...], list[Lease]] = {}
    for lease in _pull_leases(verdict, reached):
        groups.setdefault(_key(facts, lease), []).append(lease)
    holdings = {holding.ref: holding for holding in verdict.leases}
    pulls = [
        _into_classic_store(pull, downloads) if all(_CLASSIC in lease.labels for lease in leases) else pull
        for leases in groups.values()
        for pull in (_pull(facts, leases, holdings),)
    ]
    return sorted(pulls, key=lambda pull: (-pull.bytes, -pull.held, pull.namespace, pull.leases[0].ref.key))


def _pull_leases(verdict: Verdict, reached: Reach) -> Iterator[Lease]:
    for lease in verdict.store.metadata.leases:
        if not reached.classes[lease.ref].kind.is_owned and _is_pull(lease, reached):
            yield lease


def _is_pull(lease: Lease, reached: Reach) -> bool:
    """Whether a lease holds something that only pulls make, and that nothing live reaches.

    BuildKit, too, leases the documents of a base image that is there already; its cache records are flat leases, and
    hold pulled layers for as long as the cache has them.
    """
    if FLAT in lease.labels or names_owner(lease):
        return False
    return any(ref not in reached.live and Flat(ref) not in reached.live for ref in _marks(lease, reached))


def _marks(lease: Lease, reached: Reach) -> Iterator[Ref]:
    for name in lease.ingests:
        if split_download(name) is not None:
            yield Ref(Kind.INGEST, lease.namespace, name)
    for digest in lease.blobs:
        record = reached.graph.records.get(Ref(Kind.BLOB, lease.namespace, digest))
        if isinstance(record, Blob) and _sources(record.labels):
            yield record.ref
    for snapshotter, key in lease.snapshots:
        if key.startswith(EXTRACTING):
            yield snapshot_ref(lease.namespace, snapshotter, key)


def _key(facts: Facts, lease: Lease) -> tuple[object, ...]:
    """The same for tries of the same pull: what was asked for, or else from where and which downloads, or the lease."""
    parts = PullParts(facts, [lease])
    if parts.targets:
        return lease.namespace, parts.targets
    if parts.ingests or parts.blobs:
        return lease.namespace, _origin(parts), tuple(sorted({*parts.ingests, *parts.blobs}))
    return (lease.ref,)


def _pull(facts: Facts, leases: list[Lease], holdings: dict[Ref, Holding]) -> Pull:
    parts = PullParts(facts, leases)
    layers = parts.layers()
    only, held = _amounts(facts, leases)
    targets = parts.targets
    names = {*parts.names, *(name for lease in leases for name in lease.images)}
    names |= {
        image.name
        for image in facts.store.metadata.images
        if image.namespace == parts.namespace and image.target in targets
    }
    findings = facts.documents.findings
    return Pull(
        facts.store.root.path,
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
    """The same pull, of whose layers nothing is ever in containerd, but for those that something else put there."""
    layers = (
        layer._replace(state=LayerState.CLASSIC) if layer.state is LayerState.ABSENT else layer for layer in pull.layers
    )
    return pull._replace(layers=tuple(layers), downloads=downloads)


def _origin(parts: PullParts) -> tuple[bytes, ...]:
    """Where it came from: what the targets' labels say, as far as the labels of the rest agree.

    A blob that several repositories have is labelled with all of them that it was pulled from.
    """
    found: set[bytes] = set()
    for digest in (*parts.targets, *parts.blobs):
        blob = parts.blobs.get(digest)
        said = set() if blob is None else _sources(blob.labels)
        found = (found & said or found) if found else said
    return tuple(sorted(found))


def _sources(labels: Labels) -> set[bytes]:
    return {
        key[len(SOURCE) :] + b"/" + repository
        for key, value in labels.items()
        if key.startswith(SOURCE)
        for repository in value.split(b",")
        if repository
    }


def _amounts(facts: Facts, leases: list[Lease]) -> tuple[int, int]:
    """Bytes that go when these leases end, and bytes of all that they reach."""
    group = {lease.ref for lease in leases}
    found: dict[int, StoreObject] = {}
    for node in mark(facts.reached.graph, group):
        found.update((id(each), each) for each in facts.objects_of(visited(node)))
    only = sum(each.allocated for each in found.values() if _goes(facts, each, group))
    return only, sum(each.allocated for each in found.values())


def _goes(facts: Facts, found: StoreObject, group: set[Ref]) -> bool:
    if is_kept_blindly(facts.store, found):
        return False
    leased = facts.reached.leased
    return all(ref not in facts.live and group.issuperset(leased.get(ref, ())) for ref in found.refs)
