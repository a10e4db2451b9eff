r"""Writes bbolt files from nested dicts, whole or damaged, without Go.

    write(path, {b"v1": {b"version": b"\x06", b"moby": {}}}, sequences={(b"v1",): 3})

What it writes is held against Go's bbolt in tests/bbolt_reader/test_boltwriter.py.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

Tree: TypeAlias = "Mapping[bytes, bytes | Tree]"

HEADER = struct.Struct("<QHHI")
LEAF = struct.Struct("<IIII")
BRANCH = struct.Struct("<IIQ")
BUCKET = struct.Struct("<QQ")
META = struct.Struct("<IIIIQQQQQ")
NO_FREELIST = 0xFFFFFFFFFFFFFFFF


def write(
    path: Path | str,
    tree: Tree,
    *,
    page_size: int = 4096,
    sequences: Mapping[tuple[bytes, ...], int] | None = None,
    freelist: bool = True,
    inline: bool = True,
    free: int = 0,
    txid: int = 10,
    fill: float = 1.0,
    extra: int = 0,
) -> Layout:
    """Write a whole file, and say where things came to lie.

    Args:
        path: where to.
        tree: keys to values, or to nested dicts, which are buckets; they are sorted here.
        page_size: 1 KiB to 16 MiB.
        sequences: of buckets, by their path; 0 where not given.
        freelist: whether free pages are written down, or the meta says that they are to be derived.
        inline: whether small buckets go into their parent's page, where bbolt would put them there.
        free: pages left free, in front of the first used one.
        txid: of the newer meta; it goes to page txid % 2, and txid - 1 to the other.
        fill: how much of a page is used before the next is begun.
        extra: bytes of zeros behind the high-water mark.

    Returns:
        The layout; ``patch`` damages the file.
    """
    return image(
        tree,
        page_size=page_size,
        sequences=sequences,
        freelist=freelist,
        inline=inline,
        free=free,
        txid=txid,
        fill=fill,
        extra=extra,
    ).save(Path(path))


def image(
    tree: Tree,
    *,
    page_size: int = 4096,
    sequences: Mapping[tuple[bytes, ...], int] | None = None,
    freelist: bool = True,
    inline: bool = True,
    free: int = 0,
    txid: int = 10,
    fill: float = 1.0,
    extra: int = 0,
) -> Layout:
    """The same as :func:`write`, in memory."""
    writer = _Writer(page_size, dict(sequences or {}), inline=inline, fill=fill)
    free_at = writer.take(free) if free else 0
    root = writer.bucket(tree, ())
    listed = NO_FREELIST
    if freelist:
        ids = range(free_at, free_at + free)
        count = len(ids)
        body = b"".join(struct.pack("<Q", i) for i in ([count, *ids] if count >= 0xFFFF else ids))
        listed = writer.place(0x10, min(count, 0xFFFF), body)
    high_water = writer.next
    for index in (txid % 2, 1 - txid % 2):
        of = txid if index == txid % 2 else txid - 1
        writer.metas[index] = meta_page(
            index,
            page_size=page_size,
            root=root,
            sequence=writer.sequences.get((), 0),
            freelist=listed,
            high_water=high_water,
            txid=of,
        )
    data = bytearray(high_water * page_size + extra)
    for index, meta in writer.metas.items():
        data[index * page_size : index * page_size + len(meta)] = meta
    for pgid, page in writer.pages.items():
        data[pgid * page_size : pgid * page_size + len(page)] = page
    return Layout(data, page_size, root, listed, high_water, txid % 2, writer.roots)


def meta_page(
    index: int,
    *,
    page_size: int = 4096,
    root: int = 3,
    sequence: int = 0,
    freelist: int = NO_FREELIST,
    high_water: int = 4,
    txid: int = 1,
    magic: int = 0xED0CDAED,
    version: int = 2,
) -> bytes:
    """Header and meta of page 0 or 1, 80 bytes, with the right checksum."""
    fields = META.pack(magic, version, page_size, 0, root, sequence, freelist, high_water, txid)
    return HEADER.pack(index, 0x04, 0, 0) + fields + struct.pack("<Q", fnv1a(fields))


def fnv1a(data: bytes) -> int:
    """The checksum of a meta."""
    value = 14695981039346656037
    for byte in data:
        value = ((value ^ byte) * 1099511628211) % 2**64
    return value


@dataclass
class Layout:
    """An image of a file, and where things lie in it."""

    data: bytearray = field(repr=False)
    page_size: int
    root: int
    freelist: int
    high_water: int
    newest: int
    """The page of the meta that counts, 0 or 1."""
    roots: dict[tuple[bytes, ...], int]
    """The root page of each bucket that is not inline, by its path."""
    path: Path | None = None

    def save(self, path: Path) -> Layout:
        """Write the image to a file, which later patches go to as well."""
        path.write_bytes(self.data)
        self.path = path
        return self

    def patch(self, offset: int, data: bytes) -> Layout:
        """Overwrite bytes."""
        self.data[offset : offset + len(data)] = data
        if self.path is not None:
            self.path.write_bytes(self.data)
        return self

    def patch_page(self, pgid: int, offset: int, data: bytes) -> Layout:
        """Overwrite bytes of a page; its header is id (8 bytes), flags (2), count (2), overflow (4)."""
        return self.patch(pgid * self.page_size + offset, data)

    def patch_meta(self, index: int | None = None, **fields: int) -> Layout:
        """Overwrite fields of a meta, by default the one that counts, and make its checksum fit.

        Fields are those of :func:`meta_page`. A checksum that does not fit is made with :meth:`patch`.
        """
        index = self.newest if index is None else index
        names = ("magic", "version", "page_size", "_", "root", "sequence", "freelist", "high_water", "txid")
        known = dict(zip(names, META.unpack_from(self.data, index * self.page_size + HEADER.size), strict=True))
        del known["_"]
        return self.patch(index * self.page_size, meta_page(index, **{**known, **fields}))

    def truncate(self, size: int) -> Layout:
        """Cut the file off."""
        del self.data[size:]
        if self.path is not None:
            self.path.write_bytes(self.data)
        return self


class _Writer:
    def __init__(self, page_size: int, sequences: dict[tuple[bytes, ...], int], *, inline: bool, fill: float) -> None:
        self.page_size = page_size
        self.sequences = sequences
        self.inline = inline
        self.fill = int(page_size * fill)
        self.next = 2
        self.pages: dict[int, bytes] = {}
        self.metas: dict[int, bytes] = {}
        self.roots: dict[tuple[bytes, ...], int] = {}

    def take(self, count: int) -> int:
        pgid = self.next
        self.next += count
        return pgid

    def place(self, flags: int, count: int, body: bytes) -> int:
        overflow = max(0, -(-(HEADER.size + len(body)) // self.page_size) - 1)
        pgid = self.take(overflow + 1)
        self.pages[pgid] = HEADER.pack(pgid, flags, count, overflow) + body
        return pgid

    def bucket(self, tree: Tree, path: tuple[bytes, ...]) -> int:
        """Write a bucket's pages, its sub-buckets' first; give its root."""
        entries = [self.entry(key, tree[key], path) for key in sorted(tree)]
        level = [
            (part[0][1] if part else b"", self.place(0x02, len(part), leaf_body(part))) for part in self.cut(entries)
        ]
        while len(level) > 1:
            parts = self.cut([(0, key, pgid) for key, pgid in level], least=2)
            if len(parts[-1]) == 1:  # bbolt panics when it rebalances below a branch of one child
                parts[-2:] = [parts[-2] + parts[-1]]
            level = [(part[0][1], self.place(0x01, len(part), branch_body(part))) for part in parts]
        self.roots[path] = level[0][1]
        return level[0][1]

    def entry(self, key: bytes, value: bytes | Tree, path: tuple[bytes, ...]) -> tuple[int, bytes, bytes]:
        if isinstance(value, bytes):
            return 0, key, value
        path = (*path, key)
        sequence = self.sequences.get(path, 0)
        flat = [(0, k, v) for k, v in sorted(value.items()) if isinstance(v, bytes)]
        size = HEADER.size + sum(LEAF.size + len(k) + len(v) for _, k, v in flat)
        if self.inline and len(flat) == len(value) and size <= self.page_size // 4:
            return 1, key, BUCKET.pack(0, sequence) + HEADER.pack(0, 0x02, len(flat), 0) + leaf_body(flat)
        return 1, key, BUCKET.pack(self.bucket(value, path), sequence)

    def cut(self, entries: Sequence[tuple[int, bytes, bytes | int]], least: int = 1) -> list[list[tuple]]:
        """Share entries out to pages; what is too big for one gets its own, or shares it, if it must, with overflow."""
        parts: list[list[tuple]] = [[]]
        used = HEADER.size
        for entry in entries:
            size = LEAF.size + len(entry[1]) + (len(entry[2]) if isinstance(entry[2], bytes) else 0)
            if len(parts[-1]) >= least and (used + size > self.fill or len(parts[-1]) == 0xFFFE):
                parts.append([])
                used = HEADER.size
            parts[-1].append(entry)
            used += size
        return parts


def leaf_body(entries: Sequence[tuple[int, bytes, bytes]]) -> bytes:
    """Elements, keys and values of a leaf page, to go behind its header; (flags, key, value) each."""
    elements, data = bytearray(), bytearray()
    for index, (flags, key, value) in enumerate(entries):
        elements += LEAF.pack(flags, LEAF.size * (len(entries) - index) + len(data), len(key), len(value))
        data += key + value
    return bytes(elements + data)


def branch_body(entries: Sequence[tuple[int, bytes, int]]) -> bytes:
    """Elements and keys of a branch page, to go behind its header; (0, key, page id) each."""
    elements, data = bytearray(), bytearray()
    for index, (_, key, pgid) in enumerate(entries):
        elements += BRANCH.pack(BRANCH.size * (len(entries) - index) + len(data), len(key), pgid)
        data += key
    return bytes(elements + data)
