"""A scan of any size as values: images that share layers, containers, leases, orphans and damage."""

from __future__ import annotations

import dataclasses
import random
from hashlib import sha256

from tests.support.values import FINGERPRINT, NOW, blob, image, lease, snapshot, store

from drydock.model.data import Backend, BlobFile, LayoutKind, Row, RowKind, SnapshotEntry
from drydock.model.names import Digest, RawPath, UnixNano
from drydock.model.policies import Policy
from drydock.model.records import Container
from drydock.model.scans import Scan
from drydock.model.times import show_time
from drydock.reclaim.plan import make_plan
from drydock.verdict.inventory import take_inventory
from drydock.verdict.judge import judge

_LAYERS = 8
_NAMES = (b"shop/web", b"shop/cart", b"billing/api", b"ml/train", b"search/index", b"ops/agent", b"data/etl")
_DAY = 86400 * 10**9
_FOLDER = b"io.containerd.snapshotter.v1.overlayfs"


def population(objects: int, *, seed: int = 1) -> Scan:
    """About that many objects, with their inventory."""
    chance = random.Random(seed)
    made = _Population(chance)
    # An image that shares nothing has a manifest and, of each layer, a blob and a snapshot.
    for number in range(max(1, objects // (2 * _LAYERS - 2))):
        made.add_image(number)
    return made.scan(objects // 50)


class _Population:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._records: list = []
        self._sizes: dict[bytes, int] = {}
        self._rows: dict[bytes, Row] = {}

    def add_image(self, number: int) -> None:
        """One image; four in ten have the lower half of an earlier one."""
        chance = self._chance
        came = UnixNano(NOW - chance.randrange(400) * _DAY - chance.randrange(_DAY))
        base = 1000 * (number + 1)
        below = 1000 * (chance.randrange(number) + 1) if number and chance.random() < 0.4 else base
        owners = [below if place < _LAYERS // 2 else base for place in range(_LAYERS)]
        layers = [_digest(b"%d-%d" % (owner, place)) for place, owner in enumerate(owners)]
        parent = b""
        for place, owner in enumerate(owners):
            self._blob(layers[place], int(chance.paretovariate(1.1) * 2**20), {}, came)
            key = _digest(b"chain-%d-%d" % (owner, place))
            self._snapshot(key, parent, RowKind.COMMITTED, came)
            parent = key
        labels = {b"containerd.io/gc.ref.content.l.%d" % place: each for place, each in enumerate(layers)}
        labels[b"containerd.io/gc.ref.snapshot.overlayfs"] = parent
        target = _digest(b"%d" % base)
        self._blob(target, 4096, labels, came)
        held = chance.random()
        if held < 0.85:
            name = b"registry.example/%s:1.%d" % (_NAMES[number % len(_NAMES)], number)
            self._records.append(_born(image(target, name=name), came))
        elif held < 0.95:
            # Of those that have ended none ended before it was made.
            ended = show_time(UnixNano((came + NOW) // 2)).encode()
            ends = b"2027-01-%02dT%02d:00:00Z" % (16 + number % 3, number % 24) if held < 0.92 else ended
            expires = {b"containerd.io/gc.expire": ends}
            self._records.append(lease(b"%d-pull" % number, expires, blobs=[target], created=came))
        if number % 10 == 0:
            key = sha256(b"container-%d" % number).hexdigest().encode()
            self._snapshot(key, parent, RowKind.ACTIVE, came)
            self._records.append(Container(b"moby", key, b"", b"overlayfs", key, b"", b"runc", {}, came))
            self._records.append(lease(key, {}, snapshots=[key], created=came))  # as dockerd makes it

    def scan(self, orphans: int) -> Scan:
        """Judge it, with so many blobs besides that no record names."""
        read = store(*self._records)
        for each, size in self._sizes.items():
            if self._chance.random() < 0.9995:
                read.content.blobs[each] = _file(each, size)
        for number in range(orphans):
            each = _digest(b"orphan-%d" % number)
            read.content.blobs[each] = _file(each, 4096 * (number + 1))
        backend = Backend(b"overlayfs", RawPath(_FOLDER), LayoutKind.OVERLAY, self._rows, len(self._rows))
        for row in self._rows.values():
            path = RawPath(_FOLDER + b"/snapshots/%d" % row.id)
            size = row.size if row.size is not None else 2**20 * (row.id % 90)
            backend.entries.append(SnapshotEntry(b"%d" % row.id, path, row.id, FINGERPRINT, True, size))
        read.backends[b"overlayfs"] = backend
        read.database_bytes = 8 * 2**20
        read.root = _with(read.root, path=RawPath(b"/var/lib/containerd"))
        verdict, reached = judge(read, NOW)
        return Scan(verdict, make_plan(verdict, reached, Policy(), ()), take_inventory(verdict, reached))

    def _blob(self, of: bytes, size: int, labels: dict[bytes, bytes], came: UnixNano) -> None:
        if of not in self._sizes:
            self._sizes[of] = size
            self._records.append(_born(blob(of, labels, size=size), came))

    def _snapshot(self, key: bytes, parent: bytes, kind: RowKind, came: UnixNano) -> None:
        name = b"moby/1/" + key
        if name not in self._rows:
            size = int(self._chance.paretovariate(1.1) * 2**21) if kind is RowKind.COMMITTED else None
            self._rows[name] = Row(name, len(self._rows) + 1, kind, b"", size, 3, {})
            self._records.append(_born(snapshot(key, parent), came))


def _digest(of: bytes) -> Digest:
    return Digest(b"sha256:" + sha256(of).hexdigest().encode())


def _file(of: bytes, size: int) -> BlobFile:
    last_month = _with(FINGERPRINT, size=size, mtime_ns=NOW - 30 * _DAY)
    return BlobFile.of(Digest(of), last_month, -(-size // 4096) * 4096)


def _born(record, came: UnixNano):
    return _with(record, created=came)


def _with(value, **fields):
    return value._replace(**fields) if isinstance(value, tuple) else dataclasses.replace(value, **fields)
