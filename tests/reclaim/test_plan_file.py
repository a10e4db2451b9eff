"""Plan files that somebody wrote: whatever is in them, with a right hash, is a plan or is none."""

import hashlib
import json

import pytest

from drydock.model.errors import EvidenceUnreadable
from drydock.reclaim.plan_file import SCHEMA, read_requests

POLICY = {"end_leases": "expired", "older_than": None, "end_lease": [], "keep": [], "edit": True}
PLAN = {"root": "/r", "host": "/", "now": 1, "policy": POLICY}


def hashed(plan):
    """A document of one plan, with the hash that it should have."""
    canonical = json.dumps(plan, sort_keys=True, separators=(",", ":"))
    return json.dumps({"schema": SCHEMA, "plans": [{**plan, "hash": hashlib.sha256(canonical.encode()).hexdigest()}]})


def test_a_plan_is_read():
    """What the others are made of is one; so is the longest span that can be typed."""
    (request,) = read_requests(
        hashed({**PLAN, "policy": {**POLICY, "older_than": 999_999_999 * 86400 * 10**9}}), "plan"
    )
    assert (request.root, request.now) == (b"/r", 1)


@pytest.mark.parametrize(
    "change",
    [
        *({"now": value} for value in (float("inf"), float("nan"), 1e300, 10**40, "1", None)),
        *({"policy": {**POLICY, "older_than": value}} for value in (float("inf"), 1e300, -(10**40), "1")),
        {"root": r"/r\x00"},
        {"root": 5},
    ],
    ids=str,
)
def test_numbers_and_paths_that_there_are_not(change):
    """Numbers without end and paths with a NUL are no plan's."""
    with pytest.raises(EvidenceUnreadable):
        read_requests(hashed({**PLAN, **change}), "plan")
