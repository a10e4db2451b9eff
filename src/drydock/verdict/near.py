"""Names that differ in a few bytes side by side, as one that a disk spoiled differs from the one that was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from drydock.model.names import Kind, Ref

_MOST_DIFFERING = 4
_SHARE = 16
"""Of a name one byte in so many may be another, and one at least."""


class _Half(NamedTuple):
    """The first or the last half of a name, which is the same in any that differs within the other half."""

    kind: Kind
    namespace: bytes
    length: int
    is_last: bool
    half: bytes


def find_near(wanted: Iterable[Ref], there: Iterable[Ref]) -> Iterator[tuple[Ref, Ref]]:
    """Each of ``wanted`` with each of ``there`` that is of its kind and namespace, and called nearly as it is."""
    by_half: dict[_Half, list[Ref]] = {}
    for ref in wanted:
        for half in _halves(ref):
            by_half.setdefault(half, []).append(ref)
    if not by_half:
        return
    for ref in there:
        found: dict[Ref, None] = {}
        for half in _halves(ref):
            found.update(dict.fromkeys(by_half.get(half, ())))
        for each in found:
            if _is_near(each.key, ref.key):
                yield each, ref


def _halves(ref: Ref) -> Iterator[_Half]:
    length = len(ref.key)
    middle = (length + 1) // 2
    yield _Half(ref.kind, ref.namespace, length, False, ref.key[:middle])
    # One byte less than half: a name of one byte has this in common with all others.
    yield _Half(ref.kind, ref.namespace, length, True, ref.key[middle:])


def _is_near(one: bytes, other: bytes) -> bool:
    differing = [place for place, (first, second) in enumerate(zip(one, other, strict=True)) if first != second]
    room = min(_MOST_DIFFERING, max(1, len(one) // _SHARE))
    return bool(differing) and differing[-1] - differing[0] < room
