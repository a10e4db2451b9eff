"""The shape of a leaf page: the lengths of its keys and values, as one call that unpacks them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

from bbolt_reader.page import ID

_Picker: TypeAlias = Callable[[tuple[Any, ...]], tuple[bytes, ...]]


class Lengths(NamedTuple):
    """The lengths of one entry, in bytes."""

    gap: int
    """The bytes between it and the entry before it, or the elements."""
    key: int
    value: int
    is_bucket: bool


class Shape(NamedTuple):
    """The elements of a page, made into one call that takes all entries of such a page apart."""

    unpack: Any
    """``Struct.unpack_from``, from a page's first byte: its id; then for each entry the key and the value, or for a
    bucket the key, the root, and the rest of the value."""
    size: int
    """Bytes from the page's first byte to the end of its last entry."""
    buckets: tuple[tuple[int, int, int], ...]
    """The entries that are buckets: the number of the entry, the number of the unpacked field that is the root, and the
    position of the value in the page."""
    keys: _Picker
    """Takes the keys from the unpacked fields."""
    values: _Picker
    """Takes the values; for a bucket, the part behind its root."""

    @classmethod
    def of(cls, before: int, entries: Sequence[Lengths]) -> Shape:
        """The shape of entries behind ``before`` bytes of header and elements."""
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
    """An itemgetter that returns a tuple, also for one field or none."""
    first = fields[0] if fields else 0
    return itemgetter(*fields) if len(fields) > 1 else itemgetter(slice(first, first + len(fields)))
