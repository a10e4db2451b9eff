"""Reads EROFS images without the kernel, as far as containerd's calls of mkfs.erofs write them.

Supported are uncompressed files (flat, with or without an inline tail, and in chunks), directories, extended
attributes, and the one extra device of a tar index, which lies behind the index in the same file. An image with
other features is refused. Anybody may have written an image (a layer in a registry may be one): every position is
checked, a directory may have only one name, and an inconsistency is an error of the entry that it is in.

Sources: Linux Documentation/filesystems/erofs.rst; fs/erofs/erofs_fs.h, super.c, inode.c, data.c, dir.c, xattr.c
(v6.12); containerd internal/erofsutils/mount.go (v2.3.4).
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

_AT: Final = 1024
_MAGIC: Final = 0xE0F5E1E2
_SUPER: Final = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQ")
_CHUNKED: Final = 0x04
_DEVICES: Final = 0x08
_COMPRESSED: Final = 0x01 | 0x02 | 0x10 | 0x20
"""Padded LZ4, compression's configurations, packed tails, fragments."""
_DEVICE: Final = struct.Struct("<64sII56s")
_COMPACT: Final = struct.Struct("<HHHHIIIIHHI")
_EXTENDED: Final = struct.Struct("<HHHHQIIIIQII16s")
_SLOT: Final = 32
_PLAIN, _INLINE, _CHUNKS = 0, 2, 4
_ALL_FORMATS: Final = 0x0F
_INDEXES: Final = 0x20
_CHUNK_BITS: Final = 0x1F
_NOWHERE: Final = 0xFFFFFFFF
_DIRENT: Final = struct.Struct("<QHBB")
_XATTRS: Final = struct.Struct("<IB7x")
_XATTR: Final = struct.Struct("<BBH")
_PREFIXES: Final = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
}
_LONGEST_TARGET: Final = 4096
_KINDS: Final = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)


class Unusable(Exception):
    """The file is no EROFS image, or one with unsupported features; the message is one shown line."""


class NoImage(Unusable):
    """The file is no EROFS image, or a part of one."""


def _bad(what: str) -> OSError:
    return OSError(errno.EUCLEAN, f"the image is damaged: {what}")


@dataclass(frozen=True, slots=True)
class Inode:
    """The fields of one inode."""

    nid: int
    mode: int
    links: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    device: int
    layout: int
    start: int
    """First block of flat data, or the format of chunks."""
    xattrs_at: int
    """Byte after the inode itself, where its attributes begin."""
    data_at: int
    """Byte after the attributes."""


class ErofsImage:
    """One image in an open file.

    Args:
        descriptor: of the file; the caller closes it.

    Raises:
        Unusable: it is no supported image.
    """

    def __init__(self, descriptor: int) -> None:
        self._fd = descriptor
        info = os.fstat(descriptor)
        self._size = info.st_size
        self.device = -1 - (info.st_dev << 64 | info.st_ino)
        """In place of a device number: equal for the same file, and unlike every real one."""
        self._parents: dict[int, tuple[int, bytes]] = {}
        self._claimed = 0
        """Bytes of directories, attributes and tables of chunks that were read."""
        self._claims: dict[str, _Seen] = {}
        raw = os.pread(descriptor, _SUPER.size, _AT)
        if len(raw) < _SUPER.size:
            raise NoImage("it is too short for an EROFS image")
        (
            magic, _, _, bits, _, root, _, epoch, nanoseconds, _, meta, shared, _, _, features, _,
            devices, slot, directory_bits, _, _, _,
        ) = _SUPER.unpack(raw)  # fmt: skip
        self._bits, self._meta, self._shared = int(bits), int(meta), int(shared)
        if magic != _MAGIC:
            raise NoImage("it is no EROFS image")
        if features & _COMPRESSED:
            raise Unusable("it is compressed, which is not supported")
        if features & ~(_CHUNKED | _DEVICES) or not 9 <= self._bits <= 16 or directory_bits:
            raise Unusable(f"it has features that are not supported ({features:#x})")
        self._time = epoch * 10**9 + nanoseconds
        self._mapped: list[int] = [0, *self._devices(devices if features & _DEVICES else 0, slot)]
        self.root = root

    def inode(self, nid: int) -> Inode:
        """Read an inode.

        Raises:
            OSError: it is no valid inode.
        """
        at = (self._meta << self._bits) + nid * _SLOT
        head = self._read(at, _COMPACT.size)
        form = int.from_bytes(head[:2], "little")
        layout = form >> 1 & 7
        if form & ~_ALL_FORMATS or layout not in (_PLAIN, _INLINE, _CHUNKS):
            raise _bad(f"inode {nid} has an unknown format")
        if form & 1:
            _, count, mode, _, size, start, _, uid, gid, seconds, nanoseconds, links, _ = _EXTENDED.unpack(
                self._read(at, _EXTENDED.size)
            )
            seconds -= (seconds & 1 << 63) << 1
            time, behind = seconds * 10**9 + min(nanoseconds, 10**9 - 1), at + _EXTENDED.size
        else:
            # Seconds since the image's own time; 0 before Linux 6.15 knew of them.
            _, count, mode, links, size, seconds, start, _, uid, gid, _ = _COMPACT.unpack(head)
            time, behind = self._time + seconds * 10**9, at + _COMPACT.size
        if stat.S_IFMT(mode) not in _KINDS:
            raise _bad(f"inode {nid} has an unknown type")
        device = _device(start) if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else 0
        attributes = _XATTRS.size + 4 * (count - 1) if count else 0
        return Inode(
            nid, mode, links, uid, gid, size, time, device, layout, start, behind, behind + attributes
        )  # fmt: skip

    def stat(self, inode: Inode) -> os.stat_result:
        """An inode as the kernel's mount shows it."""
        seconds = inode.mtime_ns // 10**9
        size = inode.size if stat.S_IFMT(inode.mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK) else 0
        values = (
            inode.mode,
            inode.nid,
            self.device,
            inode.links,
            inode.uid,
            inode.gid,
            size,
            seconds,
            seconds,
            seconds,
        )
        return os.stat_result(values, {"st_mtime_ns": inode.mtime_ns, "st_rdev": inode.device})

    def names(self, inode: Inode) -> Iterator[tuple[bytes, int]]:
        """List the names in a directory, sorted by their bytes, with the inode of each.

        Raises:
            OSError: it is damaged.
        """
        block = 1 << self._bits
        last = b""
        self._claim(inode, "names", inode.size)
        for at in range(0, inode.size, block):
            for name, nid in _dirents(self.read(inode, min(block, inode.size - at), at)):
                if name in (b".", b".."):
                    continue
                # Sorted names are distinct, so no directory is longer than the image.
                if name <= last or b"/" in name or b"\0" in name or len(name) > 255:
                    raise _bad(f"names of directory {inode.nid}")
                last = name
                yield name, nid

    def find(self, inode: Inode, name: bytes, known: int | None = None) -> Inode:
        """Find a name in a directory; ``known`` is its inode number, if the directory was listed.

        Raises:
            FileNotFoundError: the directory has no such name.
            OSError: it is damaged.
        """
        nid = self._find(inode, name) if known is None else known
        if nid is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        found = self.inode(nid)
        # A directory with two names could contain itself, or double the tree at each level.
        if stat.S_ISDIR(found.mode) and (
            nid == self.root or self._parents.setdefault(nid, (inode.nid, name)) != (inode.nid, name)
        ):
            raise _bad(f"directory {nid} has several names")
        return found

    def damage(self, stop: Callable[[], bool]) -> Iterator[tuple[bytes, str] | None]:
        """Check the whole image: give path and reason of each unreadable entry, and None after each readable one.

        Of the bytes of files it checks only that they lie within the image.

        Args:
            stop: called at each entry; the check ends once it returns true.
        """
        seen, files = _Seen(), _Seen()
        levels: list[tuple[bytes, Iterator[tuple[bytes, int]]]] = []
        try:
            levels.append((b"", self._listed(self.root, seen)))
        except OSError as error:
            yield b"", str(error.strerror)
        while levels and not stop():
            path, names = levels[-1]
            try:
                found = next(names, None)
            except OSError as error:
                yield path, str(error.strerror)
                found = None
            if found is None:
                levels.pop()
                continue
            name, nid = found
            full = path + b"/" + name if path else name
            try:
                if self._looked_at(nid, files):
                    levels.append((full, self._listed(nid, seen)))
                yield None
            except OSError as error:
                yield full, str(error.strerror)

    def _listed(self, nid: int, seen: _Seen) -> Iterator[tuple[bytes, int]]:
        if not seen.add(nid):
            raise _bad(f"directory {nid} has several names")
        return self.names(self.inode(nid))

    def _looked_at(self, nid: int, seen: _Seen) -> bool:
        """Check an inode, once for all its names; give whether it is a directory."""
        inode = self.inode(nid)
        if not stat.S_ISDIR(inode.mode) and not seen.add(nid):
            return False
        self.xattrs(inode)
        if stat.S_ISREG(inode.mode):
            for _ in self.segments(inode):
                pass
        elif stat.S_ISLNK(inode.mode):
            self.target(inode)
        return stat.S_ISDIR(inode.mode)

    def xattrs(self, inode: Inode) -> dict[bytes, bytes]:
        """The extended attributes of an inode.

        Raises:
            OSError: they are damaged.
        """
        found: dict[bytes, bytes] = {}
        if inode.data_at == inode.xattrs_at:
            return found
        body = self._read(inode.xattrs_at, inode.data_at - inode.xattrs_at)
        self._claim(inode, "attributes", len(body))
        _, shared = _XATTRS.unpack_from(body)
        at = _XATTRS.size + 4 * shared
        if at > len(body):
            raise _bad(f"attributes of inode {inode.nid}")
        for (number,) in struct.iter_unpack("<I", body[_XATTRS.size : at]):
            place = (self._shared << self._bits) + 4 * number
            length, index, size = _XATTR.unpack(self._read(place, _XATTR.size))
            self._attribute(found, inode, index, self._read(place + _XATTR.size, length + size), length)
        while at + _XATTR.size <= len(body):
            length, index, size = _XATTR.unpack_from(body, at)
            raw = body[at + _XATTR.size : at + _XATTR.size + length + size]
            if len(raw) != length + size:
                raise _bad(f"attributes of inode {inode.nid}")
            self._attribute(found, inode, index, raw, length)
            at += _XATTR.size + length + size
            at += -at % 4
        return found

    def target(self, inode: Inode) -> bytes:
        """Read the target of a symbolic link.

        Raises:
            OSError: it is damaged.
        """
        if not 0 < inode.size < _LONGEST_TARGET:
            raise _bad(f"link {inode.nid}")
        return self.read(inode, inode.size, 0)

    def segments(self, inode: Inode) -> Iterator[tuple[int, int]]:
        """List where a file has data: start and length of each part, all of it within the image.

        Raises:
            OSError: a part lies outside of the image.
        """
        if inode.layout != _CHUNKS:
            tail = inode.size >> self._bits << self._bits
            for last in {tail, inode.size} - {0}:
                self._place(inode, last - 1)
            yield 0, inode.size
            return
        begin = end = 0
        step = self._chunk_size(inode)
        self._claim(inode, "chunks", -(-inode.size // step) * _unit(inode))
        for at in range(0, inode.size, step):
            if self._place(inode, at) is None:
                continue
            if at != end:
                if end > begin:
                    yield begin, end - begin
                begin = at
            end = min(at + step, inode.size)
        if end > begin:
            yield begin, end - begin

    def read(self, inode: Inode, length: int, at: int) -> bytes:
        """Read bytes of a file, a directory or a link: zeros in holes, fewer at the end.

        Raises:
            OSError: they lie outside of the image.
        """
        parts: list[bytes] = []
        end = min(at + length, inode.size)
        while at < end:
            found = self._place(inode, at)
            step = min(end, self._end_of_part(inode, at)) - at
            parts.append(bytes(step) if found is None else self._read(found, step))
            at += step
        return b"".join(parts)

    def _find(self, inode: Inode, name: bytes) -> int | None:
        """Search the blocks of a directory, each of which is sorted."""
        block = 1 << self._bits
        low, high = 0, (inode.size - 1) // block
        while low <= high:
            middle = (low + high) // 2
            at = middle * block
            dirents = list(_dirents(self.read(inode, min(block, inode.size - at), at)))
            if not dirents or name < dirents[0][0]:
                high = middle - 1
            elif name > dirents[-1][0]:
                low = middle + 1
            else:
                return next((nid for each, nid in dirents if each == name), None)
        return None

    def _place(self, inode: Inode, at: int) -> int | None:
        """Find where in the image a byte of a file lies, within its size; None in a hole."""
        if inode.size == 0:
            return None
        if inode.layout == _CHUNKS:
            return self._chunk(inode, at)
        tail = inode.size >> self._bits << self._bits
        if inode.layout == _INLINE and at >= tail:
            place = inode.data_at + at - tail
        else:
            place = (inode.start << self._bits) + at
        if place >= self._size:
            raise _bad(f"data of inode {inode.nid} lies outside of it")
        return place

    def _end_of_part(self, inode: Inode, at: int) -> int:
        """The end of the contiguous part of the image that a byte of a file lies in."""
        if inode.layout == _CHUNKS:
            step = self._chunk_size(inode)
            return (at // step + 1) * step
        tail = inode.size >> self._bits << self._bits
        return tail if inode.layout == _INLINE and at < tail else inode.size

    def _chunk_size(self, inode: Inode) -> int:
        if inode.start & 0xFFFF & ~(_CHUNK_BITS | _INDEXES):
            raise _bad(f"chunks of inode {inode.nid} have an unknown format")
        return 1 << self._bits + (inode.start & _CHUNK_BITS)

    def _chunk(self, inode: Inode, at: int) -> int | None:
        step = self._chunk_size(inode)
        unit = _unit(inode)
        number, within = divmod(at, step)
        raw = self._read(inode.data_at + -inode.data_at % unit + number * unit, unit)
        device = int.from_bytes(raw[2:4], "little") if unit == 8 else 0
        block = int.from_bytes(raw[-4:], "little")
        if block == _NOWHERE:
            return None
        if device >= len(self._mapped):
            raise _bad(f"inode {inode.nid} has data on an unknown device")
        place = (self._mapped[device] + block << self._bits) + within
        if place + min(step - within, inode.size - at) > self._size:
            raise _bad(f"data of inode {inode.nid} lies outside of it")
        return place

    def _devices(self, count: int, slot: int) -> Iterator[int]:
        """Block of the image that each extra device is mapped to (fs/erofs/data.c erofs_map_dev, v6.12)."""
        for number in range(count):
            raw = os.pread(self._fd, _DEVICE.size, slot * _DEVICE.size + number * _DEVICE.size)
            if len(raw) < _DEVICE.size:
                raise Unusable("its table of devices is truncated")
            mapped = int(_DEVICE.unpack(raw)[2])
            if not mapped:
                raise Unusable("its data is in other files, which is not supported")
            yield mapped

    def _attribute(self, found: dict[bytes, bytes], inode: Inode, index: int, raw: bytes, length: int) -> None:
        prefix = _PREFIXES.get(index)
        if prefix is None:
            raise _bad(f"an attribute of inode {inode.nid} has an unknown kind")
        found.setdefault(prefix + raw[:length], raw[length:])

    def _claim(self, inode: Inode, what: str, size: int) -> None:
        """Count bytes that are read of an inode: with overlapping parts, a small image would take forever to read."""
        if self._claims.setdefault(what, _Seen()).add(inode.nid):
            self._claimed += size
        if self._claimed > self._size:
            raise _bad(f"{what} of inode {inode.nid} overlap other parts of it, or lie outside of it")

    def _read(self, at: int, length: int) -> bytes:
        raw = os.pread(self._fd, length, at) if at + length <= self._size else b""
        if len(raw) != length:
            raise _bad(f"byte {at} lies outside of it")
        return raw


class _Seen:
    """A set of inode numbers that takes one bit for each where numbers lie close together."""

    def __init__(self) -> None:
        self._parts: dict[int, bytearray] = {}

    def add(self, nid: int) -> bool:
        """Add a number; False if it was in the set."""
        part = self._parts.setdefault(nid >> 15, bytearray(1 << 12))
        at, bit = nid >> 3 & 0xFFF, 1 << (nid & 7)
        known = part[at] & bit
        part[at] |= bit
        return not known


def _dirents(block: bytes) -> Iterator[tuple[bytes, int]]:
    """The entries of one block of a directory."""
    if len(block) < _DIRENT.size:
        raise _bad("a directory's block")
    first = int.from_bytes(block[8:10], "little")
    if first % _DIRENT.size or not _DIRENT.size <= first < len(block):
        raise _bad("a directory's block")
    table = list(_DIRENT.iter_unpack(block[:first]))
    ends = [offset for _, offset, _, _ in table[1:]] + [len(block)]
    for (nid, begin, _, _), end in zip(table, ends, strict=True):
        if not first <= begin < end <= len(block):
            raise _bad("a directory's block")
        name = block[begin:end]
        yield (name.partition(b"\0")[0] if end == len(block) else name), nid


def _unit(inode: Inode) -> int:
    """Size of an entry in a table of chunks."""
    return 8 if inode.start & _INDEXES else 4


def _device(coded: int) -> int:
    """A device number as the kernel codes it (include/linux/kdev_t.h new_decode_dev)."""
    return os.makedev((coded & 0xFFF00) >> 8, (coded & 0xFF) | (coded >> 12 & 0xFFF00))
