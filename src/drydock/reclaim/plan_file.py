"""Plans as documents, ``drydock.plan/1``: what a person reads before apply, and what apply compares.

A plan file is not trusted: apply makes the plan of its policy and its time anew, and carries that out only if it has
the same hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from drydock.model.errors import EvidenceUnreadable, Refused
from drydock.model.names import Kind, RawPath, Ref, UnixNano, split_snapshot_key
from drydock.model.plans import Plan
from drydock.model.policies import EndLeases, Policy
from drydock.model.text import shown, unshown
from drydock.model.times import show_time
from drydock.reclaim import fields as checked
from drydock.version import __version__

SCHEMA: Final = "drydock.plan/1"

Document = dict[str, Any]
_HEAD: Final[Document] = {"schema": SCHEMA, "drydock": __version__}


class Request(NamedTuple):
    """What of a plan file is needed to make its plan anew."""

    root: RawPath
    host: RawPath
    now: UnixNano
    policy: Policy
    hash: str


def plans_document(plans: Sequence[Plan]) -> Document:
    """The document of several roots' plans."""
    return {**_HEAD, "plans": [{**plan_document(plan), "hash": plan_hash(plan)} for plan in plans]}


def plans_stream(plans: Iterable[Plan]) -> Document:
    """The same, with iterators in the place of the lists that grow with a plan: to be written, not kept."""
    return {**_HEAD, "plans": ({**_document(plan), "hash": plan_hash(plan)} for plan in plans)}


def plan_hash(plan: Plan) -> str:
    """SHA-256 over everything in the plan's document."""
    return _hash(_document(plan))


def plan_document(plan: Plan) -> Document:
    """One plan; names and paths shown, times in nanoseconds where they are compared."""
    return {name: list(part) if isinstance(part, Iterator) else part for name, part in _document(plan).items()}


def _document(plan: Plan) -> Document:
    return {
        "root": shown(plan.root),
        "host": shown(plan.host),
        "now": plan.now,
        "now_shown": show_time(plan.now),
        "policy": _policy(plan.policy),
        "evidence": [
            {"path": shown(witness.path), "size": witness.size, "sha256_of_metas": witness.metas}
            for witness in plan.witnesses
        ],
        "leases": ({**_ref(end.ref), "class": end.kind.value, "why": end.why} for end in plan.leases),
        "records": (
            {**_ref(drop.ref), "unlinked_from": None if drop.parent is None else _ref(drop.parent), "why": drop.why}
            for drop in plan.records
        ),
        "rows": (
            {
                "snapshotter": shown(row.snapshotter),
                "name": shown(row.name),
                "id": row.id,
                "parent_id": row.parent_id,
                "why": row.why,
            }
            for row in plan.rows
        ),
        "fields": (
            {
                "snapshotter": None if field.snapshotter is None else shown(field.snapshotter),
                "bucket": [shown(part) for part in field.bucket],
                "key": shown(field.key),
                "why": field.why,
            }
            for field in plan.fields
        ),
        "adoptions": (
            {
                **_ref(each.ref),
                "path": shown(each.path),
                "expect": list(each.expect),
                "labels": {shown(name): shown(value) for name, value in each.labels},
                "made": each.made,
                "why": each.why,
            }
            for each in plan.adoptions
        ),
        "snapshots": (
            {
                **_ref(each.ref),
                "name": shown(each.name),
                "parent": shown(each.parent),
                "children": [shown(key) for key in each.children],
                "labels": {shown(name): shown(value) for name, value in each.labels},
                "created": each.created,
                "updated": each.updated,
                "path": shown(each.path),
                "expect": list(each.expect),
                "linked_to_parent": each.links,
                "why": each.why,
            }
            for each in plan.snapshots
        ),
        "lease_records": (
            {
                **_ref(each.ref),
                "snapshots": [
                    {"snapshotter": shown(snapshotter), "id": shown(key)} for snapshotter, key in each.snapshots
                ],
                "created": each.created,
                "why": each.why,
            }
            for each in plan.lease_records
        ),
        "removals": (
            {
                "kind": removal.target.value,
                "path": shown(removal.path),
                "bytes": removal.bytes,
                "expect": list(removal.expect),
                "after_edit": removal.after_edit,
                "why": removal.why,
            }
            for removal in plan.removals
        ),
        "bytes": plan.bytes,
        "withheld": (
            {"kind": withheld.kind, "id": withheld.id, "bytes": withheld.bytes, "reason": withheld.reason}
            for withheld in plan.withheld
        ),
    }


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
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise EvidenceUnreadable(f"{name}: a plan of schema {str(document['schema'])[:40]!r}, not {SCHEMA}")
        for plan in document["plans"]:
            if _hash({field: value for field, value in plan.items() if field != "hash"}) != plan["hash"]:
                raise Refused(f"{name}: it was changed since drydock plan wrote it; change the options of plan instead")
        return [
            Request(
                checked.path(plan["root"]),
                checked.path(plan["host"]),
                UnixNano(checked.whole(plan["now"])),
                _read_policy(plan["policy"]),
                str(plan["hash"]),
            )
            for plan in document["plans"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EvidenceUnreadable(f"{name}: not a plan ({type(error).__name__})") from error


def _hash(document: Document) -> str:
    """SHA-256 of the document as JSON with sorted keys and no blanks, put together part by part."""
    canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
    hashed = hashlib.sha256(b"{")
    for index, name in enumerate(sorted(document)):
        part = document[name]
        hashed.update(f"{',' * bool(index)}{canonical(name)}:".encode())
        if not isinstance(part, Iterator):
            hashed.update(canonical(part).encode())
            continue
        hashed.update(b"[")
        for place, each in enumerate(part):
            hashed.update(f"{',' * bool(place)}{canonical(each)}".encode())
        hashed.update(b"]")
    hashed.update(b"}")
    return hashed.hexdigest()


def _ref(ref: Ref) -> Document:
    named: Document = {"kind": ref.kind.value, "namespace": shown(ref.namespace)}
    if ref.kind is Kind.SNAPSHOT:
        snapshotter, key = split_snapshot_key(ref.key)
        return {**named, "snapshotter": shown(snapshotter), "id": shown(key)}
    return {**named, "id": shown(ref.key)}


def _policy(policy: Policy) -> Document:
    return {
        "end_leases": policy.end.value,
        "older_than": policy.older_than,
        "end_lease": [shown(name) for name in policy.leases],
        "keep": [shown(name) for name in policy.keep],
        "edit": policy.edit,
    }


def _read_policy(document: Document) -> Policy:
    older_than = document["older_than"]
    return Policy(
        EndLeases(document["end_leases"]),
        None if older_than is None else checked.whole(older_than),
        tuple(unshown(name) for name in document["end_lease"]),
        tuple(unshown(name) for name in document["keep"]),
        bool(document["edit"]),
    )
