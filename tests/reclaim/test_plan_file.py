"""Plan files that somebody wrote: whatever is in them, with a right hash, is a plan or is none."""

import copy
import json

import pytest
from tests.support.plan_documents import PLAN as FULL
from tests.support.plan_documents import hashed

from drydock.model.errors import EvidenceUnreadable, Refused
from drydock.reclaim.plan_file import read_requests

POLICY = {"end_leases": "expired", "older_than": None, "end_lease": [], "keep": [], "edit": True}
REMOVAL = {"kind": "blob", "path": "x", "bytes": 1, "expect": [1, 2, 3, 4, 5, 6], "after_edit": False, "why": "y"}
PLAN = {
    **{name: [] if isinstance(value, list) else value for name, value in FULL.items()},
    "root": "/r",
    "now": 1,
    "policy": POLICY,
    "bytes": 0,
    "removals": [REMOVAL],
}


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


@pytest.mark.parametrize(
    "change",
    [
        {"new": 1},
        {"policy": {**POLICY, "new": 1}},
        {"policy": {name: value for name, value in POLICY.items() if name != "edit"}},
        {"policy": {**POLICY, "edit": 1}},
        {"policy": {**POLICY, "end_leases": "all"}},
        {"policy": {**POLICY, "older_than": True}},
        {"policy": {**POLICY, "older_than": 1.0}},
        {"policy": {**POLICY, "keep": "x"}},
        {"policy": {**POLICY, "keep": [None]}},
        {"now": 1.0},
        {"now": True},
        {"bytes": -1},
        {"bytes": 1 << 63},
        {"rows": {}},
        *({"removals": [{**REMOVAL, name: value}]} for name, value in (
            ("new", 1), ("kind", "lease"), ("kind", None), ("path", None), ("bytes", True), ("after_edit", 0),
            ("expect", [1, 2, 3, 4, 5]), ("expect", [1, 2, 3, 4, 5, 6, 7]), ("expect", [1, 2, 3, 4, 5, 6.0]),
            ("expect", [True, 2, 3, 4, 5, 6]), ("why", "\ud800"),
        )),
        {"records": [{"kind": "blob", "namespace": "n", "id": "i", "snapshotter": None, "unlinked_from": None,
                      "why": ""}]},
        {"records": [{"kind": "blob", "namespace": "n", "id": "i", "why": ""}]},
        {"adoptions": [{"kind": "image", "namespace": "n", "id": "i", "path": "p", "expect": [1, 2, 3, 4, 5, 6],
                        "labels": {}, "made": 1, "why": ""}]},
    ],
    ids=str,
)  # fmt: skip
def test_fields_that_no_plan_has(change):
    """An unknown field, one that is missing, one of another type: no plan, whatever its hash."""
    with pytest.raises(EvidenceUnreadable, match=r"^plan: not a plan: ") as refused:
        read_requests(hashed({**PLAN, **change}), "plan")
    assert str(refused.value).isprintable()


def test_numbers_larger_than_a_machine_has():
    """A fingerprint is only compared: a time of the year 9999, and what no file has, change nothing."""
    expect = [1 << 63, 1 << 64, 0o100644, 0, 253402300799 * 10**9, -(1 << 70)]
    assert read_requests(hashed({**PLAN, "removals": [{**REMOVAL, "expect": expect}]}), "plan")


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "null", "1", "[]", "{}", '{"schema": "drydock.plan/1"}', '{"schema": 1}', "\ufeff" + hashed(PLAN),
        '{"schema": "drydock.plan/2", "drydock": "0", "plans": []}',
        '{"schema": "drydock.plan/1", "drydock": "0", "plans": {}}',
        '{"schema": "drydock.plan/1", "drydock": "0", "plans": [null]}',
        '{"drydock": "0", "plans": []}',
        "[" * 1_000_000,
        '{"schema": "drydock.plan/1", "drydock": "0", "plans": ' + "[" * 1_000_000,
        '{"schema": "drydock.plan/1", "drydock": "0", "plans": [], "new": ' + '{"":' * 1_000_000,
        hashed({**PLAN, "x" * 100_000: 1}),
        hashed(PLAN) + "x",
        hashed(PLAN)[:-1],
        hashed(PLAN).replace('"now": 1', '"now": ' + "1" * 100_000),
        hashed(PLAN).replace('"now": 1', '"now": NaN'),
        hashed(PLAN).replace('"now": 1', '"now": 01'),
        hashed(PLAN).replace('"y"', r'"\udc80"'),
    ],
    ids=range(23),
)  # fmt: skip
def test_texts_that_are_no_plan(text):
    """Another schema, no JSON, nesting without end, numbers without end, half of a surrogate pair."""
    with pytest.raises(EvidenceUnreadable) as refused:
        read_requests(text, "plan")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 200


def test_of_a_field_that_is_there_twice_the_last_counts():
    """As json and every reader in use takes it; so does the hash."""
    text = hashed(PLAN)
    (request,) = read_requests(text.replace('"root": "/r"', '"root": "/other", "root": "/r"'), "plan")
    assert request.root == b"/r"
    with pytest.raises(Refused, match="changed"):
        read_requests(text.replace('"root": "/r"', '"root": "/r", "root": "/other"'), "plan")


@pytest.mark.parametrize(
    ("old", "new"), [('"y"', '"z"'), ('"now": 1', '"now": 2'), ('"bytes": 1', '"bytes": 2'), (json.dumps(REMOVAL), "")]
)
def test_a_plan_that_was_changed_is_refused(old, new):
    """What its reader crossed out would be done all the same: nothing is done."""
    text = hashed(PLAN)
    assert old in text
    with pytest.raises(Refused, match="changed"):
        read_requests(text.replace(old, new), "plan")


def leaves(value, path=()):
    """The path to each number, text, truth and null in a value."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, (*path, key))
    else:
        yield path


def other(key, value):
    """Another value that a field may have."""
    named = {
        "end_leases": "expired",
        "class": "unknown",
        "kind": "ingest",
        "parent_id": 5,
        "snapshotter": "native",
        "unlinked_from": {"kind": "image", "namespace": "n", "id": "i"},
    }
    if key in named:
        return named[key]
    return not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else "b" * 64


def changed(path):
    """The full plan with one value changed."""
    plan = copy.deepcopy(FULL)
    part = plan
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = other(path[-1], part[path[-1]])
    return plan


ALWAYS = {(part, 0, "kind") for part in ("leases", "adoptions", "snapshots", "lease_records", "logs")}


@pytest.mark.parametrize("path", [*leaves(FULL)], ids=str)
def test_all_but_reasons_is_what_a_plan_does(path):
    """A plan with one value changed, and the right hash, asks for something else; with another reason, for the same."""
    if path in ALWAYS:
        with pytest.raises(EvidenceUnreadable):
            read_requests(hashed(changed(path)), "plan")
        return
    assert changed(path) != FULL
    is_same = read_requests(hashed(changed(path)), "plan") == read_requests(hashed(FULL), "plan")
    assert is_same is (path[-1] in {"why", "reason"})
