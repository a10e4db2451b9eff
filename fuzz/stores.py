"""A small containerd root with something of every state, and its two databases as nested dicts."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from tests.support import boltwriter
from tests.support.gowriting import go_time, uvarint, varint

NOW = 10**18
"""Nanoseconds; later than all that is recorded."""
_TIMES = {b"createdat": go_time(1_000), b"updatedat": go_time(2_000)}


def digest(number: int) -> bytes:
    """The digest of the blob whose contents are this number."""
    return b"sha256:" + hashlib.sha256(b"%d" % number).hexdigest().encode()


def _blob(**labels: bytes) -> dict[bytes, Any]:
    named = {b"containerd.io/gc." + key.encode().replace(b"__", b"."): value for key, value in labels.items()}
    return {**_TIMES, b"size": varint(1), b"labels": named} if named else {**_TIMES, b"size": varint(1)}


def _image(target: bytes) -> dict[bytes, Any]:
    return {
        **_TIMES,
        b"target": {b"digest": target, b"mediatype": b"application/vnd.oci.image.manifest.v1+json", b"size": varint(1)},
    }


def _snapshot(name: bytes, parent: bytes = b"", *children: bytes) -> dict[bytes, Any]:
    fields: dict[bytes, Any] = {**_TIMES, b"name": name}
    if parent:
        fields[b"parent"] = parent
    if children:
        fields[b"children"] = dict.fromkeys(children, b"")
    return fields


METADATA = {
    b"v1": {
        b"version": varint(4),
        b"moby": {
            b"labels": {b"team": b"build"},
            b"images": {
                b"docker.io/library/app:1": _image(digest(1)),
                b"docker.io/library/web:2": _image(digest(5)),
            },
            b"content": {
                b"blob": {
                    digest(1): _blob(ref__content__config=digest(2), ref__content__l__0=digest(3)),
                    digest(2): _blob(ref__snapshot__overlayfs=b"sha256:chain-b"),
                    digest(3): _blob(),
                    digest(4): _blob(root=b"yes"),
                    digest(5): _blob(ref__content__l__0=digest(3)),
                    digest(6): _blob(),  # a lease of a pull holds it
                    digest(7): _blob(),  # nothing holds it
                },
                b"ingests": {
                    b"layer-a": {b"ref": b"moby/1/layer-a", b"expected": digest(8)},
                    b"layer-b": {b"ref": b"moby/2/layer-b", b"expireat": go_time(3_000)},
                },
            },
            b"snapshots": {
                b"overlayfs": {
                    b"sha256:chain-a": _snapshot(b"moby/1/a", b"", b"sha256:chain-b"),
                    b"sha256:chain-b": _snapshot(b"moby/2/b", b"sha256:chain-a", b"work"),
                    b"work": _snapshot(b"moby/3/work", b"sha256:chain-b"),
                    b"lost": _snapshot(b"moby/4/lost"),
                }
            },
            b"containers": {
                b"c1": {
                    **_TIMES, b"image": b"docker.io/library/app:1", b"snapshotter": b"overlayfs",
                    b"snapshotKey": b"work", b"runtime": {b"name": b"io.containerd.runc.v2", b"options": b"any"},
                }
            },
            b"sandboxes": {b"s1": {**_TIMES, b"sandboxer": b"podsandbox", b"labels": {b"a": b"b"}}},
            b"leases": {
                b"pull": {
                    b"createdat": go_time(1_500),
                    b"labels": {b"containerd.io/gc.expire": b"2001-09-09T01:46:40Z"},
                    b"content": {digest(6): b""},
                    b"ingests": {b"layer-a": b""},
                    b"snapshots": {b"overlayfs": {b"lost": b""}},
                },
                b"kept": {b"createdat": go_time(1_600), b"content": {digest(2): b""}, b"images": {b"x": b""}},
            },
        },
        b"other": {b"content": {b"blob": {digest(3): _blob(), digest(9): _blob()}}},
    }
}  # fmt: skip


def _row(number: int, kind: int, parent: bytes = b"") -> dict[bytes, Any]:
    fields: dict[bytes, Any] = {b"id": uvarint(number), b"kind": bytes([kind]), **_TIMES}
    if parent:
        fields[b"parent"] = parent
    if kind == 3:
        fields |= {b"size": varint(4096), b"inodes": varint(3)}
    return fields


ROWS = {
    b"v1": {
        b"snapshots": {
            b"moby/1/a": _row(1, 3),
            b"moby/2/b": _row(2, 3, b"moby/1/a"),
            b"moby/3/work": _row(3, 2, b"moby/2/b"),
            b"moby/4/lost": _row(4, 2),
            b"moby/9/rowless": _row(5, 3),
        },
        b"parents": {uvarint(1) + b"\0" + uvarint(2): b"moby/2/b", uvarint(2) + b"\0" + uvarint(3): b"moby/3/work"},
    }
}
SEQUENCES = {(b"v1", b"snapshots"): 7}

META_DB = "io.containerd.metadata.v1.bolt/meta.db"
METADATA_DB = "io.containerd.snapshotter.v1.overlayfs/metadata.db"


def lay_out(root: Path) -> None:
    """The data of the store, without its databases: blobs 1 to 10, two ingests and a stray one, snapshots 1 to 6."""
    content = root / "io.containerd.content.v1.content"
    (content / "blobs/sha256").mkdir(parents=True)
    for number in range(1, 11):
        (content / "blobs/sha256" / digest(number).decode().removeprefix("sha256:")).write_bytes(b"%d" % (number % 10))
    for ref in (b"moby/1/layer-a", b"moby/2/layer-b", b"moby/7/gone"):
        folder = content / "ingest" / hashlib.sha256(ref).hexdigest()
        folder.mkdir(parents=True)
        (folder / "ref").write_bytes(ref)
        (folder / "data").write_bytes(b"part")
    for number in range(1, 7):
        (root / "io.containerd.snapshotter.v1.overlayfs/snapshots" / str(number) / "fs").mkdir(parents=True)
    (root / os.path.dirname(META_DB)).mkdir()


def put(root: Path, metadata: dict[bytes, Any] = METADATA) -> None:
    """The whole store; ``metadata`` in the place of its records."""
    root.mkdir(parents=True, exist_ok=True)
    lay_out(root)
    boltwriter.write(root / META_DB, metadata)
    boltwriter.write(root / METADATA_DB, ROWS, sequences=SEQUENCES)
