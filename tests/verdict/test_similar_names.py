"""Names that are called nearly alike are found wherever they differ, and many of them in little time."""

import itertools
import time

import pytest

from drydock.model.names import Kind, Ref
from drydock.verdict.similar_names import find_near


def _ref(key):
    return Ref(Kind.SNAPSHOT, b"default", key)


@pytest.mark.parametrize("more", [0, 40])
@pytest.mark.parametrize("length", [1, 2, 15, 31, 32, 48, 64, 71, 104])
def test_found_wherever_they_differ(length, more):
    """Change up to four bytes side by side at each place, the middle too, among few names and among many."""
    name = bytes(65 + place % 50 for place in range(length))
    room = min(4, max(1, length // 16))
    others = [name[:-1] + bytes([number]) for number in range(128, 128 + more)] if length > 1 else []
    for width in range(1, room + 1):
        for at in range(length - width + 1):
            other = name[:at] + bytes(byte ^ 0x80 for byte in name[at : at + width]) + name[at + width :]
            assert (_ref(name), _ref(other)) in set(find_near(map(_ref, [*others, name]), [_ref(other)]))


def test_more_bytes_are_another_name():
    """Names that differ in more bytes, or far apart, are not called nearly alike."""
    name = b"sha256:" + b"0123456789abcdef" * 4
    far = [b"x" + name[1:-1] + b"x", name[:20] + b"xxxxx" + name[25:], name + b"0", name]
    assert not list(find_near([_ref(name)], map(_ref, far)))


def test_many_with_the_same_beginning_take_little_time():
    """Names that someone made so that each half is common to all do not take the square of their number."""
    wanted = [_ref(b"overlayfs/extract-1234567890-abcd sha256:%064x" % number) for number in range(4000)]
    there = [_ref(b"overlayfs/extract-1234567890-abcd sha256:%064x" % (number * 7919 << 40)) for number in range(4000)]
    began = time.process_time()
    found = set(find_near(wanted, there))
    assert time.process_time() - began < 20
    assert {pair for pair in found if pair[0] != wanted[0]} == {(each, there[0]) for each in wanted[1:]}


def test_very_many_pairs_leave_out_nothing_that_is_there():
    """Where all names are nearly alike, the time is bounded, and each that is there is told at least once."""
    wanted = [_ref(b"sha256:" + b"0" * 60 + b"%04x" % number) for number in range(0, 12000, 2)]
    there = [_ref(b"sha256:" + b"0" * 60 + b"%04x" % number) for number in range(1, 12000, 2)]
    began = time.process_time()
    found = list(find_near(wanted, there))
    assert time.process_time() - began < 20
    assert {ref for _, ref in found} == set(there)
    assert len(found) < 300_000


def test_the_order_of_the_names_does_not_matter():
    """The same pairs in the same order, whatever order a set of names has: what a plan tells must not differ."""
    wanted = [_ref(b"sha256:" + b"0" * 60 + b"%04x" % number) for number in range(4)]
    there = [_ref(b"sha256:" + b"0" * 60 + b"%04x" % number) for number in (8, 9)]
    expected = [(each, other) for other in there for each in wanted]
    assert all(list(find_near(each, there)) == expected for each in itertools.permutations(wanted))
