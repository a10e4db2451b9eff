"""Reading a bbolt file that lost one or both metas, any page, or its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bbolt_reader.descent import Descent
from bbolt_reader.lenient import LenientPages
from bbolt_reader.probe import Probe, probe
from bbolt_reader.source import Source
from bbolt_reader.statements import Names, Problem, Salvage, Statement, StatementStanding
from bbolt_reader.unlinked import RootTest, Unlinked, free_pages


def _no_moment(_: bytes) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Hints:
    """Knowledge of the kind of database, to tell newer pages from older ones."""

    moment: Callable[[bytes], int] = _no_moment
    """How new a value is; 0 if it does not tell."""
    is_root: RootTest | None = None
    """Whether a page with these keys belongs to the root bucket; None if that is not known."""


def salvage(source: Source, hints: Hints = Hints(), told: Callable[[int, int], None] | None = None) -> Salvage:
    """Read all that can be read of a file; nothing is written.

    It reads the tree of the newest valid meta first; a page or an entry that cannot be read loses only the part below
    it. Then it reads what only the tree of the older meta has, and then pages that no tree reaches. Each page is read a
    limited number of times, whatever its numbers are.

    Args:
        source: the file; its size limits the time, and the memory to a few times that.
        hints: knowledge of its contents.
        told: called with how many more pages were read, perhaps some of them again, and how many there are.

    Raises:
        NotBolt: nothing in the file looks like a page.
        Unreadable: the file cannot be read at all.
    """
    found = probe(source)
    return _Salvager(LenientPages(source, found.page_size, told), found, hints).run()


class _Salvager:
    def __init__(self, lenient: LenientPages, found: Probe, hints: Hints) -> None:
        self.lenient = lenient
        self.found = found
        self.hints = hints
        self.statements: list[Statement] = []
        self.problems: list[Problem] = []
        self.said: set[int] = set()

    def run(self) -> Salvage:
        lenient, meta, older = self.lenient, self.found.current, self.found.previous
        self._metas()
        guessed = None
        root, referrer, free = 0, 0, None
        if meta is not None:
            root, referrer = meta.root, meta.offset
            if meta.has_freelist:
                free = free_pages(lenient, meta.freelist)
                if free is None:
                    self._problem("freelist", "the list of free pages cannot be read", meta.freelist)
            if meta.high_water > lenient.count:
                message = f"the file has {lenient.count} pages, but needs {meta.high_water}"
                self._problem("short-file", message, lenient.count)
        else:
            root = guessed = Unlinked.find(lenient, (), self.hints.moment).best_root(self.hints.is_root) or 0
        current = Descent(lenient, StatementStanding.CURRENT)
        current.run(root, referrer)
        self._say(current.statements)
        self.problems += current.problems
        places: dict[int, Names] = dict(current.places)
        known = dict(current.known)
        if older is not None:
            before = Descent(lenient, StatementStanding.PREVIOUS, skip=current.places)
            before.run(older.root, older.offset)
            self._say(before.statements)
            # Problems of a page in both trees are reported already, and the older tree may be written over.
            told = {problem.page for problem in self.problems}
            self.problems += [each for each in before.problems if each.page not in told]
            for pgid, path in before.places.items():
                places.setdefault(pgid, path)
            for telling, bucket in before.known.items():
                known[telling] = bucket if known.get(telling, bucket) == bucket else None
        unlinked = Unlinked.find(lenient, {0, 1, *places}, self.hints.moment)
        origins = unlinked.origins(known, places, self.hints.is_root)
        end = meta.high_water if meta is not None else 0
        self._say(unlinked.statements(origins, lambda pgid: free is not None and pgid < end and pgid not in free))
        return Salvage(
            lenient.page_size,
            max((each.txid for each in self.found.metas if each.valid), default=0),
            meta.sequence if meta is not None else 0,
            self.statements,
            self.problems,
            current.holes,
            guessed,
        )

    def _metas(self) -> None:
        if not self.found.metas:
            self._problem("meta", "neither meta is valid", 0)
        for each in self.found.metas:
            if not each.valid:
                self.problems.append(
                    Problem("meta", f"meta {each.index} is not valid: {each.reason}", each.index, each.offset)
                )

    def _problem(self, code: str, message: str, page: int) -> None:
        self.problems.append(Problem(code, message, page, page * self.lenient.page_size))

    def _say(self, statements: Iterable[Statement]) -> None:
        """Add the statements that are not there yet."""
        for each in statements:
            same = hash((each.fragment, each.path, each.key, each.value, each.sequence))
            if same not in self.said:
                self.said.add(same)
                self.statements.append(each)
