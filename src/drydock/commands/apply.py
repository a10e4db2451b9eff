"""Carrying plans out: clean and apply, and what every command that changes a store has in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from drydock.commands.plan import refuse_unknown_names
from drydock.commands.runs import refuse_if_needed
from drydock.model.access import Access
from drydock.model.errors import DrydockError, Refused, Usage
from drydock.model.names import RawPath
from drydock.model.plans import Plan
from drydock.model.runs import Run
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.reclaim.execute import execute
from drydock.reclaim.interrupted_runs import close_unfinished
from drydock.reclaim.layer_restores import Unpack
from drydock.reclaim.plan_file import Request, plan_hash, plan_request
from drydock.reclaim.state_dir import find_unfinished, places_with
from drydock.session import Session, find_root, find_roots, hold_caches, open_root, policies


def clean(where: RawPath | None, access: Access, *, agree: Callable[[list[Scan]], bool]) -> list[Run]:
    """Plan and apply in one step, holding every lock from the first look to the last cut.

    Args:
        where: as for :func:`drydock.session.find_roots`.
        access: the policy, and where the journal, backups and a quarantine go. The roots are held as by a writer.
        agree: shown the scans with their plans; nothing is changed unless it returns true.

    Returns:
        As for :func:`carry_out`; nothing without agreement.

    Raises:
        EvidenceUnreadable: ``where`` is not a store.
        Refused: an engine, a shim or a mount uses a root, a lock is held, the clock is wrong, or as for
            :func:`drydock.commands.plan.plan`.
        Usage: as for :func:`drydock.commands.plan.plan`.
        ActionFailed: the journal or the backups could not be written; nothing was changed in that root.
    """
    access = access.to_change()
    with ExitStack() as stack:
        entries = policies(find_roots(where, access), access)
        sessions = [stack.enter_context(open_root(root, entry)) for root, entry in entries]
        scans = [session.scan() for session in sessions]
        refuse_unknown_names(scans, access.policy)
        for session, scan in zip(sessions, scans, strict=True):
            if scan.plan.is_empty:
                close_unfinished(session.held, session.store, access.state)
        if not agree(scans):
            return []
        return carry_out((session, scan.plan) for session, scan in zip(sessions, scans, strict=True))


def apply(requests: list[Request], access: Access) -> list[Run]:
    """Carry out plans that were written to a file earlier.

    Each root's plan is made again from its policy and its time, and carried out only if it does the same.

    Args:
        requests: from :func:`drydock.commands.plan.read_plans` or :func:`drydock.commands.plan.request`.
        access: where the journal, backups and a quarantine go; policy and time are the plan's own. The roots are held
            as by a writer.

    Returns:
        As for :func:`carry_out`.

    Raises:
        Refused: as for :func:`clean`, or a plan is stale: the store is not as it was, or the file was changed.
        EvidenceUnreadable: a root is not there any more.
        ActionFailed: as for :func:`clean`.
    """
    with ExitStack() as stack:
        parts: list[tuple[Session, Plan]] = []
        for request in requests:
            asked = access.to_change()._replace(now=request.now, policy=request.policy)
            session = stack.enter_context(open_root(find_root(request.root, asked, host=request.host), asked))
            made = session.scan().plan
            if plan_request(made) != request:
                raise Refused(
                    f"the plan for {shown(request.root)} is stale: the store has changed since, or the "
                    "file was edited; make a new one with drydock plan"
                )
            session.check_clock()
            parts.append((session, made))
        return carry_out(parts)


def carry_out(parts: Iterable[tuple[Session, Plan]], unpack: Unpack | None = None) -> list[Run]:
    """Carry out the plans of several roots, each held exclusively and read for its plan.

    Args:
        parts: the roots with their plans.
        unpack: unpacks layers; None if no plan has any to unpack again.

    Returns:
        One run for each plan that is not empty. What goes wrong before anything was changed is raised for the first,
        and a warning of its run for the others.

    Raises:
        Refused: a process or a mount uses one of the roots, one is not held as by a writer, there is no place for the
            journal, or a run that can be undone needs a database that is to be compacted.
        Usage: databases are to be compacted, and there is a quarantine.
        ActionFailed: the journal or the backups of the first root could not be written.
        KeyboardInterrupt: with the journals of what was begun.
    """
    parts = list(parts)
    for session, made in parts:
        session.refuse_if_used()
        if made.compactions:
            if session.access.quarantine is not None:
                raise Usage("--compact cannot be undone, so it moves nothing aside: leave out --quarantine")
            close_unfinished(session.held, session.store, session.access.state)
        state = session.access.state
        for each in made.compactions:
            # A run makes its state directory if it is missing: no run is in it then.
            refuse_if_needed(each.path, None if state is None or not os.path.lexists(state) else state)
    runs: list[Run] = []
    for session, made in parts:
        if made.is_empty:
            continue
        access = session.access
        try:
            if runs:
                # The roots before took time, in which something may have started that takes no lock.
                session.refuse_if_used()
            with hold_caches(session.held, made.edited_beside, access):
                run = execute(
                    made, session.held, session.store, plan_hash=plan_hash(made),
                    state=access.state, quarantine=access.quarantine, progress=access.progress, unpack=unpack,
                )  # fmt: skip
        except DrydockError as error:
            if not runs:
                raise
            # The roots before were changed, and that must be reported.
            run = Run(made.root, None, "", warnings=[f"nothing was done: {error}"])
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_what_is_left(made.root, access.state, runs)) from None
        runs.append(run)
    return runs


def _what_is_left(root: RawPath, state: RawPath | None, runs: Iterable[Run]) -> str:
    """The journals of an interrupted run, and how to finish it, on one shown line; empty if nothing was begun."""
    ended = [run.journal for run in runs if run.journal is not None]
    begun = [journal.path for journal in find_unfinished(root, places_with(state))[-1:]]
    known = [f"journal: {shown(path)}" for path in (*ended, *begun)]
    if begun:
        known.append("drydock clean --apply, with the options it had, finishes that run")
    return "; ".join(known)
