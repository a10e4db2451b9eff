"""What could not be read or understood, and therefore must not be changed, with the reason."""

from __future__ import annotations

from drydock.model.data import LayoutKind
from drydock.model.findings import Finding, FindingCode, Severity
from drydock.model.names import Ref
from drydock.model.objects import ObjectKind, StoreObject
from drydock.model.store import Store
from drydock.model.text import shown

_EDITED_SINCE = 2
"""Schema versions before this one keep ingests elsewhere (containerd core/metadata/migrations.go, v2.1)."""

_LOST_ROW = frozenset((FindingCode.ROW_WITHOUT_PARENT, FindingCode.LOST_ROW))


def edit_blindness(store: Store) -> str | None:
    """Why no database of a root may be edited; None if they may."""
    metadata = store.metadata
    if not metadata.complete:
        return first_cause(metadata.findings)
    if metadata.schema_version < _EDITED_SINCE and store.root.has_containerd:
        return f"a meta.db of schema version {metadata.schema_version} is not edited"
    return None


def blind_spots(store: Store) -> dict[Ref, str]:
    """Snapshot records that stay with all that they refer to: their snapshotter's data is not fully understood."""
    kept: dict[Ref, str] = {}
    for snapshot in store.metadata.snapshots:
        reason = backend_blindness(store, snapshot.snapshotter)
        if reason is not None:
            kept[snapshot.ref] = reason
    return kept


def backend_blindness(store: Store, snapshotter: bytes) -> str | None:
    """Why nothing of a snapshotter may be removed; None if it may."""
    backend = store.backends.get(snapshotter)
    if backend is None:
        return f"the data of snapshotter {shown(snapshotter)} is not below this root"
    if backend.layout is LayoutKind.FOREIGN:
        return f"the layout of snapshotter {shown(snapshotter)} is not fully understood"
    return None if backend.complete else first_cause(backend.findings)


def is_kept_blindly(store: Store, found: StoreObject) -> bool:
    """Whether an object stays whatever leases end, because its snapshotter's data is not fully understood."""
    return found.kind is ObjectKind.SNAPSHOT and backend_blindness(store, found.snapshotter) is not None


def repair_blindness(store: Store, snapshotter: bytes) -> str | None:
    """As :func:`backend_blindness`, except that a lost row is no reason: a repair drops the snapshots above it."""
    reason = backend_blindness(store, snapshotter)
    backend = store.backends.get(snapshotter)
    if reason is None or backend is None or backend.layout is LayoutKind.FOREIGN:
        return reason
    causes = [finding for finding in backend.findings if finding.severity is not Severity.NOTE]
    others = [finding for finding in causes if finding.code not in _LOST_ROW]
    return first_cause(others) if others or not causes else None


def first_cause(findings: list[Finding]) -> str:
    """The message of the first finding that is more than a note."""
    causes = [finding.message for finding in findings if finding.severity is not Severity.NOTE]
    return causes[0] if causes else "not everything could be read"
