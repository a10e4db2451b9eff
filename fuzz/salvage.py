"""Salvage: any bytes give statements and problems, and are read a bounded number of times."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.bolt_reader import TREE
from fuzz.memory import Counting, held
from fuzz.pages import File, checked
from fuzz.stores import METADATA
from tests.support import boltwriter

from bbolt_reader import NotBolt
from bbolt_reader.salvage import salvage

_TIMES = 16


def seeds() -> Iterator[bytes]:
    """Sound files, and such without their metas or with a page lost."""
    for tree in (TREE, METADATA):
        sound = bytes(boltwriter.image(tree, page_size=1024, freelist=False).data)
        yield sound
        yield bytes(2048) + sound[2048:]
        yield sound[:3072] + bytes(1024) + sound[4096:]


def one(data: bytes) -> None:
    """Salvage; of a sound file everything comes back."""
    with held(data) as fd:
        source = Counting(fd)
        try:
            found = salvage(source)
        except NotBolt:
            return
    assert source.given <= _TIMES * len(data) + 65536, f"{source.given} bytes read of {len(data)}"
    assert len(found.statements) <= len(data), "more statements than bytes"
    assert all(problem.message.isprintable() for problem in found.problems)
    if data in _sound():
        expected = {path: value for path, value in File(data).contents.items() if isinstance(value, bytes)}
        assert {(*each.path, each.key): each.value for each in found.statements if each.value is not None} == expected


def _sound() -> tuple[bytes, ...]:
    if not _seeds:
        _seeds.extend(each for each in seeds() if checked(each) == each and any(each[:16]) and any(each[3072:3088]))
    return tuple(_seeds)


_seeds: list[bytes] = []
