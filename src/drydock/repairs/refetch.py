"""Whether an image comes back after records that it needs are dropped: from blobs here, or from its registry.

Source: containerd core/remotes/docker/handler.go AppendDistributionSourceLabel, which a pull calls for all that it
fetches, index and manifest too (client/pull.go fetch, core/transfer/local/pull.go, v2.1; pull.go, v1.6), and dockerd
for all that it pushed (moby daemon/containerd/image_push.go, v28.5). An image that was built on a pulled one
has the layers of the base with that label, and a manifest without it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

from drydock.model.data import BlobFile
from drydock.model.findings import Finding
from drydock.model.names import Digest, Kind, Ref, snapshot_ref, split_snapshot_key
from drydock.model.objects import Verdict
from drydock.model.records import Blob
from drydock.model.verifications import Completeness, ImageState
from drydock.repairs.broken_chains import BrokenChains, RowName
from drydock.verdict.graph import Graph, Record, visited
from drydock.verdict.labels import SOURCE
from drydock.verdict.reach import mark


def list_sources(
    verdict: Verdict, images: Iterable[ImageState], wrong: Mapping[RowName, Finding], rows: Iterable[RowName]
) -> list[BlobFile]:
    """List the blobs that dropped snapshots are unpacked from again, so that their bytes are checked first.

    Args:
        verdict: of one root.
        images: the state of each image.
        wrong: snapshots that differ from their layers.
        rows: others that go with their layers.
    """
    broken_chains = BrokenChains(verdict, wrong)
    refs = [*broken_chains.closure(rows)[0], *(ref for broken in broken_chains for ref in broken.refs)]
    go = {ref for ref in refs if ref.kind is Kind.SNAPSHOT}
    keys = {(ref.namespace, split_snapshot_key(ref.key)[1]) for ref in go}
    digests: dict[Digest, None] = {}
    for image in images:
        for platform in image.platforms:
            if any((image.namespace, chain) in keys for chain in platform.chains):
                digests.update(dict.fromkeys((platform.manifest, *platform.needed)))
    files = verdict.store.content.blobs
    return [files[digest] for digest in digests if digest in files]


def can_be_unpacked(graph: Graph, image: ImageState, refs: Iterable[Ref], right: Container[Digest]) -> bool:
    """Whether the engine creates the snapshots among ``refs`` anew from the layers here.

    Args:
        graph: of the records.
        image: one that needs them.
        refs: records that go; those of other namespaces do not count.
        right: blobs of :func:`list_sources` whose bytes were read, and match their digests.
    """
    here = {ref for ref in refs if ref.kind is Kind.SNAPSHOT and ref.namespace == image.namespace}
    keys = {split_snapshot_key(ref.key)[1] for ref in here}
    meant = [platform for platform in image.platforms if not keys.isdisjoint(platform.chains)]
    known = {chain for platform in meant for chain in platform.chains}
    needed = here.intersection(map(visited, mark(graph, [image.ref])))
    # The label of an unreadable config leads to snapshots that the config itself no longer names.
    return (
        bool(meant)
        and all(platform.state is Completeness.COMPLETE for platform in meant)
        and all(digest in right for platform in meant for digest in (platform.manifest, *platform.needed))
        and all(split_snapshot_key(ref.key)[1] in known for ref in needed)
    )


def can_be_refetched(graph: Graph, image: ImageState, refs: Iterable[Ref]) -> bool:
    """Whether a registry has an image: its target, its records that go and its damaged blobs were pulled or pushed.

    Blobs without a record were dropped after unpacking or never fetched: for those the label of the target suffices.

    Args:
        graph: of the records.
        image: one that needs some of ``refs``.
        refs: records that go; those of other namespaces do not count.
    """
    goes = {Ref(Kind.BLOB, image.namespace, digest) for each in image.platforms for digest in each.damaged}
    goes.update(ref for ref in refs if ref.kind is Kind.BLOB and ref.namespace == image.namespace)
    needed = {Ref(Kind.BLOB, image.namespace, image.target), *goes}
    return all(_has_source(graph.records.get(ref)) for ref in needed)


def split_refetched(
    graph: Graph, images: Iterable[ImageState], gone: Container[Ref], snapshotters: Iterable[bytes]
) -> tuple[list[Ref], list[Ref]]:
    """Split images of a registry into those that a pull fetches from, and those that it leaves without a layer.

    A pull skips a layer with a recorded snapshot, and its blob (containerd core/unpack/unpacker.go, v2.1;
    unpacker.go, v1.6): the image runs, and lacks the layer for save and push. An image can be in both lists.

    Args:
        graph: of the records.
        images: those with records that go.
        gone: all records that go.
        snapshotters: of the root.
    """
    pulled: list[Ref] = []
    short: list[Ref] = []
    names = list(snapshotters)
    for image in images:
        goes = {ref for ref in map(visited, mark(graph, [image.ref])) if ref in gone}
        skipped = {Ref(Kind.BLOB, image.namespace, digest) for digest in _skipped(graph, image, gone, names)}
        blobs = {ref.key for ref in goes if ref.kind is Kind.BLOB}
        meant = [platform for platform in image.platforms if not blobs.isdisjoint(platform.needed)]
        absent = {Ref(Kind.BLOB, image.namespace, digest) for platform in meant for digest in platform.absent}
        if not goes or not goes | absent <= skipped:
            pulled.append(image.ref)
        if goes & skipped:
            short.append(image.ref)
    return pulled, short


def _skipped(graph: Graph, image: ImageState, gone: Container[Ref], snapshotters: Iterable[bytes]) -> Iterator[Digest]:
    """The layers of an image whose snapshots stay, up to the first without one: a pull fetches from there on."""
    for platform in image.platforms:
        # An image with chain ids has a config, which comes first.
        layers = list(zip(platform.chains, platform.needed[1:], strict=False))
        for name in snapshotters:
            for chain, digest in layers:
                ref = snapshot_ref(image.namespace, name, chain)
                if ref not in graph.records or ref in gone:
                    break
                yield digest


def _has_source(record: Record | None) -> bool:
    return isinstance(record, Blob) and any(label.startswith(SOURCE) for label in record.labels)
