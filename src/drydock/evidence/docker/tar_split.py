"""A layer of the classic store as the tar that it was made from, byte for byte: its digest is the layer's diff id.

``tar-split.json.gz`` of a layer has everything of the tar but the files' bytes, which are in the layer's directory.
Sources: vbatts/tar-split tar/storage/entry.go and tar/asm/assemble.go, v0.12; moby layer/layer_store.go
assembleTarTo, v28.5.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import posixpath
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from drydock.evidence.files.directory import folder
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.regular import open_regular
from drydock.model.layer_store import OVERLAY2, LayerRecord
from drydock.model.names import RawPath
from drydock.model.text import shown

TAR_SPLIT: Final = b"tar-split.json.gz"
_LINE: Final = 64 << 20
"""The largest line that is read. A segment has the headers between two files, and the padding of one."""
_CHUNK: Final = 1 << 20


class UnusableTarSplit(Exception):
    """The tar of a layer cannot be made again; the message is one shown line."""


class NoTarSplit(Exception):
    """A line is not what tar-split writes."""


class Segment(NamedTuple):
    """Bytes of the tar."""

    payload: bytes


class TarFile(NamedTuple):
    """A file whose contents come next in the tar."""

    name: bytes
    size: int


def read_entries(record: int) -> Iterator[Segment | TarFile]:
    """The entries of a layer's tar-split, without files that are empty.

    Args:
        record: the open folder of the layer's record.

    Raises:
        OSError: it cannot be read, or is not compressed by gzip.
        EOFError: it ends too early.
        zlib.error: it is damaged.
        NoTarSplit: it is not what tar-split writes.
    """
    with (
        os.fdopen(open_regular(TAR_SPLIT, record), "rb") as file,
        gzip.GzipFile(fileobj=file) as unpacked,
        io.BufferedReader(unpacked, _CHUNK) as lines,
    ):
        while line := lines.readline(_LINE):
            if not line.endswith(b"\n") and len(line) == _LINE:
                raise NoTarSplit(f"an entry of its tar-split.json.gz is larger than {_LINE} bytes")
            entry = _entry(line)
            if entry is not None:
                yield entry


def _entry(line: bytes) -> Segment | TarFile | None:
    """The entry in a line; None for a file without contents."""
    found: Any = json.loads(line)
    if not isinstance(found, dict):
        raise NoTarSplit("its tar-split.json.gz is not what dockerd writes")
    payload = found.get("payload") or ""
    if found.get("type") == 2 and isinstance(payload, str):
        return Segment(base64.b64decode(payload, validate=True))
    size = found.get("size", 0)
    raw, name = found.get("name_raw"), found.get("name", "")
    if found.get("type") != 1 or type(size) is not int or size < 0 or not isinstance(name, str):
        raise NoTarSplit("its tar-split.json.gz is not what dockerd writes")
    path = base64.b64decode(raw, validate=True) if isinstance(raw, str) else name.encode("utf-8", "surrogatepass")
    return TarFile(path, size) if size else None


class LayerTar:
    """The tar of a layer.

    Args:
        data: absolute path of the data root.
        layer: the layer's record.

    Attributes:
        size: bytes of the whole tar.

    Raises:
        UnusableTarSplit: the layer has no ``tar-split.json.gz``, or it cannot be read.
    """

    def __init__(self, data: RawPath, layer: LayerRecord) -> None:
        self._data = data
        self._layer = layer
        self.size = sum(len(entry.payload) if isinstance(entry, Segment) else entry.size for entry in self._entries())

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the tar.

        Raises:
            UnusableTarSplit: a file is missing, cannot be read, or has another size.
        """
        if self._layer.cache_id is None:
            raise UnusableTarSplit("the name of its directory cannot be read")
        try:
            with folder(self._data, OVERLAY2, self._layer.cache_id, b"diff") as top:
                for entry in self._entries():
                    if isinstance(entry, Segment):
                        yield entry.payload
                    else:
                        yield from _file(top, entry.name, entry.size)
        except OSError as error:
            raise UnusableTarSplit(f"its directory: {error.strerror}") from error

    def _entries(self) -> Iterator[Segment | TarFile]:
        try:
            with folder(self._data, *self._layer.path.split(b"/")) as record:
                yield from read_entries(record)
        except (OSError, EOFError, zlib.error, ValueError, RecursionError, NoTarSplit) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else "it is damaged"
            raise UnusableTarSplit(f"{TAR_SPLIT.decode()}: {why}") from error


def _file(top: int, name: bytes, size: int) -> Iterator[bytes]:
    """The bytes of a file in the layer's directory."""
    # Go joins the name to the directory, which removes what leads nowhere (path/filepath Join).
    path = posixpath.normpath(b"/" + name).lstrip(b"/")
    if b"\0" in path:
        raise UnusableTarSplit(f"{shown(name)}: no file can have this name")
    parent, _, last = path.rpartition(b"/")
    try:
        above = open_directory(top, parent) if parent else os.dup(top)
        try:
            descriptor = open_regular(last, above)
        finally:
            os.close(above)
    except OSError as error:
        raise UnusableTarSplit(f"{shown(name)}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        left = size
        while left:
            try:
                chunk = file.read(min(left, _CHUNK)) or b""
            except OSError as error:
                raise UnusableTarSplit(f"{shown(name)}: {error.strerror}") from error
            if not chunk:
                raise UnusableTarSplit(f"{shown(name)}: it is {left} bytes too short")
            left -= len(chunk)
            yield chunk
        if os.fstat(file.fileno()).st_size != size:
            raise UnusableTarSplit(f"{shown(name)}: it is longer than the {size} bytes of the layer")
