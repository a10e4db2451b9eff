"""Values as containerd's Go code writes them, by an encoder of the tests' own; the reverse of evidence/encoding.py."""

from __future__ import annotations

import struct

EPOCH = 62_135_596_800
"""Seconds from the year 1 to 1970."""


def uvarint(number: int) -> bytes:
    """Go's binary.PutUvarint: seven bits a byte, lowest first, the top bit says that more follow."""
    out = bytearray()
    while True:
        low, number = number % 128, number // 128
        out.append(low + 128 if number else low)
        if not number:
            return bytes(out)


def varint(number: int) -> bytes:
    """Go's binary.PutVarint: 0, -1, 1, -2 … are 0, 1, 2, 3 …."""
    return uvarint(2 * number if number >= 0 else -2 * number - 1)


def go_time(seconds: int, nanoseconds: int = 0, offset: int = -1, extra: int | None = None) -> bytes:
    """Go's Time.MarshalBinary of a Unix time; ``offset`` in minutes, -1 for UTC; ``extra`` makes it version 2."""
    raw = struct.pack(">qih", seconds + EPOCH, nanoseconds, offset)
    return b"\x01" + raw if extra is None else b"\x02" + raw + bytes([extra])
