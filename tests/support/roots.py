"""What is compared of a containerd root: its data by contents, its databases by Go's reading of them."""

from __future__ import annotations

from pathlib import Path

from tests.support import gobbolt
from tests.support.records import METADATA
from tests.support.trees import tree


def databases(root: Path) -> list[Path]:
    """meta.db, and each snapshotter's metadata.db."""
    return [root / METADATA, *sorted(root.glob("io.containerd.snapshotter.v1.*/metadata.db"))]


def dumps(root: Path) -> dict[str, str]:
    """Go's dump of each database."""
    return {str(path.relative_to(root)): gobbolt.dump(path) for path in databases(root)}


def data(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything but the databases, without times and links' counts."""
    names = {bytes(path.relative_to(root)) for path in databases(root)}
    # Not the size of folders either: some file systems never shrink one.
    return {
        name: (mode, uid, gid, None if what is None else size, what)
        for name, (mode, uid, gid, size, _, what, _) in tree(root, times=False).items()
        if name not in names
    }
