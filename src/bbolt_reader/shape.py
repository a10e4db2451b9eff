"""How the keys and values of a leaf page follow each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

from bbolt_reader.page import ID

_Picker: TypeAlias = Callable[[tuple[Any, ...]], tuple[bytes, ...]]


class Lengths(NamedTuple):
    """Of one entry, in bytes."""

    gap: int
    """From the end of the entry before it, or of the elements."""
    key: int
    value: int
    is_bucket: bool


class Shape(NamedTuple):
    """What the elements of a page say, as one call that takes all entries of such a page apart."""

    unpack: Any
    """``Struct.unpack_from``, from a page's first byte: its id; then of each entry the key, and its value or, where it
    is a bucket, the root and what follows it."""
    size: int
    """Bytes from the page's first byte to the end of its last entry."""
    buckets: tuple[tuple[int, int, int], ...]
    """The entries that are buckets: which, which of what is unpacked is the root, and the value's first byte in the
    page."""
    keys: _Picker
    """Takes the keys from what is unpacked."""
    values: _Picker
    """The same of the values; of a bucket, of what follows its root."""

    @classmethod
    def of(cls, before: int, entries: Sequence[Lengths]) -> Shape:
        """The shape of entries that follow ``before`` bytes, header and elements."""
        codes: list[str] = []
        buckets: list[tuple[int, int, int]] = []
        keys: list[int] = []
        values: list[int] = []
        field, end = 1, before
        for index, (gap, key, value, is_bucket) in enumerate(entries):
            keys.append(field)
            if is_bucket:
                codes.append(f"{gap}x{key}sQ{value - 8}s")
                buckets.append((index, field + 1, end + gap + key))
                field += 1
            else:
                codes.append(f"{gap}x{key}s{value}s")
            values.append(field + 1)
            field += 2
            end += gap + key + value
        unpack = Struct(f"<Q{before - ID}x" + "".join(codes)).unpack_from
        return cls(unpack, end, tuple(buckets), _picker(keys), _picker(values))


def _picker(fields: list[int]) -> _Picker:
    """An itemgetter that gives a tuple, also of one field or none."""
    first = fields[0] if fields else 0
    return itemgetter(*fields) if len(fields) > 1 else itemgetter(slice(first, first + len(fields)))
