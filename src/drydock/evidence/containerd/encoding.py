"""Reading and writing values as containerd's Go code writes them into bbolt: varints and binary times.

Sources: Go encoding/binary (varint.go), Go time (Time.MarshalBinary), containerd core/metadata/boltutil (v2.1).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from drydock.model.names import UnixNano

# Seconds from 0001-01-01 to 1970-01-01, the two epochs (Go time.unixToInternal).
_EPOCH = 62135596800
_TIME = struct.Struct(">BqiH")
TIME_BYTES = _TIME.size
"""Bytes of a binary time of version 1, which nearly all are."""
MAX_VARINT = 10
"""Bytes of the longest varint."""
_SECOND = 1_000_000_000
_UTC = 0xFFFF
"""The zone offset that means UTC: -1 minute, which no zone has."""


class Undecodable(ValueError):
    """A value does not have the form of its field; the message says what it is instead."""


def uvarint(raw: bytes) -> int:
    """The unsigned varint that ``raw`` consists of.

    Raises:
        Undecodable: the varint is cut short, too long, or followed by other bytes.
    """
    if 0 < len(raw) < MAX_VARINT:
        # Nearly all values, without a second call: so few bytes have less than 64 bits.
        value = shift = 0
        for byte in raw:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if byte < 0x80 and shift == 7 * len(raw):
            return value
    value, end = uvarint_at(raw, 0)
    if end != len(raw):
        raise Undecodable(f"{len(raw) - end} bytes follow the varint")
    return value


def uvarint_at(raw: bytes, start: int) -> tuple[int, int]:
    """The unsigned varint at ``start``, and the position behind it.

    Raises:
        Undecodable: the varint is cut short or does not fit 64 bits.
    """
    value = shift = 0
    for position in range(start, min(len(raw), start + MAX_VARINT)):
        byte = raw[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, position + 1
        shift += 7
    raise Undecodable("the varint does not end")


def varint(raw: bytes) -> int:
    """The signed (zigzag) varint that ``raw`` consists of.

    Raises:
        Undecodable: as :func:`uvarint`.
    """
    value = uvarint(raw)
    return (value >> 1) ^ -(value & 1)


def binary_time(raw: bytes) -> UnixNano:
    """A Go binary time, versions 1 (15 bytes) and 2 (16 bytes), as nanoseconds since the Unix epoch, UTC.

    The zone offset does not matter: it says how to show the instant.

    Raises:
        Undecodable: version, length or nanoseconds are wrong.
    """
    if len(raw) < 15:
        raise Undecodable(f"its {len(raw)} bytes are not a Go time")
    version, seconds, nanoseconds, _ = _TIME.unpack_from(raw)
    if version not in (1, 2) or len(raw) != 14 + version:
        raise Undecodable(f"its {len(raw)} bytes are not a Go time")
    if not 0 <= nanoseconds < 1_000_000_000:
        raise Undecodable("the time has impossible nanoseconds")
    return UnixNano((seconds - _EPOCH) * 1_000_000_000 + nanoseconds)


def binary_times(raws: Sequence[bytes]) -> list[int]:
    """Binary times of version 1, each as :func:`binary_time`.

    Raises:
        Undecodable: one of them is none.
    """
    if not set(map(len, raws)) <= {TIME_BYTES}:
        raise Undecodable("not all are times of version 1")
    times = [
        (seconds - _EPOCH) * _SECOND + nanoseconds
        for version, seconds, nanoseconds, _ in _TIME.iter_unpack(b"".join(raws))
        if version == 1 and 0 <= nanoseconds < _SECOND
    ]
    if len(times) != len(raws):
        raise Undecodable("not all are times of version 1")
    return times


def encode_uvarint(number: int) -> bytes:
    """The unsigned varint of a number of at least 0."""
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def encode_varint(number: int) -> bytes:
    """The signed (zigzag) varint of a number of 64 bits."""
    return encode_uvarint(number << 1 if number >= 0 else ~(number << 1))


def encode_time(time: UnixNano) -> bytes:
    """The binary time of an instant, version 1, in UTC, as containerd writes its own times."""
    seconds, nanoseconds = divmod(time, 1_000_000_000)
    return _TIME.pack(1, seconds + _EPOCH, nanoseconds, _UTC)
