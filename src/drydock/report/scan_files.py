"""Files with scans that somebody brings: opened with care, and read as JSON or as JSON lines.

Any program may have written them, so a field of a wrong type is an error, and a name in them is not fit to print.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import msgspec
from msgspec import Struct, structs

from drydock.model.documents.common import read_document
from drydock.model.documents.fleet import (
    ReportedEntry,
    ReportedFileSystem,
    ReportedHead,
    ReportedRoot,
    ReportedScan,
    ReportedUsage,
)
from drydock.model.errors import EvidenceUnreadable
from drydock.model.text import printable, shown

_Part = TypeVar("_Part", bound=Struct)

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPES: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
"""Escapes of JSON: pairs of surrogates, lone surrogates (the group), and all others."""
_LISTS: Final = {
    "object": "objects",
    "lease": "leases",
    "finding": "findings",
    "withheld": "withheld",
    "holder": "holders",
}
"""The list of a root that a line belongs to, by the type of the line."""


def read_scan(path: bytes) -> ReportedScan:
    """A scan that ``drydock scan --format json`` or ``jsonl`` wrote; one without a host's name gets that of its file.

    Raises:
        EvidenceUnreadable: the file cannot be read, or is not a scan.
    """
    try:
        with opened_scan(path) as found:
            return found if isinstance(found, ReportedScan) else _from_lines(found, host_of(path))
    except (OSError, ValueError, RecursionError) as error:
        raise EvidenceUnreadable(why_unread(path, error)) from error


@contextmanager
def opened_scan(path: bytes) -> Iterator[ReportedScan | Iterator[bytes]]:
    """A scan that was written as one document, or else the lines of one, to be read in the block.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a scan.
    """
    with open(path, "rb", opener=open_scan) as file:
        first = file.readline()
        if b'"type"' in first and first.rstrip().endswith(b"}"):
            yield itertools.chain((first,), file)
        else:
            found = read_document(without_lone_surrogates(first + file.read()), ReportedScan)
            found.host = found.host or host_of(path)
            yield found


def host_of(path: bytes) -> str:
    """The name of the host of a scan that does not say it: that of its file."""
    return shown(os.path.splitext(os.path.basename(path))[0])


class LineKind(Struct):
    """Which thing one of the JSON lines of a scan is about."""

    type: str | None = None
    root: str | None = None


def _from_lines(lines: Iterable[bytes], host: str) -> ReportedScan:
    """The scan of JSON lines; ``host`` is the name of its host, where the lines do not say it.

    Raises:
        ValueError: they are not those of a scan, or a field has a wrong type.
    """
    head: ReportedScan | None = None
    roots: dict[str, ReportedRoot] = {}
    entries: dict[str, dict[str, list[ReportedEntry]]] = {}
    usage: list[ReportedUsage] = []
    file_systems: list[ReportedFileSystem] = []
    for line in map(without_lone_surrogates, lines):
        typed = decode_line(line, LineKind)
        if typed.type == "scan":
            head = ReportedScan(**structs.asdict(decode_line(line, ReportedHead)))
        elif head is None:
            raise ValueError("not a drydock.scan/1 document")
        elif typed.type == "root":
            root = decode_line(line, ReportedRoot)
            roots[root.path], entries[root.path] = root, {each: [] for each in _LISTS.values()}
        elif typed.type == "usage":
            usage.append(decode_line(line, ReportedUsage))
        elif typed.type == "file_system":
            file_systems.append(decode_line(line, ReportedFileSystem))
        elif typed.type in _LISTS:
            if typed.root not in entries:
                raise ValueError("not a drydock.scan/1 document")
            entries[typed.root][_LISTS[typed.type]].append(decode_line(line, ReportedEntry))
    if head is None:
        raise ValueError("it is empty")
    head.host = head.host or host
    head.roots = tuple(
        structs.replace(root, **{name: tuple(found) for name, found in entries[path].items()})
        for path, root in roots.items()
    )
    head.usage, head.file_systems = tuple(usage), tuple(file_systems)
    return head


def decode_line(line: bytes, kind: type[_Part]) -> _Part:
    """What ``kind`` reads of one of the JSON lines of a scan.

    Raises:
        ValueError: a field is missing, or has a wrong type.
    """
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.MsgspecError as error:
        raise ValueError(printable(str(error))) from error


def without_lone_surrogates(data: bytes) -> bytes:
    """JSON with its lone surrogates as visible text: JSON can spell them, UTF-8 cannot, and drydock writes none."""
    if _SURROGATE.search(data) is None:
        return data
    return _ESCAPES.sub(lambda found: b"\\" + found[0].lower() if found[1] else found[0], data)


def open_scan(path: str | bytes, flags: int) -> int:
    """A descriptor of a regular file, as an ``opener``. Other files are refused, and a FIFO is not waited for.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    if stat.S_ISREG(os.stat(path).st_mode):
        fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
    raise OSError(errno.EINVAL, "not a regular file")


def why_unread(path: bytes, error: Exception) -> str:
    """Why a file could not be read as a scan, with its path, as one shown line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{shown(path)}: {error.strerror}"
    return f"{shown(path)}: not a scan that drydock wrote: {shown(str(error).encode(errors='surrogateescape'))}"
