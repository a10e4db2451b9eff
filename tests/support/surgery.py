"""What an edit of a bbolt file should leave, and a record of every system call that changes the file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from bbolt_reader import Bucket, Database
from bbolt_surgery import Deletion, Receipt, delete, restore

Call: TypeAlias = "tuple[str, int, bytes]"
"""``write`` at an offset, ``sync``, ``reserve`` up to a size, or ``cut`` to a size."""


def edit(path: Path, deletions: Iterable[Deletion], **options) -> Receipt:
    """Delete in a file named by its path."""
    with path.open("r+b", buffering=0) as file:
        return delete(file.fileno(), os.fsencode(path), deletions, **options)


def undo(path: Path, receipt: Receipt, **options) -> Receipt:
    """Undo in a file named by its path."""
    with path.open("r+b", buffering=0) as file:
        return restore(file.fileno(), os.fsencode(path), receipt, **options)


def dump(path: Path) -> str:
    """What bbolt_reader reads, in the words of the Go program dump."""
    with Database.open(path) as database:
        lines = [f"bucket / {database.root.sequence}"]
        lines += [line for _, line in _walk(database.root)]
        return "\n".join(lines) + "\n"


def everything(path: Path) -> list[Deletion]:
    """Every key and every bucket of a file."""
    with Database.open(path) as database:
        return [deletion for deletion, _ in _walk(database.root)]


def without(dumped: str, deletions: Iterable[Deletion]) -> str:
    """A dump minus what is deleted and what is in it, by its text alone."""
    gone = {tuple(part.hex() for part in (*each.path, each.key)) for each in deletions}
    kept = []
    for line in dumped.splitlines():
        path = line.split(" ")[1].split("/")
        if line.startswith("bucket / ") or not any(tuple(path[:length]) in gone for length in range(1, len(path) + 1)):
            kept.append(line)
    return "\n".join(kept) + "\n"


def reached(path: Path) -> set[int]:
    """The pages that the tree of the meta that counts takes."""
    with Database.open(path) as database:
        list(_walk(database.root))
        return set(database.root.tree.claimed())


class Recorder:
    """Stands in for the system calls an edit makes; fails one of them where asked.

    Attributes:
        calls: what was called, in order.
    """

    def __init__(self, monkeypatch, fail_at: int = -1, error: int = 0, *, after: bool = False, lasting: bool = False):
        self.calls: list[Call] = []
        self._fail_at, self._error, self._after, self._lasting = fail_at, error, after, lasting
        write, sync, reserve, cut = os.pwrite, os.fdatasync, os.posix_fallocate, os.ftruncate
        monkeypatch.setattr(
            os, "pwrite", lambda fd, data, at: self._call("write", at, bytes(data), lambda: write(fd, data, at))
        )
        monkeypatch.setattr(os, "fdatasync", lambda fd: self._call("sync", 0, b"", lambda: sync(fd)))
        monkeypatch.setattr(
            os,
            "posix_fallocate",
            lambda fd, at, size: self._call("reserve", at + size, b"", lambda: reserve(fd, at, size)),
        )
        monkeypatch.setattr(os, "ftruncate", lambda fd, size: self._call("cut", size, b"", lambda: cut(fd, size)))

    def _call(self, kind, at, data, perform):
        number = len(self.calls)
        self.calls.append((kind, at, data))
        if number == self._fail_at or (self._lasting and number > self._fail_at >= 0):
            if self._after:
                perform()
            raise OSError(self._error, os.strerror(self._error))
        return perform()


def _walk(bucket: Bucket):
    for key, value in bucket.items():
        name = "/".join(part.hex() for part in (*bucket.path, key))
        if isinstance(value, bytes):
            yield Deletion(bucket.path, key), f"key {name} {value.hex()}"
        else:
            yield Deletion(bucket.path, key), f"bucket {name} {value.sequence}"
            yield from _walk(value)
