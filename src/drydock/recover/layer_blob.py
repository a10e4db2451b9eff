"""What a layer unpacks to, as a tree of entries, read from its blob as a stream.

Sources: opencontainers image-spec v1.1, layer.md (whiteouts); containerd pkg/archive/tar.go (applyNaive,
createTarFile), pkg/archive/tar_unix.go, core/diff/apply/apply_linux.go (v2.1). Anybody may have written the layer.
"""

from __future__ import annotations

import enum
import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Final, cast

from drydock.recover.attributes import CAPABILITY, list_attributes
from drydock.recover.decoder import Plain, Stopped, Unreadable
from drydock.recover.forward import Forward, Header

_WHITEOUT: Final = b".wh."
_OPAQUE: Final = b".wh..wh..opq"
_AUFS: Final = b".wh..wh."
_MOST: Final = 2_000_000
_MOST_BYTES: Final = 1 << 28
"""Of names, targets and attributes that are held, and of targets that are followed."""
_MOST_HEADERS: Final = 1 << 24
"""Bytes before an entry's own data: long names, attributes, a map of holes. tarfile holds them all at once."""
_MOST_SPARSE: Final = 1 << 36
"""Bytes of files with holes, which take no room in a layer, and minutes to hash."""
_HOPS: Final = 40
_CHUNK: Final = 1 << 20


class Type(enum.Enum):
    """What an entry is."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symbolic link"
    CHARACTER = "character device"
    BLOCK = "block device"
    FIFO = "pipe"
    WHITEOUT = "whiteout"


@dataclass(slots=True)
class Entry:
    """One path of a layer."""

    type: Type
    mode: int | None = None
    """Permissions; None for a directory that the layer only implies."""
    uid: int = 0
    gid: int = 0
    size: int = 0
    """Bytes of a file."""
    target: bytes = b""
    """Of a symbolic link."""
    device: tuple[int, int] = (0, 0)
    """Major and minor number."""
    xattrs: dict[str, bytes] = field(default_factory=dict)
    sha256: bytes = b""
    """Of a file's bytes, where they were read."""
    children: dict[bytes, Entry] = field(default_factory=dict)
    """Of a directory."""
    is_opaque: bool = False
    """A directory that hides what lies below it."""


def read_layer(raw: io.RawIOBase, *, content: bool, stop: Callable[[], bool]) -> Entry | None:
    """The tree of a layer, with the last word on each path; a hard link is the very entry it links to.

    Args:
        raw: the blob: a tar, plain or compressed with gzip or zstd.
        content: whether to hash files.
        stop: asked again and again; None is returned once it says so.

    Raises:
        Unreadable: it is no such layer, or goes beyond what can be compared.
    """
    tree = _Tree(content=content, stop=stop)
    buffered = io.BufferedReader(raw, _CHUNK)
    try:
        plain = Plain(buffered, stop)
        stream = Forward(plain.read)
        if stream.is_at_end():
            # A layer of nothing (pkg/archive/compression/compression.go DecompressStream, v2.1).
            return tree.top
        with _open(plain, stream) as tar:
            # What opening read already.
            member = tar.next()
            plain.allowed = None
            while member is not None:
                tree.add(tar, member)
                # tarfile keeps them all for a rereading that never comes.
                tar.members = []  # type: ignore[attr-defined] # typeshed does not list it
                member = _next(plain, stream, tar)
    except Stopped:
        return None
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError, LookupError) as error:
        # LookupError: tarfile looks for the numbers of a map of holes without asking whether they are there.
        raise Unreadable(f"its layer cannot be read ({type(error).__name__})") from error
    finally:
        # Else its end would be the end of the blob, which is not read to its own yet.
        buffered.detach()
    return tree.top


def _open(plain: Plain, stream: Forward) -> tarfile.TarFile:
    plain.allowed = _MOST_HEADERS
    source = cast("IO[bytes]", stream)
    return tarfile.TarFile(fileobj=source, tarinfo=Header, encoding="utf-8", errors="surrogateescape")


def _next(plain: Plain, stream: Forward, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    """The next entry; the data before it may be of any length, what describes it may not."""
    if stream.tell() < tar.offset - 1:
        stream.seek(tar.offset - 1)
    plain.allowed = _MOST_HEADERS
    try:
        return tar.next()
    finally:
        plain.allowed = None


class _Tree:
    def __init__(self, *, content: bool, stop: Callable[[], bool]) -> None:
        self.top = Entry(Type.DIRECTORY)
        self._content = content
        self._stop = stop
        self._sparse = 0
        self._count = 0
        self._bytes = 0

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Apply one entry, as containerd does."""
        attributes = sum(len(key) + len(value) for key, value in member.pax_headers.items())
        self._hold(len(member.name) + len(member.linkname) + attributes)
        parts = _parts(member.name)
        if not parts:
            # containerd ignores it: the top is not of the layer.
            return
        name = parts[-1]
        if name != _OPAQUE and any(part.startswith(_AUFS) for part in parts):
            return
        parent = self._parent(parts[:-1])
        if name == _OPAQUE:
            parent.is_opaque = True
        elif name.startswith(_WHITEOUT):
            removed = name[len(_WHITEOUT) :]
            if removed in (b"", b".", b".."):
                raise Unreadable("its layer has a whiteout that names nothing")
            parent.children[removed] = Entry(Type.WHITEOUT)
        elif member.type == tarfile.XGLTYPE:
            # Nothing is made of it, and what was there is removed as for any other entry.
            parent.children.pop(name, None)
        elif member.islnk():
            self._link(parent, name, member)
        else:
            self._put(parent, name, tar, member)

    def _link(self, parent: Entry, name: bytes, member: tarfile.TarInfo) -> None:
        """A hard link: owner, mode and attributes of its header are set on the file, whose they then are."""
        linked = self._find(_parts(member.linkname))
        if linked is None:
            parent.children.pop(name, None)
            return
        parent.children[name] = linked
        if linked.type not in (Type.DIRECTORY, Type.WHITEOUT):
            linked.xattrs.pop(CAPABILITY, None)
            self._describe(linked, member)

    def _put(self, parent: Entry, name: bytes, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        kind = _type(member)
        if kind is None:
            return
        before = parent.children.get(name)
        if kind is Type.DIRECTORY and before is not None and before.type is Type.DIRECTORY:
            self._describe(before, member)
            return
        entry = Entry(kind, device=(member.devmajor, member.devminor))
        self._describe(entry, member)
        if kind is Type.SYMLINK:
            entry.target = member.linkname.encode("utf-8", "surrogateescape")
        if kind is Type.FILE:
            entry.size = member.size
            if self._content:
                entry.sha256 = self._hash(tar, member)
        parent.children[name] = entry

    def _hash(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        if member.issparse():
            self._sparse += member.size
            if self._sparse > _MOST_SPARSE:
                raise Unreadable(f"its layer has more than {_MOST_SPARSE} bytes in files with holes")
        file = tar.extractfile(member)
        digest = hashlib.sha256()
        while file is not None and (chunk := file.read(_CHUNK)):
            digest.update(chunk)
            # Holes are zeros that nothing is read for.
            if self._stop():
                raise Stopped
        return digest.digest()

    def _describe(self, entry: Entry, member: tarfile.TarInfo) -> None:
        entry.mode, entry.uid, entry.gid = member.mode & 0o7777, member.uid, member.gid
        takes_user = entry.type in (Type.FILE, Type.DIRECTORY)
        takes_acl = entry.type is not Type.SYMLINK
        entry.xattrs |= list_attributes(member.pax_headers, takes_user=takes_user, takes_acl=takes_acl)

    def _parent(self, parts: list[bytes]) -> Entry:
        """The directory a path lies in, made where the layer has none; links of this layer are followed."""
        path = self._resolved(parts)
        here = self.top
        for part in path:
            child = here.children.get(part)
            if child is None or child.type is not Type.DIRECTORY:
                self._hold(0)
                child = here.children[part] = Entry(Type.DIRECTORY)
            here = child
        return here

    def _hold(self, length: int) -> None:
        """Count one more entry and its bytes."""
        self._count += 1
        if self._count > _MOST:
            raise Unreadable(f"its layer has more than {_MOST} entries")
        self._pass(length)

    def _pass(self, length: int) -> None:
        """Count bytes that are held, or gone through once more."""
        self._bytes += length
        if self._bytes > _MOST_BYTES:
            raise Unreadable(f"its layer has more than {_MOST_BYTES} bytes of names and attributes")

    def _find(self, parts: list[bytes]) -> Entry | None:
        if not parts:
            return None
        here: Entry | None = self.top
        for part in [*self._resolved(parts[:-1]), parts[-1]]:
            here = None if here is None else here.children.get(part)
        return here

    def _resolved(self, parts: list[bytes]) -> list[bytes]:
        done: list[bytes] = []
        todo = parts[::-1]
        here = [self.top]
        hops = 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if done:
                    done.pop()
                    here.pop()
                continue
            child = here[-1].children.get(part)
            if child is not None and child.type is Type.SYMLINK:
                hops += 1
                if hops > _HOPS:
                    raise Unreadable("its layer has links that lead in circles")
                # Forty long links on the way to each of many entries would take hours.
                self._pass(len(child.target))
                if child.target.startswith(b"/"):
                    done, here = [], [self.top]
                todo += child.target.split(b"/")[::-1]
                continue
            done.append(part)
            here.append(child if child is not None else Entry(Type.DIRECTORY))
        return done


def _parts(name: str) -> list[bytes]:
    parts: list[bytes] = []
    for part in name.encode("utf-8", "surrogateescape").split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def _type(member: tarfile.TarInfo) -> Type | None:
    if member.isdir():
        return Type.DIRECTORY
    if member.isreg():
        return Type.FILE
    kinds = {
        tarfile.SYMTYPE: Type.SYMLINK,
        tarfile.CHRTYPE: Type.CHARACTER,
        tarfile.BLKTYPE: Type.BLOCK,
        tarfile.FIFOTYPE: Type.FIFO,
    }
    return kinds.get(member.type)
