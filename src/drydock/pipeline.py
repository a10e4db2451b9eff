"""The composition root: what the commands do, as functions with types."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from drydock.evidence.roots import discover
from drydock.evidence.store import Held, Progress, copy_store, hold_store, read_store
from drydock.evidence.witness import witnesses
from drydock.model.errors import DrydockError, EvidenceUnreadable, Refused, Usage
from drydock.model.names import RawPath, UnixNano
from drydock.model.policies import Policy
from drydock.model.roots import Root
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.reclaim.guard import check_clock, refuse_if_used
from drydock.reclaim.plan import make_plan
from drydock.reclaim.unfinished import close_unfinished, unfinished_runs
from drydock.verdict.judge import Reach, judge

if TYPE_CHECKING:
    from drydock.model.explanations import Explanation
    from drydock.model.inventories import Inventory
    from drydock.model.plans import Outcome, Plan
    from drydock.model.pulls import Pull, Pulls
    from drydock.model.runs import Run
    from drydock.model.store import Store
    from drydock.reclaim.plan_file import Request


def scan(
    where: RawPath | None = None,
    *,
    now: UnixNano | None = None,
    measure: str = "recorded",
    verification: str = "size",
    state: RawPath | None = None,
    inventory: bool = False,
    live: bool = False,
    progress: Progress | None = None,
) -> list[Scan]:
    """Say what is there, by state. Changes nothing.

    Args:
        where: a containerd root, a Docker data root, or the root of a mounted host; None for this host.
        now: what expiries are compared with; None for the clock.
        measure: ``recorded`` or ``disk``.
        verification: ``none``, ``size`` or ``digest``.
        state: where to look for runs that were stopped, besides the default places.
        inventory: say as well who holds what by name, and which pulls were interrupted (``Scan.inventory``).
        live: take no lock, and read copies of the databases instead: for looking beside a running engine. What came or
            went meanwhile is left out, and nothing may be removed on the strength of it.
        progress: told what was read.

    Returns:
        One scan for each containerd root found; none on a host without containerd storage.

    Raises:
        EvidenceUnreadable: ``where`` is not a store, or, live, a database could not be copied.
        Refused: an engine uses it, or the clock is wrong.
    """
    scans: list[Scan] = []
    for root in discover(where):
        options = _judged(
            root, now, measure=measure, verification=verification, state=state, live=live, progress=progress
        )
        with options as judged:
            if inventory:
                judged.scan.inventory = _inventory(judged)
            scans.append(judged.scan)
    return scans


def explain(
    word: bytes, where: RawPath | None = None, *, now: UnixNano | None = None, progress: Progress | None = None
) -> list[Explanation]:
    """Say why something is there: the way from a root to it, or why nothing holds it.

    Args:
        word: a digest or its beginning, a path, a snapshot key, an image, a container or a lease.
        where: as for :func:`scan`.
        now: as for :func:`scan`.
        progress: as for :func:`scan`.

    Raises:
        EvidenceUnreadable: ``where`` is not a store, or nothing in it has that name.
        Usage: the beginning of a name fits more than one.
    """
    from drydock.verdict.explain import explain as explain_subject  # noqa: PLC0415 - a scan must start fast
    from drydock.verdict.find import find  # noqa: PLC0415 - the same

    explanations: list[Explanation] = []
    for root in discover(where):
        with _judged(root, now, progress=progress) as judged:
            verdict = judged.scan.verdict
            subjects = find(verdict, judged.reached, word)
            explanations += [explain_subject(verdict, judged.reached, subject) for subject in subjects]
    if not explanations:
        raise EvidenceUnreadable(f"nothing here is called {shown(word)}")
    return explanations


def pulls(
    where: RawPath | None = None, *, now: UnixNano | None = None, progress: Progress | None = None
) -> list[Pulls]:
    """List the interrupted pulls. Changes nothing.

    Args:
        where: as for :func:`scan`.
        now: as for :func:`scan`.
        progress: as for :func:`scan`.

    Returns:
        One list for each containerd root found.

    Raises:
        EvidenceUnreadable: ``where`` is not a store.
        Refused: an engine uses it, or the clock is wrong.
    """
    from drydock.model.pulls import Pulls  # noqa: PLC0415 - a scan must start fast

    lists: list[Pulls] = []
    for root in discover(where):
        with _judged(root, now, progress=progress) as judged:
            lists.append(Pulls(root.path, _pulls(judged), judged.scan.unread()))
    return lists


def plan(
    where: RawPath | None = None,
    *,
    policy: Policy | None = None,
    now: UnixNano | None = None,
    progress: Progress | None = None,
) -> list[Scan]:
    """Decide what would be removed under a policy. Changes nothing.

    Args:
        where: as for :func:`scan`.
        policy: which leases end, and what is kept; None: expired ones, and nothing besides.
        now: as for :func:`scan`.
        progress: as for :func:`scan`.

    Returns:
        One scan for each root, with its plan.

    Raises:
        EvidenceUnreadable: as for :func:`scan`.
        Refused: as for :func:`scan`; or the policy names a lease whose owner exists.
        Usage: a name of the policy fits nothing, or several things.
    """
    scans: list[Scan] = []
    for root in discover(where):
        with _judged(root, now, policy=policy, progress=progress) as judged:
            scans.append(judged.scan)
    _refuse_unknown(scans, policy)
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
    with ExitStack() as stack:
        judged = [_hold_to_change(stack, root, now, policy, progress) for root in discover(where)]
        scans = [each.scan for each in judged]
        _refuse_unknown(scans, policy)
        for each in scans:
            if each.plan.is_empty and not each.unread():
                close_unfinished(each.plan.root, state)
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
        judged: list[_Judged] = []
        for request in requests:
            roots = [root for root in discover(request.root) if root.path == request.root]
            if not roots:
                raise EvidenceUnreadable(f"{shown(request.root)}: no containerd root")
            each = _hold_to_change(stack, roots[0], request.now, request.policy, progress)
            if plan_hash(each.scan.plan) != request.hash:
                raise Refused(
                    f"the plan for {shown(request.root)} is stale: the store is not as the plan saw it, "
                    "or the file was changed; make a new one with drydock plan"
                )
            check_clock(UnixNano(time.time_ns()), each.scan.verdict.store.newest())
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
    return Request(made.root, made.now, made.policy, plan_hash(made))


def undo(journal: RawPath) -> Run:
    """Put back what a journal says was moved, and each edited database as it was before.

    Args:
        journal: path of the journal.

    Raises:
        EvidenceUnreadable: it is no journal, or its root is not there.
        Refused: as for :func:`clean`.
    """
    from drydock.reclaim.journal import read_journal  # noqa: PLC0415 - a scan must not load what changes a store
    from drydock.reclaim.undo import undo as undo_run  # noqa: PLC0415 - the same

    found = read_journal(journal)
    roots = [root for root in discover(found.root) if root.path == found.root]
    if not roots:
        raise EvidenceUnreadable(f"{shown(found.root)}: no containerd root")
    refuse_if_used(roots[0])
    with hold_store(roots[0], exclusive=True) as held:
        # Something may have started since the first look.
        refuse_if_used(roots[0])
        return undo_run(found, held)


class _Judged(NamedTuple):
    """One root while its locks are held."""

    scan: Scan
    reached: Reach
    held: Held


@contextmanager
def _judged(
    root: Root,
    now: UnixNano | None,
    *,
    policy: Policy | None = None,
    measure: str = "recorded",
    verification: str = "size",
    state: RawPath | None = None,
    progress: Progress | None = None,
    exclusive: bool = False,
    live: bool = False,
) -> Iterator[_Judged]:
    with copy_store(root) if live else hold_store(root, exclusive=exclusive) as held:
        if live:
            from drydock.evidence.live import read_live  # noqa: PLC0415 - a scan must start fast

            store = read_live(held, measure=measure, verification=verification, progress=progress)
        else:
            store = read_store(held, measure=measure, verification=verification, progress=progress)
        store.findings += unfinished_runs(root.path, state)
        at = UnixNano(time.time_ns()) if now is None else now
        # An engine at work records what came since ``now`` was taken.
        check_clock(UnixNano(max(at, time.time_ns())) if live else at, store.newest())
        verdict, reached = judge(store, at)
        made = make_plan(verdict, reached, policy or Policy(), witnesses(held))
        yield _Judged(Scan(verdict, made), reached, held)


def _inventory(judged: _Judged) -> Inventory:
    from drydock.verdict.inventory import take_inventory  # noqa: PLC0415 - a plain scan must start fast

    return take_inventory(judged.scan.verdict, judged.reached, _pulls(judged))


def _pulls(judged: _Judged) -> list[Pull]:
    from drydock.evidence.manifests import read_documents  # noqa: PLC0415 - a scan must start fast
    from drydock.verdict.pulls import find_pulls, list_pull_blobs  # noqa: PLC0415 - the same

    verdict, reached = judged.scan.verdict, judged.reached
    documents = read_documents(verdict.store.root.path, list_pull_blobs(verdict, reached))
    return find_pulls(verdict, reached, documents)


def _hold_to_change(
    stack: ExitStack, root: Root, now: UnixNano | None, policy: Policy | None, progress: Progress | None
) -> _Judged:
    refuse_if_used(root)
    judged = stack.enter_context(_judged(root, now, policy=policy, progress=progress, exclusive=True))
    # Something may have started since the first look; from here on the locks keep containerd itself out.
    refuse_if_used(root)
    return judged


def carry_out(
    parts: Iterable[tuple[Plan, Held, Store]],
    *,
    state: RawPath | None = None,
    quarantine: RawPath | None = None,
    progress: Progress | None = None,
) -> list[Run]:
    """Carry out the plans of several roots, each with its databases held exclusively, and with what it was made of.

    Returns:
        One run for each plan that is not empty. What goes wrong before anything was changed is raised for the first,
        and a warning of its run for the others.
    """
    from drydock.model.runs import Run  # noqa: PLC0415 - a scan must start fast
    from drydock.reclaim.execute import execute  # noqa: PLC0415 - a scan must not load what changes a store
    from drydock.reclaim.plan_file import plan_hash  # noqa: PLC0415 - a scan must start fast

    told = None if progress is None else partial(_tell, progress)
    runs: list[Run] = []
    for made, held, store in parts:
        if made.is_empty:
            continue
        mark = plan_hash(made)
        try:
            run = execute(made, held, store, plan_hash=mark, state=state, quarantine=quarantine, told=told)
        except DrydockError as error:
            if not runs:
                raise
            # Of the roots before, something was changed: that must be told.
            run = Run(made.root, None, "", warnings=[f"nothing was done: {error}"])
        runs.append(run)
    return runs


def _parts(judged: list[_Judged]) -> Iterator[tuple[Plan, Held, Store]]:
    for each in judged:
        yield each.scan.plan, each.held, each.scan.verdict.store


def _tell(progress: Progress, _: Outcome) -> None:
    progress("removed", 1)


def _refuse_unknown(scans: list[Scan], policy: Policy | None) -> None:
    """Refuse names that fit nothing anywhere: a mistyped name must not end in something being removed."""
    if policy is None:
        return
    for name in policy.leases:
        named = [holding for scan in scans for holding in scan.verdict.leases if holding.is_called(name)]
        if not named:
            raise Usage(f"there is no lease {shown(name)}")
        if len(named) > 1:
            several = ", ".join(f"{shown(each.ref.namespace)}/{shown(each.ref.key)}" for each in named)
            raise Usage(f"there are {len(named)} leases {shown(name)}: {several}; name one with its namespace")
    for name in policy.keep:
        if not any(name in scan.plan.kept for scan in scans):
            raise Usage(f"nothing here is called {shown(name)}, so it cannot be kept")
