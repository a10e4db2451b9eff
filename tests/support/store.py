"""A small containerd root on disk, and removals of what is in it."""

import os
import stat
from pathlib import Path

from drydock.evidence.files.directory import fingerprint
from drydock.model.plans import Removal, Target

BLOBS = "io.containerd.content.v1.content/blobs/sha256"
INGEST = "io.containerd.content.v1.content/ingest"
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"


class Store:
    """Builds a root below ``path``; each ``add_…`` returns the thing's path below the root, as text."""

    def __init__(self, path):
        self.path = path
        for folder in (BLOBS, INGEST, SNAPSHOTS):
            (path / folder).mkdir(parents=True)

    @property
    def root(self):
        """The root's absolute path."""
        return os.fsencode(self.path)

    def add_blob(self, name="ab" * 32, data=b"blob" * 2000):
        """A blob."""
        (self.path / BLOBS / name).write_bytes(data)
        return f"{BLOBS}/{name}"

    def add_ingest(self, name="cd" * 32):
        """An ingest directory with what containerd puts there."""
        folder = self.path / INGEST / name
        folder.mkdir()
        for file in ("ref", "data", "total", "startedat", "updatedat"):
            (folder / file).write_bytes(file.encode())
        return f"{INGEST}/{name}"

    def add_snapshot(self, name="5", files=3):
        """A snapshot's directory."""
        folder = self.path / SNAPSHOTS / name
        (folder / "fs" / "etc").mkdir(parents=True)
        (folder / "work").mkdir()
        for number in range(files):
            (folder / "fs" / "etc" / f"file{number}").write_bytes(b"x" * 5000)
        return f"{SNAPSHOTS}/{name}"

    def aim(self, path, target=None):
        """The removal of ``path`` as it is now."""
        if target is None:
            target = {"blobs": Target.BLOB, "ingest": Target.INGEST, "snapshots": Target.SNAPSHOT}[
                path.split("/")[-3 if "/blobs/" in path else -2]
            ]
        info = os.lstat(self.path / path)
        return Removal(target, self.root, os.fsencode(path), fingerprint(info), info.st_size, "no record names it")

    def list(self):
        """Every path below the root with its kind and content, for comparison."""
        found = {}
        for folder, folders, files in os.walk(self.path):
            for name in folders + files:
                path = os.path.join(folder, name)
                mode = os.lstat(path).st_mode
                content = Path(path).read_bytes() if stat.S_ISREG(mode) else None
                found[os.path.relpath(path, self.path)] = (mode, content)
        return found
