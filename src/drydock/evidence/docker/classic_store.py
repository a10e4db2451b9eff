"""Docker's classic image store in a data root: its image ids and downloads, and what other drivers than overlay2 hold.

Sources: moby layer/filestore.go (``layerdb/<algorithm>/<chain id>``), image/fs.go,
daemon/graphdriver/overlay2/overlay.go (``l/`` has a short link for each layer), v28.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress

from drydock.evidence.files.directory import folder, may_be_folder, names
from drydock.model import messages
from drydock.model.findings import Finding, Place
from drydock.model.layer_store import OVERLAY2
from drydock.model.names import Digest, RawPath, UnixNano
from drydock.model.pulls import Downloads

_LAYERS = (b"layerdb", b"sha256")
_IMAGES = (b"imagedb", b"content", b"sha256")
_LINKS = b"l"
_DOWNLOAD = b"GetImageBlob"
_BLOCK = 512


def note_classic_store(data: RawPath) -> Iterator[Finding]:
    """A note for each graph driver of a data root with layers: how many images, layers and directories it has.

    overlay2 has none, since drydock judges it (:mod:`drydock.evidence.docker.layer_store`).
    What cannot be listed is reported by :func:`read_images`.
    """
    with suppress(OSError), folder(data, b"image") as descriptor:
        for driver in names(descriptor):
            if driver == OVERLAY2 or not may_be_folder(driver, descriptor):
                continue
            layers, images = (_count(data, b"image", driver, *parts) for parts in (_LAYERS, _IMAGES))
            directories = _count(data, driver, apart=_LINKS)
            if layers or images:
                place, store = Place(RawPath(data + b"/image/" + driver)), data + b"/" + driver
                yield messages.CLASSIC_STORE(store=store, images=images, layers=layers, directories=directories).at(
                    place, driver
                )


def _count(data: RawPath, *parts: bytes, apart: bytes = b"") -> int:
    with suppress(OSError), folder(data, *parts) as descriptor:
        return sum(name != apart for name in names(descriptor))
    return 0


def read_images(data: RawPath, findings: list[Finding]) -> tuple[set[Digest], UnixNano | None]:
    """Image ids in ``image/<driver>/imagedb/content``, and when the newest of these folders last changed.

    A driver that is no longer used leaves its folder; removing an image changes the folder of the driver in use.

    Returns:
        The ids and the time. There is no time if there is no image database, or one cannot be read: an image that was
        not found may exist then.
    """
    found: set[Digest] = set()
    changed: list[int] = []
    known = True
    where = RawPath(data + b"/image")
    try:
        with folder(data, b"image") as descriptor:
            # The containerd image store keeps a file there (identity-cache.db, moby v29.3 and later).
            drivers = [name for name in names(descriptor) if may_be_folder(name, descriptor)]
    except FileNotFoundError:
        return found, None
    except OSError as error:
        findings.append(owners_unknown(where, error, "every image's lease is kept"))
        return found, None
    for driver in drivers:
        try:
            # The folders that the containerd image store leaves in image/ have no imagedb.
            with suppress(FileNotFoundError), folder(data, b"image", driver, *_IMAGES) as descriptor:
                found.update(Digest(b"sha256:" + each) for each in names(descriptor))
                changed.append(os.fstat(descriptor).st_mtime_ns)
        except OSError as error:  # noqa: PERF203 - a few drivers
            findings.append(owners_unknown(where, error, "every image's lease is kept"))
            known = False
    return found, UnixNano(max(changed)) if changed and known else None


def read_downloads(roots: Iterable[RawPath]) -> Downloads:
    """The files that interrupted pulls into the classic image store left, over the data roots.

    dockerd deletes them at its next start (moby daemon/daemon.go prepareTempDir, v28.5). They may be in $DOCKER_TMPDIR
    instead, which is not looked at.
    """
    folders: list[RawPath] = []
    sizes: list[int] = []
    for data in roots:
        with suppress(OSError), folder(data, b"tmp") as descriptor:
            folders.append(RawPath(data + b"/tmp"))
            for name in names(descriptor):
                with suppress(OSError):  # a hint only: nothing depends on it
                    found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                    if name.startswith(_DOWNLOAD) and stat.S_ISREG(found.st_mode):
                        sizes.append(found.st_blocks * _BLOCK)
    return Downloads(tuple(folders), len(sizes), sum(sizes))


def has_container_layer(data: RawPath, driver: bytes, name: bytes) -> bool:
    """Whether a graphdriver's layer store has a container's writable layer (moby layer/filestore.go, v28.5)."""
    if driver in (b".", b"..") or b"/" in driver or b"\0" in driver:
        return False
    try:
        with folder(data, b"image", driver, b"layerdb", b"mounts", name):
            return True
    except OSError:
        return False


def owners_unknown(path: bytes, error: OSError, effect: str) -> Finding:
    """The finding that a folder of records could not be listed, and the effect of that.

    Args:
        path: of the folder.
        error: the reason.
        effect: what drydock keeps because of it.
    """
    problem = error.strerror or str(error)
    return messages.UNREADABLE_OWNERS(path=path, problem=problem, effect=effect).at(Place(RawPath(path)))
