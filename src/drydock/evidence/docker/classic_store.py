"""Docker's classic image store: how much of it a data root has, where what is in it is not judged.

Source: moby layer/filestore.go (``layerdb/<algorithm>/<chain id>``), image/fs.go, daemon/graphdriver/overlay2/
overlay.go (``l/`` has a short link for each layer), v28.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from drydock.evidence.files.directory import folder, may_be_folder, names
from drydock.model.findings import Finding, Place, Severity
from drydock.model.names import RawPath
from drydock.model.text import shown

_LAYERS = (b"layerdb", b"sha256")
_IMAGES = (b"imagedb", b"content", b"sha256")
_LINKS = b"l"


def note_classic_store(data: RawPath) -> Iterator[Finding]:
    """Say of each graph driver of a data root that has layers how many images, layers and directories it has.

    What cannot be listed is told by :func:`drydock.evidence.docker.containers.read_images`.
    """
    with suppress(OSError), folder(data, b"image") as descriptor:
        for driver in names(descriptor):
            if not may_be_folder(driver, descriptor):
                continue
            layers, images = (_count(data, b"image", driver, *parts) for parts in (_LAYERS, _IMAGES))
            directories = _count(data, driver, apart=_LINKS)
            if layers or images:
                store = shown(data + b"/" + driver)
                yield Finding(
                    "classic-store",
                    Severity.NOTE,
                    f"{store} is Docker's classic image store, with images: {images}, layers: {layers}, directories: "
                    f"{directories}; drydock judges and measures none of them: they are in no figure here",
                    Place(RawPath(data + b"/image/" + driver)),
                    shown(driver),
                    "docker system df measures them, while Docker runs",
                )


def _count(data: RawPath, *parts: bytes, apart: bytes = b"") -> int:
    with suppress(OSError), folder(data, *parts) as descriptor:
        return sum(name != apart for name in names(descriptor))
    return 0
