"""Names that would do harm if they were printed, parsed or joined as they are, and a store full of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fuzz.stores import META_DB, METADATA_DB
from tests.support import boltwriter
from tests.support.gowriting import go_time, uvarint, varint

NOW = "2027-01-15T08:00:00Z"
WORDS = (
    b"\x1b[31mred\x1b[0m",
    b"\x1b]0;title\x07",
    b"\x1b[2J\x1b[H",
    b"line\nbreak\r\n",
    b"tab\tbell\x07back\x08",
    b"\x9b31m-one-byte",
    "\u009b31m-c1\u0085".encode(),
    "a\u202egnp.exe\u2066".encode(),
    "line\u2028para\u2029zero\u200bwidth\ufeff".encode(),
    b"<script>alert(1)</script>&amp;\"'",
    b"[bold red]rich[/bold red]",
    b"back\\slash\\x1b\\u202e",
    b"$(reboot)`id`;|&",
    b"--apply",
    b"latin-\xe9\xff",
    b'{"json": "\\u001b"}',
)
TIMES = {b"createdat": go_time(1), b"updatedat": go_time(2)}
ORPHANED = "io.containerd.snapshotter.v1.overlayfs/snapshots"


def digest(number: int) -> bytes:
    """A made-up digest."""
    return b"sha256:%064x" % number


def lay_out(root: Path) -> None:
    """Write a store in which every name is one of the words: things that stay, that leases hold, and that go."""
    labels = {word + b".label": word for word in WORDS}
    blobs, images, containers, leases, ingests, snapshots, rows = {}, {}, {}, {}, {}, {}, {}
    for number, word in enumerate(WORDS):
        kept, held, gone = digest(3 * number + 1), digest(3 * number + 2), digest(3 * number + 3)
        source = {b"containerd.io/distribution.source." + word: word}
        blobs[kept] = {**TIMES, b"size": varint(1), b"labels": {**labels, **source}}
        blobs[held] = {**TIMES, b"size": varint(1), b"labels": source}
        blobs[gone] = {**TIMES, b"size": varint(1)}
        target = {b"digest": kept, b"mediatype": word, b"size": varint(1)}
        images[word] = {**TIMES, b"target": target, b"labels": labels}
        leases[word] = {
            b"createdat": go_time(1),
            b"labels": {b"containerd.io/gc.expire": b"2090-01-01T00:00:00Z", **source},
            b"content": {held: b""},
            b"ingests": {word: b""},
        }
        ingests[word] = {b"ref": b"ns/1/" + word}
        snapshots[b"layer-" + word] = _snapshot(b"ns/1/" + word, {b"containerd.io/gc.root": word})
        snapshots[b"gone-" + word] = _snapshot(b"ns/2/" + word, {})
        rows[b"ns/1/" + word] = _row(2 * number + 1)
        rows[b"ns/2/" + word] = _row(2 * number + 2)
        containers[word] = {
            **TIMES, b"image": word, b"snapshotter": b"overlayfs", b"snapshotKey": b"layer-" + word,
            b"runtime": {b"name": word}, b"labels": labels,
        }  # fmt: skip
    for path in (META_DB, METADATA_DB):
        (root / path).parent.mkdir(parents=True)
    namespace = {
        b"labels": labels,
        b"images": images,
        b"containers": containers,
        b"leases": leases,
        b"content": {b"blob": blobs, b"ingests": ingests},
        b"snapshots": {b"overlayfs": snapshots},
    }
    boltwriter.write(root / META_DB, {b"v1": {b"version": varint(4), b"ns\x1b[32m": namespace}})
    tree = {b"v1": {b"snapshots": rows, b"parents": {}}}
    boltwriter.write(root / METADATA_DB, tree, sequences={(b"v1", b"snapshots"): 99})
    content = root / "io.containerd.content.v1.content"
    (content / "blobs/sha256").mkdir(parents=True)
    for name in blobs:
        (content / "blobs" / name.decode().replace(":", "/")).write_bytes(b"x")
    for word in WORDS:
        folder = content / "ingest" / hashlib.sha256(b"ns/1/" + word).hexdigest()
        folder.mkdir(parents=True)
        (folder / "ref").write_bytes(b"ns/1/" + word)
        (folder / "data").write_bytes(b"part")
    for number in range(1, 2 * len(WORDS) + 1):
        (root / ORPHANED / str(number) / "fs").mkdir(parents=True)
    for path in orphans(root):
        (path / "fs").mkdir(parents=True)
        (path / "fs" / "file").write_bytes(b"x")


def orphans(root: Path) -> list[Path]:
    """Folders that nothing names, each called by one of the words that can be a file's name."""
    return [root / ORPHANED / f"new-{_name(word)}" for word in WORDS if b"/" not in word]


def _name(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")


def _snapshot(name: bytes, labels: dict[bytes, bytes]) -> dict[bytes, Any]:
    return {**TIMES, b"name": name, b"labels": labels}


def _row(number: int) -> dict[bytes, Any]:
    return {**TIMES, b"id": uvarint(number), b"kind": b"\x03", b"size": varint(9)}
