"""Computes the diff id of a layer of the classic store anew, from its ``tar-split.json.gz`` and its files.

dockerd makes the tar of ``docker save`` and ``docker push`` from both (moby layer/ro_layer.go TarStream, v28.5).
"""

from __future__ import annotations

import enum
import hashlib
import os
import stat
import zlib
from collections.abc import Callable
from typing import Final

from drydock.evidence.docker.tar_split import TAR_SPLIT, NoTarSplit, Segment, TarFile, read_entries
from drydock.evidence.files.directory import folder
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.regular import open_regular
from drydock.model import messages
from drydock.model.findings import Finding, Place
from drydock.model.layer_store import OVERLAY2, LayerRecord, LayerStore
from drydock.model.names import RawPath
from drydock.model.text import shown

_CHUNK: Final = 1 << 20
_LISTED: Final = 5


class LayerComparison(enum.Enum):
    """What came of a comparison without a finding."""

    SAME = "same"
    STOPPED = "stopped"
    NOT_COMPARABLE = "not comparable"
    """Its record cannot be used, or it has no tar-split."""


def compare_layer(
    store: LayerStore,
    layer: LayerRecord,
    *,
    content: bool,
    stop: Callable[[], bool],
    step: Callable[[int], None] | None = None,
) -> Finding | LayerComparison:
    """Compare the files of a layer with its tar-split.

    Args:
        store: the layer store.
        layer: the record.
        content: read the files and compute the checksum; otherwise their sizes are compared.
        stop: asked between files whether to stop.
        step: told how many bytes of files are done.
    """
    if layer.problem or layer.cache_id is None or layer.diff_id is None or not layer.has_tar_split:
        return LayerComparison.NOT_COMPARABLE
    place = Place(RawPath(os.path.join(store.data, layer.path, TAR_SPLIT)))
    digest = hashlib.new("sha256", usedforsecurity=False)
    wrong: list[str] = []
    count = 0
    try:
        with (
            folder(store.data, *layer.path.split(b"/")) as record,
            folder(store.data, OVERLAY2, layer.cache_id, b"diff") as top,
        ):
            for entry in read_entries(record):
                if isinstance(entry, Segment):
                    digest.update(entry.payload)
                    continue
                if stop():
                    return LayerComparison.STOPPED
                problem = _add_file(entry, top, digest.update if content else None)
                if problem is not None:
                    count += 1
                    wrong += [f"{shown(entry.name)} {problem}"] if len(wrong) < _LISTED else []
                if step is not None:
                    step(entry.size)
    except (NoTarSplit, EOFError, zlib.error, ValueError, RecursionError) as error:
        problem = str(error) or "its tar-split.json.gz ends too early"
        return messages.LAYER_NOT_COMPARED(layer=layer.chain_id, problem=problem).at(place, layer.chain_id)
    except OSError as error:
        problem = error.strerror or str(error)
        return messages.LAYER_NOT_COMPARED(layer=layer.chain_id, problem=problem).at(place, layer.chain_id)
    where = Place(RawPath(os.path.join(store.data, OVERLAY2, layer.cache_id)))
    if wrong:
        more = f" and {count - len(wrong)} more" if count > len(wrong) else ""
        problem = f"its files differ from its tar-split: {', '.join(wrong)}{more}"
        return messages.LAYER_DIFFERS(layer=layer.chain_id, problem=problem).at(where, layer.chain_id)
    if content and digest.hexdigest().encode() != layer.diff_id.partition(b":")[2]:
        problem = "its files do not give its diff id: the contents of at least one of them have changed"
        return messages.LAYER_DIFFERS(layer=layer.chain_id, problem=problem).at(where, layer.chain_id)
    return LayerComparison.SAME


def _add_file(file: TarFile, top: int, add: Callable[[bytes], None] | None) -> str | None:
    """Give the contents of a file to ``add``; what is wrong with it, or None.

    The name is a guest's: only a path below the layer's own files is opened.
    """
    parts = [part for part in file.name.split(b"/") if part not in (b"", b".")]
    if not parts or b".." in parts or any(b"\0" in part for part in parts):
        return "has a name that leads nowhere"
    parent = top
    try:
        if len(parts) > 1:
            parent = open_directory(top, b"/".join(parts[:-1]))
        found = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            return "is not a regular file"
        if found.st_size != file.size:
            return f"has {found.st_size} bytes instead of {file.size}"
        if add is not None:
            _read(parts[-1], parent, file.size, add)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    finally:
        if parent != top:
            os.close(parent)
    return None


def _read(name: bytes, parent: int, size: int, add: Callable[[bytes], None]) -> None:
    descriptor = open_regular(name, parent)
    try:
        while size > 0 and (part := os.read(descriptor, min(size, _CHUNK))):
            size -= len(part)
            add(part)
    finally:
        os.close(descriptor)
