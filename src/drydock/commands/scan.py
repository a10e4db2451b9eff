"""Scanning: what a store holds, by state, and what ending leases would free."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from drydock.evidence.containerd.early_walk import guess_walk
from drydock.evidence.files.sizes import Measure
from drydock.evidence.files.walk_pool import WalkAhead
from drydock.model.access import Access
from drydock.model.leases import LeaseClass
from drydock.model.names import RawPath, is_within
from drydock.model.policies import EndLeases, Policy, SizeSource

if TYPE_CHECKING:
    from drydock.model.inventories import Inventory
    from drydock.model.pulls import Pull
    from drydock.model.scans import Scan
    from drydock.session import Session


def scan(where: RawPath | None, access: Access, *, inventory: bool = False, steps: bool = False) -> list[Scan]:
    """Judge every object of the stores in a place. Changes nothing.

    Args:
        where: as for :func:`drydock.session.find_roots`.
        access: how to read them.
        inventory: list also who holds what by name, and the interrupted pulls (``Scan.inventory``).
        steps: with ``inventory``, also what made each layer of an image; that reads its manifests and configs.

    Returns:
        One scan for each containerd root found, and for each Docker data root that none of them belongs to; none on a
        host without either.

    Raises:
        EvidenceUnreadable: ``where`` is not a store, or, live, a database could not be copied.
        Refused: an engine uses it, or the clock is wrong.
    """
    return [made for made, _ in look(where, access, inventory=inventory, steps=steps)]


def look(
    where: RawPath | None, access: Access, *, inventory: bool = False, steps: bool = False
) -> list[tuple[Scan, Session]]:
    """As :func:`scan`, each with the session that made it. Its locks are gone; what it read and judged is still there.

    A session can then answer more questions about what was there (:func:`drydock.commands.browse.decide`).
    """
    scans: list[Scan] = []
    sessions: list[Session] = []
    counted: dict[RawPath, Measure] = {}
    top = None if where is None else RawPath(os.path.realpath(where))
    with WalkAhead() as ahead:
        if access.measure is SizeSource.DISK and not access.live:
            guess_walk(ahead, where)
        from drydock.session import find_roots, open_root  # noqa: PLC0415 - meanwhile others measure

        for root in find_roots(where, access):
            places = [root.path, *(each for each in root.docker if top is None or is_within(each, top))]
            with open_root(root, access, ahead, places) as session:
                made = session.scan()
                sessions.append(session)
                endable = {holding.kind for holding in session.verdict.leases if not holding.kind.is_owned}
                pulls = _pulls(session) if endable or inventory else []
                if endable:
                    made.pulls = pulls
                    _end_leases(session, made, endable)
                if inventory:
                    made.inventory = _inventory(session, pulls, steps)
                scans.append(made)
                counted[root.path] = session.held.sizes
        if scans:
            from drydock.evidence.containerd.root_usage import measure_places  # noqa: PLC0415 - an empty host has none

            _choose_stores(scans)
            found = measure_places([made.verdict for made in scans], counted, where, access.progress, ahead)
            for made in scans:
                made.places = found.get(made.verdict.store.root.path, [])
    return list(zip(scans, sessions, strict=True))


def _choose_stores(scans: list[Scan]) -> None:
    """Say once of each data root which store its dockerd uses."""
    from drydock.verdict.store_choice import judge_stores  # noqa: PLC0415 - meanwhile others measure

    seen: set[RawPath] = set()
    for made in scans:
        made.stores = [each for each in judge_stores(made.verdict) if each.data not in seen]
        seen.update(each.data for each in made.stores)


def _inventory(session: Session, pulls: list[Pull], steps: bool) -> Inventory:
    from drydock.verdict.inventory import take_inventory  # noqa: PLC0415 - few scans want one

    taken = take_inventory(session.verdict, session.reached, pulls)
    if not steps:
        return taken
    from drydock.evidence.containerd.manifests import read_image_documents  # noqa: PLC0415 - only the page wants them
    from drydock.model.oci import list_steps  # noqa: PLC0415 - the same

    store = session.verdict.store
    targets = {image.target for image in store.metadata.images}.union(*(pull.targets for pull in pulls))
    return replace(taken, steps=list_steps(read_image_documents(session.root, store.content.blobs, targets)))


def _pulls(session: Session) -> list[Pull]:
    from drydock.commands.pulls import interrupted_pulls  # noqa: PLC0415 - an empty host must not pay for manifests

    return interrupted_pulls(session)


def _end_leases(session: Session, made: Scan, kinds: set[LeaseClass]) -> None:
    """Note what ending the leases of each class frees, by the plan that ends them, not by what the leases hold."""
    from drydock.reclaim.plan import make_plan  # noqa: PLC0415 - most scans end no lease

    freed = made.plan.bytes
    for kind, policy in ((LeaseClass.TEMPORARY, EndLeases.TEMPORARY), (LeaseClass.OWNERLESS, EndLeases.OWNERLESS)):
        if kind in kinds:
            after = make_plan(session.verdict, session.reached, Policy(policy), ()).bytes
            made.freed_by_ending[kind] = after - freed
            freed = after
