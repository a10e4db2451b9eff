"""Planning: what would be removed under a policy, and asking for it later."""

from __future__ import annotations

from collections.abc import Iterable

from drydock.model.access import Access
from drydock.model.documents.common import indented
from drydock.model.drops import DropKind
from drydock.model.errors import ActionFailed, EvidenceUnreadable, Usage
from drydock.model.names import RawPath, image_names
from drydock.model.plans import Plan
from drydock.model.policies import Policy
from drydock.model.scans import Scan
from drydock.model.text import did_you_mean, quoted_path, shown
from drydock.reclaim.plan_file import Request, plan_request, plans_document, read_requests
from drydock.session import find_roots, open_root, policies
from drydock.verdict.choose import suggest_containers
from drydock.verdict.find import suggest
from drydock.verdict.stopped_containers import find_containers
from drydock.verdict.unused_classic_images import fits


def plan(where: RawPath | None, access: Access) -> list[Scan]:
    """Decide what would be removed under the policy of ``access``. Changes nothing.

    Args:
        where: as for :func:`drydock.session.find_roots`.
        access: how to read the stores there, and the policy.

    Returns:
        One scan for each root, with its plan.

    Raises:
        EvidenceUnreadable: ``where`` is not a store.
        Refused: an engine uses it, the clock is wrong, or the policy names a lease whose owner exists.
        Usage: a name of the policy fits nothing, or several things.
    """
    scans: list[Scan] = []
    for root, entry in policies(find_roots(where, access), access):
        with open_root(root, entry) as session:
            scans.append(session.scan())
    refuse_unknown_names(scans, access.policy)
    return scans


def write_plans(scans: Iterable[Scan], path: RawPath) -> None:
    """Write the plans of scans to a file, for :func:`read_plans` and ``drydock apply``.

    Raises:
        Usage: a scan is a live one.
        ActionFailed: the file cannot be written.
    """
    plans = [_plan_of(scan) for scan in scans]
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.writelines((*indented(plans_document(plans)), "\n"))
    except OSError as error:
        raise ActionFailed(f"{shown(path)}: {error.strerror}") from error


def read_plans(path: RawPath) -> list[Request]:
    """What a plan file asks for.

    Raises:
        EvidenceUnreadable: the file cannot be read, or is not a plan.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        raise EvidenceUnreadable(f"{shown(path)}: {getattr(error, 'strerror', None) or 'not text'}") from error
    return read_requests(text, shown(path))


def request(scan: Scan) -> Request:
    """What asks for the plan of a scan, as a plan file would.

    Raises:
        Usage: it is of a live scan.
    """
    return plan_request(_plan_of(scan))


def _plan_of(scan: Scan) -> Plan:
    if scan.live:
        raise Usage("the plan of a live scan cannot be applied: stop the engine, and plan again")
    return scan.plan


def refuse_unknown_names(scans: list[Scan], policy: Policy | None) -> None:
    """Refuse a policy with names that fit nothing anywhere: a mistyped name must not cause a removal.

    Raises:
        Usage: a name fits nothing, or several leases.
    """
    if policy is None:
        return
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
            raise Usage(f"lease {shown(name)} is in several roots: {roots}; name one of them as WHERE")
        if len(named) > 1:
            several = ", ".join(f"{shown(ref.namespace)}/{shown(ref.key)}" for ref, _ in named)
            raise Usage(f"there are {len(named)} leases {shown(name)}: {several}; name one with its namespace")
    for drop in policy.drops:
        if drop.kind is DropKind.CONTAINER:
            _refuse_unknown_container(scans, drop.name)
            continue
        wanted = {drop.name, *image_names(drop.name)}
        stores = [scan.verdict.store for scan in scans]
        there = (image.name for store in stores for image in store.metadata.images)
        classic = (name for store in stores for layers in store.layer_stores for name in layers.references)
        if drop.name and wanted.isdisjoint(there) and not any(fits(name, drop.name) for name in classic):
            meant = next(filter(None, (suggest(scan.verdict, drop.name) for scan in scans)), "")
            raise Usage(f"there is no image {shown(drop.name)}{meant}")
    for name in policy.keep:
        if not any(name in scan.plan.kept for scan in scans):
            meant = next(filter(None, (suggest(scan.verdict, name) for scan in scans)), "")
            raise Usage(f"nothing here is called {shown(name)}, so drydock cannot keep it{meant}")


def _refuse_unknown_container(scans: list[Scan], name: bytes) -> None:
    found = [
        (scan.plan.root if each.namespace else b"", each)
        for scan in scans
        for each in find_containers(scan.verdict.store, name)
    ]
    if not found:
        names = [each for scan in scans for each in suggest_containers(scan.verdict, name)]
        raise Usage(f"there is no container {shown(name)}{did_you_mean(shown(name), names)}")
    keys = sorted({each for _, each in found})
    if len(keys) > 1:
        same = len({each.id for each in keys}) < len(keys)
        ids = ", ".join(shown(each.whole if same else each.id) for each in keys)
        how = "with its namespace" if same else "by its id"
        raise Usage(f"there are {len(keys)} containers {shown(name)}: {ids}; name one {how}")
    if len(set(found)) > 1:
        roots = ", ".join(quoted_path(scan.plan.root) for scan in scans if find_containers(scan.verdict.store, name))
        raise Usage(f"container {shown(name)} is in several roots: {roots}; name one of them as WHERE")
