"""Repairing: what makes a broken image pull again, and doing it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from drydock.commands.apply import carry_out
from drydock.commands.verify import Looked, look
from drydock.evidence.buildkit.records import record_keys
from drydock.model.access import Access
from drydock.model.errors import EvidenceUnreadable
from drydock.model.names import RawPath, Ref
from drydock.model.plans import FieldDrop, LeaseEnd
from drydock.model.policies import VerifyOptions
from drydock.model.repairs import Repair
from drydock.model.runs import Run
from drydock.model.text import shown
from drydock.reclaim.interrupted_runs import close_unfinished
from drydock.repairs.cache_records import drop_records, end_leases, find_repaired
from drydock.repairs.repair_plan import make_repair, refuse_unknown
from drydock.repairs.restoration import Restorable, find_restorable, unpack_layer
from drydock.session import Session, find_roots, hold_caches, open_root
from drydock.verification.tiers import Deadline


def repair(
    where: RawPath | None,
    access: Access,
    *,
    agree: Callable[[list[Repair]], bool],
    accept: tuple[bytes, ...] = (),
    wanted: VerifyOptions | None = None,
    adopt: bool = False,
    drop_unproved: bool = False,
    restore_files: bool = False,
) -> list[Run]:
    """Plan what repairs a store, and do it if agreed, under the locks, guards, backups and journal of clean.

    Args:
        where: as for :func:`drydock.session.find_roots`.
        access: exclusive where anything may be changed; else ``agree`` is only shown the repairs. Its state directory
            is where journal and backups go, and where verifications note what they read.
        agree: shown the repairs; nothing is changed unless it returns true.
        accept: names of images, containers and snapshots that may be lost.
        wanted: what to look at first; what an earlier verification with this state or the default found wrong is read
            again in any case.
        adopt: whether whole blobs without a record that an image needs get one.
        drop_unproved: whether a damaged layer goes together with what it was unpacked to, where nothing proves that.
        restore_files: whether damaged snapshots are unpacked again from their whole layers.

    Returns:
        One run for each root in which something was done.

    Raises:
        EvidenceUnreadable: ``where`` is not a store.
        Refused: an engine or a verification uses a root, or the clock is wrong; for exclusive access also a shim or a
            mount that uses a root.
        Usage: ``accept`` names something that would not be lost.
        ActionFailed: the journal or the backups could not be written; nothing was changed in that root.
    """
    wanted = wanted or VerifyOptions()
    deadline = Deadline(wanted.seconds)
    with ExitStack() as stack:
        sessions: list[Session] = []
        repairs: list[Repair] = []
        for root in find_roots(where, access):
            session = stack.enter_context(open_root(root, access))
            looked = look(session, wanted, deadline, mends=True, adopts=adopt, drop_unproved=drop_unproved)
            sessions.append(session)
            repairs.append(_plan(looked, accept, stack, drop_unproved=drop_unproved, restore_files=restore_files))
        refuse_unknown(repairs, accept)
        if access.exclusive:
            for session, made in zip(sessions, repairs, strict=True):
                if made.plan.is_empty:
                    close_unfinished(session.held, session.store, access.state)
        if not agree(repairs) or not access.exclusive:
            return []
        parts = ((session, made.plan) for session, made in zip(sessions, repairs, strict=True))
        return carry_out(parts, unpack_layer)


def _cached(session: Session, stack: ExitStack, gone: set[Ref]) -> tuple[list[FieldDrop], list[LeaseEnd]]:
    """What is deleted of BuildKit's cache records, under locks that the stack holds, and their leases.

    Args:
        session: of the root.
        stack: gets the locks.
        gone: the records that the repair deletes.
    """
    repaired = find_repaired(session.store, gone)
    drops: list[FieldDrop] = []
    stack.enter_context(hold_caches(session.held, repaired, session.access))
    for path, names in repaired.items():
        file = session.held.find(path)
        if file is None or not file.is_sound or file.database is None:
            raise EvidenceUnreadable(f"{shown(path)}: it was read before, and now it cannot be")
        drops += drop_records(path, list(record_keys(file.database.root, names)))
    return drops, list(end_leases(session.store, session.reached.classes, repaired))


def _plan(
    looked: Looked, accept: tuple[bytes, ...], stack: ExitStack, *, drop_unproved: bool, restore_files: bool
) -> Repair:
    found = find_restorable(looked.session.verdict, looked.layers, looked.wrong)
    restorable = found if restore_files else None
    made = _make(looked, accept, ([], []), restorable, drop_unproved=drop_unproved)
    cached = _cached(looked.session, stack, {drop.ref for drop in made.plan.records})
    if cached[0]:
        made = _make(looked, accept, cached, restorable, drop_unproved=drop_unproved)
    made.restorable = 0 if restore_files else len(found.layers)
    return made


def _make(
    looked: Looked,
    accept: tuple[bytes, ...],
    cached: tuple[list[FieldDrop], list[LeaseEnd]],
    restorable: Restorable | None,
    *,
    drop_unproved: bool,
) -> Repair:
    return make_repair(
        looked.session.verdict,
        looked.session.reached,
        looked.images,
        wrong=looked.wrong,
        proofs=looked.proofs,
        adopted=looked.adopted,
        lost=looked.lost,
        right=looked.right,
        accept=accept,
        drop_unproved=drop_unproved,
        fingerprints=looked.session.fingerprints(),
        cached=cached[0],
        ended=cached[1],
        restorable=restorable,
    )
