"""Real overlay mounts of layers made by hand, and file trees as values to compare them by."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.unavailable import EngineUnavailable

_OPTIONS = "index=off,redirect_dir=on,metacopy=on"


class Layers:
    """A folder of layers ``snapshots/N/fs``; each is written by mounting it above the former and working in that."""

    def __init__(self, path: Path, options: str = _OPTIONS) -> None:
        self.path = path
        self._options = options
        self._kind = "overlay"
        self.count = 0

    @contextmanager
    def new(self) -> Iterator[Path]:
        """One more layer, mounted above all others: what is done here is what overlay records in it."""
        self.count += 1
        for part in ("fs", "work"):
            (self.path / "snapshots" / str(self.count) / part).mkdir(parents=True)
        if self.count == 1:
            yield self._layer(1)
            return
        lower = ":".join(str(self._layer(number)) for number in range(self.count - 1, 0, -1))
        top = self._layer(self.count)
        options = f"lowerdir={lower},upperdir={top},workdir={top.parent / 'work'},{self._options}"
        with mount(options, self.path, self._kind) as point:
            yield point

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """All layers, read-only."""
        layers = [str(self._layer(number)) for number in range(self.count, 0, -1)]
        # overlay wants two; an empty one below changes nothing.
        (self.path / "empty").mkdir(exist_ok=True)
        options = self._options.replace("redirect_dir=on", "redirect_dir=follow")
        with mount(f"lowerdir={':'.join([*layers, str(self.path / 'empty')])},{options}", self.path) as point:
            yield point

    def _layer(self, number: int) -> Path:
        return self.path / "snapshots" / str(number) / "fs"


class FuseLayers(Layers):
    """The same, written and shown by fuse-overlayfs.

    Args:
        path: the folder.
        files: whether :meth:`change` leaves whiteouts that are files, as where no device may be made.
        user: whether it writes in a user namespace, where no ``trusted.`` attribute may be set.

    Raises:
        EngineUnavailable: no fuse-overlayfs, or no /dev/fuse.
    """

    def __init__(self, path: Path, *, files: bool = False, user: bool = False) -> None:
        super().__init__(path, "")
        self._kind = "fuse.fuse-overlayfs"
        self._files = files
        self._user = user
        need_fuse()

    def change(self, script: str) -> None:
        """One more layer: what a shell does in the mount, at its root, is what fuse-overlayfs records in it."""
        lower = self._stacked()
        self.count += 1
        top = self._layer(self.count)
        for part in (top, top.parent / "work"):
            part.mkdir(parents=True)
        self._run(f"lowerdir={lower},upperdir={top},workdir={top.parent / 'work'}", script)

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """All layers, read-only."""
        with mount(f"lowerdir={self._stacked()}", self.path, self._kind) as point:
            yield point

    def _stacked(self) -> str:
        return ":".join(str(self._layer(number)) for number in range(self.count, 0, -1))

    def _run(self, options: str, script: str) -> None:
        point = self.path / f"mount-{len(list(self.path.iterdir()))}"
        point.mkdir()
        whole = f"fuse-overlayfs -o '{options}' '{point}' && cd '{point}' && set -e; {script}\ncd /; umount '{point}'"
        environment = {**os.environ, **({"FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT": "1"} if self._files else {})}
        # In namespaces of its own: the mount goes with the shell.
        command = ["unshare", *(["-U", "-r"] if self._user else []), "-m", "bash", "-c", whole]
        subprocess.run(command, env=environment, check=True)


def need_fuse() -> None:
    """Raises EngineUnavailable where fuse-overlayfs cannot be run."""
    if shutil.which("fuse-overlayfs") is None or not Path("/dev/fuse").exists():
        raise EngineUnavailable("fuse-overlayfs or /dev/fuse is not here")


@contextmanager
def mount(options: str, beside: Path, kind: str = "overlay") -> Iterator[Path]:
    """A mount on a folder made beside the layers, for as long as the context lasts."""
    point = beside / f"mount-{len(list(beside.iterdir()))}"
    point.mkdir()
    subprocess.run(["mount", "-t", kind, kind, "-o", options.strip(","), str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


def unpack_tar(archive: Path, target: Path) -> None:
    """GNU tar unpacks an archive with everything it knows."""
    target.mkdir()
    subprocess.run(
        ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", str(target), "-xpf", str(archive)],
        check=True,
        stderr=subprocess.PIPE,
    )


def facts(top: Path) -> tuple[dict[bytes, tuple[object, ...]], set[frozenset[bytes]]]:
    """What a tree holds: for every path its type, mode, owner, times, size, device, link, bytes and xattrs.

    Besides, the groups of paths that are one file. Sockets are left out: no tar holds them.
    """
    found: dict[bytes, tuple[object, ...]] = {}
    groups: dict[tuple[int, int], set[bytes]] = {}
    root = os.fsencode(top)
    pending = [b"."]
    while pending:
        path = pending.pop()
        whole = os.path.join(root, path)
        info = os.lstat(whole)
        mode = info.st_mode
        if stat.S_ISSOCK(mode):
            continue
        if stat.S_ISDIR(mode):
            pending += [os.path.join(path, name) for name in os.listdir(whole)]
        else:
            groups.setdefault((info.st_dev, info.st_ino), set()).add(path)
        found[path] = (
            stat.filemode(mode),
            info.st_uid,
            info.st_gid,
            info.st_mtime_ns,
            None if stat.S_ISDIR(mode) else info.st_size,
            info.st_rdev,
            os.readlink(whole) if stat.S_ISLNK(mode) else None,
            hashlib.sha256(Path(os.fsdecode(whole)).read_bytes()).hexdigest() if stat.S_ISREG(mode) else None,
            {key: os.getxattr(whole, key, follow_symlinks=False) for key in os.listxattr(whole, follow_symlinks=False)},
        )
    return found, {frozenset(group) for group in groups.values() if len(group) > 1}
