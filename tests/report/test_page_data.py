"""Of very many things some have rows of their own; the others are in sums: each is in exactly one of both."""

from collections import Counter

import pytest
from tests.support.populations import population
from tests.support.scans import scan_of_everything

from drydock.model.disk_usage import UsageCategory, UsageEntry
from drydock.model.names import RawPath
from drydock.model.objects import DAMAGED, State
from drydock.report.aggregates import aggregate, choose_holders, choose_objects, sum_by_state
from drydock.report.page_data import USAGE, PageData
from drydock.report.usage_text import usage_texts

DAY = 86_400


@pytest.fixture(scope="module")
def scan():
    """A store with damage in it."""
    return population(4000)


@pytest.mark.parametrize("most", [0, 1, 7, 500, 10**6])
def test_what_is_damaged_and_then_the_largest(scan, most):
    """As many as allowed; nothing that is left out is larger than what is in, unless that is damaged."""
    objects = scan.verdict.objects
    places = list(choose_objects(objects, most))
    assert places == sorted(set(places))
    assert len(places) == min(most, len(objects))
    left = set(range(len(objects))) - set(places)
    damaged = {place for place, found in enumerate(objects) if found.state in DAMAGED}
    assert damaged
    assert damaged <= set(places) or set(places) <= damaged
    whole = [objects[place].allocated for place in places if place not in damaged]
    assert not left or not whole or min(whole) >= max(objects[place].allocated for place in left)


@pytest.mark.parametrize("most", [1, 30, 10**6])
def test_holders_that_reach_damage_and_then_those_that_reach_most(scan, most):
    """The same of images, containers and leases."""
    objects, holders = scan.verdict.objects, scan.inventory.holders
    chosen = choose_holders(holders, objects, most)
    assert len({holder.ref for holder in chosen}) == min(most, len(holders))

    def rank(holder):
        found = [objects[place] for place in holder.objects]
        return any(each.state in DAMAGED for each in found), sum(each.allocated for each in found)

    left = [holder for holder in holders if holder not in chosen]
    assert not left or min(map(rank, chosen)) >= max(map(rank, left))


def test_sums_are_of_all_that_has_no_line(scan):
    """By kind, state and namespaces, by state, and by time: counts and bytes."""
    objects = scan.verdict.objects
    places = set(choose_objects(objects, 1000))
    left = [place for place in range(len(objects)) if place not in places]
    seconds = {place: place * 7919 for place in left if place % 3}
    came = [seconds[place] * 10**9 + 5 if place in seconds else None for place in range(len(objects))]
    smaller = aggregate(objects, left, came)
    expected = Counter((objects[place].kind, objects[place].state, objects[place].namespaces) for place in left)
    assert {alike: sum_.count for alike, sum_ in smaller.sums.items()} == expected
    for alike, sum_ in smaller.sums.items():
        sizes = [
            objects[place].allocated
            for place in left
            if (objects[place].kind, objects[place].state, objects[place].namespaces) == alike
        ]
        assert (sum_.bytes, sum_.largest) == (sum(sizes), max(sizes))
    states = sum_by_state(objects, left)
    assert sum(each.count for each in states.values()) == len(left)
    assert [each.bytes for each in states.values()] == sorted((each.bytes for each in states.values()), reverse=True)
    for state in State:
        mine = [place for place in seconds if objects[place].state is state and objects[place].allocated]
        steps = {second: sum_ for (second, of), sum_ in smaller.times.items() if of is state}
        assert sum(sum_.count for sum_ in steps.values()) == len(mine)
        assert sum(sum_.bytes for sum_ in steps.values()) == sum(objects[place].allocated for place in mine)
    steps = sorted({second for second, _ in smaller.times})
    assert all(second % DAY == 0 for second in steps)
    assert len(steps) <= 502


def test_clocks_that_no_clock_has_make_no_more_steps(scan):
    """Times of a damaged database may be anything."""
    objects = scan.verdict.objects
    came = [(-(2**80), 2**90, 0, None)[place % 4] for place in range(len(objects))]
    assert len({second for second, _ in aggregate(objects, range(len(objects)), came).times}) == 3


def test_usage_is_in_the_map_and_in_the_table():
    """Each group beside the namespaces, each entry once with its facts; what has no bytes is in neither."""
    scan = scan_of_everything(b"plain", inventory=True)
    document = PageData(scan, scan.inventory).document()
    places, scan.places = scan.places, []
    before = PageData(scan, scan.inventory).document()["tree"]
    scan.places = places
    groups = {group.name: group.bytes for text in usage_texts(scan) for group in text.groups}
    added = document["tree"][6][len(before[6]) :]
    assert {branch[1]: branch[2] for branch in added} == groups
    assert document["tree"][2] == before[2] + sum(groups.values())
    for branch in added:
        rows = [document["rows"][place] for place in branch[7]]
        assert sum(row[4] for row in rows) == branch[2]
        assert {row[0] for row in rows} == {"usage"}
    (volume,) = [row for row in document["rows"] if row[1] == "volume"]
    assert volume[2] == volume[10] == "plain"
    assert ["mounted by", "plain"] in volume[8]


def test_very_many_volumes_share_a_row():
    """The largest have their own; the sum is that of all."""
    scan = scan_of_everything(b"plain", inventory=True)
    entries = [
        UsageEntry(UsageCategory.NAMED_VOLUMES, b"%d" % number, RawPath(b"/data/volumes/%d" % number), number + 1)
        for number in range(USAGE + 7)
    ]
    scan.places = [scan.places[0]._replace(entries=tuple(entries))]
    document = PageData(scan, scan.inventory).document()
    rows = [row for row in document["rows"] if row[0] == "usage"]
    assert len(rows) == USAGE + 1
    assert rows[-1][2] == "7 entries, each smaller"
    assert rows[-1][4] == sum(range(1, 8))
    assert sum(row[4] for row in rows) == sum(entry.bytes for entry in entries)
