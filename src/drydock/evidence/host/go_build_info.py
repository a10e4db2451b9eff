"""The build information that Go puts into a program: the path of its main package, and how it was built.

Source: Go debug/buildinfo/buildinfo.go, v1.18 and later (the section ``.go.buildinfo`` with the strings in line).
"""

from __future__ import annotations

import os
import struct
from typing import Final, NamedTuple

from drydock.evidence.files.regular import open_regular
from drydock.model.names import RawPath

_MAGIC: Final = b"\xff Go buildinf:"
_NAME: Final = b".go.buildinfo\0"
_INLINE: Final = 2
"""The flag of strings that follow the header."""
_HEADER: Final = 32
_SENTINEL: Final = 16
"""Bytes at both ends of the module information that are not part of it."""
_MOST_SECTIONS: Final = 1024
_LARGEST: Final = 1 << 22


class BuildInfo(NamedTuple):
    """What a program tells about its build."""

    path: bytes
    """Of its main package; empty if it does not tell."""
    settings: bytes
    """All lines, tab separated: ``path``, ``mod``, ``dep``, ``build``."""


def read_build_info(path: RawPath) -> BuildInfo | None:
    """Read the build information of a program; None if it is no 64-bit ELF file, or has none that Go 1.18 wrote.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = open_regular(path)
    try:
        raw = _section(descriptor)
    finally:
        os.close(descriptor)
    if not raw.startswith(_MAGIC) or len(raw) < _HEADER or not raw[15] & _INLINE:
        return None
    _, at = _text(raw, _HEADER)
    info, _ = _text(raw, at)
    lines = info[_SENTINEL:-_SENTINEL]
    first = lines.partition(b"\n")[0]
    return BuildInfo(first[len(b"path\t") :] if first.startswith(b"path\t") else b"", lines)


def _section(descriptor: int) -> bytes:
    """The bytes of the section ``.go.buildinfo``; empty if there is none."""
    head = os.pread(descriptor, 64, 0)
    if len(head) < 64 or head[:5] != b"\x7fELF\x02" or head[5] not in (1, 2):
        return b""
    order = "<" if head[5] == 1 else ">"
    (offset,) = struct.unpack_from(order + "Q", head, 40)
    size, count, names_at = struct.unpack_from(order + "HHH", head, 58)
    if size < 64 or not 0 < count <= _MOST_SECTIONS or names_at >= count:
        return b""
    table = os.pread(descriptor, size * count, offset) if offset < 1 << 62 else b""
    if len(table) < size * count:
        return b""
    sections = [struct.unpack_from(order + "IIQQQQ", table, size * number) for number in range(count)]
    names = _bounded(descriptor, *sections[names_at][4:])
    for name, _, _, _, at, length in sections:
        if names.startswith(_NAME, name):
            return _bounded(descriptor, at, length)
    return b""


def _bounded(descriptor: int, at: int, length: int) -> bytes:
    return os.pread(descriptor, min(length, _LARGEST), at) if at < 1 << 62 else b""


def _text(raw: bytes, at: int) -> tuple[bytes, int]:
    """The string at a place, behind its length (a varint), and where it ends."""
    length = shift = 0
    while at < len(raw) and shift < 63:
        byte = raw[at]
        at, length, shift = at + 1, length | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            break
    return raw[at : at + length], at + length
