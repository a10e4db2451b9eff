"""The commands that change a store, and what decides about them: plan, apply, clean, undo."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from drydock.evidence.containerd.store import Held, hold_store
from drydock.evidence.host.roots import discover
from drydock.execution import carry_out, hold_unused
from drydock.model.errors import EvidenceUnreadable, Refused, Usage
from drydock.model.names import RawPath, UnixNano
from drydock.model.policies import Policy
from drydock.model.progress import Progress
from drydock.model.roots import Root
from drydock.model.scans import Scan
from drydock.model.text import did_you_mean, quoted_path, shown
from drydock.pipeline import Judged, judge_root
from drydock.reclaim.engine_folders import refuse_engine_folders
from drydock.reclaim.guard import check_clock
from drydock.reclaim.interrupted_runs import close_unfinished
from drydock.verdict.clock import find_ahead
from drydock.verdict.find import suggest

if TYPE_CHECKING:
    from drydock.model.plans import Plan
    from drydock.model.runs import Run
    from drydock.model.store import Store
    from drydock.reclaim.plan_file import Request


def plan(
    where: RawPath | None = None,
    *,
    policy: Policy | None = None,
    now: UnixNano | None = None,
    state: RawPath | None = None,
    progress: Progress | None = None,
) -> list[Scan]:
    """Decide what would be removed under a policy. Changes nothing.

    Args:
        where: as for :func:`scan`.
        policy: which leases end, and what is kept; None: expired ones, and nothing besides.
        now: as for :func:`scan`.
        state: as for :func:`scan`.
        progress: as for :func:`scan`.

    Returns:
        One scan for each root, with its plan.

    Raises:
        EvidenceUnreadable: as for :func:`scan`.
        Refused: as for :func:`scan`; or the policy names a lease whose owner exists.
        Usage: a name of the policy fits nothing, or several things.
    """
    wanted = policy or Policy()
    scans: list[Scan] = []
    for root in discover(where):
        refuse_engine_folders(root, state=state)
        with judge_root(root, now, policy=wanted, state=state, progress=progress) as judged:
            scans.append(judged.scan)
    _refuse_unknown(scans, wanted)
    return scans


def clean(
    where: RawPath | None = None,
    *,
    agree: Callable[[list[Scan]], bool],
    policy: Policy | None = None,
    now: UnixNano | None = None,
    state: RawPath | None = None,
    quarantine: RawPath | None = None,
    progress: Progress | None = None,
) -> list[Run]:
    """Plan and apply in one step, holding every lock from the first look to the last cut.

    Args:
        where: as for :func:`scan`.
        agree: shown the scans with their plans; nothing is changed unless it says yes.
        policy: as for :func:`plan`.
        now: as for :func:`scan`.
        state: where journal and backups go; None for the default.
        quarantine: a folder to move things to instead of deleting them.
        progress: told what was read, and what was removed.

    Returns:
        One run for each root in which something was to be done; none without agreement. What goes wrong before
        anything was changed is raised for the first of them, and a warning of its run for the others.

    Raises:
        EvidenceUnreadable: as for :func:`scan`.
        Refused: an engine, a shim or a mount uses a root, a lock is held, the clock is wrong, or as for :func:`plan`.
        Usage: as for :func:`plan`.
        ActionFailed: the journal or the backups could not be written; nothing was changed in that root.
    """
    wanted = policy or Policy()
    with ExitStack() as stack:
        roots = discover(where)
        for root in roots:
            refuse_engine_folders(root, state=state, quarantine=quarantine)
        judged = [_hold_to_change(stack, root, now, wanted, progress) for root in roots]
        scans = [each.scan for each in judged]
        _refuse_unknown(scans, wanted)
        for each in judged:
            if each.scan.plan.is_empty:
                close_unfinished(each.held, each.scan.verdict.store, state)
        if not agree(scans):
            return []
        return carry_out(_parts(judged), state=state, quarantine=quarantine, progress=progress)


def apply(
    requests: list[Request],
    *,
    state: RawPath | None = None,
    quarantine: RawPath | None = None,
    progress: Progress | None = None,
) -> list[Run]:
    """Carry out plans that were written to a file earlier.

    Each root's plan is made anew, of the plan's own policy and time, and carried out only if it comes out the same.

    Args:
        requests: from :func:`read_plans`, or :func:`request` of a plan made in this process.
        state: as for :func:`clean`.
        quarantine: as for :func:`clean`.
        progress: as for :func:`clean`.

    Raises:
        Refused: as for :func:`clean`, or a plan is stale: the store is not as it was, or the file was changed.
        EvidenceUnreadable: a root is not there any more.
        ActionFailed: as for :func:`clean`.
    """
    from drydock.reclaim.plan_file import plan_hash  # noqa: PLC0415 - a scan must start fast

    with ExitStack() as stack:
        judged: list[Judged] = []
        for request in requests:
            root = _planned_root(request.root, request.host)
            refuse_engine_folders(root, state=state, quarantine=quarantine)
            each = _hold_to_change(stack, root, request.now, request.policy, progress)
            if plan_hash(each.scan.plan) != request.hash:
                raise Refused(
                    f"the plan for {shown(request.root)} is stale: the store is not as the plan saw it, "
                    "or the file was changed; make a new one with drydock plan"
                )
            clock = UnixNano(time.time_ns())
            check_clock(clock, find_ahead(each.scan.verdict.store, clock))
            judged.append(each)
        return carry_out(_parts(judged), state=state, quarantine=quarantine, progress=progress)


def read_plans(path: str) -> list[Request]:
    """What a plan file asks for, for :func:`apply`.

    Raises:
        EvidenceUnreadable: the file cannot be read, or is not a plan.
    """
    from drydock.reclaim.plan_file import read_requests  # noqa: PLC0415 - a scan must start fast

    name = shown(os.fsencode(path))
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        raise EvidenceUnreadable(f"{name}: {getattr(error, 'strerror', None) or 'not text'}") from error
    return read_requests(text, name)


def request(scan: Scan) -> Request:
    """What asks :func:`apply` for the plan of a scan, as a plan file would.

    Raises:
        Usage: it is of a live scan.
    """
    from drydock.reclaim.plan_file import Request, plan_hash  # noqa: PLC0415 - a scan must start fast

    if scan.live:
        raise Usage("a live scan makes no plan: stop the engine, and plan anew")
    made = scan.plan
    return Request(made.root, made.host, made.now, made.policy, plan_hash(made))


def undo(journal: RawPath, *, progress: Progress | None = None) -> Run:
    """Put back what a journal says was moved, and each edited database as it was before.

    Args:
        journal: path of the journal.
        progress: told what was read, and what was moved back.

    Raises:
        EvidenceUnreadable: it is no journal, or its root is not there.
        Refused: as for :func:`clean`.
    """
    from drydock.reclaim.journal import read_journal  # noqa: PLC0415 - a scan must not load what changes a store
    from drydock.reclaim.undo import undo as undo_run  # noqa: PLC0415 - the same

    found = read_journal(journal)
    root = _root_at(found.root)
    with ExitStack() as stack:
        held = hold_unused(stack, root, hold_store(root, exclusive=True, progress=progress))
        return undo_run(found, held, progress)


def _hold_to_change(
    stack: ExitStack, root: Root, now: UnixNano | None, policy: Policy, progress: Progress | None
) -> Judged:
    return hold_unused(stack, root, judge_root(root, now, policy=policy, progress=progress, exclusive=True))


def _planned_root(path: RawPath, host: RawPath) -> Root:
    """The root that a plan is of, as its host knows it: the root alone may not tell what the host above it is.

    Raises:
        EvidenceUnreadable: it is not there any more.
    """
    with suppress(EvidenceUnreadable):
        for root in discover(host):
            if root.path == path:
                return root
    return _root_at(path)  # a copy that no host has


def _root_at(path: RawPath) -> Root:
    """The root that a path is of."""
    for root in discover(path):
        if root.path == path:
            return root
    raise EvidenceUnreadable(f"{shown(path)}: no containerd root")


def _parts(judged: list[Judged]) -> Iterator[tuple[Plan, Held, Store]]:
    for each in judged:
        yield each.scan.plan, each.held, each.scan.verdict.store


def _refuse_unknown(scans: list[Scan], policy: Policy) -> None:
    """Refuse names that fit nothing anywhere: a mistyped name must not end in something being removed."""
    for name in policy.leases:
        named = [
            (holding.ref, scan.plan.root)
            for scan in scans
            for holding in scan.verdict.leases
            if holding.is_called(name)
        ]
        if not named:
            leases = [shown(holding.ref.key) for scan in scans for holding in scan.verdict.leases]
            raise Usage(f"there is no lease {shown(name)}{did_you_mean(shown(name), leases)}")
        if len({ref for ref, _ in named}) < len(named):
            roots = ", ".join(quoted_path(root) for root in dict.fromkeys(root for _, root in named))
            raise Usage(f"lease {shown(name)} is in several roots: {roots}; say which one as WHERE")
        if len(named) > 1:
            several = ", ".join(f"{shown(ref.namespace)}/{shown(ref.key)}" for ref, _ in named)
            raise Usage(f"there are {len(named)} leases {shown(name)}: {several}; name one with its namespace")
    for name in policy.keep:
        if not any(name in scan.plan.kept for scan in scans):
            meant = next(filter(None, (suggest(scan.verdict, name) for scan in scans)), "")
            raise Usage(f"nothing here is called {shown(name)}, so it cannot be kept{meant}")
