"""bbolt_surgery: an edit is refused and the file untouched, or it is right, and the former tree stays as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator

from fuzz.bolt_reader import TREE
from fuzz.memory import NAME, contents, held
from fuzz.pages import File
from fuzz.stores import METADATA
from tests.support import boltwriter

from bbolt_surgery import Damaged, Deletion, Insertion, NewBucket, change, restore

_HEAD = 2
"""Bytes in front of the file that choose what to delete and what to put in."""
_SHARES = (0.05, 0.3, 0.9, 1.0)


def seeds() -> Iterator[bytes]:
    """Sound files, and a choice of keys; a first byte from eight on puts in as well."""
    for number, tree in enumerate((TREE, METADATA)):
        for options in ({"free": 2}, {"freelist": False}, {"inline": False, "fill": 0.4}):
            for head in (number, 8 + number):
                yield bytes([head, 7]) + bytes(boltwriter.image(tree, **{"page_size": 1024, **options}).data)


def one(data: bytes) -> None:
    """Delete and put in, compare, undo, compare."""
    head, before = data[:_HEAD].ljust(_HEAD, b"\0"), data[_HEAD:]
    with held(before) as fd:
        names = [Deletion((), b"v1"), Deletion((b"v1",), b"many"), Deletion((b"no",), b"such")]
        try:
            receipt = change(fd, NAME, names[2:])
        except Damaged:
            assert contents(fd) == before
            return
        assert not receipt.deleted
        assert contents(fd) == before
        former = File(before)
        choose = random.Random(head[1])
        names = [Deletion(path[:-1], path[-1]) for path in former.contents if path]
        new = _new(choose, names) if head[0] & 8 else []
        names = [name for name in names if choose.random() < _SHARES[head[0] % len(_SHARES)]]
        receipt = change(fd, NAME, names, new)
        edited = contents(fd)
        gone = {(*each.path, each.key) for each in names}
        left = {
            path: value
            for path, value in former.contents.items()
            if not any(path[:length] in gone for length in range(1, len(path) + 1))
        }
        assert [each for each in sorted(new, key=lambda each: each[:2]) if not _put(left, each)] == list(
            receipt.present
        )
        assert File(edited).contents == left
        for pgid in former.pages:
            at = slice(pgid * former.size, (pgid + 1) * former.size)
            assert edited[at] == before[at], f"page {pgid} of the former tree was written to"
        restore(fd, NAME, receipt)
        assert File(contents(fd)).contents == former.contents


def _new(choose: random.Random, names: list[Deletion]) -> list[Insertion]:
    """Keys for places that are there and for some that are not, few of them large."""
    places = [(), (b"v1",), (b"v1", b"new"), *(each.path for each in names[:200])]
    new = []
    for _ in range(choose.choice([1, 5, 40])):
        path = (*choose.choice(places), *([choose.choice(names).key] if names and choose.random() < 0.2 else []))
        value: bytes | NewBucket = choose.randbytes(choose.choice([0, 9, 90, 900]))
        if choose.random() < 0.2:
            value = NewBucket(choose.randrange(9), {choose.randbytes(3): value for value in [b"", b"a", b"b" * 300]})
        new.append(Insertion(path, choose.randbytes(choose.choice([1, 9, 90])), value))
    return new


def _put(contents_: dict[tuple[bytes, ...], int | bytes], new: Insertion) -> bool:
    """Put something in, by its path alone; whether it could be."""
    above = [new.path[:length] for length in range(1, len(new.path) + 1)]
    name = (*new.path, new.key)
    if name in contents_ or any(isinstance(contents_.get(each), bytes) for each in above):
        return False
    for each in above:
        contents_.setdefault(each, 0)
    if isinstance(new.value, bytes):
        contents_[name] = new.value
    else:
        contents_[name] = new.value.sequence
        contents_.update({(*name, key): value for key, value in new.value.entries.items() if isinstance(value, bytes)})
    return True
