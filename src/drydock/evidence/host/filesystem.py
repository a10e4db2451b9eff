"""A host's file system, mounted anywhere: its own paths are followed inside it, and never out of it."""

from __future__ import annotations

import errno
import fnmatch
import itertools
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from drydock.evidence.files.directory import folder
from drydock.model.names import RawPath

_LINKS = 40  # the kernel's own bound on one path (include/linux/namei.h, MAXSYMLINKS)
_LONGEST = 4096


class Host(NamedTuple):
    """The file system of a host whose ``/`` this process reaches as ``root``."""

    root: RawPath = RawPath(b"/")

    def reach(self, path: bytes) -> RawPath:
        """Where this process finds ``path`` of that host.

        Links are followed as that host follows them, an absolute one from its root; ``..`` stops at its root. Names
        that do not exist are appended as they are.

        Args:
            path: absolute in that host.

        Raises:
            OSError: the path has more links than a kernel follows, or is not valid.
        """
        if not path.startswith(b"/") or b"\0" in path or len(path) > _LONGEST:
            raise OSError(errno.EINVAL, "not an absolute path")
        todo = [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]
        top = self.root.rstrip(b"/")
        done: list[bytes] = []
        here = top
        links = 0
        while todo:
            name = todo.pop()
            if name == b"..":
                del done[-1:]
                here = b"/".join((top, *done))
                continue
            done.append(name)
            here += b"/" + name
            try:
                target = os.readlink(here)
            except OSError:  # no link, or missing
                continue
            links += 1
            if links > _LINKS or len(todo) > _LONGEST:
                raise OSError(errno.ELOOP, "too many links")
            if target.startswith(b"/"):
                done.clear()
            else:
                done.pop()
            here = b"/".join((top, *done))
            todo.extend(name for name in reversed(target.split(b"/")) if name not in (b"", b"."))
        return RawPath(os.path.join(self.root, *done))

    def name(self, reached: RawPath) -> RawPath:
        """The path in that host of ``reached``, a path from :meth:`reach`."""
        return RawPath(b"/" + reached[len(self.root.rstrip(b"/")) :].lstrip(b"/"))

    def folder(self, path: bytes) -> RawPath | None:
        """Where this process finds ``path`` of that host; None if it is no folder."""
        try:
            reached = self.reach(path)
        except OSError:
            return None
        return reached if is_folder(reached) else None

    def matches(self, path: bytes, limit: int) -> list[RawPath]:
        """The paths in that host that ``path`` matches; its last name may be a pattern.

        Args:
            path: absolute in that host.
            limit: how many names of the folder are looked at.
        """
        folder, name = os.path.split(path)
        if not has_pattern(name):
            return [RawPath(path)]
        reached = self.folder(folder)
        found = sorted(names(reached, limit)) if reached else []
        return [RawPath(os.path.join(folder, each)) for each in found if fnmatch.fnmatchcase(each, name)]

    def hidden_reason(self, path: bytes) -> str | None:
        """Why ``path`` may have something that this process does not see: a dangling link, or an error.

        Returns:
            The reason; None if the path can be looked at, or is missing without a link to it.
        """
        try:
            for end in [at for at, char in enumerate(path) if char == ord("/") and at] + [len(path)]:
                reached = self.reach(path[:end])
                try:
                    os.lstat(reached)
                except (FileNotFoundError, NotADirectoryError):
                    name = os.path.join(self.reach(os.path.dirname(path[:end])), os.path.basename(path[:end]))
                    return "a link to what is not there" if os.path.islink(name) else None
        except OSError as error:
            return error.strerror or str(error)
        return None


def has_pattern(text: bytes) -> bool:
    """Whether a path or a name has a shell pattern."""
    return any(char in text for char in b"*?[")


def is_folder(path: bytes) -> bool:
    """Whether ``path`` itself is a folder; a link to one is not."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def names(path: bytes, limit: int) -> Iterator[bytes]:
    """At most ``limit`` names in a folder, in no order; none if it cannot be read."""
    try:
        with folder(RawPath(path)) as descriptor, os.scandir(descriptor) as entries:
            for entry in itertools.islice(entries, limit):
                yield os.fsencode(entry.name)
    except OSError:
        return
