"""Plan documents by hand, with something in each part, and their hashes by json and hashlib alone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

EXPECT = [64769, 1 << 40, 0o100644, 3, 1_800_000_000_123_456_789, -1]
WHY = "nothing refers to it"
PLAN: dict[str, Any] = {
    "root": "/var/lib/containerd",
    "host": "/",
    "now": 1_800_000_000_000_000_000,
    "now_shown": "2027-01-15T08:00:00Z",
    "policy": {"end_leases": "ownerless", "older_than": 7, "end_lease": ["a\\x0a"], "keep": ["\u00e9"], "edit": True,
               "truncate_logs": 5},
    "evidence": [{"path": "meta.db", "size": 1, "sha256_of_metas": "a" * 64}],
    "leases": [{"kind": "lease", "namespace": "n", "id": "i", "class": "expired", "why": WHY}],
    "records": [
        {"kind": "image", "namespace": "n", "id": "i", "unlinked_from": None, "why": WHY},
        {"kind": "snapshot", "namespace": "n", "snapshotter": "overlayfs", "id": "i", "why": WHY, "unlinked_from":
         {"kind": "snapshot", "namespace": "n", "snapshotter": "overlayfs", "id": "j"}},
    ],
    "rows": [{"snapshotter": "overlayfs", "name": "n/1/i", "id": 2, "parent_id": None, "why": WHY}],
    "fields": [{"snapshotter": None, "bucket": ["v1", "n"], "key": "k", "why": WHY}],
    "adoptions": [{"kind": "blob", "namespace": "n", "id": "i", "path": "b", "expect": EXPECT,
                   "labels": {"\\xff": "v"}, "made": 1, "why": WHY}],
    "snapshots": [{"kind": "snapshot", "namespace": "n", "snapshotter": "overlayfs", "id": "i", "name": "n/1/i",
                   "parent": "", "children": ["c"], "labels": {}, "created": 1, "updated": 2, "path": "s",
                   "expect": EXPECT, "linked_to_parent": False, "why": WHY}],
    "lease_records": [{"kind": "lease", "namespace": "n", "id": "i", "created": 1, "why": WHY,
                       "snapshots": [{"snapshotter": "overlayfs", "id": "k"}]}],
    "removals": [{"kind": "blob", "path": "b", "bytes": 4096, "expect": EXPECT, "after_edit": True, "why": WHY}],
    "bytes": 4096,
    "withheld": [{"kind": "lease", "id": "i", "bytes": 0, "reason": WHY}],
    "logs": [{"kind": "log", "data_root": "/d", "path": "containers/i/i-json.log", "expect": EXPECT, "keep": 1,
              "current": True, "bytes": 0, "why": WHY}],
}  # fmt: skip


def seal(plan: dict[str, Any]) -> str:
    """The hash that a plan should have."""
    values = {name: value for name, value in plan.items() if name != "hash"}
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hashed(plan: dict[str, Any]) -> str:
    """A document of one plan, with the hash that it should have."""
    return json.dumps({"schema": "drydock.plan/1", "drydock": "0", "plans": [{**plan, "hash": seal(plan)}]})
