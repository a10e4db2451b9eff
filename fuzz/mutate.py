"""Mutations of bbolt files that get past the metas' checksums."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from fuzz.pages import checked, page_size

_INTERESTING = (0, 1, 2, 3, 4, 5, 16, 64, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_SMALL = 6
_UNCHECKED = 16


def mutate(data: bytes, most: int, seed: int, any_mutation: Callable[[bytes, int], bytes], *, head: int = 0) -> bytes:
    """Change a file: half the time as libFuzzer would, half the time a number of a page's header or elements.

    Args:
        data: ``head`` bytes, and the file.
        most: bytes of the result.
        seed: decides everything.
        any_mutation: libFuzzer's own.
        head: bytes in front of the file.
    """
    choose = random.Random(seed)
    if choose.random() < 0.5:
        raw = bytearray(any_mutation(data, most))
    else:
        raw = bytearray(data)
        size = page_size(bytes(raw[head:]))
        pages = max(len(raw) // size, 1)
        for _ in range(choose.randint(1, 3)):
            number = choose.choice([choose.randrange(pages), choose.choice(_INTERESTING)])
            at = head + choose.randrange(pages) * size + choose.choice((0, 8, 10, 12, *range(16, 96, 4)))
            width, form = choose.choice(((2, "<H"), (4, "<I"), (8, "<Q")))
            if at + width <= len(raw):
                struct.pack_into(form, raw, at, number % (1 << 8 * width))
    if choose.randrange(_UNCHECKED):
        raw[head:] = checked(raw[head:])
    return bytes(raw[:most])
