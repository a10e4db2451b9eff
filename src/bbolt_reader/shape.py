"""The shape of a leaf page: the lengths of its keys and values, as one call that unpacks them all.

A form is more: the shape and the keys of an inline bucket, which are known before such a bucket is met. The form of a
page has those of all inline buckets in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import itemgetter
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

from bbolt_reader import packed
from bbolt_reader.page import HEADER, ID, MAX_KEY, PAGE_LEAF

_SEQUENCE: Final = 8
"""Bytes of a bucket's sequence, which its page follows if it is inline."""
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


class Form(NamedTuple):
    """Inline buckets that have certain keys, and values of certain lengths: one call takes such a bucket apart.

    An inline bucket that has its :attr:`size` and, unpacked, its :attr:`fixed` parts, is of this form: then nothing in
    it is unchecked. Sequence and page id may be any number, as for other inline buckets.
    """

    size: int
    """Bytes behind the root of such a bucket."""
    unpack: Any
    """``Struct.unpack`` of these bytes: in turns a fixed part and a value."""
    fixed: tuple[bytes, ...]
    """The fixed parts: the first is the header of its page, with its elements and its first key; then the other keys.
    """
    keys: tuple[bytes, ...]
    """All its keys, in ascending order."""
    codes: str
    """What ``Struct`` made :attr:`unpack` of, without the byte order."""

    @classmethod
    def of(cls, keys: Sequence[bytes], lengths: Sequence[int]) -> Form:
        """The form with these keys, in ascending order, and values of these lengths, as bbolt writes it."""
        elements, behind = b"", HEADER * len(keys)
        for key, length in zip(keys, lengths, strict=True):
            elements += packed.LEAF_ELEMENT.pack(0, behind - len(elements), len(key), length)
            behind += len(key) + length
        header = packed.PAGE_HEADER.pack(0, PAGE_LEAF, len(keys), 0)[ID:]
        fixed = (header + elements + b"".join(keys[:1]), *keys[1:])
        parts = (f"{len(part)}s{length}s" for part, length in zip(fixed, lengths, strict=False))
        codes = f"{_SEQUENCE + ID}x" + ("".join(parts) if keys else f"{len(header)}s")
        form = Struct("<" + codes)
        return cls(form.size, form.unpack, fixed, tuple(keys), codes)

    @classmethod
    def met(cls, bucket: bytes) -> Form | None:
        """The form of an inline bucket; None if it is not exactly as bbolt writes it.

        Args:
            bucket: the bytes behind its root.
        """
        start = _SEQUENCE + HEADER
        if len(bucket) < start:
            return None
        at = start + HEADER * packed.PAGE_HEADER.unpack_from(bucket, _SEQUENCE)[2]
        if at > len(bucket):
            return None
        keys, lengths = list[bytes](), list[int]()
        for _, _, key, value in packed.LEAF_ELEMENT.iter_unpack(bucket[start:at]):
            keys.append(bucket[at : at + key])
            lengths.append(value)
            at += key + value
        if at != len(bucket) or any(
            after <= before or len(after) > MAX_KEY for before, after in pairwise([b"", *keys])
        ):
            return None
        form = cls.of(keys, lengths)
        return form if form.unpack(bucket)[::2] == form.fixed else None


class PageForm(NamedTuple):
    """Leaf pages with the same elements, whose inline buckets have the same forms.

    A page with these elements that has, unpacked, the :attr:`fixed` parts, is of this form: then nothing in its inline
    buckets is unchecked.
    """

    unpack: Any
    """``Struct.unpack_from``, from a page's first byte: its id, then its parts."""
    fixed: tuple[bytes, ...]
    """Of each inline bucket the root, which is zeros, and the fixed parts of its form."""
    fixed_of: _Picker
    """Takes these parts from the unpacked ones."""
    keys_of: _Picker
    """Takes the keys of the page."""
    values_of: _Picker
    """Takes the values of the page and of its inline buckets, in the order of the file."""
    below: tuple[tuple[bytes, ...] | None, ...]
    """For each key of the page the keys of its inline bucket, or None for a value."""

    @classmethod
    def of(cls, page: bytes) -> PageForm | None:
        """The form of a leaf page whose elements were checked.

        None if it is empty, if a bucket in it has pages of its own, or if it is not exactly as bbolt writes it.
        """
        at = HEADER + HEADER * packed.PAGE_HEADER.unpack_from(page)[2]
        # What each part is: a key, a value, or a fixed part.
        codes, kinds = f"<Q{at - ID}x", " "
        fixed: list[bytes] = []
        below: list[tuple[bytes, ...] | None] = []
        for place, (is_bucket, pos, key, value) in enumerate(packed.LEAF_ELEMENT.iter_unpack(page[HEADER:at]), 1):
            if HEADER * place + pos != at:
                return None
            at += key + value
            codes += f"{key}s"
            kinds += "k"
            if not is_bucket:
                codes += f"{value}s"
                kinds += "v"
                below.append(None)
                continue
            form = Form.met(page[at - value + ID : at])
            if form is None or any(page[at - value : at - value + ID]):
                return None
            codes += f"{ID}s{form.codes}"
            kinds += "f" + ("fv" * len(form.keys) or "f")
            fixed += (bytes(ID), *form.fixed)
            below.append(form.keys)
        fixed_of, keys, values = (
            _picker([number for number, each in enumerate(kinds) if each == kind]) for kind in "fkv"
        )
        return cls(Struct(codes).unpack_from, tuple(fixed), fixed_of, keys, values, tuple(below)) if below else None


def _picker(fields: list[int]) -> _Picker:
    """An itemgetter that returns a tuple, also for one field or none."""
    first = fields[0] if fields else 0
    return itemgetter(*fields) if len(fields) > 1 else itemgetter(slice(first, first + len(fields)))
