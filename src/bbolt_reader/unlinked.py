"""Pages that no tree reaches any more: their entries, and the buckets that they were part of."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from bbolt_reader.descent import READ_AGAIN, mark, stated
from bbolt_reader.errors import BoltError
from bbolt_reader.lenient import LenientPage, LenientPages
from bbolt_reader.page import LEAF_BUCKET, PAGE_FREELIST
from bbolt_reader.parsing import parse_bucket, parse_freelist
from bbolt_reader.statements import Names, Statement, StatementStanding
from bbolt_reader.tree import MAX_DEPTH

_PATHS_KEPT: Final = 4
"""The most buckets that one page may have been part of: pages are used again, so an old page may refer to a new one."""
RootTest: TypeAlias = "Callable[[Collection[bytes]], bool]"
"""Whether a page with these keys belongs to a root bucket."""


class Origin(NamedTuple):
    """A bucket, by its path from the root bucket or from the bucket that starts at a page."""

    fragment: int | None
    path: Names


@dataclass(slots=True)
class Unlinked:
    """The pages outside of every tree."""

    lenient: LenientPages
    pages: dict[int, LenientPage]
    rank: dict[int, int] = field(default_factory=dict)
    """How new each page is."""

    @classmethod
    def find(cls, lenient: LenientPages, taken: Collection[int], moment: Callable[[bytes], int]) -> Unlinked:
        """Read every page that is not taken.

        Args:
            lenient: the file.
            taken: pages that were read already, or are overflow of those.
            moment: how new a value is; 0 if the value does not tell.
        """
        sane = lenient.sane()
        pages: dict[int, LenientPage] = {}
        rank: dict[int, int] = {}
        stops = sorted({*sane, *taken, lenient.count})
        after = dict(pairwise(stops))
        spent = 0
        for pgid in sane:
            if pgid in taken or pgid < 2:
                continue
            overdrawn = spent > READ_AGAIN * lenient.held
            page = lenient.page(pgid, pgid + 1 if overdrawn else after[pgid])
            spent += 1 if isinstance(page, str) else page.places
            if not isinstance(page, str) and (page.entries or page.children):
                pages[pgid] = page
                rank[pgid] = max((moment(each.value) for each in page.entries if not each.flags), default=0)
        return cls(lenient, pages, rank)

    def references(self, pgid: int) -> Iterator[tuple[int, bytes | None]]:
        """The pages that a page refers to: with the key of a bucket, or None for a page of the same bucket."""
        page = self.pages[pgid]
        for child in page.children:
            yield child.pgid, None
        for element in page.entries:
            if element.flags == LEAF_BUCKET:
                root = parse_bucket(element.value)["root"]
                if root:
                    yield root, element.key

    def origins(
        self, known: Mapping[int, Names | None], places: Mapping[int, Names], is_root: RootTest | None
    ) -> dict[int, list[Origin]]:
        """The buckets that each page was part of: from entries that pages in use have too, or pages that refer to it.

        Args:
            known: the bucket of each telling entry of the pages in use; see :class:`Descent`.
            places: the pages in use, and their buckets.
            is_root: whether a page with these keys belongs to the root bucket; None if that is not known.
        """
        found: defaultdict[int, list[Origin]] = defaultdict(list)
        below: dict[int, list[tuple[int, bytes | None]]] = {}
        above: defaultdict[int, list[tuple[int, bytes | None]]] = defaultdict(list)
        queue: deque[tuple[int, Origin]] = deque()

        def add(pgid: int, origin: Origin) -> None:
            if len(found[pgid]) < _PATHS_KEPT and len(origin.path) <= MAX_DEPTH and origin not in found[pgid]:
                found[pgid].append(origin)
                queue.append((pgid, origin))

        def spread() -> None:
            while queue:
                pgid, origin = queue.popleft()
                for child, key in below[pgid]:
                    add(child, origin if key is None else Origin(origin.fragment, (*origin.path, key)))
                if origin.fragment is None:
                    for parent, key in above[pgid]:
                        if key is None:
                            add(parent, origin)
                        elif origin.path and origin.path[-1] == key and not found[parent]:
                            add(parent, Origin(None, origin.path[:-1]))

        for pgid in self.pages:
            below[pgid] = [(child, key) for child, key in self.references(pgid) if child in self.pages]
            for child, key in below[pgid]:
                above[child].append((pgid, key))
        for pgid, page in self.pages.items():
            votes = Counter(
                path
                for element in page.entries
                if (telling := mark(element)) is not None and (path := known.get(telling)) is not None
            )
            votes.update(places[child.pgid] for child in page.children if child.pgid in places)
            if is_root is not None and is_root(page.keys()):
                add(pgid, Origin(None, ()))
            for path, _ in votes.most_common(1):
                add(pgid, Origin(None, path))
        spread()
        # The other buckets start at pages that no page refers to; in rings of pages, anywhere.
        for pgid in [*(page for page in self.pages if not above[page]), *self.pages]:
            if not found[pgid]:
                add(pgid, Origin(pgid, ()))
                spread()
        return dict(found)

    def statements(self, origins: Mapping[int, Iterable[Origin]], in_use: Callable[[int], bool]) -> Iterator[Statement]:
        """The statements of the pages, the newest pages first.

        Args:
            origins: from :meth:`origins`.
            in_use: whether a page is known to be part of the tree in use, though no page refers to it.
        """
        for pgid in sorted(self.pages, key=lambda page: (-self.rank[page], page)):
            standing = StatementStanding.CURRENT if in_use(pgid) else StatementStanding.DELETED
            for origin in origins.get(pgid, ()):
                for statement, _, _ in stated(
                    self.pages[pgid], origin.path, standing, linked=False, fragment=origin.fragment
                ):
                    yield statement

    def best_root(self, is_root: RootTest | None) -> int | None:
        """The page that is most likely that of the newest root bucket, if no tree is left.

        Args:
            is_root: as for :meth:`origins`.
        """
        scores: dict[int, tuple[bool, int, int]] = {}
        for start in self.pages:
            stack = [(start, iter(list(self.references(start))))]
            open_: set[int] = {start}
            while stack and start not in scores:
                pgid, rest = stack[-1]
                child = next(
                    (one for one, _ in rest if one in self.pages and one not in scores and one not in open_), None
                )
                if child is not None:
                    open_.add(child)
                    stack.append((child, iter(list(self.references(child)))))
                    continue
                stack.pop()
                scores[pgid] = self._score(pgid, scores)
                open_.discard(pgid)
        best = max(
            ((is_root is None or is_root(page.keys()), *scores[pgid], pgid) for pgid, page in self.pages.items()),
            default=None,
        )
        return best[-1] if best else None

    def _score(self, pgid: int, scores: Mapping[int, tuple[bool, int, int]]) -> tuple[bool, int, int]:
        """How good a page is as a root: whether all pages below it can be read, how new they are, and how many."""
        whole, newest, amount = not self.pages[pgid].lost, self.rank[pgid], 1
        for child, _ in self.references(pgid):
            if child not in scores:
                whole = False
                continue
            inner = scores[child]
            whole, newest, amount = whole and inner[0], max(newest, inner[1]), min(amount + inner[2], 1 << 63)
        return whole, newest, amount


def free_pages(lenient: LenientPages, pgid: int) -> set[int] | None:
    """The ids on a freelist page; None if it cannot be read."""
    try:
        own, flags, count, overflow = lenient.header(pgid)
        if own != pgid or flags != PAGE_FREELIST or not 2 <= pgid < lenient.count:
            return None
        length = min((overflow + 1) * lenient.page_size, lenient.source.size - pgid * lenient.page_size)
        data = lenient.source.read(pgid * lenient.page_size, length, pgid)
    except BoltError:
        return None
    found = parse_freelist(data, count)
    if found.declared_count > len(found.ids):
        return None
    return {one for one in found.ids if one < lenient.count}
