"""The tree of a layer, in an SQLite database: any number of entries in little memory.

A small tree stays in memory. A large one moves to a file without a name, in the directory with the most room.
"""

from __future__ import annotations

import enum
import errno
import marshal
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from drydock.evidence.files.directory import open_private_dir
from drydock.model.names import RawPath
from drydock.model.text import shown
from drydock.verification.decompression import NotCompared

TOP: Final = 0
"""Node of the layer's root directory."""
_IN_MEMORY: Final = 32 << 20
_CACHE_KIB: Final = 16 << 10
_CHECKED: Final = 1 << 21
"""Bytes that are added between two checks of the size."""
_ROW: Final = 64
"""Bytes that an entry takes besides its name and attributes, estimated."""
_AT_ONCE: Final = 1000
_SCHEMA: Final = f"""
PRAGMA cache_size = -{_CACHE_KIB};
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE node (id INTEGER PRIMARY KEY, entry BLOB, inode INTEGER);
CREATE TABLE name (
    parent INTEGER, name BLOB, node INTEGER, directory INTEGER, PRIMARY KEY (parent, name)
) WITHOUT ROWID;
"""


class EntryType(enum.Enum):
    """Type of an entry."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symbolic link"
    CHARACTER = "character device"
    BLOCK = "block device"
    FIFO = "pipe"
    WHITEOUT = "whiteout"


_TYPES: Final = tuple(EntryType)
_NUMBERS: Final = {kind: number for number, kind in enumerate(_TYPES)}


@dataclass(slots=True)
class LayerEntry:
    """A file, directory or whiteout at one or more paths of a layer."""

    type: EntryType
    mode: int | None = None
    """Permissions; None for a directory that the layer has no entry for."""
    uid: int = 0
    gid: int = 0
    size: int = 0
    """Bytes of a file."""
    target: bytes = b""
    """Of a symbolic link."""
    device: tuple[int, int] = (0, 0)
    """Major and minor number."""
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    sha256: bytes = b""
    """Digest of a file's bytes, if they were read."""
    is_opaque: bool = False
    """Whether a directory hides that of the lower layers."""
    is_linked: bool = False
    """Whether it has or had several names."""
    node: int = -1
    """Its number in the tree; hard links have the same."""


class NoRoom(NotCompared):
    """No directory has room for the tree of a large layer."""


class LayerTree:
    """Entries by directory and name, the last entry of each path.

    Args:
        places: directories that a large tree may move to; it takes the one with the most room.
    """

    def __init__(self, places: Sequence[RawPath]) -> None:
        self._places = places
        self._db = sqlite3.connect(":memory:")
        self._db.executescript(_SCHEMA)
        self._in_memory = True
        self._unchecked = 0
        self._last = TOP
        self.count = 0
        """Entries that were added."""
        self.add(None, b"", LayerEntry(EntryType.DIRECTORY))

    def close(self) -> None:
        """Close the database."""
        if not self._in_memory:
            # The setting is that of the whole process.
            _put_files_in(self._db, "")
        self._db.close()

    def child(self, parent: int, name: bytes) -> LayerEntry | None:
        """The entry of a name in a directory."""
        row = self._db.execute(
            "SELECT node.id, entry FROM name JOIN node ON node.id = name.node WHERE parent = ? AND name = ?",
            (parent, name),
        ).fetchone()
        return None if row is None else _decoded(*row)

    def has(self, parent: int, name: bytes) -> bool:
        """Whether a directory has a name."""
        found = self._db.execute("SELECT 1 FROM name WHERE parent = ? AND name = ?", (parent, name)).fetchone()
        return found is not None

    def entry(self, node: int) -> LayerEntry:
        """The entry of a node."""
        row = self._db.execute("SELECT id, entry FROM node WHERE id = ?", (node,)).fetchone()
        return _decoded(*row)

    def add(self, parent: int | None, name: bytes, entry: LayerEntry) -> LayerEntry:
        """Add a new entry under a name, and replace what had the name; without a parent it is the root directory."""
        self._make_room(len(name) + len(entry.target) + sum(len(key) + len(entry.xattrs[key]) for key in entry.xattrs))
        entry.node = self._last
        self._last += 1
        self._run("INSERT INTO node (id, entry) VALUES (?, ?)", (entry.node, _encoded(entry)))
        if parent is not None:
            self.count += 1
            self._name(parent, name, entry)
        return entry

    def link(self, parent: int, name: bytes, entry: LayerEntry) -> None:
        """Give an entry one more name."""
        self._make_room(len(name))
        self.count += 1
        entry.is_linked = True
        self.update(entry)
        self._name(parent, name, entry)

    def update(self, entry: LayerEntry) -> None:
        """Store the changes to an entry."""
        self._run("UPDATE node SET entry = ? WHERE id = ?", (_encoded(entry), entry.node))

    def remove(self, parent: int, name: bytes) -> None:
        """Remove a name from a directory."""
        self._run("DELETE FROM name WHERE parent = ? AND name = ?", (parent, name))

    def children(self, parent: int) -> Iterator[list[tuple[bytes, LayerEntry]]]:
        """List a directory in portions, sorted by the bytes of the names."""
        after = b""
        while rows := self._db.execute(
            "SELECT name, node.id, entry FROM name JOIN node ON node.id = name.node"
            " WHERE parent = ? AND name > ? ORDER BY name LIMIT ?",
            (parent, after, _AT_ONCE),
        ).fetchall():
            yield [(name, _decoded(node, entry)) for name, node, entry in rows]
            after = rows[-1][0]

    def next_directory(self, parent: int, after: bytes) -> tuple[bytes, int] | None:
        """Name and node of the first subdirectory whose name sorts after ``after``."""
        found: tuple[bytes, int] | None = self._db.execute(
            "SELECT name, node FROM name WHERE parent = ? AND name > ? AND directory ORDER BY name LIMIT 1",
            (parent, after),
        ).fetchone()
        return found

    def inode(self, node: int, found: int) -> int:
        """The inode that was first noted for a node; notes ``found`` if there was none."""
        (known,) = self._db.execute("SELECT inode FROM node WHERE id = ?", (node,)).fetchone()
        if known is not None:
            return int(known) + (1 << 63)
        self._run("UPDATE node SET inode = ? WHERE id = ?", (found - (1 << 63), node))
        return found

    def _name(self, parent: int, name: bytes, entry: LayerEntry) -> None:
        self._run(
            "INSERT OR REPLACE INTO name (parent, name, node, directory) VALUES (?, ?, ?, ?)",
            (parent, name, entry.node, entry.type is EntryType.DIRECTORY),
        )

    def _run(self, statement: str, values: tuple[Any, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise self._no_room(str(error)) from error

    def _make_room(self, length: int) -> None:
        """Move to a file once the tree is too large for memory."""
        self._unchecked += length + _ROW
        if not self._in_memory or self._unchecked < _CHECKED:
            return
        self._unchecked = 0
        if _size(self._db) < _IN_MEMORY:
            return
        on_disk, room = self._opened()
        try:
            self._db.commit()
            self._db.backup(on_disk)
            on_disk.execute(f"PRAGMA max_page_count = {max(1, room // 2 // _pragma(on_disk, 'page_size'))}")
        except sqlite3.OperationalError as error:
            on_disk.close()
            raise self._no_room(str(error)) from error
        self._db.close()
        self._db, self._in_memory = on_disk, False

    def _opened(self) -> tuple[sqlite3.Connection, int]:
        """Open an empty database where the most room is, and give that room in bytes."""
        problems: list[str] = []
        for room, place in sorted(((_free(place), place) for place in self._places), reverse=True):
            if room // 2 <= _IN_MEMORY:
                break
            try:
                return _open_unnamed(place), room
            except (OSError, sqlite3.OperationalError, UnicodeError) as error:
                problems.append(f"{shown(place)}: {getattr(error, 'strerror', None) or error}")
        raise self._no_room("; ".join(problems) or "no directory has room")

    def _no_room(self, why: str) -> NoRoom:
        return NoRoom(
            f"the list of its layer's entries has no room after {self.count} ({why}); "
            f"it may take half of the free space of {', '.join(map(shown, self._places)) or 'no directory'}",
            "drydock verify --unpacked --state DIR, with a DIR that has more room",
        )


def _open_unnamed(place: RawPath) -> sqlite3.Connection:
    """Open a database in a file without a name, which is gone however this process ends."""
    os.close(open_private_dir(place, create=True))
    found = sqlite3.connect("")
    _put_files_in(found, os.fsdecode(place))
    found.executescript(_SCHEMA)
    return found


def _put_files_in(database: sqlite3.Connection, directory: str) -> None:
    """Choose the directory of SQLite's files without a name, which it makes for a database that outgrows memory."""
    database.execute(f"PRAGMA temp_store_directory = '{directory.replace(chr(39), chr(39) * 2)}'")
    if (database.execute("PRAGMA temp_store_directory").fetchone() or ("",))[0] != directory:
        database.close()
        raise OSError(errno.ENOTSUP, "this SQLite does not let a program choose its directory of files")


def _free(place: RawPath) -> int:
    """Free bytes on the file system where ``place`` is or would be created."""
    try:
        room = os.statvfs(place if os.path.isdir(place) else os.path.dirname(place) or b".")
    except OSError:
        return 0
    return room.f_frsize * room.f_bavail


def _size(database: sqlite3.Connection) -> int:
    return _pragma(database, "page_count") * _pragma(database, "page_size")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def _encoded(entry: LayerEntry) -> bytes:
    return marshal.dumps((
        _NUMBERS[entry.type], entry.mode, entry.uid, entry.gid, entry.size, entry.target, entry.device, entry.xattrs,
        entry.sha256, entry.is_opaque, entry.is_linked,
    ))  # fmt: skip


def _decoded(node: int, encoded: bytes) -> LayerEntry:
    kind, *rest = marshal.loads(encoded)  # noqa: S302 - written by this process alone
    entry = LayerEntry(_TYPES[kind], *rest)
    entry.node = node
    return entry
