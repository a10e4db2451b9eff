"""What an edit of a bbolt file should leave, and a record of every system call that changes the file."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from tests.support import gobbolt

from bbolt_reader import Bucket, Database
from bbolt_surgery import Deletion, Insertion, NewBucket, Receipt, change, restore

Call: TypeAlias = "tuple[str, int, bytes]"
"""``write`` at an offset, ``sync``, ``reserve`` up to a size, or ``cut`` to a size."""


def edit(path: Path, deletions: Iterable[Deletion], insertions: Iterable[Insertion] = (), **options) -> Receipt:
    """Delete and put in, in a file named by its path."""
    with path.open("r+b", buffering=0) as file:
        return change(file.fileno(), os.fsencode(path), deletions, insertions, **options)


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


def tree(path: Path) -> NewBucket:
    """All that bbolt_reader reads, as one value to change."""
    with Database.open(path) as database:
        return _tree(database.root)


def changed(root: NewBucket, deletions: Iterable[Deletion], insertions: Iterable[Insertion]) -> list[Insertion]:
    """Delete from a tree and put in, by dictionaries alone; gives what could not be put in."""
    for path, key in deletions:
        below = _below(root, path)
        if below is not None:
            below.entries.pop(key, None)
    refused = []
    for each in sorted(insertions, key=lambda insertion: insertion[:2]):
        below, missing = root, list(each.path)
        while missing and isinstance(below.entries.get(missing[0]), NewBucket):
            below = below.entries[missing.pop(0)]
        if (missing[0] if missing else each.key) in below.entries:
            refused.append(each)
            continue
        for name in missing:
            below.entries[name] = below = NewBucket()
        below.entries[each.key] = copy.deepcopy(each.value)
    return refused


def told(root: NewBucket) -> str:
    """A tree in the words of the Go program dump."""
    return "\n".join([f"bucket / {root.sequence}", *_told(root, "")]) + "\n"


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


def _tree(bucket: Bucket) -> NewBucket:
    entries = ((key, value if isinstance(value, bytes) else _tree(value)) for key, value in bucket.items())
    return NewBucket(bucket.sequence, dict(entries))


def _below(root: NewBucket, path: tuple[bytes, ...]) -> NewBucket | None:
    for name in path:
        below = root.entries.get(name)
        if not isinstance(below, NewBucket):
            return None
        root = below
    return root


def _told(bucket: NewBucket, above: str):
    for key, value in sorted(bucket.entries.items()):
        name = above + key.hex()
        if isinstance(value, bytes):
            yield f"key {name} {value.hex()}"
        else:
            yield f"bucket {name} {value.sequence}"
            yield from _told(value, f"{name}/")


def use_and_undo(path: Path, receipt: Receipt, before: str, seed: int) -> None:
    """Go writes to what an edit made; the edit undone, all is as in the dump before, and Go writes to that."""
    used = path.with_suffix(".used")
    shutil.copy(path, used)
    assert gobbolt.churn(used, seed) == ""
    undo(path, receipt)
    assert gobbolt.check(path) == (0, "")
    assert gobbolt.dump(path) == before == dump(path)
    shutil.copy(path, used)
    assert gobbolt.churn(used, seed) == ""
