"""Whether the unpacked files of a damaged layer are intact, by anything else on this host that can prove it.

The blob of a layer and its unpacked files are written at about the same time, so one power cut can damage both. If the
blob is damaged, the files are compared with another blob of the same layer (one with another compression has the same
chain id) and with their recorded size. Without a proof, they are not called intact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from drydock.model import messages
from drydock.model.findings import Finding, Place, Severity
from drydock.model.names import Digest, Kind, RawPath, Ref, split_snapshot_key
from drydock.model.objects import ObjectKind, StoreObject, Verdict
from drydock.model.progress import Progress, counter
from drydock.model.records import Snapshot
from drydock.model.verifications import ImageState, Platform, Unpacked
from drydock.repairs.broken_chains import RowName
from drydock.verdict.blind_spots import backend_blindness
from drydock.verdict.graph import visited
from drydock.verdict.judge import Reach
from drydock.verdict.states import is_unpacked
from drydock.verification.tiers import ByteFindings, measure
from drydock.verification.unpacked import Comparison, compare_snapshot

Proofs = dict[Ref, dict[RowName, Finding]]
"""By the record of a damaged blob: its unpacked snapshots that are damaged or unproved."""


def prove(
    verdict: Verdict,
    reached: Reach,
    images: Iterable[ImageState],
    found: ByteFindings,
    *,
    content: bool,
    stop: Callable[[], bool],
    places: Sequence[RawPath],
    progress: Progress | None,
) -> Proofs:
    """Check the unpacked layers of images with a damaged layer.

    Args:
        verdict: of one root.
        reached: the same.
        images: the state of each image.
        found: results of comparing; damaged and unproved snapshots are added to its findings.
        content: whether to compare the bytes of files as well, without which there is no proof.
        stop: called repeatedly; the check ends once it returns true.
        places: directories for the list of a large layer's entries.
        progress: called with the work that was done.
    """
    images = list(images)
    hit = any(platform.damaged for image in images for platform in image.platforms)
    step = counter(progress, "bytes of unpacked layers") if hit else None
    look = partial(compare_snapshot, verdict.store, content=content, stop=stop, places=places, step=step)
    return _Prover(verdict, reached, images, found, look, content=content, stop=stop).proofs()


class _Prover:
    def __init__(
        self,
        verdict: Verdict,
        reached: Reach,
        images: list[ImageState],
        found: ByteFindings,
        look: Callable[[Unpacked], Finding | Comparison],
        *,
        content: bool,
        stop: Callable[[], bool],
    ) -> None:
        self._verdict = verdict
        self._reached = reached
        self._images = images
        self._found = found
        self._compared = look
        self._content = content
        self._stop = stop
        store = verdict.store
        self._known = [name for name in store.backends if not backend_blindness(store, name)]
        self._damaged = {
            ref for each in verdict.objects if each.kind is ObjectKind.BLOB and each.is_damaged for ref in each.refs
        }
        self._snapshots: dict[tuple[bytes, bytes, bytes], StoreObject] = {}
        for each in verdict.objects:
            if each.kind is ObjectKind.SNAPSHOT and each.row is not None and is_unpacked(store, each):
                for ref in each.refs:
                    snapshotter, key = split_snapshot_key(ref.key)
                    self._snapshots[ref.namespace, snapshotter, key] = each
        self._layers: dict[bytes, dict[Digest, None]] = {}
        for image in images:
            for platform in image.platforms:
                for chain, layer in self._chains(image, platform):
                    self._layers.setdefault(chain, {})[layer] = None
        self._outcomes: dict[RowName, Finding | None] = {}
        """None if it is proved."""

    def proofs(self) -> Proofs:
        proofs: Proofs = {}
        for image in self._images:
            for platform in image.platforms:
                if not platform.damaged:
                    continue
                for number, (chain, layer) in enumerate(self._chains(image, platform)):
                    for snapshotter in self._known:
                        each = self._snapshots.get((image.namespace, snapshotter, chain))
                        if each is None or self._stop():
                            continue
                        outcome = self._look_once(each, chain, layer, is_base=number == 0)
                        ref = Ref(Kind.BLOB, image.namespace, layer)
                        if outcome is not None and ref in self._damaged:
                            proofs.setdefault(ref, {})[each.row_name] = outcome
                            if outcome not in self._found.refs:
                                self._found.note(outcome, each.refs)
        return proofs

    def _chains(self, image: ImageState, platform: Platform) -> Iterator[tuple[bytes, Digest]]:
        """Chain id and blob of each layer, from the base up."""
        layers = platform.needed[1:]
        if platform.chains:
            yield from zip(platform.chains, layers, strict=True)
            return
        # If the config is damaged, the label of its record still names the unpacked snapshot.
        graph = self._reached.graph
        config = Ref(Kind.BLOB, image.namespace, platform.needed[0]) if layers else None
        for target in () if config is None or config not in graph.records else graph.targets(config):
            keys: list[bytes] = []
            record = graph.records.get(visited(target))
            while isinstance(record, Snapshot) and len(keys) < len(layers):
                keys.insert(0, record.key)
                record = None if record.parent_ref is None else graph.records.get(record.parent_ref)
            if record is None and len(keys) == len(layers):
                yield from zip(keys, layers, strict=True)
                return

    def _look_once(self, each: StoreObject, chain: bytes, layer: Digest, *, is_base: bool) -> Finding | None:
        if each.row_name not in self._outcomes:
            self._outcomes[each.row_name] = self._look(each, chain, layer, is_base=is_base)
        return self._outcomes[each.row_name]

    def _look(self, each: StoreObject, chain: bytes, layer: Digest, *, is_base: bool) -> Finding | None:
        name = each.row_name
        if name in self._found.snapshots:
            return self._found.snapshots[name]
        if name in self._found.right and not self._content:
            return None
        for blob in self._layers[chain]:
            outcome = self._compare(each, chain, blob, is_base=is_base)
            if outcome is Comparison.SAME:
                self._found.right.add(name)
                return None
            if isinstance(outcome, Finding) and outcome.severity is Severity.DAMAGE:
                self._found.add(outcome, *name, each.refs)
                return outcome
        finding = measure(self._verdict, each)
        if finding is not None and finding.severity is Severity.DAMAGE:
            self._found.add(finding, *name, each.refs)
            return finding
        assert each.path is not None
        place = Place(RawPath(self._verdict.store.root.path.rstrip(b"/") + b"/" + each.path))
        return messages.SNAPSHOT_UNPROVED(snapshot=each.id, layer=layer).at(place, each.id)

    def _compare(self, each: StoreObject, chain: bytes, blob: Digest, *, is_base: bool) -> Finding | Comparison:
        store = self._verdict.store
        file = store.content.blobs.get(blob)
        if file is None or blob in store.wrong or each.fingerprint is None or each.path is None:
            return Comparison.NOT_COMPARABLE
        unpacked = Unpacked(
            each.snapshotter, each.row or b"", chain, each.refs, each.path,
            each.fingerprint.inode, each.fingerprint.ctime_ns, file, is_base,
        )  # fmt: skip
        return self._compared(unpacked)
