"""Recognise the data that a run moved to a quarantine, also as a copy, or with another mode or owner.

A blob is recognised by its name: it is hashed if its inode is not that in the journal. A directory is recognised by its
manifest. Without a manifest, as in a journal of an older drydock, only the very same directory with the same mode is
recognised.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import zip_longest
from typing import Final, NamedTuple

from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.regular import open_regular
from drydock.model.names import RawPath
from drydock.model.plans import Removal, Target
from drydock.model.text import shown
from drydock.reclaim.quarantine_manifest import ManifestEntry, walk

_CHUNK: Final = 1 << 20
_HEX: Final = re.compile(rb"[0-9a-f]{32,128}\Z")
_NAMED: Final = 8
"""This many of the last names of a path are shown."""
_MODE: Final = 0o7777
Owner = tuple[int, int]
"""User and group."""


class Quarantined(NamedTuple):
    """A file or directory that a run moved, or was about to move, as the journal describes it."""

    removal: Removal
    owner: Owner | None = None
    """None if the journal does not have it."""
    manifest: Callable[[], Generator[ManifestEntry, None, None]] | None = None
    """Manifest of a directory, which each call reads again."""
    without: str = "the run wrote no manifest"
    """Why there is no manifest; shown."""

    def is_same(self, info: os.stat_result) -> bool:
        """Whether it is the same inode, with its former mode and owner."""
        expect = self.removal.expect
        owner = self.owner in (None, (info.st_uid, info.st_gid))
        return _identity(info) == (expect.device, expect.inode) and info.st_mode == expect.mode and owner


class Recognition(NamedTuple):
    """Result of a comparison."""

    wrong: str | None = None
    """Why it is not what was moved, on one shown line; None if it is."""
    has_other: bool = False
    """Whether its mode, owner or time, or those of something in it, differ."""


def open_aside(to: RawPath, path: RawPath) -> int:
    """The open folder in a quarantine that something was moved to.

    Args:
        to: absolute path that it was moved to, as the journal has it.
        path: where it came from, relative to its root.

    Raises:
        OSError: it is not there, or the place is none of a quarantine.
    """
    run = to.removesuffix(b"/" + path)
    if not to.startswith(b"/") or run == to or b".." in to.split(b"/"):
        raise OSError(errno.EINVAL, f"{shown(to)} is not a path in a quarantine")
    try:
        apart = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return open_directory(apart, os.path.dirname(path))
        finally:
            os.close(apart)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "it is not in quarantine") from error


def recognise(parent: int, name: bytes, info: os.stat_result, moved: Quarantined) -> Recognition:
    """Whether ``name`` in the open directory ``parent`` is what was moved.

    Args:
        parent: the directory that holds it.
        name: one component.
        info: status of ``name``; no link was followed.
        moved: what the journal has about it.

    Raises:
        OSError: it cannot be read.
    """
    expect = moved.removal.expect
    if stat.S_IFMT(info.st_mode) != stat.S_IFMT(expect.mode):
        return Recognition("it has another type")
    same = _identity(info) == (expect.device, expect.inode)
    if stat.S_ISDIR(info.st_mode):
        return _recognise_directory(parent, name, info, moved, same=same)
    unchanged = (info.st_size, info.st_mtime_ns) == (expect.size, expect.mtime_ns)
    wrong = None if unchanged else "its size or time differs"
    if stat.S_ISREG(info.st_mode) and moved.removal.target is Target.BLOB and not (same and unchanged):
        wrong = _recognise_blob(parent, name, info, moved.removal)
    return Recognition(wrong, not moved.is_same(info) or not unchanged)


def mend(parent: int, name: bytes, moved: Quarantined) -> None:
    """Restore the modes and owners of recognised data, and the time of a file.

    Raises:
        OSError: one of them cannot be changed.
    """
    expect = moved.removal.expect
    if not stat.S_ISDIR(expect.mode):
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        owner = info.st_uid, info.st_gid
        _set(parent, name, (info.st_mode, *owner), (expect.mode, *(moved.owner or owner)))
        if stat.S_ISREG(info.st_mode) and info.st_mtime_ns != expect.mtime_ns:
            try:
                os.utime(name, ns=(info.st_atime_ns, expect.mtime_ns), dir_fd=parent, follow_symlinks=False)
            except OverflowError:
                raise OSError(errno.EINVAL, "its time in the journal is out of range") from None
        return
    if moved.manifest is None:
        return
    with closing(moved.manifest()) as lines, closing(walk(parent, name)) as entries:
        for entry, line in zip_longest(entries, lines):
            if entry is None or line is None or _differs(entry[0], line) is not None:
                raise OSError(errno.ESTALE, "it changed during the undo")
            found, folder, at = entry
            # Before the walk enters the directory: its mode may keep even its owner out.
            _set(folder, at, found[2:5], line[2:5])


def _recognise_directory(
    parent: int, name: bytes, info: os.stat_result, moved: Quarantined, *, same: bool
) -> Recognition:
    if moved.manifest is None:
        if moved.is_same(info):
            return Recognition()
        if same:
            return Recognition(f"its mode or owner differs, and nothing shows what else does: {moved.without}")
        return Recognition(f"it is another directory, and nothing shows whether it is a copy: {moved.without}")
    names: list[bytes] = []
    others = False
    with closing(moved.manifest()) as lines, closing(walk(parent, name)) as entries:
        for pair in zip_longest(entries, lines):
            entry, line = pair
            found = None if entry is None else entry[0]
            one = found if line is None or (found is not None and _comes_first(found, line)) else line
            assert one is not None, "one of the two has another entry"
            names[max(one.depth - 1, 0) :] = [one.name]
            wrong = _differs(found, line)
            if wrong is not None:
                return Recognition(f"{shown(b'/'.join(names[-_NAMED:])) or '.'} {wrong}")
            others = others or (found is not None and line is not None and found[2:5] != line[2:5])
    return Recognition(None, others)


def _differs(found: ManifestEntry | None, line: ManifestEntry | None) -> str | None:
    """How an entry differs from its line in a manifest; None if it does not."""
    if line is None or (found is not None and _comes_first(found, line)):
        return "was not in it"
    if found is None or _comes_first(line, found):
        return "is missing"
    if stat.S_IFMT(found.mode) != stat.S_IFMT(line.mode):
        return "has another type"
    if found.size != line.size:
        return f"has {found.size} bytes, not {line.size}"
    if found.mtime != line.mtime:
        return "was written to: its mtime differs"
    return None if found.more == line.more else "has another link target, or other extended attributes"


def _comes_first(one: ManifestEntry, other: ManifestEntry) -> bool:
    """Whether an entry comes before another in the order of a manifest; deeper entries follow their directory."""
    return one.depth > other.depth or (one.depth == other.depth and one.name < other.name)


def _recognise_blob(parent: int, name: bytes, info: os.stat_result, removal: Removal) -> str | None:
    """Why a file is not the blob of its name; None if it is."""
    if info.st_size != removal.expect.size:
        return f"it has {info.st_size} bytes, not {removal.expect.size}"
    algorithm = removal.path.split(b"/")[-2]
    wanted = os.path.basename(removal.path)
    if not _HEX.match(wanted) or algorithm not in (b"sha256", b"sha384", b"sha512"):
        return "it is another file, and its name is not a digest that could show whether it is a copy"
    digest = hashlib.new(algorithm.decode())
    fd = open_regular(name, parent)
    try:
        buffer = memoryview(bytearray(_CHUNK))
        while got := os.readv(fd, [buffer]):
            digest.update(buffer[:got])
    finally:
        os.close(fd)
    return None if digest.hexdigest().encode() == wanted else "its bytes do not match the digest in its name"


def _set(folder: int, name: bytes, now: tuple[int, int, int], wanted: tuple[int, int, int]) -> None:
    """Restore the mode, user and group of an entry."""
    if now == wanted:
        return
    if now[1:] != wanted[1:]:
        os.chown(name, *wanted[1:], dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(now[0]):
        return
    # No link is followed and no device is opened: the link in /proc leads to the inode of the descriptor.
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if stat.S_IFMT(os.fstat(fd).st_mode) == stat.S_IFMT(wanted[0]):
            # After the owner, because chown(2) clears set-user-id.
            os.chmod(f"/proc/self/fd/{fd}", wanted[0] & _MODE)
    finally:
        os.close(fd)


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino
