"""Reading a tree from its root page down, past all pages that cannot be read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bbolt_reader.lenient import LenientPage, LenientPages, inline
from bbolt_reader.page import LEAF_BUCKET, LeafElement
from bbolt_reader.parsing import parse_bucket
from bbolt_reader.statements import Hole, Names, Problem, Statement, StatementStanding
from bbolt_reader.tree import MAX_DEPTH

_TWICE = 2
"""How often one page is read at most. A damaged number may refer to a page of another bucket, and which of two
references is right cannot be known."""

_TELLING: Final = 15
"""A value of so many bytes is rare enough to recognise two versions of one bucket by."""
READ_AGAIN: Final = 4
"""How often the file without its holes is read at most, in all: several pages may claim the same overflow, or a hole
of any size."""


class _PageToSalvage(NamedTuple):
    pgid: int
    referrer: int
    path: Names
    low: bytes
    high: bytes | None
    depth: int


@dataclass(slots=True)
class Descent:
    """One walk through a tree: its statements, and the parts that could not be read."""

    lenient: LenientPages
    standing: StatementStanding
    skip: Collection[int] = ()
    """Pages that were read already, with all pages below them."""
    statements: list[Statement] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    places: dict[int, Names] = field(default_factory=dict)
    """The bucket of each page that was read, and of each page of its overflow."""
    known: dict[int, Names | None] = field(default_factory=dict)
    """The bucket of each telling entry, by its :func:`mark`; None if several buckets have the entry."""
    _spent: int = 0

    def run(self, root: int, referrer: int, path: Names = ()) -> None:
        """Read all pages below a page, each at most twice."""
        steps = [_PageToSalvage(root, referrer, path, b"", None, 0)]
        visits: dict[int, int] = {}
        while steps:
            step = steps.pop()
            if step.pgid in self.skip:
                continue
            count = visits.get(step.pgid, 0)
            if count:
                self._lose(step, f"page {step.pgid} is referenced here and elsewhere", "twice", step.referrer)
                if count == _TWICE:
                    continue
            visits[step.pgid] = count + 1
            if step.depth > MAX_DEPTH or len(step.path) > MAX_DEPTH:
                self._lose(step, f"more than {MAX_DEPTH} levels of pages or buckets", "corrupt", step.referrer)
                continue
            found = self._page(step.pgid) if step.pgid >= 2 else "a meta page is not a page of a tree"
            if isinstance(found, str):
                self._lose(step, found, "corrupt", step.pgid * self.lenient.page_size)
                continue
            for place in range(found.places):
                self.places.setdefault(found.pgid + place, step.path)
            steps += reversed(list(self._leaf(found, step) if found.is_leaf else self._branch(found, step)))

    def _page(self, pgid: int) -> LenientPage | str:
        overdrawn = self._spent > READ_AGAIN * self.lenient.held
        found = self.lenient.page(pgid, pgid + 1 if overdrawn else None)
        self._spent += 1 if isinstance(found, str) else found.places
        return found

    def _lose(self, step: _PageToSalvage, message: str, code: str, offset: int) -> None:
        page = step.pgid if code == "corrupt" else step.referrer // self.lenient.page_size
        self.problems.append(Problem(code, message, page, offset, self.standing))
        self.holes.append(Hole(step.path, step.low, step.high))

    def _branch(self, page: LenientPage, step: _PageToSalvage) -> Iterator[_PageToSalvage]:
        children = page.children
        if page.lost:
            self._entries_lost(page, step)
        for index, child in enumerate(children):
            low = child.key if index else step.low
            high = children[index + 1].key if index + 1 < len(children) else step.high
            yield _PageToSalvage(child.pgid, child.offset, step.path, low, high, step.depth + 1)

    def _leaf(self, page: LenientPage, step: _PageToSalvage) -> Iterator[_PageToSalvage]:
        if page.lost:
            self._entries_lost(page, step)
        for element in page.entries:
            telling = mark(element)
            if telling is not None:
                self.known[telling] = step.path if self.known.get(telling, step.path) == step.path else None
        for statement, root, lost in stated(page, step.path, self.standing):
            self.statements.append(statement)
            below = (*statement.path, statement.key)
            if lost:
                message = f"{lost} entries of an inline bucket cannot be read"
                self.problems.append(Problem("entries", message, page.pgid, statement.offset, self.standing))
                self.holes.append(Hole(below, b"", None))
            if root:
                yield _PageToSalvage(root, statement.offset, below, b"", None, 0)

    def _entries_lost(self, page: LenientPage, step: _PageToSalvage) -> None:
        message = f"{page.lost} elements cannot be read"
        self.problems.append(Problem("entries", message, page.pgid, page.offset, self.standing))
        self.holes.append(Hole(step.path, step.low, step.high))


def mark(element: LeafElement) -> int | None:
    """A number that two versions of a bucket have in common if this entry did not change.

    None if the entry tells nothing, because other buckets may have an equal one.
    """
    if element.flags == LEAF_BUCKET:
        root = parse_bucket(element.value)["root"]
        # The sequence may have changed, but an unchanged bucket keeps its page.
        return hash((element.key, root or element.value))
    return hash((element.key, element.value)) if len(element.value) >= _TELLING else None


def stated(
    page: LenientPage, path: Names, standing: StatementStanding, *, linked: bool = True, fragment: int | None = None
) -> Iterator[tuple[Statement, int, int]]:
    """The statements of a leaf page, with those of its inline buckets.

    Yields:
        Each statement; the page where its bucket starts, or 0; and how many entries of an inline bucket are lost.
    """

    def make(at: Names, element: LeafElement, value: bytes | None, sequence: int) -> Statement:
        return Statement(at, element.key, value, sequence, page.pgid, element.offset, standing, linked, fragment)

    for element in page.entries:
        if element.flags != LEAF_BUCKET:
            yield make(path, element, element.value, 0), 0, 0
            continue
        header = parse_bucket(element.value)
        root, sequence = header["root"], header["sequence"]
        inner: Iterable[LeafElement] = ()
        lost = 0
        if not root:
            inner, lost = inline(element)
        yield make(path, element, None, sequence), root, lost
        below = (*path, element.key)
        for each in inner:
            yield make(below, each, each.value, 0), 0, 0
