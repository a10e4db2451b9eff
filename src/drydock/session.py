"""The one way in: find the roots of a place, hold and read each, check the clock, judge.

Every command starts here, so that none of them forgets a lock, a refusal or the clock.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from drydock.evidence.containerd.store import (
    Held,
    copy_store,
    fingerprint_databases,
    hold_cache,
    hold_data_roots,
    hold_store,
    locate_value,
    read_store,
)
from drydock.evidence.files.walk_pool import WalkAhead
from drydock.evidence.host.roots import discover
from drydock.model.access import Access
from drydock.model.drops import BUILD_KINDS, CLASSIC_IMAGES, CONTAINERS, PRUNING, DropKind
from drydock.model.errors import EvidenceUnreadable, Refused
from drydock.model.findings import Finding
from drydock.model.names import RawPath, UnixNano
from drydock.model.policies import Policy, SizeSource
from drydock.model.progress import counter
from drydock.model.roots import Root
from drydock.model.scans import Scan
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.reclaim.engine_folders import refuse_engine_folders
from drydock.reclaim.guard import check_clock, refuse_if_used
from drydock.reclaim.state_dir import unfinished_runs
from drydock.verdict.clock import find_ahead

if TYPE_CHECKING:
    from drydock.model.objects import Verdict
    from drydock.model.plans import DatabaseFingerprint, Plan
    from drydock.verdict.judge import Reach


class Judged(NamedTuple):
    """The state of each object of a root, and the graph that it was judged by."""

    verdict: Verdict
    reached: Reach


@dataclass(slots=True)
class Session:
    """One root, held and read. Its locks are held until the block that opened it ends."""

    access: Access
    held: Held
    store: Store
    now: UnixNano
    """What ages and expiries are compared with."""
    _judged: Judged | None = field(default=None, init=False)

    @property
    def root(self) -> RawPath:
        """Absolute path of the containerd root."""
        return self.store.root.path

    @property
    def verdict(self) -> Verdict:
        """The state of each object; the store is judged when this is first used."""
        return self._judgement().verdict

    @property
    def reached(self) -> Reach:
        """The objects that roots and leases reach; the store is judged when this is first used."""
        return self._judgement().reached

    def judge_again(self) -> None:
        """Have the store judged again, because more is known about it."""
        self._judged = None

    def scan(self) -> Scan:
        """The verdict, with a note for each interrupted run, and the plan of the access's policy."""
        self.store.findings += unfinished_runs(self.root, self.access.state)
        policy = self.access.policy
        fingerprints = () if policy is None else self.fingerprints()
        plan, lacks_room = self.decide(policy or Policy(), fingerprints)
        return Scan(self.verdict, plan, lacks_room=lacks_room)

    def decide(self, policy: Policy, fingerprints: Iterable[DatabaseFingerprint] = ()) -> tuple[Plan, list[str]]:
        """Plan by what was read: also after the block of the session, when a plan only answers a question.

        Returns:
            The plan, and a shown line for each data root whose disk may lack room for it.

        Raises:
            Refused: as for :func:`drydock.reclaim.plan.make_plan`.
            Usage: the same.
        """
        from drydock.reclaim.plan import make_plan  # noqa: PLC0415 - meanwhile others measure

        plan = make_plan(self.verdict, self.reached, policy, fingerprints)
        if policy.compact:
            from drydock.reclaim.compaction import find_compactions  # noqa: PLC0415 - few plans compact databases

            plan = plan._replace(compactions=find_compactions(self.held))
        if policy.truncate_logs is None:
            return plan, []
        from drydock.reclaim.log_plan import find_lacking_room, plan_log_cuts  # noqa: PLC0415 - few plans cut logs

        logs = plan_log_cuts(self.store, self.store.root.docker, policy.truncate_logs, policy.keep)
        cutting = plan._replace(
            log_cuts=logs.cuts,
            withheld=(*plan.withheld, *logs.withheld),
            kept=tuple(dict.fromkeys((*plan.kept, *logs.kept))),
        )
        return cutting, find_lacking_room(logs.cuts, plan.bytes)

    def fingerprints(self) -> list[DatabaseFingerprint]:
        """The fingerprint of each database, which every commit changes; for a plan."""
        return fingerprint_databases(self.held)

    def refuse_if_used(self) -> None:
        """Refuse to change a root that something began to use while it was read, or that this session may not change.

        Raises:
            Refused: a process or a mount uses the root, or the session does not hold the locks as a writer.
        """
        if self.access.live or not self.access.exclusive:
            raise Refused(f"{shown(self.root)} is not locked for a change: nothing was done")
        refuse_if_used(self.held.root, held=True)

    def check_clock(self) -> None:
        """Refuse a clock that is wrong at this moment, whatever time the store was judged by.

        Raises:
            Refused: the clock is earlier than most records.
        """
        clock = UnixNano(time.time_ns())
        check_clock(clock, find_ahead(self.store, clock))

    def _judgement(self) -> Judged:
        if self._judged is None:
            from drydock.verdict.judge import judge  # noqa: PLC0415 - meanwhile others measure

            with _without_gc():
                self._judged = Judged(*judge(self.store, self.now))
        return self._judged


def find_roots(where: RawPath | None, access: Access) -> list[Root]:
    """Find the containerd roots of a place, and the Docker data roots that none of them belongs to.

    Refuses a state directory or a quarantine in an engine's folder.

    Args:
        where: a containerd root, a Docker data root, or the root of a mounted host; None for this host.
        access: how the command will enter them.

    Returns:
        No root on a host without containerd storage.

    Raises:
        EvidenceUnreadable: ``where`` is not a store.
        Refused: the state directory or the quarantine lies in a folder that an engine owns.
    """
    roots = discover(where, data_roots=True)
    for root in roots:
        refuse_engine_folders(root, state=access.state, quarantine=access.quarantine)
    return roots


def policies(roots: Iterable[Root], access: Access) -> Iterator[tuple[Root, Access]]:
    """How a plan enters each root: the logs of a data root that several roots have are cut with the first of them."""
    seen: set[RawPath] = set()
    for root in roots:
        policy = access.policy
        if policy is not None and not seen.isdisjoint(root.docker):
            policy = policy._replace(truncate_logs=None)
        seen.update(root.docker)
        yield root, access._replace(policy=policy)


def find_root(path: RawPath, access: Access, host: RawPath | None = None) -> Root:
    """Find the root at a path.

    Args:
        path: absolute path of a containerd root.
        access: how the command will enter it.
        host: where it was found before, because the root alone may not tell which host it belongs to.

    Raises:
        EvidenceUnreadable: it is not there.
        Refused: as for :func:`find_roots`.
    """
    found: list[Root] = []
    if host is not None:
        with suppress(EvidenceUnreadable):
            found += discover(host, data_roots=True)
    if not any(root.path == path for root in found):
        found = discover(path, data_roots=True)  # a copy that no host has
    for root in found:
        if root.path == path:
            refuse_engine_folders(root, state=access.state, quarantine=access.quarantine)
            return root
    raise EvidenceUnreadable(f"{shown(path)}: no containerd root")


@contextmanager
def hold_root(root: Root, access: Access) -> Iterator[Held]:
    """Hold the databases of a root without reading it, until the block ends.

    Raises:
        EvidenceUnreadable: a database cannot be opened or, live, copied.
        Refused: an engine has a lock; for exclusive access, a process or a mount uses the root.
    """
    with _hold(root, access, reads=False) as held:
        if access.exclusive:
            # Something may have started since the first look; the locks keep containerd itself out.
            refuse_if_used(root, held=True)
        yield held


@contextmanager
def hold_caches(held: Held, paths: Iterable[RawPath], access: Access) -> Iterator[None]:
    """Hold databases of BuildKit beside a held root, too, until the block ends.

    Args:
        held: the root.
        paths: absolute paths; what is no such database, or is held already, is left out.
        access: whether they are changed.

    Raises:
        EvidenceUnreadable: one cannot be opened.
        Refused: an engine has a lock.
    """
    from drydock.evidence.buildkit.records import build_databases_beside  # noqa: PLC0415 - an empty host has none

    with ExitStack() as stack:
        wanted = {path for path in paths if held.find(path) is None}
        for path in filter(wanted.__contains__, build_databases_beside(held.root)):
            stack.enter_context(hold_cache(held, path, exclusive=access.exclusive))
        yield


@contextmanager
def open_root(
    root: Root, access: Access, ahead: WalkAhead | None = None, places: Collection[RawPath] = ()
) -> Iterator[Session]:
    """Hold and read a root, and check the clock; its locks are held until the block ends.

    Before the first change ask :meth:`Session.refuse_if_used` once more: reading takes time, in which something may
    have started that takes no lock.

    Args:
        root: from :func:`find_roots` or :func:`find_root`.
        access: how to enter it.
        ahead: as for :func:`drydock.evidence.containerd.store.hold_store`.
        places: the same.

    Raises:
        EvidenceUnreadable: as for :func:`hold_root`.
        Refused: as for :func:`hold_root`, or the clock is wrong.
    """
    with _hold(root, access, ahead, places, reads=True) as held:
        with _without_gc():
            store = _read(held, access)
        at = UnixNano(time.time_ns()) if access.now is None else access.now
        if access.timed:
            store.findings += _check_times(held, store, at)
        counter(access.progress, "judging")
        yield Session(access, held, store, at)
        store.listed = store.content  # a worker may still list it, which ends with the block


@contextmanager
def _without_gc() -> Iterator[None]:
    """Do not search for reference cycles meanwhile: a store is hundreds of thousands of values, and none is in one."""
    if not gc.isenabled() or gc.get_freeze_count():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        # This puts what is new among what is old: the next search would go through all of it otherwise.
        gc.freeze()
        gc.unfreeze()
        gc.enable()


@contextmanager
def _hold(
    root: Root,
    access: Access,
    ahead: WalkAhead | None = None,
    places: Collection[RawPath] = (),
    *,
    reads: bool,
) -> Iterator[Held]:
    if access.live:
        with copy_store(root, progress=access.progress) as held:
            yield held
        return
    if access.exclusive:
        # Not again right after the lock: another drydock, which this lock refuses, has the databases open for a moment.
        refuse_if_used(root)
    measured = access.measure is SizeSource.DISK
    with (
        hold_store(
            root,
            exclusive=access.exclusive,
            listed=reads,
            measured=measured,
            ahead=ahead,
            places=places,
            progress=access.progress,
        ) as held,
        hold_data_roots(root) if access.exclusive or not root.has_containerd else nullcontext(),
    ):
        yield held


def _read(held: Held, access: Access) -> Store:
    read = read_store
    if held.live:
        from drydock.evidence.containerd.live import read_live  # noqa: PLC0415 - most sessions take locks

        read = read_live
    store = read(held, measure=access.measure, verification=access.verification, progress=access.progress)
    if access.policy is not None and access.policy.drop is not None:
        from drydock.reclaim.drop_store import read_contents  # noqa: PLC0415 - few plans drop a store

        store.contents = read_contents(store, access.policy.drop, held.sizes)
    dropped = set(DropKind) if access.asks else {each.kind for each in access.policy.drops} if access.policy else set()
    if not dropped.isdisjoint(CLASSIC_IMAGES):
        from drydock.evidence.docker.store_files import read_image_files  # noqa: PLC0415 - few plans remove images

        try:
            for layers in store.layer_stores:
                layers.image_files = {each.path: each for each in read_image_files(layers.data, held.sizes)}
        except OSError as error:
            raise EvidenceUnreadable(f"the images of the classic store cannot be listed: {error.strerror}") from error
    if not dropped.isdisjoint(BUILD_KINDS):
        from drydock.evidence.containerd.classic_builds import read_build_stores  # noqa: PLC0415 - few plans need them

        store.build_stores = read_build_stores(store)
    if access.policy is not None and access.policy.filters and not dropped.isdisjoint(PRUNING):
        from drydock.evidence.containerd.manifests import read_image_documents  # noqa: PLC0415 - few plans need them

        targets = {image.target for image in store.metadata.images}
        store.image_documents = read_image_documents(store.root.path, store.content.blobs, sorted(targets))
    if not dropped.isdisjoint(CONTAINERS):
        from drydock.evidence.containerd.nerdctl import read_nerdctl  # noqa: PLC0415 - few plans need them
        from drydock.evidence.containerd.pods import read_pods  # noqa: PLC0415 - few plans need them
        from drydock.evidence.docker.container_files import read_container_files  # noqa: PLC0415 - few plans need them
        from drydock.reclaim.let_go import read_let_go  # noqa: PLC0415 - few plans need them

        store.container_files = read_container_files(store.root, held.sizes)
        store.container_files.nerdctl = read_nerdctl(store.root, store.metadata.containers, held.sizes)
        database = None if held.metadata is None else held.metadata.database
        store.container_files.pods, store.container_files.pod_of = read_pods(store.root, database)
        store.container_files.let_go = read_let_go(held, access.state, held.sizes)
    return store


def _check_times(held: Held, store: Store, at: UnixNano) -> list[Finding]:
    times = find_ahead(store, at)
    check_clock(at, times)
    if held.live and times.ahead:
        # An engine at work records what came since ``at`` was taken.
        times = find_ahead(store, UnixNano(max(at, time.time_ns())))
    return [locate_value(held, finding) for finding in times.findings]
