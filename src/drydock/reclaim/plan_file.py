"""Plans as the document ``drydock.plan/1``, with their hashes, and plan files as requests to make a plan anew.

A plan file is not trusted: apply makes the plan of its policy and its time anew, and carries that out only if it does
the same. The reasons in both may differ, because another version of drydock may say them in other words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from msgspec import UNSET, structs

from drydock.model.documents.common import LazyList, StrictPart, canonical, fields_of, raw_path, read_document
from drydock.model.documents.plan import (
    LeasedSnapshot,
    PlanDocument,
    PlannedAdoption,
    PlannedCompaction,
    PlannedContainer,
    PlannedDatabase,
    PlannedDrop,
    PlannedFieldDrop,
    PlannedLease,
    PlannedLeaseEnd,
    PlannedLogCut,
    PlannedLoss,
    PlannedMark,
    PlannedNameDrop,
    PlannedPolicy,
    PlannedRecordDrop,
    PlannedRemoval,
    PlannedRestore,
    PlannedRowDrop,
    PlannedSnapshot,
    PlanWithheld,
    RecordName,
    RootPlan,
)
from drydock.model.errors import EvidenceUnreadable, Refused
from drydock.model.names import Kind, RawPath, Ref, UnixNano, split_snapshot_key
from drydock.model.plans import (
    Adoption,
    CacheMark,
    ContainerDrop,
    DatabaseFingerprint,
    FieldDrop,
    LayerRestore,
    LeaseEnd,
    LeaseRecord,
    LogCut,
    NameDrop,
    Plan,
    RecordDrop,
    Removal,
    RowDrop,
    SnapshotRecord,
    Withheld,
)
from drydock.model.policies import Policy
from drydock.model.store_drops import StoreDrop
from drydock.model.text import shown, unshown
from drydock.model.times import show_time
from drydock.version import __version__

_REASONED: Final = (
    "leases", "records", "rows", "fields", "adoptions", "snapshots", "lease_records", "removals", "withheld", "logs",
    "drops", "marks", "restores", "names", "containers",
)  # fmt: skip
"""The parts of a plan whose entries have reasons."""


class Request(NamedTuple):
    """What apply needs of a plan file: how to make the plan anew, and what it has to do."""

    root: RawPath
    host: RawPath
    now: UnixNano
    policy: Policy
    hash: str
    """SHA-256 of the plan's document without reasons, and so the same for two plans that do the same."""


def plans_document(plans: Sequence[Plan]) -> PlanDocument:
    """The document of several roots' plans."""
    return PlanDocument(__version__, LazyList(plans, plan_document))


def plan_hash(plan: Plan) -> str:
    """SHA-256 over everything in the plan's document."""
    return plan_document(plan).hash


def plan_request(plan: Plan) -> Request:
    """What a plan file with this plan asks for."""
    return Request(plan.root, plan.host, plan.now, plan.policy, _actions_hash(_unhashed(plan)))


def plan_document(plan: Plan) -> RootPlan:
    """One plan; names and paths shown, times in nanoseconds where they are compared."""
    document = _unhashed(plan)
    document.hash = _document_hash(document)
    return document


def _unhashed(plan: Plan) -> RootPlan:
    return RootPlan(
        root=shown(plan.root),
        host=shown(plan.host),
        now=plan.now,
        now_shown=show_time(plan.now),
        policy=_policy(plan.policy),
        evidence=LazyList(plan.fingerprints, _fingerprint),
        leases=LazyList(plan.leases, _lease_end),
        records=LazyList(plan.records, _record_drop),
        rows=LazyList(plan.rows, _row_drop),
        fields=LazyList(plan.fields, _field_drop),
        adoptions=LazyList(plan.adoptions, _adoption),
        snapshots=LazyList(plan.snapshots, _snapshot),
        lease_records=LazyList(plan.lease_records, _lease),
        removals=LazyList(plan.removals, partial(_removal, plan)),
        bytes=plan.bytes,
        withheld=LazyList(plan.withheld, _withheld),
        hash="",
        logs=UNSET if plan.policy.truncate_logs is None else LazyList(plan.log_cuts, _log_cut),
        drops=list(map(_drop, plan.drops)) or UNSET,
        marks=LazyList(plan.marks, _mark) if plan.marks else UNSET,
        restores=LazyList(plan.restores, _restore) if plan.restores else UNSET,
        names=LazyList(plan.names, _name_drop) if plan.names else UNSET,
        compactions=[PlannedCompaction(shown(each.path), each.size, each.used) for each in plan.compactions] or UNSET,
        containers=LazyList(plan.containers, _container) if plan.containers else UNSET,
    )


def read_requests(text: str, name: str) -> list[Request]:
    """What a plan file asks for.

    Args:
        text: its contents.
        name: what errors call it, shown.

    Raises:
        EvidenceUnreadable: it is not a plan of this schema.
        Refused: a plan in it was changed: what its reader crossed out would be done all the same.
    """
    try:
        plans = read_document(text, PlanDocument).plans
        requests = [
            Request(
                raw_path(plan.root),
                raw_path(plan.host),
                UnixNano(plan.now),
                _read_policy(plan.policy),
                _actions_hash(plan),
            )
            for plan in plans
        ]
    except ValueError as error:
        raise EvidenceUnreadable(f"{name}: not a plan: {error}") from error
    if any(_document_hash(plan) != plan.hash for plan in plans):
        raise Refused(f"{name}: it was changed since drydock plan wrote it; change the options of plan instead")
    return requests


def _document_hash(document: RootPlan) -> str:
    parts = fields_of(document)
    del parts["hash"]
    return _hash(parts)


def _actions_hash(document: RootPlan) -> str:
    parts = fields_of(document)
    del parts["hash"]
    for name in _REASONED:
        if name in parts:
            parts[name] = LazyList(parts[name], _without_reason)
    return _hash(parts)


def _without_reason(entry: StrictPart) -> StrictPart:
    return structs.replace(entry, **{"reason" if isinstance(entry, PlanWithheld) else "why": ""})


def _hash(parts: Mapping[str, object]) -> str:
    """SHA-256 of the parts of a document, as JSON with sorted keys and no blanks."""
    hashed = hashlib.sha256()
    mark = "{"
    for name, part in sorted(parts.items()):
        hashed.update(f'{mark}"{name}":'.encode())
        for piece in canonical(part):
            hashed.update(piece)
        mark = ","
    hashed.update(b"}")
    return hashed.hexdigest()


def _policy(policy: Policy) -> PlannedPolicy:
    leases, keep = ([*map(shown, names)] for names in (policy.leases, policy.keep))
    logs = UNSET if policy.truncate_logs is None else policy.truncate_logs
    drop = UNSET if policy.drop is None else policy.drop
    return PlannedPolicy(
        policy.end,
        policy.older_than,
        leases,
        keep,
        policy.edit,
        logs,
        drop,
        [shown(each.word()) for each in policy.drops] or UNSET,
        UNSET if policy.unused_for is None else policy.unused_for,
        [*map(shown, policy.accept_loss)] or UNSET,
        policy.compact or UNSET,
        [shown(each.word()) for each in policy.filters] or UNSET,
    )


def _read_policy(policy: PlannedPolicy) -> Policy:
    leases, keep = (tuple(map(unshown, names)) for names in (policy.end_lease, policy.keep))
    logs = None if policy.truncate_logs is UNSET else policy.truncate_logs
    drop = None if policy.drop_store is UNSET else policy.drop_store
    drops, lost, filters = (
        () if names is UNSET else tuple(map(unshown, names))
        for names in (policy.drop, policy.accept_loss, policy.filter)
    )
    return Policy(
        policy.end_leases,
        policy.older_than,
        leases,
        keep,
        policy.edit,
        truncate_logs=logs,
        drop=drop,
        drops=drops,
        unused_for=None if policy.unused_for is UNSET else policy.unused_for,
        accept_loss=lost,
        compact=policy.compact is True,
        filters=filters,
    )


def _mark(mark: CacheMark) -> PlannedMark:
    return PlannedMark(shown(mark.database), shown(mark.record), mark.why)


def _restore(restore: LayerRestore) -> PlannedRestore:
    return PlannedRestore(
        "layer-files", shown(restore.path), restore.expect, shown(restore.key), shown(restore.parent),
        [*map(shown, restore.lowers)], shown(restore.layer), shown(restore.blob), restore.bytes, restore.why,
    )  # fmt: skip


def _name_drop(drop: NameDrop) -> PlannedNameDrop:
    return PlannedNameDrop(shown(drop.data), shown(drop.name), shown(drop.image), drop.why)


def _container(drop: ContainerDrop) -> PlannedContainer:
    return PlannedContainer(shown(drop.namespace), shown(drop.id), shown(drop.name), drop.written, drop.why)


def _drop(drop: StoreDrop) -> PlannedDrop:
    lost = [PlannedLoss(each.kind, shown(each.id), [*map(shown, each.names)], each.bytes) for each in drop.losses]
    return PlannedDrop(shown(drop.data), drop.mode, drop.following, drop.following_reason, lost)


def _record_name(ref: Ref) -> RecordName:
    snapshotter, key = split_snapshot_key(ref.key) if ref.kind is Kind.SNAPSHOT else (None, ref.key)
    return RecordName(
        kind=ref.kind,
        namespace=shown(ref.namespace),
        snapshotter=UNSET if snapshotter is None else shown(snapshotter),
        id=shown(key),
    )


def _fingerprint(fingerprint: DatabaseFingerprint) -> PlannedDatabase:
    return PlannedDatabase(shown(fingerprint.path), fingerprint.size, fingerprint.metas)


def _lease_end(end: LeaseEnd) -> PlannedLeaseEnd:
    return PlannedLeaseEnd("lease", shown(end.ref.namespace), shown(end.ref.key), end.kind, end.why)


def _record_drop(drop: RecordDrop) -> PlannedRecordDrop:
    name = _record_name(drop.ref)
    return PlannedRecordDrop(
        kind=name.kind,
        namespace=name.namespace,
        snapshotter=name.snapshotter,
        id=name.id,
        unlinked_from=None if drop.parent is None else _record_name(drop.parent),
        why=drop.why,
    )


def _row_drop(row: RowDrop) -> PlannedRowDrop:
    return PlannedRowDrop(shown(row.snapshotter), shown(row.name), row.id, row.parent_id, row.why)


def _field_drop(drop: FieldDrop) -> PlannedFieldDrop:
    snapshotter = None if drop.snapshotter is None else shown(drop.snapshotter)
    database = UNSET if drop.database is None else shown(drop.database)
    return PlannedFieldDrop(snapshotter, [*map(shown, drop.bucket)], shown(drop.key), drop.why, database)


def _adoption(adoption: Adoption) -> PlannedAdoption:
    return PlannedAdoption(
        kind="blob",
        namespace=shown(adoption.ref.namespace),
        id=shown(adoption.ref.key),
        path=shown(adoption.path),
        expect=adoption.expect,
        labels=_labels(adoption.labels),
        made=adoption.made,
        why=adoption.why,
    )


def _snapshot(record: SnapshotRecord) -> PlannedSnapshot:
    snapshotter, key = split_snapshot_key(record.ref.key)
    return PlannedSnapshot(
        kind="snapshot",
        namespace=shown(record.ref.namespace),
        snapshotter=shown(snapshotter),
        id=shown(key),
        name=shown(record.name),
        parent=shown(record.parent),
        children=[*map(shown, record.children)],
        labels=_labels(record.labels),
        created=record.created,
        updated=record.updated,
        path=shown(record.path),
        expect=record.expect,
        linked_to_parent=record.links,
        why=record.why,
    )


def _lease(lease: LeaseRecord) -> PlannedLease:
    snapshots = [LeasedSnapshot(shown(snapshotter), shown(key)) for snapshotter, key in lease.snapshots]
    return PlannedLease("lease", shown(lease.ref.namespace), shown(lease.ref.key), snapshots, lease.created, lease.why)


def _removal(plan: Plan, removal: Removal) -> PlannedRemoval:
    return PlannedRemoval(
        removal.target, shown(removal.path), removal.bytes, removal.expect, removal.after_edit, removal.why,
        UNSET if removal.root == plan.root else shown(removal.root),
        shown(removal.named_by) if removal.named_by else UNSET,
    )  # fmt: skip


def _log_cut(cut: LogCut) -> PlannedLogCut:
    return PlannedLogCut(
        "log", shown(cut.data), shown(cut.path), cut.expect, cut.keep, cut.is_current, cut.bytes, cut.why
    )


def _withheld(withheld: Withheld) -> PlanWithheld:
    return PlanWithheld(withheld.kind, withheld.id, withheld.bytes, withheld.reason)


def _labels(labels: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {shown(name): shown(value) for name, value in labels}
