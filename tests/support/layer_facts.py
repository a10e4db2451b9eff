"""All that a layer says of its files, as they are on disk."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

_RECENT = 1_700_000_000 * 10**9
"""Later times are not a layer's: the layers of tests have older ones."""


def layer_facts(top: Path) -> dict[bytes, tuple[object, ...]]:
    """Mode, owner, time, device, attributes, bytes and names of each file below a directory, except for the top itself.

    The names of a file are all paths that lead to its inode. A time that no layer has is left out.
    """
    start = os.fsencode(top)
    found: dict[bytes, tuple[object, ...]] = {}
    names: dict[int, list[bytes]] = {}
    for folder, folders, files in os.walk(start):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            short = os.path.relpath(path, start)
            info = os.lstat(path)
            what: object = os.readlink(path) if stat.S_ISLNK(info.st_mode) else None
            if stat.S_ISREG(info.st_mode):
                what = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
            attributes = {
                key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
            }
            if not stat.S_ISDIR(info.st_mode):
                names.setdefault(info.st_ino, []).append(short)
            found[short] = (
                info.st_mode, info.st_uid, info.st_gid, None if info.st_mtime_ns > _RECENT else info.st_mtime_ns,
                info.st_rdev, what, attributes,
            )  # fmt: skip
    for paths in names.values():
        for path in paths:
            found[path] += (sorted(paths),)
    return found
