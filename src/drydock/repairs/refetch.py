"""Whether an image can be had again once records that it needs are dropped: from what is there, or from its registry.

Source: containerd core/remotes/docker/handler.go AppendDistributionSourceLabel, which a pull calls for all that it
fetches, index and manifest too (client/pull.go fetch, core/transfer/local/pull.go, v2.1; pull.go, v1.6), and dockerd
for all that it pushed (moby daemon/containerd/image_push.go, v28.5). What was built on a pulled base has the base's
layers with that label; its own manifest has none.
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
    """The blobs that snapshots which go would be unpacked from again; their bytes are to be read before these go.

    Args:
        verdict: of one root.
        images: how whole they are.
        wrong: snapshots that are not as their layers.
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


def is_unpacked_again(graph: Graph, image: ImageState, refs: Iterable[Ref], right: Container[Digest]) -> bool:
    """Whether the engine makes the snapshots among ``refs`` anew from the layers that are there.

    Args:
        graph: of the records.
        image: one that needs them.
        refs: what goes; those of other namespaces do not count.
        right: of :func:`list_sources` those whose bytes were read, and are right.
    """
    here = {ref for ref in refs if ref.kind is Kind.SNAPSHOT and ref.namespace == image.namespace}
    keys = {split_snapshot_key(ref.key)[1] for ref in here}
    meant = [platform for platform in image.platforms if not keys.isdisjoint(platform.chains)]
    known = {chain for platform in meant for chain in platform.chains}
    needed = here.intersection(map(visited, mark(graph, [image.ref])))
    # A config that could not be read does not say which snapshots are its own, and its label still leads to them.
    return (
        bool(meant)
        and all(platform.state is Completeness.COMPLETE for platform in meant)
        and all(digest in right for platform in meant for digest in (platform.manifest, *platform.needed))
        and all(split_snapshot_key(ref.key)[1] in known for ref in needed)
    )


def is_pulled_again(graph: Graph, image: ImageState, refs: Iterable[Ref]) -> bool:
    """Whether a registry has an image: its target, what goes of it, and what of it is damaged were pulled or pushed.

    What has no record was dropped once it was unpacked, or never fetched: of that the target's word is enough.

    Args:
        graph: of the records.
        image: one that needs some of ``refs``.
        refs: what goes; those of other namespaces do not count.
    """
    goes = {Ref(Kind.BLOB, image.namespace, digest) for each in image.platforms for digest in each.damaged}
    goes.update(ref for ref in refs if ref.kind is Kind.BLOB and ref.namespace == image.namespace)
    needed = {Ref(Kind.BLOB, image.namespace, image.target), *goes}
    return all(_has_source(graph.records.get(ref)) for ref in needed)


def split_pulled(
    graph: Graph, images: Iterable[ImageState], gone: Container[Ref], snapshotters: Iterable[bytes]
) -> tuple[list[Ref], list[Ref]]:
    """Of images that a registry has those that a pull fetches something of, and those that it leaves without a layer.

    A pull skips a layer whose snapshot is recorded, with its blob (containerd core/unpack/unpacker.go, v2.1;
    unpacker.go, v1.6): the image runs, and lacks the layer for save and push. An image can be both.

    Args:
        graph: of the records.
        images: those of which something goes.
        gone: all records that go.
        snapshotters: those of the root.
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
    """The layers of an image whose snapshots stay: a pull fetches from the first on that has none."""
    for platform in image.platforms:
        # Where there are chain ids there is a config, and it comes first.
        layers = list(zip(platform.chains, platform.needed[1:], strict=False))
        for name in snapshotters:
            for chain, digest in layers:
                ref = snapshot_ref(image.namespace, name, chain)
                if ref not in graph.records or ref in gone:
                    break
                yield digest


def _has_source(record: Record | None) -> bool:
    return isinstance(record, Blob) and any(label.startswith(SOURCE) for label in record.labels)
