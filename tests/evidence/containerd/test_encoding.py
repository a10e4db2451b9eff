"""Varints and times as Go writes them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support import gowriting

from drydock.evidence.containerd.encoding import Undecodable, binary_time, uvarint, uvarint_at, varint

SECONDS = st.integers(-gowriting.EPOCH, 2**62)
NANOSECONDS = st.integers(0, 999_999_999)


@pytest.mark.parametrize(("raw", "number"), [("06", 3), ("08", 4), ("00", 0), ("01", -1), ("02", 1), ("ac02", 150)])
def test_signed_varints_of_real_files(raw, number):
    """Schema versions 3 and 4 as meta.db has them, and zigzag by hand."""
    assert varint(bytes.fromhex(raw)) == number


def test_a_time_of_a_real_file():
    """A createdat of a real meta.db: seconds since the year 1, nanoseconds, UTC."""
    assert (
        binary_time(bytes.fromhex("010000000ee297194b23b2e255ffff"))
        == (0xEE297194B - 62_135_596_800) * 10**9 + 0x23B2E255
    )


@given(st.integers(0, 2**64 - 1))
@example(127)
@example(128)
@example(2**64 - 1)
def test_unsigned_varints_come_back(number):
    """Every 64-bit number comes back, alone and in front of other bytes."""
    raw = gowriting.uvarint(number)
    assert uvarint(raw) == number
    assert uvarint_at(b"\xff" + raw + b"\x80", 1) == (number, 1 + len(raw))


@given(st.integers(-(2**63), 2**63 - 1))
@example(-(2**63))
def test_signed_varints_come_back(number):
    """Every signed 64-bit number comes back."""
    assert varint(gowriting.varint(number)) == number


@given(st.integers(0, 2**64 - 1))
def test_no_part_of_a_varint_is_one(number):
    """Each truncation, and each byte too many, is refused."""
    raw = gowriting.uvarint(number)
    for end in range(len(raw)):
        with pytest.raises(Undecodable):
            uvarint(raw[:end])
    with pytest.raises(Undecodable):
        uvarint(raw + b"\0")


@pytest.mark.parametrize("raw", [b"\xff" * 10, b"\x80" * 9 + b"\x02", b"\x80" * 11 + b"\x01", b"\xff" * 100_000])
def test_a_varint_of_more_than_64_bits_is_refused(raw):
    """As Go's Uvarint reports an overflow, whatever the length."""
    with pytest.raises(Undecodable):
        uvarint(raw)


@given(SECONDS, NANOSECONDS, st.integers(-1440, 1440), st.none() | st.integers(0, 59))
def test_times_come_back(seconds, nanoseconds, offset, extra):
    """The instant comes back from both versions, whatever zone its writer was in."""
    raw = gowriting.go_time(seconds, nanoseconds, offset, extra)
    assert binary_time(raw) == seconds * 10**9 + nanoseconds


@given(SECONDS, NANOSECONDS, st.none() | st.integers(0, 59))
def test_no_part_of_a_time_is_one(seconds, nanoseconds, extra):
    """Each truncation, each byte too many and each other version is refused."""
    raw = gowriting.go_time(seconds, nanoseconds, -1, extra)
    wrong = [raw[:end] for end in range(len(raw))] + [raw + b"\0"]
    wrong += [bytes([version]) + raw[1:] for version in (0, 3, 255, 3 - raw[0])]
    for each in wrong:
        with pytest.raises(Undecodable):
            binary_time(each)


@pytest.mark.parametrize("nanoseconds", [-1, 1_000_000_000, 2**31 - 1])
def test_impossible_nanoseconds_are_refused(nanoseconds):
    """No instant is invented from nanoseconds that no second has."""
    with pytest.raises(Undecodable):
        binary_time(gowriting.go_time(0, nanoseconds))


@pytest.mark.parametrize("decode", [uvarint, varint, binary_time])
@given(raw=st.binary(max_size=20))
def test_any_bytes_give_a_value_or_undecodable(decode, raw):
    """Nothing else is ever raised."""
    with contextlib.suppress(Undecodable):
        assert isinstance(decode(raw), int)
