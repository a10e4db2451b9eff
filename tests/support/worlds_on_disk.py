"""A world of tests.support.worlds as a containerd root on disk, and what of one is there; by nothing of drydock's."""

from __future__ import annotations

import copy
import hashlib
import os
from pathlib import Path
from typing import Any

from fuzz.pages import File
from tests.support import boltwriter
from tests.support.gowriting import go_time, uvarint, varint
from tests.support.worlds import SPACES, digest, key, parent_of, row_id, row_name, world_rows

NOW = "2027-01-15T08:00:00Z"
META_DB = "io.containerd.metadata.v1.bolt/meta.db"
OVERLAY = "io.containerd.snapshotter.v1.overlayfs"
CONTENT = "io.containerd.content.v1.content"

World = dict[str, Any]
_TIMES = {b"createdat": go_time(1), b"updatedat": go_time(2)}
_EXPIRE = b"containerd.io/gc.expire"
_ENDS = {"past": b"2000-01-01T00:00:00Z", "later": b"2090-01-01T00:00:00Z"}
_SECONDS = {"past": 1_700_000_000, "later": 1_900_000_000}


def settled(world: World) -> World:
    """The world without rows whose parent has none: with those drydock withholds everything."""
    world = copy.deepcopy(world)
    world["lost_rows"] &= world["snapshots"].keys()
    rows = world_rows(world)
    world["lost_rows"] -= {above for above in rows.values() if above is not None}
    rows = world_rows(world)
    for number, above in world["extra_rows"].items():
        if above not in rows:
            world["extra_rows"][number] = None
    return world


def lay_out(world: World, root: Path) -> None:
    """Write databases and data."""
    namespaces: dict[bytes, Any] = {}
    for space in SPACES:
        namespaces[space] = {
            b"images": {b"i%d" % n: _image(n) for s, n in world["images"] if s == space},
            b"content": {
                b"blob": {digest(n): _blob(*facts) for (s, n), facts in world["blobs"].items() if s == space},
                b"ingests": {
                    key(n): _ingest(space, n, *facts) for (s, n), facts in world["ingests"].items() if s == space
                },
            },
            b"snapshots": {b"overlayfs": {key(n): _snapshot(world, s, n) for s, n in world["snapshots"] if s == space}},
            b"leases": {b"lease%d" % n: _lease(*facts) for (s, n), facts in world["leases"].items() if s == space},
        }
    rows, parents = {}, {}
    known = world_rows(world)
    for of, above in known.items():
        number = _number(of)
        rows[row_name(of)] = {**_TIMES, b"id": uvarint(number), b"kind": b"\x03", b"size": varint(9)}
        if above is not None:
            rows[row_name(of)][b"parent"] = row_name(above)
            parents[uvarint(_number(above)) + b"\0" + uvarint(number)] = row_name(of)
    for folder in (META_DB, f"{OVERLAY}/metadata.db"):
        (root / folder).parent.mkdir(parents=True)
    boltwriter.write(root / META_DB, {b"v1": {b"version": varint(4), **namespaces}}, freelist=False)
    boltwriter.write(
        root / OVERLAY / "metadata.db",
        {b"v1": {b"snapshots": rows, b"parents": parents}},
        sequences={(b"v1", b"snapshots"): 99},
    )
    for folder in (f"{CONTENT}/blobs/sha256", f"{CONTENT}/ingest", f"{OVERLAY}/snapshots"):
        (root / folder).mkdir(parents=True)
    for number in world["files"]:
        (root / CONTENT / "blobs" / digest(number).decode().replace(":", "/")).write_bytes(b"x")
    for of in world["ingest_folders"]:
        folder = root / CONTENT / "ingest" / _ingest_name(*of)
        folder.mkdir()
        (folder / "ref").write_bytes(_reference(*of))
        (folder / "data").write_bytes(b"part")
    for number in world["folders"]:
        (root / OVERLAY / "snapshots" / str(number) / "fs").mkdir(parents=True)


def observed(world: World, root: Path) -> World:
    """What of a world is still there: no more than that, and every value of its databases as it was written."""
    records = File((root / META_DB).read_bytes()).contents
    rows = File((root / OVERLAY / "metadata.db").read_bytes()).contents
    left = copy.deepcopy(world)
    names = {
        "images": lambda number: b"i%d" % number, "leases": lambda number: b"lease%d" % number, "blobs": digest,
        "ingests": key, "snapshots": key,
    }  # fmt: skip
    places = {
        "images": (b"images",), "leases": (b"leases",), "blobs": (b"content", b"blob"),
        "ingests": (b"content", b"ingests"), "snapshots": (b"snapshots", b"overlayfs"),
    }  # fmt: skip
    for kind, form in names.items():
        keep = {
            (space, number) for space, number in world[kind] if (b"v1", space, *places[kind], form(number)) in records
        }
        left[kind] = keep if kind == "images" else {key: world[kind][key] for key in world[kind] if key in keep}
    there = {path[2] for path in rows if path[:2] == (b"v1", b"snapshots") and len(path) > 2}
    left["extra_rows"] = {number: above for number, above in world["extra_rows"].items() if row_name(number) in there}
    left["lost_rows"] = {key for key in left["snapshots"] if row_name(key) not in there}
    # A row that a record named and that outlives it is one more that no record names.
    left["stray_rows"] = there - {row_name(key) for key in world_rows(left)}
    left["files"] = {int(name[:1], 16) for name in os.listdir(root / CONTENT / "blobs/sha256")}
    folders = os.listdir(root / OVERLAY / "snapshots")
    left["folders"] = {int(name) for name in folders if name.isdigit()}
    left["half_gone"] = {name for name in folders if name.startswith("rm-")}
    ingests = set(os.listdir(root / CONTENT / "ingest"))
    left["ingest_folders"] = {key for key in world["ingest_folders"] if _ingest_name(*key) in ingests}
    return left


def _number(key: Any) -> int:
    return row_id(*key) if isinstance(key, tuple) else key


def _image(number: int) -> dict[bytes, Any]:
    return {**_TIMES, b"target": {b"digest": digest(number), b"mediatype": b"m", b"size": varint(1)}}


def _blob(is_root: bool, refers: int | None) -> dict[bytes, Any]:
    labels = {b"containerd.io/gc.root": b""} if is_root else {}
    if refers is not None:
        labels[b"containerd.io/gc.ref.content.0"] = digest(refers)
    return {**_TIMES, b"size": varint(1), b"labels": labels}


def _snapshot(world: World, space: bytes, number: int) -> dict[bytes, Any]:
    is_root, _, refers = world["snapshots"][space, number]
    parent = parent_of(world, space, number)
    labels = {b"containerd.io/gc.root": b""} if is_root else {}
    if refers is not None:
        labels[b"containerd.io/gc.ref.content"] = digest(refers)
    fields = {**_TIMES, b"name": row_name((space, number)), b"labels": labels}
    return fields if parent is None else {**fields, b"parent": key(parent)}


def _reference(space: bytes, number: int) -> bytes:
    return b"%s/1/%s" % (space, key(number))


def _ingest_name(space: bytes, number: int) -> str:
    return hashlib.sha256(_reference(space, number)).hexdigest()


def _ingest(space: bytes, number: int, when: str | None, wants: int | None) -> dict[bytes, Any]:
    fields: dict[bytes, Any] = {b"ref": _reference(space, number)}
    if when is not None:
        fields[b"expireat"] = go_time(_SECONDS[when])
    if wants is not None:
        fields[b"expected"] = digest(wants)
    return fields


def _lease(end: str | None, flat: bool, blobs: set[int], snapshots: set[int], ingests: set[int]) -> dict[bytes, Any]:
    labels = {} if end is None else {_EXPIRE: _ENDS[end]}
    if flat:
        labels[b"containerd.io/gc.flat"] = b""
    return {
        b"createdat": go_time(1),
        b"labels": labels,
        b"content": {digest(each): b"" for each in blobs},
        b"snapshots": {b"overlayfs": {key(each): b"" for each in snapshots}},
        b"ingests": {key(each): b"" for each in ingests},
    }
