"""A damaged database of an engine: what can still be read of it, and a new one made of that."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial

from bbolt_reader import BoltError
from bbolt_reader.salvage import Hints, salvage
from bbolt_reader.source import Source
from bbolt_reader.statements import Salvage
from bbolt_surgery import Assembly, Choice, SurgeryError, assemble, trust, write_new
from drydock.evidence.encoding import Undecodable, binary_time
from drydock.evidence.locks import Lock, hold
from drydock.model.errors import ActionFailed, EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.progress import Progress
from drydock.model.text import shown
from drydock.recover.sequences import raise_sequences

_SECOND = 1_000_000_000
# 2010 to 2100: other values of 15 bytes that begin like a time are not to count.
_EARLIEST, _LATEST = 1_262_304_000 * _SECOND, 4_102_444_800 * _SECOND


@contextmanager
def open_salvage(path: RawPath, progress: Progress | None = None) -> Iterator[tuple[Lock, Salvage]]:
    """Read all that can be read of a database that no engine has open; it stays locked meanwhile.

    Args:
        path: of the database.
        progress: told of the pages read.

    Raises:
        Refused: an engine has it.
        EvidenceUnreadable: nothing in it looks like a page, or it cannot be read at all.
    """
    told = None if progress is None else partial(progress, "pages read")
    with hold(path, exclusive=False) as lock:
        try:
            source = Source(lock.fd, path, owned=False, mapped=True)
            try:
                found = salvage(source, Hints(_moment, _is_root), told)
            finally:
                source.close()
        except BoltError as error:
            raise EvidenceUnreadable(f"{shown(path)}: {error}") from error
        yield lock, found


def rebuild(lock: Lock, found: Salvage, out: RawPath, choice: str) -> Assembly:
    """Write a new database under a name that is free; mode and owner are those of the damaged one.

    Args:
        lock: on the damaged one.
        found: what was read of it.
        out: the new one's name.
        choice: which statements go into it, in the words of :class:`bbolt_surgery.Choice`.

    Returns:
        What went into it.

    Raises:
        ActionFailed: the name is taken, or it cannot be written. Nothing was left behind.
    """
    assembly = assemble(found, Choice(choice))
    raise_sequences(assembly.root)
    try:
        write_new(out, assembly.root, page_size=found.page_size, txid=found.txid, like=os.fstat(lock.fd))
    except SurgeryError as error:
        raise ActionFailed(f"{shown(out)}: {error}") from error
    return assembly


def trust_rebuilt(path: RawPath) -> bool:
    """Take back that a database was rebuilt, so that scans rely on it again.

    Returns:
        Whether it said so.

    Raises:
        Refused: an engine has it.
        EvidenceUnreadable: there is no such file.
        ActionFailed: it is damaged, or cannot be written.
    """
    with hold(path, exclusive=True) as lock:
        try:
            fd = os.open(f"/proc/self/fd/{lock.fd}", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise ActionFailed(f"{shown(path)}: {error.strerror}") from error
        try:
            return trust(fd, path)
        except SurgeryError as error:
            raise ActionFailed(f"{shown(path)}: {error}") from error
        finally:
            os.close(fd)


def _moment(value: bytes) -> int:
    """How new a value is, if it is a time."""
    if len(value) != 15:
        return 0
    try:
        time = binary_time(value)
    except Undecodable:
        return 0
    return time if _EARLIEST <= time <= _LATEST else 0


def _is_root(keys: Collection[bytes]) -> bool:
    """Whether a page can be one of a root bucket: of meta.db and of every metadata.db, ``v1`` is in it."""
    return b"v1" in keys
