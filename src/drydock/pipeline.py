"""The composition root: what the commands do, as functions with types."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from drydock.evidence.manifests import read_documents
from drydock.evidence.roots import discover
from drydock.evidence.store import Progress, hold_store, read_store
from drydock.model.errors import EvidenceUnreadable
from drydock.model.explanations import Explanation
from drydock.model.names import RawPath, UnixNano
from drydock.model.plans import Outcome
from drydock.model.pulls import Pulls
from drydock.model.roots import Root
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.reclaim.execute import Run, execute
from drydock.reclaim.guard import check_clock, refuse_if_used
from drydock.reclaim.policy import choose
from drydock.verdict.explain import explain as explain_subject
from drydock.verdict.find import find
from drydock.verdict.judge import Reach, judge
from drydock.verdict.pulls import find_pulls, list_pull_blobs


def scan(
    where: RawPath | None = None,
    *,
    now: UnixNano | None = None,
    measure: str = "recorded",
    verification: str = "size",
    progress: Progress | None = None,
) -> list[Scan]:
    """Say what is there, by state. Changes nothing.

    Args:
        where: a containerd root, a Docker data root, or the root of a mounted host; None for this host.
        now: what expiries are compared with; None for the clock.
        measure: ``recorded`` or ``disk``.
        verification: ``none``, ``size`` or ``digest``.
        progress: told what was read.

    Returns:
        One scan for each containerd root found; none on a host without containerd storage.

    Raises:
        EvidenceUnreadable: ``where`` is not a store.
        Refused: an engine uses it, or the clock is wrong.
    """
    scans: list[Scan] = []
    for root in discover(where):
        with _judged(root, now, measure, verification, progress) as (found, _):
            scans.append(found)
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
    explanations: list[Explanation] = []
    for root in discover(where):
        with _judged(root, now, "recorded", "size", progress) as (found, reached):
            subjects = find(found.verdict, reached, word)
            explanations += [explain_subject(found.verdict, reached, subject) for subject in subjects]
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
    lists: list[Pulls] = []
    for root in discover(where):
        with _judged(root, now, "recorded", "size", progress) as (found, reached):
            documents = read_documents(root.path, list_pull_blobs(found.verdict, reached))
            lists.append(Pulls(root.path, find_pulls(found.verdict, reached, documents), found.unread()))
    return lists


def clean(
    where: RawPath | None = None,
    *,
    agree: Callable[[list[Scan]], bool],
    now: UnixNano | None = None,
    state: RawPath | None = None,
    quarantine: RawPath | None = None,
    progress: Progress | None = None,
) -> list[Run]:
    """Remove what no record names, holding every lock from the first look to the last cut.

    Args:
        where: as for :func:`scan`.
        agree: shown the scans; nothing is removed unless it says yes.
        now: as for :func:`scan`.
        state: where the journal goes; None for the default.
        quarantine: a folder to move things to instead of deleting them.
        progress: told what was read, and what was removed.

    Returns:
        One run for each root in which something was to be removed; none without agreement.

    Raises:
        EvidenceUnreadable: ``where`` is not a store.
        Refused: an engine, a shim or a mount uses a root, a lock is held, or the clock is wrong.
    """
    with ExitStack() as stack:
        roots = discover(where)
        for root in roots:
            refuse_if_used(root)
        scans = [
            stack.enter_context(_judged(root, now, "recorded", "size", progress, exclusive=True))[0] for root in roots
        ]
        if not agree(scans):
            return []
        runs: list[Run] = []
        for found in scans:
            if found.removals:
                # Something may have started since the first look; the locks keep containerd itself out.
                refuse_if_used(found.verdict.store.root)
                runs.append(
                    execute(
                        found.verdict.store.root.path,
                        found.removals,
                        state=state,
                        quarantine=quarantine,
                        told=None if progress is None else _told(progress),
                    )
                )
        return runs


def _told(progress: Progress) -> Callable[[Outcome], None]:
    return lambda outcome: progress("removed", 1)  # noqa: ARG005 - what became of it is told at the end


@contextmanager
def _judged(
    root: Root,
    now: UnixNano | None,
    measure: str,
    verification: str,
    progress: Progress | None,
    *,
    exclusive: bool = False,
) -> Iterator[tuple[Scan, Reach]]:
    with hold_store(root, exclusive=exclusive) as held:
        store = read_store(held, measure=measure, verification=verification, progress=progress)
        at = UnixNano(time.time_ns()) if now is None else now
        check_clock(at, store.newest())
        verdict, reached = judge(store, at)
        yield Scan(verdict, *choose(verdict)), reached
