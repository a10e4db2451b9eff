"""Layers: any bytes give a tree or one error with one line to show, whatever they are compressed with."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from unittest.mock import patch

from tests.support.layer_trees import read_nested

from drydock.verification import layer_reader
from drydock.verification.decompression import UnreadableLayer

_MEMBERS = (
    ("etc/", tarfile.DIRTYPE, ""),
    ("etc/passwd", tarfile.REGTYPE, "root"),
    ("etc/link", tarfile.SYMTYPE, "../up/passwd"),
    ("etc/hard", tarfile.LNKTYPE, "etc/passwd"),
    ("dev/null", tarfile.CHRTYPE, ""),
    ("pipe", tarfile.FIFOTYPE, ""),
    ("etc/.wh.gone", tarfile.REGTYPE, ""),
    ("var/.wh..wh..opq", tarfile.REGTYPE, ""),
    ("n" * 150 + "/" + "\u00fc" * 120, tarfile.REGTYPE, "long"),
)


def seeds() -> Iterator[bytes]:
    """Tars of each format with each kind of entry, plain and compressed."""
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        for members in (_MEMBERS, *((each,) for each in _MEMBERS)):
            raw = _tar(members, form)
            yield raw
            if members is _MEMBERS:
                yield gzip.compress(raw, mtime=0)
                yield tarfile.TarInfo.create_pax_global_header({"comment": "x", "path": "etc/passwd"}) + raw
                frame = subprocess.run(["zstd", "-q", "-c"], input=raw, capture_output=True, check=True).stdout
                yield frame
                yield b"\x50\x2a\x4d\x18\x01\0\0\0x" + frame
    yield from _with_holes()


def one(data: bytes) -> None:
    """Read it, and look at what came."""
    said = ""
    try:
        # A size that is hashed in no time: an input that takes seconds is one that hangs.
        with patch.object(layer_reader, "MOST_SPARSE", 1 << 26):
            tree = read_nested(data)
    except UnreadableLayer as error:
        said = str(error)
        tree = None
    if tree is None:
        assert said.isprintable()
        return
    pending, seen = [tree], set()
    while pending:
        entry = pending.pop()
        if id(entry) in seen:
            continue
        seen.add(id(entry))
        for name, child in entry.children.items():
            assert b"/" not in name
            assert name not in (b"", b".", b"..")
            pending.append(child)


def mutation(data: bytes, most: int, _seed: int, any_mutation: Callable[[bytes, int], bytes]) -> bytes:
    """As libFuzzer would, and then with right sums."""
    return summed(any_mutation(data, most))


def summed(data: bytes) -> bytes:
    """The same with the sums that headers have of themselves put right."""
    raw = bytearray(data)
    for at in range(0, len(raw) - 511, 512):
        if raw[at + 257 : at + 262] == b"ustar":
            raw[at + 148 : at + 156] = b" " * 8
            raw[at + 148 : at + 156] = b"%06o\0 " % sum(raw[at : at + 512])
    return bytes(raw)


def _with_holes() -> Iterator[bytes]:
    """A file with holes, its map in an attribute and, as GNU tar's own format has it, in the header."""
    info = tarfile.TarInfo("holes")
    info.size = 5
    info.pax_headers = {"GNU.sparse.numblocks": "2", "GNU.sparse.map": "1000,2,3000,3", "GNU.sparse.size": "4000"}
    data = b"holed".ljust(512, b"\0")
    yield info.tobuf(format=tarfile.PAX_FORMAT) + data
    info.type = tarfile.GNUTYPE_SPARSE
    raw = bytearray(info.tobuf(format=tarfile.GNU_FORMAT))
    # Offset and length of each part from byte 386, the whole length at byte 483 (GNU tar's manual, "Sparse Formats").
    raw[386:434] = b"".join(b"%011o\0" % number for number in (1000, 2, 3000, 3))
    raw[483:495] = b"%011o\0" % 4000
    yield summed(bytes(raw) + data)


def _tar(members: tuple[tuple[str, bytes, str], ...], form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            data = text.encode() if kind == tarfile.REGTYPE else b""
            info.size, info.linkname = len(data), "" if data else text
            if form == tarfile.PAX_FORMAT and data:
                info.pax_headers = {"SCHILY.xattr.user.note": "x"}
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
