"""The files of one of Docker's image stores in a data root, besides layers, blobs and snapshots.

All of them go with the store.

The folders ``overlay2``, ``overlay2/l`` and ``image/overlay2`` stay, because Docker 29 chooses its store by whether
``overlay2`` is empty. ``buildkit/cache.db`` stays, because both modes use it. Sources: moby image/fs.go,
reference/store.go, distribution/metadata/metadata.go, builder/builder-next/controller.go, v28.5; daemon/images and
image/identity-cache.db, v29.3.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from drydock.evidence.files.directory import fingerprint, folder, names
from drydock.evidence.files.sizes import Measure
from drydock.model.names import RawPath
from drydock.model.store_drops import StoreFile
from drydock.model.store_modes import StoreMode

_IMAGE: Final = b"image/overlay2"
_BUILDS: Final = (b"snapshots.db", b"containerdmeta.db", b"metadata_v2.db", b"metadata.db", b"content")
"""BuildKit's in classic mode: without the layers that they name, every build fails."""
_HISTORY, _OWN_HISTORY = b"history.db", b"history_c8d.db"
_CACHE: Final = re.compile(rb"containerd-[a-z0-9.-]+\Z")
_CONFIG: Final = re.compile(rb"[0-9a-f]{64}\Z")
_NAMES: Final = re.compile(rb"repositories\.json\Z")
_HINTS: Final = re.compile(rb"(diffid-by-digest|v2metadata-by-diffid)\Z")
_IDENTITIES: Final = re.compile(rb"identity-cache\.db\Z")


def read_store_files(data: RawPath, mode: StoreMode, measure: Measure) -> Iterator[StoreFile]:
    """The files and folders of a store.

    Args:
        data: absolute path of the data root.
        mode: the store.
        measure: counts allocated blocks.

    Raises:
        OSError: a folder cannot be listed.
    """
    with suppress(FileNotFoundError), folder(data, b"buildkit") as descriptor:
        there = names(descriptor)
        if mode is StoreMode.CLASSIC:
            wanted: list[bytes] = [each for each in _BUILDS if each in there]
            # Before Docker 28 the history of the image store was in the same file.
            wanted += [_HISTORY] if _HISTORY in there and _OWN_HISTORY in there else []
        else:
            wanted = [each for each in there if _CACHE.match(each) or each == _OWN_HISTORY]
        for name in wanted:
            yield _file(data, b"buildkit", name, descriptor, measure)
    if mode is StoreMode.IMAGE_STORE:
        yield from _below(data, b"image", measure, _IDENTITIES)
        return
    yield from _below(data, _IMAGE, measure, _NAMES)
    yield from read_image_files(data, measure)
    yield from _below(data, _IMAGE + b"/distribution", measure, _HINTS)


def read_image_files(data: RawPath, measure: Measure) -> Iterator[StoreFile]:
    """What the classic store has of its images besides their names and layers: configs, and the folders beside them.

    Args:
        data: absolute path of the data root.
        measure: counts allocated blocks.

    Raises:
        OSError: a folder cannot be listed.
    """
    for part in (b"metadata", b"content"):
        yield from _below(data, _IMAGE + b"/imagedb/" + part + b"/sha256", measure, _CONFIG)


def _below(data: RawPath, path: bytes, measure: Measure, wanted: re.Pattern[bytes]) -> Iterator[StoreFile]:
    with suppress(FileNotFoundError), folder(data, *path.split(b"/")) as descriptor:
        for name in names(descriptor):
            if wanted.match(name):
                yield _file(data, path, name, descriptor, measure)


def _file(data: RawPath, path: bytes, name: bytes, parent: int, measure: Measure) -> StoreFile:
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    usage = measure.folder(name, parent)
    return StoreFile(data, RawPath(path + b"/" + name), fingerprint(found), usage.allocated)
