"""Two readers of one file, key by key: where they do not read the same, one of them is wrong.

Forensic practice asks this of a tool (dual-tool verification; NIST's Computer Forensics Tool Testing). Damage is no
difference: both readers find it, at the same key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, zip_longest
from typing import Final, NamedTuple, TypeAlias

from bbolt_reader.bucket import Bucket
from bbolt_reader.database import Database
from bbolt_reader.declared import DeclaredBucket, DeclaredDatabase, Entry
from bbolt_reader.errors import BoltError

EACH: Final = 100
"""The most differences that are told of one file."""
_TOLD: Final = 4096
"""How many keys are read between two calls of ``progress``."""
_META_FIELDS: Final = (
    "valid", "id", "flags", "page_size", "root", "sequence", "freelist", "high_water", "txid", "checksum",
)  # fmt: skip


class Difference(NamedTuple):
    """One thing that two readers do not read alike."""

    message: str
    """One line without control characters, but for the names of ``path``, which are not in it."""
    path: tuple[bytes, ...]
    """The bucket and the key; empty for a meta."""
    page: int | None
    offset: int | None
    """Byte of the file, as the second reader has it."""


_First: TypeAlias = "Iterator[tuple[bytes, bytes | Bucket] | BoltError]"
_Second: TypeAlias = "Iterator[tuple[Entry, DeclaredBucket | None] | BoltError]"


def compare(
    first: Database, second: DeclaredDatabase, progress: Callable[[int], None] | None = None
) -> Iterator[Difference]:
    """Read a file with both, to the end.

    Args:
        first: opened by the fast reader.
        second: the same file, by the declarations.
        progress: called with the number of keys read since its last call.

    Yields:
        What differs, at most :data:`EACH` times: metas, then each bucket's keys, values, sequences and pages.
    """
    yield from islice(_Comparison(first, second, progress).run(), EACH)


class _Comparison:
    def __init__(self, first: Database, second: DeclaredDatabase, progress: Callable[[int], None] | None) -> None:
        self._first = first
        self._second = second
        self._progress = progress
        self._read = 0

    def run(self) -> Iterator[Difference]:
        for one, two in zip(self._first.metas, self._second.metas, strict=True):
            for field in _META_FIELDS:
                values = getattr(one, field), getattr(two, field)
                if values[0] != values[1]:
                    yield self._differ(f"meta {two.index}, {field}: {values[0]}, and {values[1]}", (), two.offset)
        if self._first.meta.index != self._second.meta.index:
            message = f"meta {self._first.meta.index} counts, and meta {self._second.meta.index}"
            yield self._differ(message, (), self._second.meta.offset)
            return
        # A root of its own: what was read of it before says nothing.
        root = self._first.root_of(self._first.meta)
        stack = [(self._second.root, _first(root), _second(self._second.root))]
        while stack:
            other, ours, theirs = stack[-1]
            for mine, its in zip_longest(ours, theirs):
                self._count()
                if isinstance(mine, tuple) and isinstance(its, tuple):
                    key, value = mine
                    entry, below = its
                    if key == entry.key and value == entry.value and below is None:
                        continue
                    if key == entry.key and isinstance(value, Bucket) and below is not None:
                        yield from self._headers(value, below)
                        stack.append((below, _first(value), _second(below)))
                        break
                elif isinstance(mine, BoltError) and isinstance(its, BoltError):
                    continue
                stack.pop()
                pairs: list[tuple[Bucket, DeclaredBucket]] = []
                yield from self._rest(other, [mine, *ours], [its, *theirs], pairs)
                stack += [(two, _first(one), _second(two)) for one, two in pairs]
                break
            else:
                stack.pop()
        if self._progress is not None:
            self._progress(self._read % _TOLD)

    def _headers(self, bucket: Bucket, other: DeclaredBucket) -> Iterator[Difference]:
        if bucket.sequence != other.sequence:
            yield self._differ(f"sequence {bucket.sequence}, and {other.sequence}", other.path, other.offset)
        if bucket.root != other.root:
            yield self._differ(f"root page {bucket.root}, and {other.root}", other.path, other.offset)
        if bucket.offset != other.offset:
            yield self._differ(f"header at {bucket.offset:#x}, and {other.offset:#x}", other.path, other.offset)

    def _rest(
        self,
        bucket: DeclaredBucket,
        ours: list[tuple[bytes, bytes | Bucket] | BoltError | None],
        theirs: list[tuple[Entry, DeclaredBucket | None] | BoltError | None],
        pairs: list[tuple[Bucket, DeclaredBucket]],
    ) -> Iterator[Difference]:
        """What differs in a bucket from the first difference on; ``pairs`` gets the buckets that both have."""
        mine = dict(row for row in ours if isinstance(row, tuple))
        its = {row[0].key: row for row in theirs if isinstance(row, tuple)}
        told = False
        for key in dict.fromkeys((*mine, *its)):
            path = (*bucket.path, key)
            if key not in its:
                told = True
                yield self._differ("a key that the second reader does not read", path, bucket.offset)
                continue
            entry, below = its[key]
            value = mine.get(key)
            if value is None:
                told = True
                yield self._differ("a key that only the second reader reads", path, entry.offset)
            elif isinstance(value, Bucket) and below is not None:
                yield from self._headers(value, below)
                pairs.append((value, below))
            elif isinstance(value, Bucket) or below is not None:
                told = True
                kinds = ("a bucket", "a value") if isinstance(value, Bucket) else ("a value", "a bucket")
                yield self._differ(f"{kinds[0]}, and {kinds[1]}", path, entry.offset)
            elif value != entry.value:
                told = True
                message = f"values of {len(value)} and {len(entry.value)} bytes that are not the same"
                yield self._differ(message, path, entry.value_offset)
        failed = [next((row for row in rows if isinstance(row, BoltError)), None) for rows in (ours, theirs)]
        for error, who in zip(failed, ("the first reader", "the second reader"), strict=True):
            if error is not None and None in failed:
                told = True
                yield self._differ(f"{who} alone cannot read on: {error}", bucket.path, error.offset)
        if not told and len(ours) != len(theirs):
            yield self._differ("a key that one of the readers has more often", bucket.path, bucket.offset)
        elif not told and [row[0] for row in ours if isinstance(row, tuple)] != [
            row[0].key for row in theirs if isinstance(row, tuple)
        ]:
            yield self._differ("the same keys in another order", bucket.path, bucket.offset)

    def _count(self) -> None:
        self._read += 1
        if self._progress is not None and not self._read % _TOLD:
            self._progress(_TOLD)

    def _differ(self, message: str, path: tuple[bytes, ...], offset: int | None) -> Difference:
        page = None if offset is None else offset // self._second.page_size
        return Difference(message, path, page, offset)


def _first(bucket: Bucket) -> _First:
    try:
        yield from bucket.items()
    except BoltError as error:
        yield error


def _second(bucket: DeclaredBucket) -> _Second:
    try:
        yield from bucket.entries()
    except BoltError as error:
        yield error
