"""What a root's databases name on disk, by Go's own reading of them and by nothing of drydock's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tests.support import gobbolt
from tests.support.newest import NOT_READ

METADATA = "io.containerd.metadata.v1.bolt/meta.db"
CONTENT = "io.containerd.content.v1.content"

# Of planted things, what is not of containerd's layout: it is left alone.
_FOREIGN = ("blobs/md5/", "/zz-not-a-digest", "blobs/sha256/eeee", "ingest/stray", "v1.nydus/",
            *(f"v1.{name}/" for name in NOT_READ))  # fmt: skip

Values = dict[tuple[bytes, ...], bytes]


def values(database: Path) -> Values:
    """Every value of a bbolt file, by its bucket path and key."""
    found: Values = {}
    for line in gobbolt.dump(database).splitlines():
        what, path, *rest = line.split(" ")
        if what == "key":
            found[tuple(bytes.fromhex(part) for part in path.split("/"))] = bytes.fromhex(rest[0]) if rest else b""
    return found


def dumps(root: Path) -> dict[str, set[str]]:
    """Every bucket with its sequence, and every value, of all databases of a root; by path relative to it."""
    return {str(path.relative_to(root)): set(gobbolt.dump(path).splitlines()) for path in root.glob("*/*.db")}


def is_foreign(path: str) -> bool:
    """Whether a planted path is of no layout that containerd has."""
    return any(part in path for part in _FOREIGN)


def nested(database: Path) -> dict[bytes, Any]:
    """A bbolt file as nested dicts: a bucket is a dict, a value is bytes."""
    top: dict[bytes, Any] = {}
    for line in gobbolt.dump(database).splitlines():
        what, path, *rest = line.split(" ")
        if path == "/":
            continue
        *folders, name = (bytes.fromhex(part) for part in path.split("/"))
        bucket = top
        for folder in folders:
            bucket = bucket[folder]
        bucket[name] = {} if what == "bucket" else bytes.fromhex(rest[0]) if rest else b""
    return top


def sequence(database: Path, *path: bytes) -> int:
    """The sequence of one bucket."""
    wanted = "/".join(part.hex() for part in path)
    lines = (line.split(" ") for line in gobbolt.dump(database).splitlines())
    return next(int(words[2]) for words in lines if words[:2] == ["bucket", wanted])


def sequences(database: Path) -> dict[tuple[bytes, ...], int]:
    """The sequence of each bucket that has one."""
    lines = (line.split(" ") for line in gobbolt.dump(database).splitlines())
    buckets = ((words[1], int(words[2])) for words in lines if words[0] == "bucket" and words[1] != "/")
    return {tuple(map(bytes.fromhex, name.split("/"))): number for name, number in buckets if number}


def named_paths(root: Path) -> set[str]:
    """Every blob, ingest and snapshot path (relative) that records and rows name, there or not."""
    paths: set[str] = set()
    for path in values(root / METADATA):
        match path:
            case (b"v1", _, b"content", b"blob", digest, _):
                paths.add(f"{CONTENT}/blobs/{digest.decode().replace(':', '/')}")
    for path, value in values(root / METADATA).items():
        match path:
            case (b"v1", _, b"content", b"ingests", _, b"ref"):
                paths.add(f"{CONTENT}/ingest/{hashlib.sha256(value).hexdigest()}")
            case (b"v1", _, b"content", b"ingests", _, b"expected"):
                paths.add(f"{CONTENT}/blobs/{value.decode().replace(':', '/')}")
    for database in root.glob("io.containerd.snapshotter.v1.*/metadata.db"):
        paths.update(f"{database.parent.name}/{folder}" for folder in folders(database).values())
    return paths


def folders(database: Path) -> dict[bytes, str]:
    """Of each row of a snapshotter's metadata.db, by its name, the folder; relative to the database's own."""
    return {
        path[2]: f"snapshots/{_uvarint(value)}"
        for path, value in values(database).items()
        if path[:2] == (b"v1", b"snapshots") and path[3:] == (b"id",)
    }


def _uvarint(raw: bytes) -> int:
    return sum((byte & 0x7F) << (7 * position) for position, byte in enumerate(raw))
