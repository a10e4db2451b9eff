"""The root of a BuildKit worker, so that a real containerd reads it: the same parts at other places."""

from __future__ import annotations

import subprocess
from pathlib import Path

PLACES = {
    "containerdmeta.db": "io.containerd.metadata.v1.bolt/meta.db",
    "content": "io.containerd.content.v1.content",
    "snapshots": "io.containerd.snapshotter.v1.overlayfs",
}
"""Of a worker with overlayfs, and where containerd has the same."""


def as_containerd(worker: Path, root: Path) -> Path:
    """Copy a worker to a new folder as the root of a containerd, and give that."""
    for part, place in PLACES.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", worker / part, root / place], check=True)
    return root
