"""Similar names: they differ in a few adjacent bytes, as a name that the disk damaged differs from the written one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from drydock.model.names import Kind, Ref

_MOST_DIFFERING = 4
_SHARE = 16
"""One byte in this many may differ, and at least one."""
_FEW = 16
"""Up to this many names are compared one by one; comparing more would take quadratic time."""


_MOST_PAIRS = 200_000
"""After this many pairs, which only an attacker can make, each name comes with one similar name only."""


class _Half(NamedTuple):
    """The first or the second half of a name: two similar names have one of the halves in common."""

    kind: Kind
    namespace: bytes
    length: int
    is_last: bool
    half: bytes


@dataclass(slots=True)
class _Alike:
    """Names with one half in common."""

    refs: list[Ref] = field(default_factory=list)
    _by_rest: dict[tuple[int, bytes, bytes], list[Ref]] | None = None
    """By the rest of a name without some adjacent bytes; computed only for many names."""

    def near(self, key: bytes) -> Iterator[Ref]:
        """The names that may be similar to ``key``; some come more than once."""
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
    # A difference that begins before ``end`` ends before this.
    yield _Half(ref.kind, ref.namespace, length, True, ref.key[end + room - 1 :])


def _rests(key: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The rests of a name without some adjacent bytes, for each place: a similar name shares one of them."""
    room = _room(len(key))
    for at in range(0, len(key), room):
        yield at, key[:at], key[at + 2 * room - 1 :]


def _is_near(one: bytes, other: bytes) -> bool:
    differing = [place for place, (first, second) in enumerate(zip(one, other, strict=True)) if first != second]
    return bool(differing) and differing[-1] - differing[0] < _room(len(one))


def _room(length: int) -> int:
    return min(_MOST_DIFFERING, max(1, length // _SHARE))
