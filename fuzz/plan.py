"""The whole: damage to a database never makes a plan larger.

An input is a list of damages of five bytes each, done to the databases of one small root. What has to be noticed, or be
without effect, is: pages and sectors that read as blanks, as noise or as another page; a file cut short; one number
of the format with any value. What cannot be noticed, as bbolt keeps no checksum of its pages: a valid name in place of
another, the length of a page's last name, an older page where the number of a page leads to it. Of such damages the
plan may be any; only nothing else may go wrong.
"""

from __future__ import annotations

import atexit
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz.pages import File
from fuzz.stores import META_DB, METADATA, METADATA_DB, NOW, ROWS, SEQUENCES, lay_out
from tests.support import boltwriter
from tests.support.surgery import edit, undo

import drydock
from bbolt_surgery import Deletion
from drydock.evidence.containerd.store import hold_store, read_store
from drydock.model.errors import DrydockError
from drydock.model.names import RawPath, UnixNano
from drydock.model.plans import Plan
from drydock.model.policies import BlobCheck, EndLeases, Policy, SizeSource
from drydock.model.roots import Engine, Root
from drydock.reclaim.guard import check_clock
from drydock.reclaim.plan import make_plan
from drydock.verdict.clock import find_ahead
from drydock.verdict.judge import judge

_STEP = 5
_SECTOR = 512
_MOST = 6
_POLICY = Policy(end=EndLeases.OWNERLESS)
_VALUES = (0, 1, 2, 3, 0xFF, 0xFFFF, 0xFFFFFFFF, 1 << 63)
_KINDS = (
    "blank page", "page over page", "noise page", "blank sector", "noise sector", "cut", "number", "number", "bytes",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Each kind of damage, to each database, in a few places."""
    for kind in range(len(_KINDS)):
        for place in (2, 5, 9, 40, 90):
            for store in range(4):
                yield bytes([kind | store << 4, place, place * 7 % 256, place, 3])


@dataclass
class _Store:
    """A root on disk, its sound databases, and what may go of it."""

    path: Path
    files: dict[str, bytes]
    plan: frozenset[tuple[object, ...]]


_made: dict[int, _Store] = {}


def one(data: bytes) -> None:
    """Do the damage, and plan."""
    store = _store(data[0] >> 5 & 1 if data else 0)
    damaged, class_holds = {name: bytearray(sound) for name, sound in store.files.items()}, True
    numbers = 0
    for at in range(0, min(len(data), _MOST * _STEP), _STEP):
        step = data[at : at + _STEP].ljust(_STEP, b"\0")
        name = (META_DB, METADATA_DB)[step[0] >> 4 & 1]
        kind = _KINDS[(step[0] & 15) % len(_KINDS)]
        numbers += kind == "number"
        if kind == "number" and numbers > 1:
            continue
        class_holds &= _damage(damaged[name], File(store.files[name]), kind, step)
    for name, raw in damaged.items():
        (store.path / name).write_bytes(raw)
    plan = _plan(store.path)
    if class_holds or all(_same(damaged[name], store.files[name]) for name in store.files):
        assert plan <= store.plan, f"the plan has grown by {sorted(map(str, plan - store.plan))}"


def _damage(raw: bytearray, file: File, kind: str, step: bytes) -> bool:
    """Do one damage; whether it is of those that must be noticed."""
    size, high = file.size, file.high_water
    first, second, third = step[1] | step[3] << 8, step[2], step[4]
    page = first % high
    noise = random.Random(second).randbytes(size)
    blank = (b"\0", b"\xff")[second % 2]
    match kind:
        case "blank page":
            raw[page * size : (page + 1) * size] = blank * size
        case "page over page":
            other = second % high
            raw[page * size : (page + 1) * size] = file.data[other * size : (other + 1) * size]
        case "noise page":
            raw[page * size : (page + 1) * size] = noise
        case "blank sector" | "noise sector":
            at = first % (high * size // _SECTOR) * _SECTOR
            raw[at : at + _SECTOR] = blank * _SECTOR if kind == "blank sector" else noise[:_SECTOR]
        case "cut":
            del raw[first * 16 % (len(raw) or 1) :]
        case "number":
            number = file.numbers[first % len(file.numbers)]
            value = second if third & 1 else _VALUES[second % len(_VALUES)]
            value %= 1 << 8 * number.width
            raw[number.offset : number.offset + number.width] = value.to_bytes(number.width, "little")
            if number.what == "last":
                return False
            return number.what != "page" or value in file.pages or not 2 <= value < high
        case _:
            at = first * 3 % (len(raw) or 1)
            raw[at : at + 1 + third % 4] = step[2 : 3 + third % 4]
            return False
    return True


def _same(damaged: bytearray, sound: bytes) -> bool:
    return damaged == sound


def _plan(root: Path) -> frozenset[tuple[object, ...]]:
    try:
        # As drydock.drydock.plan does it; finding the root and its owners on this host would take most of the time.
        with hold_store(Root(RawPath(bytes(root)), Engine.CONTAINERD), exclusive=False) as held:
            store = read_store(held, measure=SizeSource.RECORDED, verification=BlobCheck.SIZE)
            check_clock(UnixNano(NOW), find_ahead(store, UnixNano(NOW)))
            made = make_plan(*judge(store, UnixNano(NOW)), _POLICY, ())
    except DrydockError as error:
        if not str(error).isprintable():
            raise AssertionError(repr(str(error))) from error
        return frozenset()
    return _parts(made)


def _parts(made: Plan) -> frozenset[tuple[object, ...]]:
    return frozenset(
        {
            *(("lease", each.ref) for each in made.leases),
            *(("record", each.ref) for each in made.records),
            *(("row", each.snapshotter, each.name, each.id) for each in made.rows),
            *(("path", each.path) for each in made.removals),
        }
    )


def _store(kind: int) -> _Store:
    """A root whose databases are as first written, or (1) as they are after transactions: the former tree has less."""
    if kind not in _made:
        path = Path(tempfile.mkdtemp(prefix="drydock-fuzz-"))
        atexit.register(shutil.rmtree, path, ignore_errors=True)
        lay_out(path)
        boltwriter.write(path / META_DB, METADATA, page_size=1024, inline=not kind, freelist=False)
        boltwriter.write(path / METADATA_DB, ROWS, page_size=1024, sequences=SEQUENCES)
        if kind:
            # Undone, so that the older meta leads to a store without these.
            image = Deletion((b"v1", b"moby", b"images"), b"docker.io/library/web:2")
            undo(path / META_DB, edit(path / META_DB, [image]))
            row = Deletion((b"v1", b"snapshots"), b"moby/3/work")
            undo(path / METADATA_DB, edit(path / METADATA_DB, [row]))
        files = {name: (path / name).read_bytes() for name in (META_DB, METADATA_DB)}
        plan = _plan(path)
        (scan,) = drydock.plan(RawPath(bytes(path)), policy=_POLICY, now=UnixNano(NOW))
        assert plan == _parts(scan.plan)
        assert {part[0] for part in plan} == {"lease", "record", "row", "path"}, "one of each must go"
        _made[kind] = _Store(path, files, plan)
    return _made[kind]
