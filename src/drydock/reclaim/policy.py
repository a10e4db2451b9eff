"""What a verdict allows to be removed, and what is withheld and why (design, safety 4)."""

from __future__ import annotations

from drydock.model.findings import Finding, Severity
from drydock.model.names import RawPath
from drydock.model.objects import ObjectKind, State, StoreObject, Verdict
from drydock.model.plans import Removal, Target, Withheld
from drydock.model.text import shown

_TARGETS = {
    ObjectKind.BLOB: Target.BLOB,
    ObjectKind.INGEST: Target.INGEST,
    ObjectKind.SNAPSHOT: Target.SNAPSHOT,
}


def choose(verdict: Verdict) -> tuple[list[Removal], list[Withheld]]:
    """The orphaned data of one root that may go, in the order of removal, and what must stay.

    Returns:
        Removals (blobs, ingests, snapshot directories) and what looks reclaimable but is withheld.
    """
    removals: list[Removal] = []
    withheld: list[Withheld] = []
    blind = _blind_spot(verdict.store.metadata.complete, verdict.store.metadata.findings)
    for found in verdict.objects:
        if found.state is not State.ORPHANED:
            continue
        reason = blind or _backend_reason(verdict, found)
        if reason or found.path is None or found.fingerprint is None:
            withheld.append(Withheld(found.kind.value, shown(found.id), found.allocated, reason))
        else:
            removals.append(
                Removal(
                    _TARGETS[found.kind],
                    verdict.store.root.path,
                    RawPath(found.path),
                    found.fingerprint,
                    found.allocated,
                    "no record names it" + (f"; {found.note}" if found.note else ""),
                )
            )
    return removals, withheld


def _backend_reason(verdict: Verdict, found: StoreObject) -> str:
    if found.kind is not ObjectKind.SNAPSHOT:
        return ""
    backend = verdict.store.backends[found.snapshotter]
    blind = _blind_spot(backend.complete, backend.findings)
    if blind:
        return blind
    if found.row is not None:
        return "its row in metadata.db stands: that database would have to be edited first"
    return ""


def _blind_spot(complete: bool, findings: list[Finding]) -> str:
    if complete:
        return ""
    causes = [finding.message for finding in findings if finding.severity is not Severity.NOTE]
    return causes[0] if causes else "not everything could be read"
