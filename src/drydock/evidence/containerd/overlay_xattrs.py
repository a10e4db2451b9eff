"""How layers hide entries of lower layers: whiteouts and attributes of the kernel's overlay and of fuse-overlayfs.

Sources: Linux fs/overlayfs/namei.c, util.c (ovl_path_is_whiteout), xattrs.c (ovl_own_xattr_handlers), v6.12;
fuse-overlayfs main.c (load_dir, is_directory_opaque, set_fd_opaque, create_whiteout, can_access_xattr), v1.10, and
the same in src/whiteout.rs and src/xattr.rs after v1.16.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WHITEOUT: Final = b".wh."
SENTINEL: Final = b".wh..wh..opq"
"""A file that marks its directory as opaque, where attributes cannot."""


@dataclass(frozen=True, slots=True)
class OverlayFormat:
    """How one implementation of overlay marks layers."""

    private: tuple[bytes, ...]
    """Prefixes of its own attributes; it writes the first. Empty: it is no layer, and nothing is marked."""
    trusted: bool
    """Whether no container can write these attributes; else redirects and metacopies are not followed."""
    by_files: bool = False
    """fuse-overlayfs: files may mark whiteouts and opaque directories, and there are no redirects and no metacopies."""

    def visible(self, xattrs: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """Extended attributes as a mount shows them: without its own, and with escaped ones unescaped."""
        if not self.private:
            return dict(xattrs)
        own = self.private[0]
        escaped = own + b"overlay."
        shown_as: dict[bytes, bytes] = {}
        for key, value in xattrs.items():
            if not self.by_files and key.startswith(escaped):
                shown_as[own + key[len(escaped) :]] = value
            elif not key.startswith(self.private):
                shown_as[key] = value
        return shown_as

    def is_whiteout(self, info: os.stat_result, xattrs: Mapping[bytes, bytes]) -> bool:
        """Whether an entry is a whiteout."""
        if not self.private:
            return False
        if stat.S_ISCHR(info.st_mode):
            return info.st_rdev == 0
        if self.by_files:
            return False
        is_empty = stat.S_ISREG(info.st_mode) and not info.st_size
        return is_empty and self.private[0] + b"whiteout" in xattrs

    def is_opaque(self, name: bytes, parent: int, xattrs: Mapping[bytes, bytes]) -> bool:
        """Whether the directory ``name`` in the open directory ``parent`` hides the layers below it."""
        if any(xattrs.get(own + b"opaque", b"")[: 1 if self.by_files else None] == b"y" for own in self.private):
            return True
        return self.by_files and _exists(name + b"/" + SENTINEL, parent)

    def redirect(self, xattrs: Mapping[bytes, bytes]) -> bytes | None:
        """The former path of a directory that was renamed."""
        return None if self.by_files or not self.private else xattrs.get(self.private[0] + b"redirect")

    def is_metacopy(self, xattrs: Mapping[bytes, bytes]) -> bool:
        """Whether a file has its data in a lower layer."""
        return not self.by_files and bool(self.private) and self.private[0] + b"metacopy" in xattrs


KERNEL: Final = OverlayFormat((b"trusted.overlay.",), trusted=True)
USER: Final = OverlayFormat((b"user.overlay.",), trusted=False)
"""The kernel's in a user namespace, mounted with ``userxattr``."""
FUSE: Final = OverlayFormat(
    (b"user.fuseoverlayfs.", b"trusted.overlay.", b"user.overlay."), trusted=False, by_files=True
)
PLAIN: Final = OverlayFormat((), trusted=False)
"""A directory that is no layer, such as a volume: everything in it is shown as it is."""


def _exists(path: bytes, parent: int) -> bool:
    try:
        os.stat(path, dir_fd=parent, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
