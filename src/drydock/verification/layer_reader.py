"""Reads a layer's blob into the tree of entries that containerd unpacks it to.

Sources: opencontainers image-spec v1.1, layer.md (whiteouts); containerd pkg/archive/tar.go (applyNaive,
createTarFile), pkg/archive/tar_unix.go, core/diff/apply/apply_linux.go (v2.1).
Anybody may have written the layer, so time and memory are bounded.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Final

from drydock.verification import forward_tar
from drydock.verification.decompression import LayerStream, ReadStopped, UnreadableLayer
from drydock.verification.forward_tar import TarEntry, TarReader
from drydock.verification.layer_tree import TOP, EntryType, LayerEntry, LayerTree
from drydock.verification.layer_xattrs import CAPABILITY, list_attributes

WHITEOUT: Final = b".wh."
OPAQUE: Final = b".wh..wh..opq"
_AUFS: Final = b".wh..wh."
_PATH_MAX: Final = 4096
"""Linux include/uapi/linux/limits.h: containerd cannot unpack an entry with a longer path."""
_MOST_FOLLOWED: Final = 1 << 28
"""Total bytes of link targets that are followed on the paths of entries, besides an allowance for each entry."""
_FOLLOWED_EACH: Final = 1024
MOST_SPARSE: Final = 1 << 36
"""Total bytes of files with holes: holes take no room in a layer, and minutes to hash."""
HOPS: Final = 40
_KINDS: Final = {
    forward_tar.DIRECTORY: EntryType.DIRECTORY,
    forward_tar.SYMLINK: EntryType.SYMLINK,
    forward_tar.CHARACTER: EntryType.CHARACTER,
    forward_tar.BLOCK: EntryType.BLOCK,
    forward_tar.FIFO: EntryType.FIFO,
    **dict.fromkeys(forward_tar.FILES, EntryType.FILE),
}
_BLOB_CHUNK: Final = 1 << 16
"""Bytes of the blob that are read at once: few, as progress counts them and they may unpack to many entries."""


def read_layer(raw: io.RawIOBase, tree: LayerTree, *, content: bool, stop: Callable[[], bool]) -> bool:
    """Put the entries of a layer into a tree.

    Args:
        raw: the blob: a tar, plain or compressed with gzip or zstd.
        tree: receives the entries; empty.
        content: whether to hash files.
        stop: called repeatedly; reading ends once it returns true.

    Returns:
        False if ``stop`` ended it.

    Raises:
        UnreadableLayer: it is no layer that containerd unpacks, or one beyond the limits above.
    """
    builder = _LayerBuilder(tree, content=content, stop=stop)
    buffered = io.BufferedReader(raw, _BLOB_CHUNK)
    try:
        archive = TarReader(LayerStream(buffered, stop).read)
        while (entry := archive.next()) is not None:
            builder.add(archive, entry)
    except ReadStopped:
        return False
    finally:
        # Closing the buffer would close the blob, whose end is still to be hashed.
        buffered.detach()
    return True


class _LayerBuilder:
    def __init__(self, tree: LayerTree, *, content: bool, stop: Callable[[], bool]) -> None:
        self._tree = tree
        self._content = content
        self._stop = stop
        self._sparse = 0
        self._seen = 0
        self._followed = 0
        self._known: tuple[list[bytes], int] = [], TOP
        """Directory of the last entry: its path in the layer, and its node."""

    def add(self, archive: TarReader, member: TarEntry) -> None:
        """Apply one entry as containerd does."""
        self._seen += 1
        parts = entry_parts(member.name)
        if not parts:
            return
        name = parts[-1]
        parent = self._parent(parts[:-1])
        if name == OPAQUE:
            directory = self._tree.entry(parent)
            directory.is_opaque = True
            self._tree.update(directory)
        elif name.startswith(WHITEOUT):
            self._replace(parent, hidden_name(name), LayerEntry(EntryType.WHITEOUT))
        elif member.kind == forward_tar.GLOBAL:
            # containerd creates nothing for it, and removes what has its name, as for any other entry.
            self._remove(parent, name)
        elif member.kind == forward_tar.LINK:
            self._link(parent, name, member)
        else:
            self._put(parent, name, archive, member)

    def _link(self, parent: int, name: bytes, member: TarEntry) -> None:
        """Apply a hard link: owner, mode and attributes of its header replace those of the file."""
        linked = self._find(path_parts(member.target))
        if linked is None:
            self._remove(parent, name)
            return
        if linked.type not in (EntryType.DIRECTORY, EntryType.WHITEOUT):
            linked.xattrs.pop(CAPABILITY, None)
            self._describe(linked, member)
        self._forget()
        self._tree.link(parent, name, linked)

    def _put(self, parent: int, name: bytes, archive: TarReader, member: TarEntry) -> None:
        kind = _KINDS.get(member.kind)
        if kind is None:
            return
        before = self._tree.child(parent, name)
        if kind is EntryType.DIRECTORY and before is not None and before.type is EntryType.DIRECTORY:
            self._describe(before, member)
            self._tree.update(before)
            return
        entry = LayerEntry(kind, device=member.device)
        self._describe(entry, member)
        if kind is EntryType.SYMLINK:
            entry.target = member.target
        if kind is EntryType.FILE:
            entry.size = member.size
            if self._content:
                entry.sha256 = self._hash(archive, member)
        if before is None and kind is not EntryType.SYMLINK:
            # It changes no path.
            self._tree.add(parent, name, entry)
        else:
            self._replace(parent, name, entry)

    def _replace(self, parent: int, name: bytes, entry: LayerEntry) -> None:
        self._forget()
        self._tree.add(parent, name, entry)

    def _remove(self, parent: int, name: bytes) -> None:
        self._forget()
        self._tree.remove(parent, name)

    def _forget(self) -> None:
        """Forget the last directory: its path may lead elsewhere now."""
        self._known = [], TOP

    def _hash(self, archive: TarReader, member: TarEntry) -> bytes:
        if member.segments is not None:
            self._sparse += member.size
            if self._sparse > MOST_SPARSE:
                raise UnreadableLayer(f"its layer has more than {MOST_SPARSE} bytes in files with holes")
        digest = hashlib.sha256()
        for chunk in archive.data(member):
            digest.update(chunk)
            # A hole gives zeros without a read, which would call it.
            if self._stop():
                raise ReadStopped
        return digest.digest()

    def _describe(self, entry: LayerEntry, member: TarEntry) -> None:
        entry.mode, entry.uid, entry.gid = member.mode & 0o7777, member.uid, member.gid
        takes_user = entry.type in (EntryType.FILE, EntryType.DIRECTORY)
        takes_acl = entry.type is not EntryType.SYMLINK
        entry.xattrs |= list_attributes(member.records, takes_user=takes_user, takes_acl=takes_acl)

    def _parent(self, parts: list[bytes]) -> int:
        """Find or make a directory by its path; links in this layer are followed."""
        if parts == self._known[0]:
            return self._known[1]
        here = TOP
        for part in self._resolved(parts):
            child = self._tree.child(here, part)
            if child is None or child.type is not EntryType.DIRECTORY:
                child = self._tree.add(here, part, LayerEntry(EntryType.DIRECTORY))
            here = child.node
        self._known = parts, here
        return here

    def _find(self, parts: list[bytes]) -> LayerEntry | None:
        if not parts:
            return None
        found: LayerEntry | None = self._tree.entry(TOP)
        for part in [*self._resolved(parts[:-1]), parts[-1]]:
            found = None if found is None else self._tree.child(found.node, part)
        return found

    def _resolved(self, parts: list[bytes]) -> list[bytes]:
        done: list[bytes] = []
        todo = parts[::-1]
        here: list[int | None] = [TOP]
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
            child = None if here[-1] is None else self._tree.child(here[-1], part)
            if child is not None and child.type is EntryType.SYMLINK:
                hops += 1
                if hops > HOPS:
                    raise UnreadableLayer("its layer has a loop of links")
                self._follow(len(child.target))
                if child.target.startswith(b"/"):
                    done, here = [], [TOP]
                todo += child.target.split(b"/")[::-1]
                continue
            done.append(part)
            here.append(None if child is None else child.node)
        if sum(map(len, done)) + len(done) > _PATH_MAX:
            raise UnreadableLayer("its layer has a path longer than Linux takes")
        return done

    def _follow(self, length: int) -> None:
        """Count bytes of followed links: forty long links on the path of each of many entries would take hours."""
        self._followed += length
        if self._followed > _MOST_FOLLOWED + self._seen * _FOLLOWED_EACH:
            raise UnreadableLayer("its layer has too many links on the paths of its entries")


def entry_parts(name: bytes) -> list[bytes]:
    """The parts of the path of an entry; none if containerd ignores it: the root directory, and aufs' own files."""
    parts = path_parts(name)
    if parts and parts[-1] != OPAQUE and any(part.startswith(_AUFS) for part in parts):
        return []
    return parts


def hidden_name(whiteout: bytes) -> bytes:
    """What a whiteout hides, by its name.

    Raises:
        UnreadableLayer: it has no name.
    """
    hidden = whiteout[len(WHITEOUT) :]
    if hidden in (b"", b".", b".."):
        raise UnreadableLayer("its layer has a whiteout without a name")
    return hidden


def path_parts(name: bytes) -> list[bytes]:
    """The parts of a path in a layer, as containerd cleans it: nothing leads above the layer."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return parts
