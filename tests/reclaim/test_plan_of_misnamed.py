"""One wrong byte in a name makes no plan larger: what was meant stays, whatever the name is now.

Every byte of every name in a real meta.db (of namespaces, of records of each kind and in them, of labels and in them)
becomes another of its class (a hexadecimal digit stays one), on its page, and, where the order of keys is another then,
in a file written anew in order. A plan is larger by what it ends or removes that it did not without the change: leases,
records, rows, paths. What went before under the name that was changed does not count under the new one.
``DRYDOCK_TEST_LONG`` (``./run prove``) tries every byte, else one in many is tried.
"""

import os
import sys
from datetime import datetime

import pytest
from tests.support.captures import captures
from tests.support.renaming import Renamer

from drydock.model.times import parse_time

pytestmark = [pytest.mark.root, pytest.mark.slow]
IS_LONG = "DRYDOCK_TEST_LONG" in os.environ
EACH = 1 if IS_LONG else 1597
READABLE = [pytest.param(each, id=each.name) for each in captures() if "dropped_by_gc" in each.facts]


@pytest.mark.parametrize("capture", READABLE)
def test_a_wrong_byte_in_a_name_makes_no_plan_larger(capture, unpacked, tmp_path):
    """No change of one byte adds to a plan without a finding; each that does is printed."""
    now = parse_time(capture.taken_at.encode())
    renamer = Renamer.of(unpacked(capture), now, tmp_path / "meta.db")
    spots = list(renamer.spots())
    assert len(spots) > 4000
    tried = spots[::EACH]
    grown = [grown for spot in tried for grown in renamer.try_spot(spot)]
    silent = [each for each in grown if not each.codes]
    lines = [
        f"{each.spot} ({each.form}, {each.policy.end.value}): {len(each.parts)} more; {each.codes}" for each in grown
    ]
    sys.stdout.write("\n".join([f"{capture.name}: {len(tried)} of {len(spots)} bytes tried", *lines, ""]))
    assert not silent


@pytest.mark.parametrize("capture", READABLE)
def test_another_end_of_a_lease_counts_only_if_it_is_past_and_after_it_was_made(capture, unpacked, tmp_path):
    """Of all other digits in a lease's expiry only those make a plan larger that name a time at which it had begun."""
    renamer = Renamer.of(unpacked(capture), parse_time(capture.taken_at.encode()), tmp_path / "meta.db")
    made = {(lease.namespace, lease.id): lease.created for lease in renamer.store.metadata.leases}
    for spot in renamer.spots():
        if (
            spot.path[2:3] != (b"leases",)
            or spot.path[4:] != (b"labels", b"containerd.io/gc.expire")
            or not spot.is_value
        ):
            continue
        space, name = spot.path[1], spot.path[3]
        start = spot.offset - spot.index
        old = renamer.data[start : start + len("2026-11-24T12:26:52Z")].decode()
        for digit in {*"0123456789"} - {old[spot.index]} if IS_LONG or spot.index in (6, 9, 12) else ():
            grown = [each for each in renamer.try_spot(spot._replace(byte=ord(digit))) if not each.codes]
            if grown:
                end = datetime.fromisoformat(f"{old[: spot.index]}{digit}{old[spot.index + 1 :]}"[:19] + "+00:00")
                assert made[space, name] // 10**9 <= end.timestamp() < renamer.now // 10**9


@pytest.mark.parametrize("capture", [each for each in READABLE if each.id == "docker-28.5-interrupted-pull"])
def test_the_comparison_finds_what_grows(capture, unpacked, tmp_path, monkeypatch):
    """Without what keeps misnamed things, changes of one byte do make a plan larger: the test can fail."""
    from drydock.reclaim import plan

    monkeypatch.setattr(plan, "may_be_meant", lambda *_: {})
    renamer = Renamer.of(unpacked(capture), parse_time(capture.taken_at.encode()), tmp_path / "meta.db")
    spots = [spot for spot in renamer.spots() if spot.path[2:3] == (b"leases",) and b"ingests" in spot.path]
    assert any(grown.parts for spot in spots[::17] for grown in renamer.try_spot(spot))
