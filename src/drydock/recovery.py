"""The composition root of what recovers: verify and repair, as functions with types."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from drydock.evidence.containerd.database_fingerprint import witnesses
from drydock.evidence.containerd.digests import hash_blobs
from drydock.evidence.containerd.manifests import read_documents
from drydock.evidence.containerd.store import Held
from drydock.evidence.host.roots import discover
from drydock.execution import carry_out, hold_unused
from drydock.model.data import BlobFile
from drydock.model.findings import Finding
from drydock.model.names import Digest, Kind, RawPath, Ref, UnixNano
from drydock.model.objects import Verdict
from drydock.model.progress import Progress, counter
from drydock.model.repairs import Adopted, Repair
from drydock.model.roots import Root
from drydock.model.runs import Run
from drydock.model.store import Store
from drydock.model.times import is_ahead
from drydock.model.verifications import Coverage, Hit, ImageState, Verification
from drydock.pipeline import read_root
from drydock.reclaim.engine_folders import refuse_engine_folders
from drydock.reclaim.state_dir import places_with
from drydock.repairs.adoption import adopt as adopt_blobs
from drydock.repairs.adoption import made_whole
from drydock.repairs.broken_chains import RESTATED, disagreements, wrong_orphans
from drydock.repairs.losses import refuse_unknown
from drydock.repairs.lost_containers import find_lost_containers, give_back, lost_findings, not_given_back
from drydock.repairs.proofs import UNPROVED, Proofs, prove
from drydock.repairs.refetch import list_sources
from drydock.repairs.repair_plan import make_repair
from drydock.verdict.blind_spots import edit_blindness
from drydock.verdict.images import Images, list_image_blobs
from drydock.verdict.judge import Reach, judge
from drydock.verification.checkpoint import open_checkpoint
from drydock.verification.tiers import Deadline, VerifyOptions, name_hits, read_blobs, read_sizes, read_unpacked


def verify(
    where: RawPath | None = None,
    *,
    wanted: VerifyOptions | None = None,
    now: UnixNano | None = None,
    state: RawPath | None = None,
    second_reading: bool = True,
    progress: Progress | None = None,
) -> list[Verification]:
    """Say what is whole: records, and on demand the bytes of blobs and what was unpacked. Changes nothing in a store.

    Args:
        where: a containerd root, a Docker data root, or the root of a mounted host; None for this host.
        wanted: what to look at besides records, and for how long; None for records alone.
        now: what expiries are compared with; None for the clock.
        state: where it is remembered how far a run came, and what it found wrong; None for the default. What a run
            with the default found wrong is known in any case.
        second_reading: read each database with the second reader too, and compare.
        progress: told what was done.

    Returns:
        One verification for each containerd root.

    Raises:
        EvidenceUnreadable: ``where`` is not a store.
        Refused: an engine or another verification uses it, or the clock is wrong.
    """
    wanted = wanted or VerifyOptions()
    clock = Deadline(wanted.seconds)
    found: list[Verification] = []
    for root in discover(where):
        refuse_engine_folders(root, state=state)
        with _looked(root, wanted, clock, now=now, state=state, progress=progress, exclusive=False) as looked:
            verification = looked.verification()
            if second_reading:
                # construct takes as long to import as most scans take.
                from drydock.verification.second_reading import compare_readers  # noqa: PLC0415

                verification.second_reading, differences = compare_readers(looked.held, progress)
                verification.hits += map(Hit, differences)
            found.append(verification)
    return found


def repair(
    where: RawPath | None = None,
    *,
    agree: Callable[[list[Repair]], bool],
    accept: tuple[bytes, ...] = (),
    wanted: VerifyOptions | None = None,
    now: UnixNano | None = None,
    state: RawPath | None = None,
    quarantine: RawPath | None = None,
    adopt: bool = False,
    drop_unproved: bool = False,
    apply: bool = False,
    progress: Progress | None = None,
) -> list[Run]:
    """Plan what mends a store, and do it if agreed, under the locks, guards, backups and journal of clean.

    Args:
        where: as for :func:`verify`.
        agree: shown the repairs; nothing is changed unless it says yes.
        accept: names of images, containers and snapshots that may be lost.
        wanted: what to look at first; what an earlier verification with this state or the default found wrong is read
            again in any case.
        now: as for :func:`verify`.
        state: where journal and backups go, and what is remembered of verifications; None for the default.
        quarantine: a folder to move things to instead of deleting them.
        adopt: whether whole blobs without a record that an image needs get one.
        drop_unproved: whether a damaged layer goes together with what it was unpacked to, where nothing proves that.
        apply: whether anything may be changed; else ``agree`` is only shown the repairs.
        progress: told what was done.

    Returns:
        One run for each root in which something was done.

    Raises:
        EvidenceUnreadable: as for :func:`verify`.
        Refused: as for :func:`verify`; with ``apply`` an engine, a shim or a mount that uses a root, as well.
        Usage: ``accept`` names something that would not be lost.
        ActionFailed: the journal or the backups could not be written; nothing was changed in that root.
    """
    wanted = wanted or VerifyOptions()
    clock = Deadline(wanted.seconds)
    with ExitStack() as stack:
        looked: list[_Looked] = []
        for root in discover(where):
            refuse_engine_folders(root, state=state, quarantine=quarantine)
            look = _looked(
                root, wanted, clock, now=now, state=state, progress=progress, exclusive=apply,
                mends=True, adopts=adopt, drop_unproved=drop_unproved,
            )  # fmt: skip
            looked.append(hold_unused(stack, root, look) if apply else stack.enter_context(look))
        repairs = [each.repair(accept) for each in looked]
        refuse_unknown(repairs, accept)
        if not agree(repairs) or not apply:
            return []
        parts = ((made.plan, each.held, each.verdict.store) for each, made in zip(looked, repairs, strict=True))
        return carry_out(parts, state=state, quarantine=quarantine, progress=progress)


@dataclass(slots=True)
class _Looked:
    """One root, looked at, while its locks are held."""

    held: Held
    verdict: Verdict
    hits: list[Hit]
    images: list[ImageState]
    data: Coverage | None
    unpacked: Coverage | None
    warnings: list[str]
    forgotten: str
    repair: Callable[[tuple[bytes, ...]], Repair]

    def verification(self) -> Verification:
        store = self.verdict.store
        uneditable = edit_blindness(store)
        return Verification(
            store.root.path,
            self.hits,
            self.images,
            self.data,
            self.unpacked,
            "" if store.metadata.complete else uneditable,
            self.warnings,
            self.forgotten,
            uneditable,
        )


@contextmanager
def _looked(
    root: Root,
    wanted: VerifyOptions,
    clock: Deadline,
    *,
    now: UnixNano | None,
    state: RawPath | None,
    progress: Progress | None,
    exclusive: bool,
    mends: bool = False,
    adopts: bool = False,
    drop_unproved: bool = False,
) -> Iterator[_Looked]:
    with read_root(root, now, progress=progress, exclusive=exclusive) as looked:
        store, held, at = looked
        default = places_with(None)
        places, others = (default, ()) if state is None else ((state,), default)
        checkpoint = open_checkpoint(root.path, places, others, write=wanted.data or wanted.unpacked)
        try:
            data = read_blobs(store, wanted, checkpoint, clock, progress)
            verdict, reached, images = _judged(store, at)
            adopted, made = Adopted(), _made(at, store.newest())
            lost = find_lost_containers(store, made)
            if adopts and not edit_blindness(store):
                before = images.states()
                give_back(store, lost)
                adopted = adopt_blobs(store, at, made, progress)
                verdict, reached, images = _judged(store, at)
                adopted.whole = tuple(made_whole(before, images.states()))
            else:
                lost = not_given_back(lost)
            layers = images.unpacked()
            found, unpacked = read_unpacked(
                store, layers, options=wanted, checkpoint=checkpoint, deadline=clock, places=places, progress=progress
            )
            unpacked.skipped += images.committed() - len(layers)
            read_sizes(verdict, found, unpacked, options=wanted, checkpoint=checkpoint, deadline=clock)
            proofs: Proofs = {}
            # Only what was compared byte by byte is proved.
            look = partial(
                prove,
                content=mends or wanted.content,
                stop=(lambda: False) if mends else clock.is_up,
                places=places,
                progress=progress,
            )
            if mends or wanted.unpacked:
                proofs = look(verdict, reached, images.states(), found)
            right: set[Digest] = set()
            rows = {
                row for each in proofs.values() for row, why in each.items() if drop_unproved or why.code != UNPROVED
            }
            if mends and (sources := list_sources(verdict, images.states(), found.snapshots, rows)):
                right = _read(store, sources, progress)
                verdict, reached, images = _judged(store, at)
                proofs = look(verdict, reached, images.states(), found)
            if (wanted.data or wanted.unpacked) and not data.left and not unpacked.left:
                checkpoint.finish(wanted.kinds)
        finally:
            checkpoint.close()
        states = images.states()
        adoptable = {Ref(Kind.BLOB, image.namespace, digest) for image in states for digest in image.adoptable}
        about: dict[Finding, tuple[Ref, ...]] = {**dict(disagreements(store, adoptable)), **found.refs}
        about.update(dict.fromkeys(wrong_orphans(store), ()))
        about.update(dict.fromkeys(lost_findings(lost, store), ()))
        # What dangles is told again, with what a repair can do about it.
        verdict.findings = [each for each in verdict.findings if each.code not in RESTATED] + list(about)
        yield _Looked(
            held,
            verdict,
            name_hits(verdict, reached, verdict.findings, about),
            states,
            data if wanted.data else None,
            unpacked if wanted.unpacked else None,
            [checkpoint.warning] if checkpoint.warning else [],
            wanted.options if checkpoint.is_lost else "",
            lambda accept: make_repair(
                verdict,
                reached,
                states,
                wrong=found.snapshots,
                proofs=proofs,
                adopted=adopted,
                lost=lost,
                right=right,
                accept=accept,
                drop_unproved=drop_unproved,
                witnesses=witnesses(held),
            ),
        )


def _read(store: Store, blobs: list[BlobFile], progress: Progress | None) -> set[Digest]:
    """The blobs whose bytes are right; those with other bytes go to ``store.wrong``."""
    right: set[Digest] = set()

    def told(blob: BlobFile, fits: bool) -> None:
        if fits:
            right.add(blob.digest)

    step = counter(progress, "bytes hashed", sum(blob.size for blob in blobs))
    wrong, unread = hash_blobs(store.root.path, blobs, step, told=told)
    store.wrong |= wrong
    store.content.findings += [each for each in unread if each not in store.content.findings]
    return right


def _made(at: UnixNano, newest: UnixNano | None) -> UnixNano:
    """The time of records that are put in: not later than the clock, where that is right.

    A record of a time to come has no age that can be known, and with many of them every run after this one is refused.
    """
    clock = UnixNano(time.time_ns())
    if newest is not None and not is_ahead(newest, at):
        clock = max(clock, newest)
    return min(at, clock)


def _judged(store: Store, at: UnixNano) -> tuple[Verdict, Reach, Images]:
    verdict, reached = judge(store, at)
    documents = read_documents(store.root.path, list_image_blobs(verdict, reached))
    return verdict, reached, Images(verdict, reached, documents)
