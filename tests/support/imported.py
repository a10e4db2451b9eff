"""A containerd root into which a real containerd unpacked an image."""

from __future__ import annotations

from pathlib import Path

from tests.engines.containerd import Containerd
from tests.engines.images import Image, write_archive
from tests.engines.sandbox import Sandbox


def imported(work: Path, image: Image) -> Path:
    """Import an image whose layers are compressed with zstd, with overlayfs; gives the root, which is below ``work``.

    Raises:
        EngineUnavailable: no containerd can be run here.
    """
    made = work / "var/lib/containerd"
    made.mkdir(parents=True)
    archive = work / "image.tar"
    write_archive(archive, {"docker.io/library/rich:1": image})
    with Sandbox(work) as sandbox, Containerd(sandbox, made, collect=False) as engine:
        engine.ctr("images", "import", archive)
        assert "+zstd" in engine.ctr_text("content", "get", image.manifest.digest)
    return made
