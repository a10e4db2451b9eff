"""Verifying: which data is intact, and which images and containers damage affects."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from drydock.evidence.containerd.digests import hash_blobs
from drydock.evidence.containerd.manifests import read_documents
from drydock.model.access import Access
from drydock.model.data import BlobFile
from drydock.model.findings import Finding, FindingCode
from drydock.model.names import Digest, Kind, RawPath, Ref, UnixNano
from drydock.model.policies import VerifyOptions
from drydock.model.progress import Progress, counter
from drydock.model.repairs import Adopted, LostContainers
from drydock.model.store import Store
from drydock.model.times import is_ahead
from drydock.model.verifications import Coverage, Hit, ImageState, Unpacked, Verification
from drydock.reclaim.state_dir import places_with
from drydock.repairs.adoption import adopt as adopt_blobs
from drydock.repairs.adoption import made_whole
from drydock.repairs.broken_chains import RESTATED, disagreements, wrong_orphans
from drydock.repairs.lost_containers import find_lost_containers, give_back, lost_findings, not_given_back
from drydock.repairs.proofs import Proofs, prove
from drydock.repairs.refetch import list_sources
from drydock.session import Session, find_roots, open_root
from drydock.verdict.blind_spots import edit_blindness
from drydock.verdict.images import Images, list_image_blobs
from drydock.verification.checkpoint import open_checkpoint
from drydock.verification.tiers import (
    Deadline,
    finished_kinds,
    name_hits,
    read_blobs,
    read_layers,
    read_sizes,
    read_unpacked,
)


def verify(
    where: RawPath | None, access: Access, *, wanted: VerifyOptions | None = None, second_reading: bool = True
) -> list[Verification]:
    """Check which data is intact: records, and on demand the bytes of blobs and of unpacked layers.

    Nothing in a store is changed.

    Args:
        where: as for :func:`drydock.session.find_roots`.
        access: how to read the stores there. Its state directory is where a run notes how far it came, and what it
            found wrong; what a run with the default found wrong is known in any case.
        wanted: what to look at besides records, and for how long; None for records alone.
        second_reading: read each database with the second reader too, and compare.

    Returns:
        One verification for each containerd root.

    Raises:
        EvidenceUnreadable: ``where`` is not a store.
        Refused: an engine or another verification uses it, or the clock is wrong.
    """
    wanted = wanted or VerifyOptions()
    deadline = Deadline(wanted.seconds)
    found: list[Verification] = []
    for root in find_roots(where, access):
        with open_root(root, access) as session:
            looked = look(session, wanted, deadline)
            verification = looked.verification()
            if second_reading:
                # construct takes as long to import as most scans take.
                from drydock.verification.second_reading import compare_readers  # noqa: PLC0415

                verification.second_reading, differences = compare_readers(session.held, access.progress)
                verification.hits += map(Hit, differences)
            found.append(verification)
    return found


@dataclass(slots=True)
class Looked:
    """The findings about one root, and the facts that a repair of it is planned from."""

    session: Session
    hits: list[Hit]
    images: list[ImageState]
    data: Coverage | None
    unpacked: Coverage | None
    warnings: list[str]
    forgotten: str | None
    """The options that repeat what no state directory saved; None if one saved it."""
    wrong: dict[tuple[bytes, bytes], Finding]
    """Snapshots with damage, by snapshotter and row."""
    proofs: Proofs
    adopted: Adopted
    lost: LostContainers
    right: set[Digest]
    """Blobs whose bytes are right, so that layers can be unpacked from them again."""
    layers: list[Unpacked]
    """Committed snapshots with the layers that they were unpacked from."""

    def verification(self) -> Verification:
        """The root, verified."""
        store = self.session.store
        uneditable = edit_blindness(store)
        return Verification(
            store.root.path,
            self.hits,
            self.images,
            self.data,
            self.unpacked,
            None if store.metadata.complete else uneditable,
            self.warnings,
            self.forgotten,
            uneditable,
        )


def look(
    session: Session,
    wanted: VerifyOptions,
    deadline: Deadline,
    *,
    mends: bool = False,
    adopts: bool = False,
    drop_unproved: bool = False,
) -> Looked:
    """Check which data of one root is intact.

    Args:
        session: the root. Its store gets the results of reading bytes, and is judged again by them.
        wanted: what to look at besides records.
        deadline: tells when to stop.
        mends: a repair follows: read everything that it depends on, whatever ``wanted`` is.
        adopts: restore the lost records of blobs and containers, in the store as it was read.
        drop_unproved: the repair drops snapshots that nothing proves.
    """
    access, store, at = session.access, session.store, session.now
    progress, default = access.progress, places_with(None)
    places, others = (default, ()) if access.state is None else ((access.state,), default)
    checkpoint = open_checkpoint(session.root, places, others, write=wanted.data or wanted.unpacked)
    try:
        data = read_blobs(store, wanted, checkpoint, deadline, progress)
        images = _images(session)
        adopted, made = Adopted(), _made(at, store.newest())
        lost = find_lost_containers(store, made)
        if adopts and not edit_blindness(store):
            before = images.states()
            give_back(store, lost)
            adopted = adopt_blobs(store, at, made, progress)
            session.judge_again()
            images = _images(session)
            adopted.whole = tuple(made_whole(before, images.states()))
        else:
            lost = not_given_back(lost)
        layers = images.unpacked()
        found, unpacked = read_unpacked(
            store, layers, options=wanted, checkpoint=checkpoint, deadline=deadline, places=places, progress=progress
        )
        unpacked.skipped += images.committed() - len(layers)
        read_sizes(session.verdict, found, unpacked, options=wanted, checkpoint=checkpoint, deadline=deadline)
        read_layers(
            session.verdict,
            found,
            unpacked,
            options=wanted,
            checkpoint=checkpoint,
            deadline=deadline,
            progress=progress,
        )
        proofs: Proofs = {}
        # Only what was compared byte by byte is proved.
        prove_layers = partial(
            prove,
            content=mends or wanted.content,
            stop=(lambda: False) if mends else deadline.is_up,
            places=places,
            progress=progress,
        )
        if mends or wanted.unpacked:
            proofs = prove_layers(session.verdict, session.reached, images.states(), found)
        right: set[Digest] = set()
        rows = {
            row
            for each in proofs.values()
            for row, why in each.items()
            if drop_unproved or why.code is not FindingCode.SNAPSHOT_UNPROVED
        }
        if mends and (sources := list_sources(session.verdict, images.states(), found.snapshots, rows)):
            right = _read(store, sources, progress)
            session.judge_again()
            images = _images(session)
            proofs = prove_layers(session.verdict, session.reached, images.states(), found)
        if (wanted.data or wanted.unpacked) and not data.left and not unpacked.left:
            checkpoint.finish(finished_kinds(wanted))
    finally:
        checkpoint.close()
    verdict, states = session.verdict, images.states()
    adoptable = {Ref(Kind.BLOB, image.namespace, digest) for image in states for digest in image.adoptable}
    about: dict[Finding, tuple[Ref, ...]] = {**dict(disagreements(store, adoptable)), **found.refs}
    about.update(dict.fromkeys(wrong_orphans(store), ()))
    about.update(dict.fromkeys(lost_findings(lost, store), ()))
    # Dangling references are reported again, with what a repair can do about them.
    verdict.findings = [each for each in verdict.findings if each.code not in RESTATED]
    verdict.findings += [*about, *found.layers]
    return Looked(
        session,
        name_hits(verdict, session.reached, verdict.findings, about),
        states,
        data if wanted.data else None,
        unpacked if wanted.unpacked else None,
        [] if checkpoint.warning is None else [checkpoint.warning],
        wanted.options if checkpoint.is_lost else None,
        found.snapshots,
        proofs,
        adopted,
        lost,
        right,
        layers,
    )


def _read(store: Store, blobs: list[BlobFile], progress: Progress | None) -> set[Digest]:
    """Hash blobs; the right ones are returned, the others go to ``store.wrong``."""
    right: set[Digest] = set()

    def note(blob: BlobFile, fits: bool) -> None:
        if fits:
            right.add(blob.digest)

    step = counter(progress, "bytes hashed", sum(blob.size for blob in blobs))
    wrong, unread = hash_blobs(store.root.path, blobs, step, told=note)
    store.wrong |= wrong
    store.content.findings += [each for each in unread if each not in store.content.findings]
    return right


def _made(at: UnixNano, newest: UnixNano | None) -> UnixNano:
    """The time of restored records: not later than the clock, if the clock is right.

    A record with a future time has no known age. If most records had one, every later run would be refused.
    """
    clock = UnixNano(time.time_ns())
    if newest is not None and not is_ahead(newest, at):
        clock = max(clock, newest)
    return min(at, clock)


def _images(session: Session) -> Images:
    verdict, reached = session.verdict, session.reached
    blobs = list_image_blobs(verdict, reached)
    step = counter(session.access.progress, "blobs looked at", len(blobs))
    return Images(verdict, reached, read_documents(session.root, blobs, progress=step))
