"""A containerd root of any size, for benchmarks.

The databases come from tests/support/boltwriter.py and not from containerd: 200,000 blobs through its API take hours,
and what is timed here is reading, for which only the shape of the file counts. Pages are filled to two thirds, as bbolt
leaves them. Blobs have random bytes, and their real digests.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from tests.support.boltwriter import write
from tests.support.classic_root import ClassicRoot
from tests.support.data_roots import add_json_log
from tests.support.gowriting import go_time, uvarint, varint

CONTENT = "io.containerd.content.v1.content"
OVERLAY = "io.containerd.snapshotter.v1.overlayfs"
METADATA = "io.containerd.metadata.v1.bolt"
LEASE = "1-abcd"
"""Holds every snapshot."""
_FILL = 0.67
_LAYERS = 8
_FOLDER = 30


class Size(NamedTuple):
    """How large a root is to be."""

    blobs: int
    snapshots: int
    files: int
    blob_bytes: int = 4096
    file_bytes: int = 700


def built(directory: Path, size: Size) -> Path:
    """The root of that size in ``directory``, made if it is not there yet."""
    top = directory / ("root-" + "-".join(str(number) for number in size))
    if not top.exists():
        unfinished = top.with_suffix(".unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        build(unfinished, size)
        unfinished.rename(top)
    return top


def build(top: Path, size: Size) -> None:
    """Make the root: images of eight layers, each a blob; as many snapshots as asked, the files spread over them."""
    now = go_time(int(time.time()) - 3600)
    for folder in (f"{CONTENT}/blobs/sha256", f"{CONTENT}/ingest", METADATA, f"{OVERLAY}/snapshots"):
        (top / folder).mkdir(parents=True)
    digests = [_blob(top, number, size.blob_bytes) for number in range(size.blobs)]
    records = {digest: {b"createdat": now, b"updatedat": now, b"size": varint(size.blob_bytes)} for digest in digests}
    images = {}
    for first in range(0, size.blobs, _LAYERS + 1):
        manifest, *layers = digests[first : first + _LAYERS + 1]
        records[manifest][b"labels"] = {
            b"containerd.io/gc.ref.content.l.%d" % index: layer for index, layer in enumerate(layers)
        }
        target = {
            b"digest": manifest,
            b"mediatype": b"application/vnd.oci.image.manifest.v1+json",
            b"size": varint(4096),
        }
        images[b"docker.io/library/image:%d" % first] = {b"createdat": now, b"updatedat": now, b"target": target}
    snapshots, rows, parents = _snapshots(top, size, now)
    namespace = {
        b"content": {b"blob": records},
        b"images": images,
        b"leases": {
            LEASE.encode(): {
                b"createdat": now,
                b"labels": {},
                b"snapshots": {b"overlayfs": dict.fromkeys(snapshots, b"")},
            }
        },
        b"snapshots": {b"overlayfs": snapshots},
    }
    write(top / METADATA / "meta.db", {b"v1": {b"version": b"\x08", b"moby": namespace}}, fill=_FILL)
    write(
        top / OVERLAY / "metadata.db",
        {b"v1": {b"snapshots": rows, b"parents": parents}},
        fill=_FILL,
        sequences={(b"v1", b"snapshots"): size.snapshots},
    )


def _blob(top: Path, number: int, size: int) -> bytes:
    data = number.to_bytes(8, "big") + os.urandom(min(size, 4096) - 8)
    data *= size // len(data)
    digest = hashlib.sha256(data).hexdigest()
    (top / CONTENT / "blobs/sha256" / digest).write_bytes(data)
    return b"sha256:" + digest.encode()


def _snapshots(top: Path, size: Size, now: bytes) -> tuple[dict, dict, dict]:
    snapshots, rows, parents, previous = {}, {}, {}, b""
    each = size.files // size.snapshots if size.snapshots else 0
    data = b"x" * size.file_bytes
    blocks = -(-size.file_bytes // 4096) * 4096
    for number in range(1, size.snapshots + 1):
        key = b"sha256:" + hashlib.sha256(b"%d" % number).hexdigest().encode()
        name = b"moby/%d/" % number + key
        snapshots[key] = {b"name": name, b"createdat": now, b"updatedat": now}
        rows[name] = {
            b"id": uvarint(number), b"kind": b"\x03", b"createdat": now, b"updatedat": now,
            b"inodes": varint(each), b"size": varint(each * blocks),
        }  # fmt: skip
        if number % _LAYERS != 1:
            snapshots[key][b"parent"] = previous
            rows[name][b"parent"] = b"moby/%d/" % (number - 1) + previous
            parents[uvarint(number - 1) + b"\0" + uvarint(number)] = name
        previous = key
        plant(top / OVERLAY / "snapshots" / str(number) / "fs", each, data)
    return snapshots, rows, parents


def plant(fs: Path, files: int, data: bytes) -> None:
    """``files`` files with that content below a folder, some 30 to a directory, as a root file system has them."""
    for group in range((files + _FOLDER - 1) // _FOLDER):
        folder = fs / f"usr{group % 5}" / f"lib{group % 11}" / f"package-{group}"
        folder.mkdir(parents=True)
        for index in range(min(_FOLDER, files - group * _FOLDER)):
            with open(folder / f"file-{index}.py", "wb") as file:
                file.write(data)


def built_data_root(directory: Path, files: int, file_bytes: int) -> Path:
    """A Docker data root with so many files in ``directory``, made if it is not there yet.

    A third of them is in the image store of containerd, a third in the classic store, and a third in volumes, of which
    one has half of these. Ten containers have logs.
    """
    top = directory / f"data-root-{files}-{file_bytes}"
    if not top.exists():
        unfinished = top.with_suffix(".unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        third, data = files // 3, b"x" * file_bytes
        classic = ClassicRoot(unfinished)
        snapshots = min(100, max(1, third // 30))
        build(unfinished / "containerd" / "daemon", Size(500, snapshots, third, file_bytes=file_bytes))
        for image in range(10):
            words = [f"{image} {layer}" for layer in range(10)]
            for parent, word in zip((None, *words), words, strict=False):
                classic.layer(word, parent)
                plant(unfinished / "overlay2" / classic.below(word)[0] / "diff", third // 100, data)
            classic.an_image(f"image-{image}:1", *words)
        for number in range(10):
            identity = classic.container(f"container {number}", f"{number} 9")
            add_json_log(unfinished / "containers" / identity, range(20))
        for number in range(21):
            inside = unfinished / "volumes" / f"volume-{number}" / "_data"
            plant(inside, third // 2 if number == 0 else third // 40, data)
        unfinished.rename(top)
    return top
