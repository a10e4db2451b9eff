"""Every byte of every name in a meta.db, changed: on its page, and in the tree that is then written in order again.

Shares nothing with src/ but for the plan that is made of the outcome.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fuzz.pages import BRANCH, BUCKET, HEADER, LEAF, File
from tests.support import boltwriter

from bbolt_reader import Database
from bbolt_reader.verify import verify
from drydock.evidence.containerd.metadata import read_metadata
from drydock.evidence.containerd.restore_detection import note_older_metadata
from drydock.evidence.containerd.store import hold_store, read_store
from drydock.evidence.host.roots import discover
from drydock.model.findings import Finding, FindingCode, Place, Severity
from drydock.model.messages import bolt_damage
from drydock.model.names import Kind, RawPath, Ref, UnixNano
from drydock.model.plans import Plan
from drydock.model.policies import BlobCheck, EndLeases, Policy, SizeSource
from drydock.model.store import Store
from drydock.reclaim.plan import make_plan
from drydock.verdict.judge import judge

POLICIES = (Policy(), Policy(end=EndLeases.OWNERLESS))
_ELEMENT = 16
_NAMESPACE = 2
"""The length of the path of a namespace."""
_TEXTS = frozenset((
    b"digest", b"mediatype", b"image", b"snapshotter", b"snapshotKey", b"sandboxid", b"name", b"parent", b"ref",
    b"expected",
))  # fmt: skip
"""Fields of records whose value is a name."""
_TURNS = {
    **dict(zip(b"0123456789", b"1234567890", strict=True)),
    **dict(zip(b"abcdefghijklmnopqrstuvwxyz", b"bcdefabcijklmnopqrstuvwxyz", strict=True)),
    **dict(zip(b"ghijklmnopqrstuvwxyz", b"hijklmnopqrstuvwxyzg", strict=True)),
}
"""Another byte of the same class: a hexadecimal digit stays one."""

Part = tuple[Any, ...]


class Spot(NamedTuple):
    """One byte of a name."""

    path: tuple[bytes, ...]
    """Of the key whose name it is, or whose value the name is."""
    is_value: bool
    index: int
    """Which byte of the name."""
    offset: int
    """Where in the file."""
    byte: int
    """What it becomes."""

    def __str__(self) -> str:
        where = "/".join(part.decode(errors="backslashreplace") for part in self.path)
        return f"{where}{' = …' if self.is_value else ''}, byte {self.index} becomes {chr(self.byte)!r}"


class Grown(NamedTuple):
    """A change that makes a plan larger."""

    spot: Spot
    form: str
    """``page`` or ``tree``."""
    policy: Policy
    parts: tuple[Part, ...]
    codes: tuple[str, ...]
    """Of the findings that are not there without the change, more than notes."""


@dataclass
class Renamer:
    """One root whose meta.db is changed in memory; everything else of it was read once."""

    store: Store
    data: bytes
    now: UnixNano
    scratch: Path
    plans: list[frozenset[Part]] = field(default_factory=list)
    findings: frozenset[Finding] = frozenset()

    @classmethod
    def of(cls, host: Path, now: UnixNano, scratch: Path) -> Renamer:
        """The one containerd root of a host."""
        (root,) = discover(RawPath(bytes(host)))
        with hold_store(root, exclusive=False) as held:
            store = read_store(held, measure=SizeSource.RECORDED, verification=BlobCheck.SIZE)
        made = cls(store, Path(store.metadata.path.decode()).read_bytes(), now, scratch)
        made.plans, findings = made.plan(made.data)
        made.findings = frozenset(findings)
        return made

    def spots(self) -> Iterator[Spot]:
        """Every byte of every name: of namespaces, of records of each kind, in them, and in labels."""
        for path, is_value, at, name in _names(self.data):
            for index, byte in enumerate(name):
                yield Spot(path, is_value, index, at + index, _TURNS.get(byte, byte ^ 1))

    def plan(self, data: bytes) -> tuple[list[frozenset[Part]], list[Finding]]:
        """What goes under each policy with another meta.db, and what is found."""
        self.scratch.write_bytes(data)
        path = self.store.metadata.path
        with ExitStack() as stack:
            database = stack.enter_context(Database.open(self.scratch))
            damages = list(verify(database))
            metadata = read_metadata(database, path)
        metadata.findings += [
            bolt_damage(each.code)(file=path, page="", problem=each.message).at(Place(path), severity=Severity.DAMAGE)
            for each in damages
        ]
        metadata.complete = metadata.complete and not damages
        # The findings of the root that come of comparing meta.db with the rest are made anew.
        kept = [each for each in self.store.findings if each.code is not FindingCode.OLDER_DATABASE]
        store = dataclasses.replace(self.store, metadata=metadata, findings=kept)
        store.findings += note_older_metadata(store)
        verdict, reached = judge(store, self.now)
        return [_parts(make_plan(verdict, reached, each, ())) for each in POLICIES], verdict.findings

    def try_spot(self, spot: Spot) -> Iterator[Grown]:
        """Change one byte, on its page, and in order again where that is something else."""
        page = bytearray(self.data)
        page[spot.offset] = spot.byte
        yield from self._compare(spot, "page", bytes(page))
        if not spot.is_value and not _is_in_order(self.data, spot):
            tree = _tree_with(self.data, spot)
            if tree is not None:
                yield from self._compare(spot, "tree", tree)

    def _compare(self, spot: Spot, form: str, data: bytes) -> Iterator[Grown]:
        plans, findings = self.plan(data)
        new = {each for each in findings if each not in self.findings and each.severity is not Severity.NOTE}
        for policy, before, after in zip(POLICIES, self.plans, plans, strict=True):
            grown = {part for part in after - before if _before(spot, part) not in before}
            if grown:
                codes = tuple(sorted({each.code for each in new}))
                yield Grown(spot, form, policy, tuple(sorted(grown, key=str)), codes)


def _parts(plan: Plan) -> frozenset[Part]:
    return frozenset(
        {
            *(("lease", each.ref) for each in plan.leases),
            *(("record", each.ref) for each in plan.records),
            *(("row", each.snapshotter, each.name) for each in plan.rows),
            *(("path", each.path) for each in plan.removals),
        }
    )


def _before(spot: Spot, part: Part) -> Part:
    """The part of a plan as it was called before the name of its record, or of its namespace, was changed."""
    ref = part[1]
    if spot.is_value or not isinstance(ref, Ref):
        return part
    old, new = spot.path[-1], _changed(spot.path[-1], spot)
    if len(spot.path) == _NAMESPACE:
        return (part[0], ref._replace(namespace=old)) if ref.namespace == new else part
    snapshotter, slash, key = ref.key.partition(b"/")
    if new == ref.key:
        return part[0], ref._replace(key=old)
    if ref.kind is Kind.SNAPSHOT and new in (snapshotter, key):
        return part[0], ref._replace(
            key=(old if new == snapshotter else snapshotter) + slash + (old if new == key else key)
        )
    return part


def _changed(name: bytes, spot: Spot) -> bytes:
    return name[: spot.index] + bytes([spot.byte]) + name[spot.index + 1 :]


def _names(data: bytes) -> Iterator[tuple[tuple[bytes, ...], bool, int, bytes]]:
    """Path, whether it is a value, offset and bytes of each name; not the times, sizes and specifications."""
    for path, key_at, value in _entries(data):
        if len(path) >= _NAMESPACE and path[0] == b"v1":
            yield path, False, key_at, path[-1]
            if value is not None and value[1] and (path[-2] == b"labels" or path[-1] in _TEXTS):
                yield path, True, *value


def _entries(data: bytes) -> Iterator[tuple[tuple[bytes, ...], int, tuple[int, bytes] | None]]:
    """Every entry: its path, where its key lies, and of a value where that lies and what it is."""
    size, root = _newest(data)
    pending: list[tuple[tuple[bytes, ...], int]] = [((), root * size)]
    while pending:
        path, at = pending.pop()
        _, flags, count, _ = HEADER.unpack_from(data, at)
        for index in range(count):
            element = at + _ELEMENT * (index + 1)
            if flags != 2:
                pending.append((path, BRANCH.unpack_from(data, element)[2] * size))
                continue
            is_bucket, pos, ksize, vsize = LEAF.unpack_from(data, element)
            key_at, value_at = element + pos, element + pos + ksize
            here = (*path, data[key_at:value_at])
            if not is_bucket:
                yield here, key_at, (value_at, data[value_at : value_at + vsize])
                continue
            yield here, key_at, None
            below = BUCKET.unpack_from(data, value_at)[0]
            pending.append((here, below * size if below else value_at + _ELEMENT))


def _newest(data: bytes) -> tuple[int, int]:
    metas = [struct_meta for struct_meta in (_meta(data, 0), _meta(data, File(data).size)) if struct_meta]
    size, root, _ = max(metas, key=lambda each: each[2])
    return size, root


def _meta(data: bytes, at: int) -> tuple[int, int, int] | None:
    magic, version, size, _, root, _, _, _, txid = boltwriter.META.unpack_from(data, at + _ELEMENT)
    return (size, root, txid) if (magic, version) == (0xED0CDAED, 2) else None


def _is_in_order(data: bytes, spot: Spot) -> bool:
    """Whether the changed key still lies between its neighbours."""
    parent = spot.path[:-1]
    keys = sorted(path[-1] for path, _, _ in _entries(data) if path[:-1] == parent)
    place, new = keys.index(spot.path[-1]), _changed(spot.path[-1], spot)
    return (place == 0 or keys[place - 1] < new) and (place + 1 == len(keys) or new < keys[place + 1])


def _tree_with(data: bytes, spot: Spot) -> bytes | None:
    """The whole file written anew with the changed key in its place; None where another has that name."""
    tree: dict[bytes, Any] = {}
    for path, _, value in sorted(_entries(data), key=lambda each: len(each[0])):
        below = tree
        for part in path[:-1]:
            below = below[part]
        below[path[-1]] = {} if value is None else value[1]
    sequences = {path: number for path, number in File(data).contents.items() if isinstance(number, int)}
    *parents, old = spot.path
    below = tree
    for part in parents:
        below = below[part]
    new = _changed(old, spot)
    if new in below:
        return None
    below[new] = below.pop(old)
    length = len(spot.path)
    sequences = {
        (*spot.path[:-1], new, *path[length:]) if path[:length] == spot.path else path: number
        for path, number in sequences.items()
    }
    return bytes(boltwriter.image(tree, sequences=sequences).data)
