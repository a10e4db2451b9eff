"""The logs of Docker's containers: which files they have, from when they are, and what limits them.

Sources: moby container/container.go (``config.v2.json``, ``hostconfig.json``), daemon/logs.go (options of daemon.json
are copied to a container when it is created), daemon/logger/loggerutils/logfile.go (names of rotated files),
daemon/logger/jsonfilelog/jsonlog, daemon/logger/local/local.go (frames), api/types/plugins/logdriver/entry.proto,
v28.5.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from drydock.evidence.files.directory import fingerprint, folder, names
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.regular import open_regular, read_regular
from drydock.model.logs import ContainerLog, LogFile, LogFormat, Logs
from drydock.model.names import RawPath, UnixNano, is_container_id
from drydock.model.roots import DockerContainer
from drydock.model.text import shown
from drydock.model.times import parse_time

LEFTOVER: Final = b".tmp-drydock-"
"""The beginning of the name of the file that drydock writes beside a log while it cuts the log.

dockerd neither reads nor removes a name that begins with ``.tmp-``, except with the whole container.
"""
_LARGEST: Final = 8 << 20
_BLOCK: Final = 512
_FIRST: Final = 1 << 20
"""Bytes in which the first record of a file is looked for: dockerd splits longer lines at 16 KiB."""
_CHUNK: Final = 1 << 16
_LOCAL_FOLDER: Final = b"local-logs"
_ROTATED: Final = re.compile(rb"(?:\.([1-9][0-9]{0,5})(\.gz)?)?\Z")
_PATH: Final = re.compile(
    rb"containers/([0-9a-f]{64})/"
    rb"(?:(?:\.tmp-drydock-)?(?:\1-json\.log|container-cached\.log)|local-logs/(?:\.tmp-drydock-)?container\.log)"
    rb"(?:\.[1-9][0-9]{0,5}(?:\.gz)?)?"
)
_TIME_FIELD: Final = 2
_VARINT: Final = 10


def read_logs(data: RawPath, containers: Mapping[bytes, DockerContainer]) -> Logs:
    """The logs in a data root.

    Args:
        data: the data root.
        containers: what is known of its containers, by id.
    """
    found: list[ContainerLog] = []
    unread: list[str] = []
    try:
        with folder(data, b"containers") as descriptor:
            for each in filter(is_container_id, names(descriptor)):
                try:
                    opened = open_directory(descriptor, each, readable=True)
                except FileNotFoundError:
                    continue  # the container was removed meanwhile
                except OSError as error:
                    unread.append(f"{shown(data)}/containers/{shown(each)}: {error.strerror}")
                    continue
                try:
                    found += _logs_of(data, each, containers.get(each), opened, unread)
                finally:
                    os.close(opened)
    except FileNotFoundError:
        pass
    except OSError as error:
        unread.append(f"{shown(data)}/containers: {error.strerror}")
    return Logs(tuple(found), tuple(unread))


def find_line(descriptor: int, size: int, most: int) -> int:
    """The offset from which on the newest lines of a log take at most ``most`` bytes; ``size`` if no line fits.

    Args:
        descriptor: the open log.
        size: bytes in it.
        most: bytes to keep.

    Raises:
        OSError: it cannot be read.
    """
    if most >= size:
        return 0
    # A line begins after a newline: one right before the wanted bytes means that none of them belongs to a cut line.
    at = size - most - 1
    while at < size:
        part = os.pread(descriptor, min(_CHUNK, size - at), at)
        if not part:
            break
        end = part.find(b"\n")
        if end >= 0:
            return at + end + 1
        at += len(part)
    return size


def time_at(descriptor: int, offset: int) -> UnixNano | None:
    """The time of the line of json-file that begins at an offset of an open log; None if it has none."""
    return _time_of_line(os.pread(descriptor, _FIRST, offset))


def is_log_path(path: RawPath) -> bool:
    """Whether a path relative to a data root is that of a file of a log, or of one that a cut left beside it."""
    return _PATH.fullmatch(path) is not None


def _logs_of(
    data: RawPath, container: bytes, known: DockerContainer | None, descriptor: int, unread: list[str]
) -> Iterator[ContainerLog]:
    place = b"containers/" + container
    inside = names(descriptor)
    json_file = container + b"-json.log"
    groups = [
        (LogFormat.JSON_FILE, descriptor, place, inside, json_file),
        (LogFormat.LOCAL, descriptor, place, inside, b"container-cached.log"),
    ]
    opened = -1
    try:
        if _LOCAL_FOLDER in inside:
            try:
                opened = open_directory(descriptor, _LOCAL_FOLDER, readable=True)
                where = place + b"/" + _LOCAL_FOLDER
                groups.append((LogFormat.LOCAL, opened, where, names(opened), b"container.log"))
            except OSError as error:
                unread.append(f"{shown(data)}/{shown(place)}/{shown(_LOCAL_FOLDER)}: {error.strerror}")
        settings: Mapping[str, Any] | None = None
        for form, parent, where, listed, base in groups:
            files = sorted(_files(parent, where, listed, base), key=_age)
            leftovers = tuple(_files(parent, where, listed, LEFTOVER + base))
            if not files and not leftovers:
                continue
            if settings is None:
                settings = _settings(data, place, descriptor, unread)
            yield ContainerLog(
                data,
                container,
                None if known is None else known.name,
                form,
                tuple(files),
                _text(settings.get("Type")),
                *_limits(settings.get("Config")),
                _since(parent, files, form),
                UnixNano(files[0].fingerprint.mtime_ns) if files else None,
                leftovers,
            )
    finally:
        if opened >= 0:
            os.close(opened)


def _age(file: LogFile) -> tuple[int, bool]:
    return file.number, file.is_compressed


def _files(parent: int, where: bytes, listed: Iterable[bytes], base: bytes) -> Iterator[LogFile]:
    for name in listed:
        match = _ROTATED.match(name, len(base)) if name.startswith(base) else None
        if match is None:
            continue
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode):
            yield LogFile(
                RawPath(where + b"/" + name),
                int(match[1] or 0),
                fingerprint(found),
                found.st_blocks * _BLOCK,
                found.st_nlink,
                match[2] is not None,
            )


def _settings(data: RawPath, place: bytes, descriptor: int, unread: list[str]) -> Mapping[str, Any]:
    """The ``LogConfig`` of a container; empty if it cannot be read."""
    path = f"{shown(data)}/{shown(place)}/hostconfig.json"
    try:
        document: Any = json.loads(read_regular(b"hostconfig.json", _LARGEST, descriptor))
        found = document["LogConfig"]
        if isinstance(found, dict):
            return found
    except OSError as error:
        unread.append(f"{path}: {error.strerror}")
        return {}
    except (ValueError, RecursionError, KeyError, TypeError):
        pass
    unread.append(f"{path}: it has no LogConfig")
    return {}


def _limits(options: object) -> tuple[bytes | None, bytes | None]:
    found = options if isinstance(options, dict) else {}
    return _text(found.get("max-size")), _text(found.get("max-file"))


def _text(value: object) -> bytes | None:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) and value else None


def _since(parent: int, files: list[LogFile], form: LogFormat) -> UnixNano | None:
    """The time of the first record of the oldest file that has one."""
    for file in reversed(files):
        try:
            start = _start_of(parent, file)
        except OSError:
            return None
        if start:
            return _time_of_line(start) if form is LogFormat.JSON_FILE else _time_of_frame(start)
    return None


def _start_of(parent: int, file: LogFile) -> bytes:
    """The first bytes of a log, unpacked."""
    descriptor = open_regular(os.path.basename(file.path), parent)
    try:
        raw = os.pread(descriptor, _FIRST, 0)
    finally:
        os.close(descriptor)
    if not file.is_compressed:
        return raw
    try:
        return zlib.decompressobj(31).decompress(raw, _FIRST)
    except zlib.error as error:
        raise OSError(None, str(error)) from error


def _time_of_line(start: bytes) -> UnixNano | None:
    line, newline, _ = start.partition(b"\n")
    try:
        record: Any = json.loads(line) if newline else None
    except (ValueError, RecursionError):
        return None
    time = record.get("time") if isinstance(record, dict) else None
    return parse_time(time.encode("utf-8", "replace")) if isinstance(time, str) else None


def _time_of_frame(start: bytes) -> UnixNano | None:
    """The field ``time_nano`` of the first frame: a big-endian length, then a protobuf message."""
    message = start[4 : 4 + int.from_bytes(start[:4], "big")]
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value, at = _varint(message, at)
        match tag & 7:
            case 0 if tag >> 3 == _TIME_FIELD:
                return UnixNano(value) if 0 < value < 1 << 63 else None
            case 0:
                pass
            case 2:
                at += value
            case _:
                return None
    return None


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of a protobuf message, and the offset after it; 0 and the end for one that is cut off."""
    value = 0
    for shift, byte in enumerate(message[at : at + _VARINT]):
        value |= (byte & 0x7F) << 7 * shift
        if not byte & 0x80:
            return value, at + shift + 1
    return 0, len(message)
