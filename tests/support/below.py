"""Which pages each key of a sound bbolt file needs to be read, by a reading of the format of the tests' own."""

from __future__ import annotations

import struct
from pathlib import Path

Key = tuple[tuple[bytes, ...], bytes]


def newest(data: bytes) -> tuple[int, int, int]:
    """Page, root page and page size of the meta that counts, both metas being valid."""
    size = struct.unpack_from("<I", data, 24)[0]
    index = max((0, 1), key=lambda index: struct.unpack_from("<Q", data, index * size + 64)[0])
    return index, struct.unpack_from("<Q", data, index * size + 32)[0], size


def needs(path: Path) -> dict[Key, tuple[bytes | None, frozenset[int]]]:
    """Each key of a file: its value, None for a bucket, and the pages that it lies on or below, metas left out."""
    data = path.read_bytes()
    _, root, size = newest(data)
    found: dict[Key, tuple[bytes | None, frozenset[int]]] = {}

    def leaf(page: bytes, count: int, names: tuple[bytes, ...], above: frozenset[int]) -> None:
        for index in range(count):
            at = 16 * (index + 1)
            flags, pos, ksize, vsize = struct.unpack_from("<IIII", page, at)
            key = page[at + pos : at + pos + ksize]
            value = page[at + pos + ksize : at + pos + ksize + vsize]
            found[names, key] = (None if flags else value, above)
            if flags:
                inner = struct.unpack_from("<Q", value)[0]
                if inner:
                    walk(inner, (*names, key), above)
                else:
                    leaf(value[16:], struct.unpack_from("<H", value, 26)[0], (*names, key), above)

    def walk(pgid: int, names: tuple[bytes, ...], above: frozenset[int]) -> None:
        flags, count, overflow = struct.unpack_from("<HHI", data, pgid * size + 8)
        page = data[pgid * size : (pgid + overflow + 1) * size]
        here = above | frozenset(range(pgid, pgid + overflow + 1))
        if flags == 2:
            leaf(page, count, names, here)
            return
        for index in range(count):
            walk(struct.unpack_from("<Q", page, 16 * (index + 1) + 8)[0], names, here)

    walk(root, (), frozenset())
    return found
