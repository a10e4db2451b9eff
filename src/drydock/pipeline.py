"""The commands that only look, and what every command starts with: one root, read and judged under its locks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from drydock.evidence.containerd.store import Held, copy_store, hold_store, read_store
from drydock.evidence.host.roots import discover
from drydock.model.errors import EvidenceUnreadable, Usage
from drydock.model.leases import LeaseClass
from drydock.model.names import RawPath, UnixNano
from drydock.model.policies import BlobCheck, EndLeases, Policy, SizeSource
from drydock.model.progress import Progress
from drydock.model.roots import Root
from drydock.model.scans import Scan, unread_among
from drydock.model.text import shown
from drydock.reclaim.engine_folders import refuse_engine_folders
from drydock.reclaim.guard import check_clock
from drydock.reclaim.interrupted_runs import unfinished_runs
from drydock.reclaim.plan import make_plan
from drydock.verdict.clock import find_ahead
from drydock.verdict.judge import Reach, judge

if TYPE_CHECKING:
    from drydock.model.explanations import Explanation
    from drydock.model.findings import Finding
    from drydock.model.inventories import Inventory
    from drydock.model.plans import Witness
    from drydock.model.pulls import Pull, Pulls
    from drydock.model.store import Store


def scan(
    where: RawPath | None = None,
    *,
    now: UnixNano | None = None,
    measure: SizeSource | str = SizeSource.RECORDED,
    verification: BlobCheck | str = BlobCheck.SIZE,
    state: RawPath | None = None,
    inventory: bool = False,
    live: bool = False,
    progress: Progress | None = None,
) -> list[Scan]:
    """Say what is there, by state. Changes nothing.

    Args:
        where: a containerd root, a Docker data root, or the root of a mounted host; None for this host.
        now: what expiries are compared with; None for the clock.
        measure: where the sizes of committed snapshots come from: ``recorded`` or ``disk``.
        verification: how blobs are compared with their records: ``none``, ``size`` or ``digest``.
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
        Usage: ``measure`` or ``verification`` is none of these.
    """
    try:
        sizes, check = SizeSource(measure), BlobCheck(verification)
    except ValueError:
        raise Usage(
            f"measure is recorded or disk, verification is none, size or digest; not {measure!r}, {verification!r}"
        ) from None
    scans: list[Scan] = []
    for root in discover(where):
        refuse_engine_folders(root, state=state)
        options = judge_root(root, now, measure=sizes, verification=check, state=state, live=live, progress=progress)
        with options as judged:
            _end_leases(judged)
            if inventory:
                judged.scan.inventory = _inventory(judged)
            scans.append(judged.scan)
    return scans


def explain(
    word: bytes,
    where: RawPath | None = None,
    *,
    now: UnixNano | None = None,
    live: bool = False,
    progress: Progress | None = None,
) -> list[Explanation]:
    """Say why something is there: the way from a root to it, or why nothing holds it.

    Args:
        word: a digest or its beginning, a path, a snapshot key, an image, a container or a lease.
        where: as for :func:`scan`.
        now: as for :func:`scan`.
        live: as for :func:`scan`.
        progress: as for :func:`scan`.

    Raises:
        EvidenceUnreadable: ``where`` is not a store, or nothing that could be read of it has that name.
        Usage: the beginning of a name fits more than one.
    """
    from drydock.verdict.explain import explain as explain_subject  # noqa: PLC0415 - a scan must start fast
    from drydock.verdict.find import find, suggest  # noqa: PLC0415 - the same

    explanations: list[Explanation] = []
    causes: list[str] = []
    meant = ""
    for root in discover(where):
        with judge_root(root, now, live=live, progress=progress) as judged:
            verdict = judged.scan.verdict
            subjects = find(verdict, judged.reached, word)
            meant = meant or ("" if subjects else suggest(verdict, word))
            explanations += [explain_subject(verdict, judged.reached, subject) for subject in subjects]
            cause = judged.scan.unread()
            causes += [cause] if cause else []
    if not explanations:
        raise EvidenceUnreadable("; ".join([f"nothing here is called {shown(word)}{meant}", *causes]))
    # What another root has of that name is missing from them as well.
    unread = "; ".join(causes)
    return [each._replace(unread=unread) for each in explanations]


def pulls(
    where: RawPath | None = None,
    *,
    now: UnixNano | None = None,
    live: bool = False,
    progress: Progress | None = None,
) -> list[Pulls]:
    """List the interrupted pulls. Changes nothing.

    Args:
        where: as for :func:`scan`.
        now: as for :func:`scan`.
        live: as for :func:`scan`.
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
        with judge_root(root, now, live=live, progress=progress) as judged:
            store = judged.scan.verdict.store
            unread = unread_among(store, (store.content, *store.backends.values(), store.owners))
            lists.append(Pulls(root.path, _pulls(judged), unread))
    return lists


class Looked(NamedTuple):
    """One root as it was read, while its locks are held."""

    store: Store
    held: Held
    now: UnixNano
    """What expiries and ages are compared with."""


class Judged(NamedTuple):
    """One root while its locks are held."""

    scan: Scan
    reached: Reach
    held: Held


@contextmanager
def read_root(
    root: Root,
    now: UnixNano | None,
    *,
    measure: SizeSource = SizeSource.RECORDED,
    verification: BlobCheck = BlobCheck.SIZE,
    progress: Progress | None = None,
    exclusive: bool = False,
    live: bool = False,
    timed: bool = True,
) -> Iterator[Looked]:
    """Read one root; the locks are held until the block ends.

    Args:
        root: from :func:`drydock.evidence.host.roots.discover`.
        now: as for :func:`scan`.
        measure: as for :func:`scan`.
        verification: as for :func:`scan`.
        progress: as for :func:`scan`.
        exclusive: hold the locks as a writer.
        live: as for :func:`scan`.
        timed: whether ages and expiries are judged, for which the clock must be right.

    Raises:
        EvidenceUnreadable: as for :func:`scan`.
        Refused: as for :func:`scan`.
    """
    with (
        copy_store(root, progress=progress)
        if live
        else hold_store(root, exclusive=exclusive, measured=measure is SizeSource.DISK, progress=progress)
    ) as held:
        if live:
            from drydock.evidence.containerd.live import read_live  # noqa: PLC0415 - a scan must start fast

            store = read_live(held, measure=measure, verification=verification, progress=progress)
        else:
            store = read_store(held, measure=measure, verification=verification, progress=progress)
        at = UnixNano(time.time_ns()) if now is None else now
        if timed:
            times = find_ahead(store, at)
            check_clock(at, times)
            if live and times.ahead:
                # An engine at work records what came since ``now`` was taken.
                times = find_ahead(store, UnixNano(max(at, time.time_ns())))
            store.findings += _placed(held, times.findings)
        if progress is not None:
            progress("judging", 0)
        yield Looked(store, held, at)


@contextmanager
def judge_root(
    root: Root,
    now: UnixNano | None,
    *,
    policy: Policy | None = None,
    measure: SizeSource = SizeSource.RECORDED,
    verification: BlobCheck = BlobCheck.SIZE,
    state: RawPath | None = None,
    progress: Progress | None = None,
    exclusive: bool = False,
    live: bool = False,
) -> Iterator[Judged]:
    """Read one root and judge it, with what its policy would remove; the locks are held until the block ends.

    Args:
        root: from :func:`drydock.evidence.host.roots.discover`.
        now: as for :func:`scan`.
        policy: what goes; None where nothing is to go on the strength of it: such a plan has no witnesses.
        measure: as for :func:`scan`.
        verification: as for :func:`scan`.
        state: as for :func:`scan`.
        progress: as for :func:`scan`.
        exclusive: hold the locks as a writer.
        live: as for :func:`scan`.

    Raises:
        EvidenceUnreadable: as for :func:`scan`.
        Refused: as for :func:`scan`.
    """
    looking = read_root(
        root, now, measure=measure, verification=verification, progress=progress, exclusive=exclusive, live=live
    )
    with looking as looked:
        looked.store.findings += unfinished_runs(root.path, state)
        verdict, reached = judge(looked.store, looked.now)
        witnesses = () if policy is None else _witnesses(looked.held)
        made = make_plan(verdict, reached, policy or Policy(), witnesses)
        yield Judged(Scan(verdict, made), reached, looked.held)


def _placed(held: Held, findings: list[Finding]) -> list[Finding]:
    if not findings:
        return findings
    from drydock.evidence.containerd.value_place import placed  # noqa: PLC0415 - hardly any store has such findings

    return [placed(held, finding) for finding in findings]


def _witnesses(held: Held) -> list[Witness]:
    from drydock.evidence.containerd.database_fingerprint import witnesses  # noqa: PLC0415 - a scan must start fast, and this loads OpenSSL

    return witnesses(held)


def _end_leases(judged: Judged) -> None:
    """Note what ending the leases of each class frees: as the plan that ends them has it, and not as they hold it."""
    scan = judged.scan
    kinds = {holding.kind for holding in scan.verdict.leases if not holding.kind.is_owned}
    if not kinds:
        return
    scan.pulls = len(_pulls(judged))
    freed = scan.plan.bytes
    for kind, policy in ((LeaseClass.TEMPORARY, EndLeases.TEMPORARY), (LeaseClass.OWNERLESS, EndLeases.OWNERLESS)):
        if kind in kinds:
            after = make_plan(scan.verdict, judged.reached, Policy(policy), ()).bytes
            scan.freed_by_ending[kind] = after - freed
            freed = after


def _inventory(judged: Judged) -> Inventory:
    from drydock.verdict.inventory import take_inventory  # noqa: PLC0415 - a plain scan must start fast

    return take_inventory(judged.scan.verdict, judged.reached, _pulls(judged))


def _pulls(judged: Judged) -> list[Pull]:
    from drydock.evidence.containerd.manifests import read_documents  # noqa: PLC0415 - the same
    from drydock.evidence.docker.containers import read_downloads  # noqa: PLC0415 - a scan must start fast
    from drydock.verdict.pulls import find_pulls, list_pull_blobs  # noqa: PLC0415 - the same

    verdict, reached = judged.scan.verdict, judged.reached
    documents = read_documents(verdict.store.root.path, list_pull_blobs(verdict, reached))
    return find_pulls(verdict, reached, documents, read_downloads(verdict.store.root.docker))
