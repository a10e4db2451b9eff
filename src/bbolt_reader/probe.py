"""The page size and the metas of a damaged file, also if neither meta is valid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

from bbolt_reader.declared import choose, read_metas
from bbolt_reader.errors import BoltError, NotBolt
from bbolt_reader.lenient import LenientPages
from bbolt_reader.meta import PAGE_META, PAGE_SIZES, Meta
from bbolt_reader.page import PAGE_BRANCH, PAGE_FREELIST, PAGE_LEAF
from bbolt_reader.source import Source

_PAGES_PROBED: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Probe:
    """The layout of a file, as far as it can be found out."""

    page_size: int
    metas: tuple[Meta, ...]
    """Both metas, valid or not; empty if neither is valid."""

    @property
    def current(self) -> Meta | None:
        """The meta in use; None if neither is valid."""
        return choose((self.metas[0], self.metas[1])) if self.metas else None

    @property
    def previous(self) -> Meta | None:
        """The other meta; None if it is not valid."""
        current = self.current
        if current is None:
            return None
        other = self.metas[1 - current.index]
        return other if other.valid and other.page_size == current.page_size else None


def probe(source: Source) -> Probe:
    """Find the page size: that of a valid meta, or else the one that fits the most page headers.

    Raises:
        NotBolt: nothing in the file looks like a page.
        Unreadable: the file cannot be read.
    """
    try:
        metas = read_metas(source)
    except NotBolt:
        best, size = max((sum(1 for _ in _headers(source, size)), size) for size in PAGE_SIZES)
        if not best:
            raise
        return Probe(size, ())
    return Probe(choose(metas).page_size, metas)


def _headers(source: Source, page_size: int) -> Iterator[int]:
    """Positions, other than 0, of page headers that are plausible for this page size."""
    lenient = LenientPages(source, page_size)
    for pgid in islice(chain.from_iterable(lenient.ranges()), _PAGES_PROBED):
        if not pgid:
            continue
        try:
            own, flags, _, overflow = lenient.header(pgid)
        except BoltError:
            continue
        known = flags in {PAGE_LEAF, PAGE_BRANCH, PAGE_FREELIST, PAGE_META}
        if own == pgid and known and pgid + overflow < lenient.count:
            yield pgid
