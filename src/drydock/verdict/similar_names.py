"""Names that differ in a few bytes side by side, as one that a disk spoiled differs from the one that was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from drydock.model.names import Kind, Ref

_MOST_DIFFERING = 4
_SHARE = 16
"""Of a name one byte in so many may be another, and one at least."""
_FEW = 16
"""So many names are compared one by one: more would take the square of their number."""


_MOST_PAIRS = 200_000
"""Beyond so many, which only who means to can make, what is there comes with one of those it is near to."""


class _Half(NamedTuple):
    """What a name begins or ends with: one of both is the same in any that is called nearly so."""

    kind: Kind
    namespace: bytes
    length: int
    is_last: bool
    half: bytes


@dataclass(slots=True)
class _Alike:
    """Names that have one half in common."""

    refs: list[Ref] = field(default_factory=list)
    _by_rest: dict[tuple[int, bytes, bytes], list[Ref]] | None = None
    """By what is left without some bytes side by side; worked out for many names alone."""

    def near(self, key: bytes) -> Iterator[Ref]:
        """Those that may be called nearly as ``key``, some of them more than once."""
        if len(self.refs) <= _FEW:
            yield from self.refs
            return
        if self._by_rest is None:
            self._by_rest = {}
            for ref in self.refs:
                for rest in _rests(ref.key):
                    self._by_rest.setdefault(rest, []).append(ref)
        for rest in _rests(key):
            yield from self._by_rest.get(rest, ())


def find_near(wanted: Iterable[Ref], there: Iterable[Ref]) -> Iterator[tuple[Ref, Ref]]:
    """Each of ``wanted`` with each of ``there`` that has its kind and namespace, and a similar name.

    If there are very many such pairs, each of ``there`` that is in one still comes at least once. The order of
    ``wanted`` does not matter: a set of names gives the same pairs, in the same order, in every process.
    """
    by_half: dict[_Half, _Alike] = {}
    for ref in sorted(wanted, key=lambda ref: (ref.kind.value, ref.namespace, ref.key)):
        for half in _halves(ref):
            by_half.setdefault(half, _Alike()).refs.append(ref)
    if not by_half:
        return
    pairs = 0
    for ref in there:
        found: set[Ref] = set()
        for each in chain.from_iterable(by_half[half].near(ref.key) for half in _halves(ref) if half in by_half):
            if each not in found and _is_near(each.key, ref.key):
                found.add(each)
                pairs += 1
                yield each, ref
                if pairs > _MOST_PAIRS:
                    break


def _halves(ref: Ref) -> Iterator[_Half]:
    length = len(ref.key)
    room = _room(length)
    end = (length - room + 1) // 2
    yield _Half(ref.kind, ref.namespace, length, False, ref.key[:end])
    # What differs and begins before ``end`` does not reach beyond this.
    yield _Half(ref.kind, ref.namespace, length, True, ref.key[end + room - 1 :])


def _rests(key: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """What a name has besides some bytes side by side, wherever these are: one is that of any name called nearly so."""
    room = _room(len(key))
    for at in range(0, len(key), room):
        yield at, key[:at], key[at + 2 * room - 1 :]


def _is_near(one: bytes, other: bytes) -> bool:
    differing = [place for place, (first, second) in enumerate(zip(one, other, strict=True)) if first != second]
    return bool(differing) and differing[-1] - differing[0] < _room(len(one))


def _room(length: int) -> int:
    return min(_MOST_DIFFERING, max(1, length // _SHARE))
