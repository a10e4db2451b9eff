"""A file tree as text, for "nothing changed"."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path


def tree(path: Path, *, times: bool = True) -> dict[bytes, tuple[object, ...]]:
    """Every entry below ``path``: type, mode, owner, size, contents, and its three times in nanoseconds.

    Access times are taken before anything is read, and put back after.
    """
    found: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(path)
    for folder, folders, files in os.walk(top):
        for name in [b"", *folders, *files] if folder == top else [*folders, *files]:
            entry = os.path.join(folder, name)
            # The times of folders change when they are listed; os.walk lists a folder after it was seen here.
            info = os.lstat(entry)
            what: object = os.readlink(entry) if stat.S_ISLNK(info.st_mode) else None
            if stat.S_ISREG(info.st_mode) and info.st_size < 64 << 20:
                what = _contents(entry)
            stamps = (info.st_mtime_ns, info.st_ctime_ns, info.st_atime_ns if stat.S_ISREG(info.st_mode) else 0)
            found[os.path.relpath(entry, top)] = (
                info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_nlink, what, stamps if times else None,
            )  # fmt: skip
    return found


def _contents(entry: bytes) -> str:
    descriptor = os.open(entry, os.O_RDONLY | os.O_NOATIME | os.O_NOFOLLOW)
    try:
        digest = hashlib.sha256()
        while chunk := os.read(descriptor, 1 << 20):
            digest.update(chunk)
        return digest.hexdigest()
    finally:
        os.close(descriptor)
