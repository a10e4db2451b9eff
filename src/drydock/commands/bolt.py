"""Reading a bbolt file by itself, whatever it holds, and salvaging a damaged one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from bbolt_reader import BoltError, Bucket, Damage, Database, DeclaredDatabase, dissection
from bbolt_reader import check as check_pages
from bbolt_reader.dissection import Dissection, Listed
from bbolt_reader.lenient import LenientPages
from bbolt_reader.probe import probe
from bbolt_reader.source import Source
from bbolt_reader.statements import Salvage
from drydock.commands.runs import refuse_if_needed
from drydock.evidence.host.locks import hold
from drydock.model.errors import DrydockError, EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.progress import Progress, counter
from drydock.model.remnants import Rebuilt, Remnant
from drydock.model.text import shown
from drydock.reclaim.edit import compact_database
from drydock.report.bolt import joined, salvage_hint
from drydock.salvage.database import open_salvage, rebuild, trust_rebuilt
from drydock.salvage.remnants import find_remnants


@contextmanager
def opened(file: RawPath) -> Iterator[Database]:
    """The database, locked against engines.

    Raises:
        Refused: an engine has it.
        EvidenceUnreadable: it cannot be read.
    """
    with hold(file, exclusive=False) as lock, _readable(file), Database.from_fd(lock.fd, file) as database:
        yield database


@contextmanager
def declared(file: RawPath) -> Iterator[DeclaredDatabase]:
    """The same, read by the declarations of the format.

    Raises: as :func:`opened`.
    """
    with hold(file, exclusive=False) as lock, _readable(file), DeclaredDatabase.from_fd(lock.fd, file) as database:
        yield database


def list_pages(file: RawPath) -> list[Listed]:
    """The pages by position, as their headers describe them, also where no meta is valid.

    Raises: as :func:`opened`.
    """
    with _lenient(file) as pages:
        return list(dissection.list_pages(pages))


def dissect_page(file: RawPath, page: int) -> Dissection:
    """Every field of one page.

    Raises: as :func:`opened`.
    """
    with _lenient(file) as pages:
        return dissection.dissect(pages, page)


def check(file: RawPath, progress: Progress | None = None) -> list[Damage]:
    """Check every page and entry.

    Raises:
        Refused: as for :func:`opened`.
        EvidenceUnreadable: as for :func:`opened`; where salvage can read something, the message says how.
    """
    try:
        with declared(file) as database:
            pages = min(database.pages, database.meta.high_water)
            return list(check_pages(database, counter(progress, "pages checked", pages)))
    except EvidenceUnreadable as error:
        if not _has_pages(file):
            raise
        raise EvidenceUnreadable(f"{error}; {salvage_hint(file)}") from error


def find_bucket(database: Database, names: tuple[bytes, ...]) -> Bucket:
    """The bucket that is named from the root on.

    Raises:
        EvidenceUnreadable: there is none.
    """
    bucket = database.root
    for name in names:
        inner = bucket.bucket(name)
        if inner is None:
            raise EvidenceUnreadable(f"{joined((*bucket.path, name))}: no such bucket")
        bucket = inner
    return bucket


def find_value(database: Database, names: tuple[bytes, ...]) -> bytes:
    """The value at the end of a path of buckets and a key.

    Raises:
        EvidenceUnreadable: there is none.
    """
    bucket, key = find_bucket(database, names[:-1]), names[-1]
    value = bucket.get(key)
    if value is None:
        what = "a bucket, not a value" if bucket.bucket(key) else "no such key"
        raise EvidenceUnreadable(f"{joined((*bucket.path, key))}: {what}")
    return value


def buckets_in(start: Bucket) -> Iterator[Bucket]:
    """The buckets in a bucket, each before those in it; as deep as the reader allows buckets to be."""
    stack = [start.items()]
    while stack:
        for _, value in stack[-1]:
            if not isinstance(value, bytes):
                yield value
                stack.append(value.items())
                break
        else:
            stack.pop()


_BLOCK = 512


class Salvaged(NamedTuple):
    """What can be read of a damaged file."""

    found: Salvage
    remnants: list[Remnant]
    rebuilt: Rebuilt | None
    """The new database; None where none was asked for."""

    @property
    def is_damaged(self) -> bool:
        """Whether something that counts is wrong: bbolt goes on without the older meta, and without its tree."""
        severe = any(each.standing.value == "current" and each.code != "meta" for each in self.found.problems)
        return severe or bool(self.found.guessed_root)


def salvage(file: RawPath, output: RawPath | None, choice: str, progress: Progress | None = None) -> Salvaged:
    """Read what can still be read of a damaged file, and write a new database of it on demand.

    Args:
        file: the damaged file.
        output: a new file; None where none is to be written.
        choice: what takes the place of lost keys: ``current``, ``previous`` or ``all``.
        progress: called while data is read.

    Raises:
        Refused: an engine has the file.
        EvidenceUnreadable: it cannot be read.
        ActionFailed: the new file cannot be written.
    """
    with open_salvage(file, progress) as (lock, found):
        if progress is not None:
            progress("putting records together" if output is None else "writing the new database", 0)
        remnants = find_remnants(found.statements)
        return Salvaged(found, remnants, None if output is None else rebuild(lock, found, output, choice))


def trust(file: RawPath) -> bool:
    """Have a rebuilt database relied on again; whether it was one.

    Raises:
        Refused: an engine has the file.
        EvidenceUnreadable: it cannot be read.
        ActionFailed: it cannot be written.
    """
    return trust_rebuilt(file)


class Compacted(NamedTuple):
    """A database before and after compacting, in bytes."""

    size: int
    """Length before."""
    used: int
    """What the pages in use take, with both metas."""
    after: int | None = None
    """Length afterwards; None if it was not compacted."""
    freed: int = 0
    """Allocated blocks that the file system got back."""


def compact(
    file: RawPath,
    *,
    agree: Callable[[Compacted], bool],
    state: RawPath | None = None,
    progress: Progress | None = None,
) -> Compacted:
    """Make a database shorter, in place, under its lock.

    Args:
        file: the database.
        agree: shown what compacting would do; nothing is changed unless it returns true.
        state: where to look for runs that could not be undone afterwards, besides the default places.
        progress: called while pages are moved.

    Raises:
        Refused: an engine has the file, or a run that changed it can still be undone.
        EvidenceUnreadable: there is no such file.
        ActionFailed: it is damaged, or cannot be written.
    """
    with hold(file, exclusive=True) as lock:
        refuse_if_needed(file, state)
        found = Compacted(0, 0)

        def wanted(size: int, used: int) -> bool:
            nonlocal found
            found = Compacted(size, used)
            return used < size and agree(found)

        before = os.fstat(lock.fd).st_blocks
        done = compact_database(lock.fd, file, wanted, counter(progress, "pages moved"))
        if done is None:
            return found
        return found._replace(after=done.bytes_after, freed=max(0, before - os.fstat(lock.fd).st_blocks) * _BLOCK)


def _has_pages(file: RawPath) -> bool:
    """Whether there is anything that salvage can read."""
    with suppress(DrydockError), _lenient(file):
        return True
    return False


@contextmanager
def _lenient(file: RawPath) -> Iterator[LenientPages]:
    with hold(file, exclusive=False) as lock, _readable(file):
        source = Source(lock.fd, file, owned=False, mapped=False)
        yield LenientPages(source, probe(source).page_size)


@contextmanager
def _readable(file: RawPath) -> Iterator[None]:
    try:
        yield
    except BoltError as error:
        raise EvidenceUnreadable(f"{shown(file)}: {error}") from error
