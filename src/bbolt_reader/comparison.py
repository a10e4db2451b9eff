"""Two readers of one file, compared key by key: if they differ, one of them is wrong.

Forensic practice demands this of a tool (dual-tool verification; NIST's Computer Forensics Tool Testing). Damage is no
difference, because both readers find it at the same key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from typing import Final, NamedTuple, TypeAlias, TypeVar

from bbolt_reader.bucket import Batch, Bucket
from bbolt_reader.database import Database
from bbolt_reader.declared import DeclaredBucket, DeclaredDatabase, DeclaredLeaf
from bbolt_reader.errors import BoltError

EACH: Final = 100
"""The most differences of one file that are reported."""
_OFTEN: Final = 4096
"""How many keys are read between two calls of ``progress``, at least."""
_Pair: TypeAlias = "tuple[Bucket, DeclaredBucket]"
_Page = TypeVar("_Page")
_META_FIELDS: Final = (
    "valid", "id", "flags", "page_size", "root", "sequence", "freelist", "high_water", "txid", "checksum",
)  # fmt: skip


class Difference(NamedTuple):
    """One difference between two readers."""

    message: str
    """One line without control characters; the names in ``path`` are not in it."""
    path: tuple[bytes, ...]
    """The bucket and the key; empty for a meta."""
    page: int | None
    offset: int | None
    """The byte of the file, by the second reader."""


def compare(
    first: Database, second: DeclaredDatabase, progress: Callable[[int], None] | None = None
) -> Iterator[Difference]:
    """Read a file to its end with both readers.

    Args:
        first: opened by the fast reader.
        second: the same file, by the declarations.
        progress: called with the number of keys read since its last call.

    Yields:
        At most :data:`EACH` differences: in metas, then in keys, values, sequences and pages of each bucket.
    """
    yield from islice(_DatabaseComparison(first, second, progress).run(), EACH)


class _DatabaseComparison:
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
                    yield self._differ(
                        f"{field} of meta {two.index} is {values[0]} by the first reader, {values[1]} by the second",
                        (),
                        two.offset,
                    )
        if self._first.meta.index != self._second.meta.index:
            message = f"the first reader uses meta {self._first.meta.index}, the second meta {self._second.meta.index}"
            yield self._differ(message, (), self._second.meta.offset)
            return
        # A root bucket of its own: pages that were read before count as taken in the old one.
        stack = [self._bucket(self._first.root_of(self._first.meta), self._second.root)]
        while stack:
            for found in stack[-1]:
                if isinstance(found, Difference):
                    yield found
                else:
                    stack.append(self._bucket(*found))
                    break
            else:
                stack.pop()
        if self._progress is not None:
            self._progress(self._read)

    def _bucket(self, first: Bucket, second: DeclaredBucket) -> Iterator[Difference | _Pair]:
        """The differences in a bucket, and the buckets in it, which are compared before this iterator goes on.

        Both readers go page by page, and into the buckets of a page before the next page. A page belongs to the place
        that refers to it first, so the order matters in damaged files.
        """
        if (first.sequence, first.root, first.offset) != (second.sequence, second.root, second.offset):
            yield from self._headers(first, second)
        ours, theirs = _pages(first.batches), _pages(second.leaves)
        for batch, leaf in zip_longest(ours, theirs):
            if isinstance(batch, BoltError) and isinstance(leaf, BoltError):
                return
            if (
                isinstance(batch, tuple)
                and isinstance(leaf, DeclaredLeaf)
                and (pairs := self._alike(batch, leaf)) is not None
            ):
                yield from pairs
                continue
            yield from self._rest(second, [batch, *ours], [leaf, *theirs])
            return

    def _alike(self, batch: Batch, leaf: DeclaredLeaf) -> list[_Pair] | None:
        """The buckets of a page that both readers read alike; None if they differ."""
        keys, values, buckets = batch
        self._told(len(keys))
        if list(keys) != leaf.keys:
            return None
        if not buckets:
            return [] if list(values) == leaf.values else None
        pairs: list[_Pair] = []
        for mine, other in zip(values, leaf.values, strict=True):
            if isinstance(other, bytes):
                if mine != other:
                    return None
            elif isinstance(mine, bytes):
                return None
            else:
                pairs.append((mine, other))
        return pairs

    def _headers(self, bucket: Bucket, other: DeclaredBucket) -> Iterator[Difference]:
        if bucket.sequence != other.sequence:
            yield self._differ(
                f"sequence {bucket.sequence} by the first reader, {other.sequence} by the second",
                other.path,
                other.offset,
            )
        if bucket.root != other.root:
            yield self._differ(
                f"root page {bucket.root} by the first reader, {other.root} by the second", other.path, other.offset
            )
        if bucket.offset != other.offset:
            yield self._differ(
                f"header at {bucket.offset:#x} by the first reader, {other.offset:#x} by the second",
                other.path,
                other.offset,
            )

    def _rest(
        self,
        bucket: DeclaredBucket,
        ours: Sequence[Batch | BoltError | None],
        theirs: Sequence[DeclaredLeaf | BoltError | None],
    ) -> Iterator[Difference | _Pair]:
        """The differences in a bucket from the first page that is not alike, and the buckets that both readers have."""
        mine = {key: value for batch in ours if isinstance(batch, tuple) for key, value in zip(*batch[:2], strict=True)}
        its = {
            key: (leaf, index)
            for leaf in theirs
            if isinstance(leaf, DeclaredLeaf)
            for index, key in enumerate(leaf.keys)
        }
        pairs: list[_Pair] = []
        told = False
        for key in dict.fromkeys((*mine, *its)):
            value, place = mine.get(key), its.get(key)
            other = None if place is None else place[0].values[place[1]]
            if isinstance(value, Bucket) and isinstance(other, DeclaredBucket):
                pairs.append((value, other))
            elif value != other:
                told = True
                offset = bucket.offset if place is None else place[0].offset(place[1])
                if isinstance(value, bytes) and isinstance(other, bytes):
                    message = f"different values, of {len(value)} and {len(other)} bytes"
                else:
                    message = f"{_kind(value)} by the first reader, {_kind(other)} by the second"
                yield self._differ(message, (*bucket.path, key), offset)
        failed = [next((each for each in rows if isinstance(each, BoltError)), None) for rows in (ours, theirs)]
        for error, who in zip(failed, ("first", "second"), strict=True):
            if error is not None and None in failed:
                told = True
                yield self._differ(f"only the {who} reader cannot read on: {error}", bucket.path, error.offset)
        if not told and not pairs:
            yield self._differ(
                "the readers find the same keys in another order, or more often", bucket.path, bucket.offset
            )
        yield from pairs

    def _told(self, keys: int) -> None:
        self._read += keys
        if self._progress is not None and self._read >= _OFTEN:
            self._progress(self._read)
            self._read = 0

    def _differ(self, message: str, path: tuple[bytes, ...], offset: int | None) -> Difference:
        page = None if offset is None else offset // self._second.page_size
        return Difference(message, path, page, offset)


def _kind(value: bytes | Bucket | DeclaredBucket | None) -> str:
    if value is None:
        return "no such key"
    return "a value" if isinstance(value, bytes) else "a bucket"


def _pages(read: Callable[[], Iterable[_Page]]) -> Iterator[_Page | BoltError]:
    """Pages of entries, and then the error that ended the reading, if one did."""
    try:
        yield from read()
    except BoltError as error:
        yield error
