"""bbolt_surgery: an edit is refused and the file untouched, or it is right, and the former tree stays as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator

from fuzz.bolt_reader import TREE
from fuzz.memory import NAME, contents, held
from fuzz.pages import File
from fuzz.stores import METADATA
from tests.support import boltwriter

from bbolt_surgery import Damaged, Deletion, delete, restore

_HEAD = 2
"""Bytes in front of the file that choose what to delete."""
_SHARES = (0.05, 0.3, 0.9, 1.0)


def seeds() -> Iterator[bytes]:
    """Sound files, and a choice of keys."""
    for number, tree in enumerate((TREE, METADATA)):
        for options in ({"free": 2}, {"freelist": False}, {"inline": False, "fill": 0.4}):
            yield bytes([number, 7]) + bytes(boltwriter.image(tree, **{"page_size": 1024, **options}).data)


def one(data: bytes) -> None:
    """Delete, compare, undo, compare."""
    head, before = data[:_HEAD].ljust(_HEAD, b"\0"), data[_HEAD:]
    with held(before) as fd:
        names = [Deletion((), b"v1"), Deletion((b"v1",), b"many"), Deletion((b"no",), b"such")]
        try:
            receipt = delete(fd, NAME, names[2:])
        except Damaged:
            assert contents(fd) == before
            return
        assert not receipt.deleted
        assert contents(fd) == before
        former = File(before)
        choose = random.Random(head[1])
        names = [Deletion(path[:-1], path[-1]) for path in former.contents if path]
        names = [name for name in names if choose.random() < _SHARES[head[0] % len(_SHARES)]]
        receipt = delete(fd, NAME, names)
        edited = contents(fd)
        gone = {(*each.path, each.key) for each in names}
        left = {
            path: value
            for path, value in former.contents.items()
            if not any(path[:length] in gone for length in range(1, len(path) + 1))
        }
        assert File(edited).contents == left
        for pgid in former.pages:
            at = slice(pgid * former.size, (pgid + 1) * former.size)
            assert edited[at] == before[at], f"page {pgid} of the former tree was written to"
        restore(fd, NAME, receipt)
        assert File(contents(fd)).contents == former.contents
