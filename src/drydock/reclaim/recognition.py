"""Whether what lies somewhere is what a run moved to quarantine, be it as a copy or with another mode or owner.

A blob is known by its name: it is hashed where it has another inode than the journal says. A directory is known by its
manifest. Where there is none, as in a journal of an older drydock, only the very same directory, of the same mode, is
taken for it.
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

from drydock.evidence.files.regular import open_regular
from drydock.model.plans import Removal, Target
from drydock.model.text import shown
from drydock.reclaim.quarantine_manifest import ManifestEntry, walk

_CHUNK: Final = 1 << 20
_HEX: Final = re.compile(rb"[0-9a-f]{32,128}\Z")
_NAMED: Final = 8
"""So many of the last names of a path are said."""
_MODE: Final = 0o7777
Owner = tuple[int, int]
"""User and group."""


class Quarantined(NamedTuple):
    """What a journal says of something that a run moved, or was about to."""

    removal: Removal
    owner: Owner | None = None
    """None where the journal does not say."""
    manifest: Callable[[], Generator[ManifestEntry, None, None]] | None = None
    """Of a directory, read anew at each call."""
    without: str = "the run wrote no manifest"
    """Why there is none; shown."""

    def is_same(self, info: os.stat_result) -> bool:
        """Whether it is the very same, and has its mode and owner."""
        expect = self.removal.expect
        owner = self.owner in (None, (info.st_uid, info.st_gid))
        return _identity(info) == (expect.device, expect.inode) and info.st_mode == expect.mode and owner


class Recognition(NamedTuple):
    """What was found."""

    wrong: str | None = None
    """Why it is not what was moved, on one shown line; None if it is."""
    has_other: bool = False
    """Whether it, or something in it, has another mode, owner or time than it had."""


def recognise(parent: int, name: bytes, info: os.stat_result, moved: Quarantined) -> Recognition:
    """Whether ``name`` in the open directory ``parent`` is what was moved.

    Args:
        parent: where it lies.
        name: one component.
        info: what ``name`` is; no link was followed.
        moved: what the journal says.

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
    """Give what was recognised the modes and owners that it had, and a file its time.

    Raises:
        OSError: one cannot be changed.
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
                raise OSError(errno.EINVAL, "the journal's time of it is none") from None
        return
    if moved.manifest is None:
        return
    with closing(moved.manifest()) as lines, closing(walk(parent, name)) as entries:
        for entry, line in zip_longest(entries, lines):
            if entry is None or line is None or _differs(entry[0], line) is not None:
                raise OSError(errno.ESTALE, "it changes meanwhile")
            found, folder, at = entry
            # Before the walk goes into a directory: its mode may keep its owner out.
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
    """Whether an entry comes before another in a manifest that has both; what is deeper belongs to the one before."""
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
    """Give an entry the mode, user and group that it had."""
    if now == wanted:
        return
    if now[1:] != wanted[1:]:
        os.chown(name, *wanted[1:], dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(now[0]):
        return
    # No link is followed, and a device is not opened: the link in /proc leads to what the descriptor is of.
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if stat.S_IFMT(os.fstat(fd).st_mode) == stat.S_IFMT(wanted[0]):
            # After the owner: a change of that takes set-user-id away (chown(2)).
            os.chmod(f"/proc/self/fd/{fd}", wanted[0] & _MODE)
    finally:
        os.close(fd)


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino
