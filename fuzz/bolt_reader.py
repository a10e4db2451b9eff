"""bbolt_reader: any bytes give typed errors, are read a few times at most, and read alike by both readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from unittest.mock import patch

from fuzz.memory import Counting, held
from tests.support import boltwriter

from bbolt_reader import BoltError, Bucket, Database, DeclaredDatabase, Difference, check, compare, dissect, verify

TREE = {
    b"v1": {
        b"many": {b"key%03d" % i: b"value" * (i % 7) for i in range(60)},
        b"big": {b"k": b"v" * 2000},
        b"inline": {b"a": b"1", b"b": b""},
        b"deep": {b"er": {b"and": {b"down": {b"k": b"v"}}}},
    },
}
RECORDS = {
    b"records": {
        b"%d" % one: {b"at": b"%03d" % one, b"labels": {b"a": b"%d" % one}, b"size": b"4"} for one in range(5)
    },
    b"small": {b"%02d" % one: {b"at": b"%03d" % one, b"size": b"4"} for one in range(30)},
}


def seeds() -> Iterator[bytes]:
    """Sound files of each kind."""
    for options in ({"free": 2}, {"freelist": False}, {"inline": False, "fill": 0.4}, {"page_size": 4096, "txid": 11}):
        yield bytes(boltwriter.image(TREE, **{"page_size": 1024, **options}).data)
    yield bytes(boltwriter.image(RECORDS, page_size=1024).data)


def one(data: bytes) -> None:
    """Walk, search, verify and look at each page; what is remembered of pages changes nothing that is read."""
    with held(data) as fd:
        try:
            source = _walk(fd)
            database = Database(source)
            list(verify(database))
            # A page with overflow is read twice: its first place tells how long it is.
            assert source.given <= 4 * len(data) + 4096, f"{source.given} bytes read of {len(data)}"
            database.root.get(b"v1")
            for pgid in range(min(database.pages, 64)):
                page = database.page(pgid)
                _all(page.leaves) if page.kind == "leaf" else _all(page.branches) if page.kind == "branch" else None
            assert _read(fd, mapped=True) == _read(fd, mapped=False)
            assert _verified(fd, forms=True) == _verified(fd, forms=False)
        except BoltError as error:
            _told(error)
        _second(fd)


def _second(fd: int) -> None:
    """Both readers open it or neither does, they read the same, and each check finds damage where the other does."""
    opened: list[Database | DeclaredDatabase | None] = []
    for reader in (Database, DeclaredDatabase):
        try:
            opened.append(reader.from_fd(fd, b""))
        except BoltError as error:  # noqa: PERF203 - two readers
            _told(error)
            opened.append(None)
    first, second = opened
    assert (first is None) == (second is None)
    if not isinstance(first, Database) or not isinstance(second, DeclaredDatabase):
        return
    differences: list[Difference] = list(compare(first, second))
    assert not differences, differences
    assert any(verify(first)) == any(check(second))
    lenient = second.lenient
    for pgid in range(min(lenient.count, 64)):
        page = dissect(lenient, pgid)
        assert sum(field.length for field in page.fields) == page.length, f"page {pgid} is not all fields"


def _verified(fd: int, *, forms: bool) -> list[str]:
    """All damage that verify finds, with or without the forms of pages, each of which is unpacked in one call."""
    limits = [patch.object(import_module(f"bbolt_reader.{each}"), "_FORMS_KEPT", 0) for each in ("tree", "verify")]
    with ExitStack() as stack, Database.from_fd(fd, b"") as database:
        for limit in () if forms else limits:
            stack.enter_context(limit)
        return list(map(str, verify(database)))


def _read(fd: int, *, mapped: bool) -> list[object]:
    """All that a file says, errors included: as it is read most often, or each page as if it were the first."""
    found: list[object] = []
    with Database.from_fd(fd, b"", mapped=mapped) as database:
        stack = [database.root]
        while stack:
            bucket = stack.pop()
            if not mapped:
                database.root.tree.forget()
            try:
                for key, value in bucket.items():
                    found.append((bucket.path, key, value.sequence if isinstance(value, Bucket) else value))
                    stack += [value] if isinstance(value, Bucket) else []
            except BoltError as error:
                found.append((str(error), error.page, error.offset))
    return found


def _walk(fd: int) -> Counting:
    source = Counting(fd)
    stack = [Database(source).root]
    while stack:
        stack += _below(stack.pop())
    return source


def _below(bucket: Bucket) -> list[Bucket]:
    found: list[Bucket] = []
    try:
        found.extend(value for _, value in bucket.items() if isinstance(value, Bucket))
    except BoltError as error:
        _told(error)
    return found


def _all(read: object) -> None:
    assert callable(read)
    try:
        list(read())
    except BoltError as error:
        _told(error)


def _told(error: BoltError) -> None:
    assert str(error).isprintable(), repr(str(error))
