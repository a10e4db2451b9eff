"""Manifests list the entries of directories that are moved to quarantine; undo recognises a directory by its manifest.

The manifests of a run are in one file beside its journal, ``manifests.gz``, as a gzip member each. The journal's line
of the move has the place and the SHA-256 of the member. A member is JSON lines, one for each entry:
:class:`drydock.model.documents.journal.ManifestLine` as an array. A directory comes before its entries, and names are
sorted by byte.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from drydock.evidence.files.directory import open_folder
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.xattrs import read_xattrs
from drydock.model.documents.common import compact, in_ascii, reason_of
from drydock.model.documents.journal import ManifestLine, ManifestMember
from drydock.model.names import RawPath
from drydock.model.text import shown, unshown

FILE: Final = b"manifests.gz"
_GZIP: Final = 31
"""zlib's number for a gzip member with the largest window."""
_LEVEL: Final = 1
_CHUNK: Final = 1 << 18
_PACKED: Final = 1 << 14
"""Packed bytes that are unpacked at a time; zlib makes at most a thousand times as many of them."""
_LONGEST: Final = 1 << 13
"""Bytes of a line: a name has at most 255 bytes, shown in at most four characters each."""
_ROOM: Final = 16 << 20
"""Bytes that manifests leave free on the disk, because the journal needs them."""
_VOLATILE: Final = 64 << 20
"""Bytes of all manifests of a run, if they are in memory (a tmpfs)."""
_PENDING: Final = 1 << 19
"""Names that a walk keeps for later, at most: a hostile tree cannot fill the memory."""
_OPEN_LEVELS: Final = 64
_decode: Final = msgspec.json.Decoder(ManifestLine).decode
_ATTRIBUTES: Final = (b"trusted.", b"user.", b"security.capability")


class ManifestEntry(NamedTuple):
    """One entry of a directory tree."""

    depth: int
    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    more: str


@dataclass(slots=True)
class _Directory:
    fd: int
    """-1 while the walk is far below."""
    names: list[bytes]
    """Still to come, the next one last."""
    identity: tuple[int, int]


def walk(parent: int, name: bytes) -> Generator[tuple[ManifestEntry, int, bytes], None, None]:
    """Yield every entry of a tree in the order of a manifest, with the open directory that it is in and its name there.

    The walk follows no symbolic link and enters no mount. It enters a directory only when the next entry is asked for.

    Raises:
        OSError: something cannot be read, is a mount, or changed meanwhile; or there are too many names in too few
            directories.
    """
    info = os.stat(name, dir_fd=parent, follow_symlinks=False)
    yield _line(0, b"", info, parent, name), parent, name
    levels: list[_Directory] = []
    pending = 0
    try:
        if stat.S_ISDIR(info.st_mode):
            pending += _enter(levels, parent, name, _PENDING)
        while levels:
            level = levels[-1]
            if not level.names:
                _leave(levels)
                continue
            each = level.names.pop()
            pending -= 1
            info = os.stat(each, dir_fd=level.fd, follow_symlinks=False)
            yield _line(len(levels), each, info, level.fd, each), level.fd, each
            if stat.S_ISDIR(info.st_mode):
                pending += _enter(levels, level.fd, each, _PENDING - pending)
    finally:
        for level in levels:
            if level.fd >= 0:
                os.close(level.fd)


def _enter(levels: list[_Directory], parent: int, name: bytes, most: int) -> int:
    """Open a directory, list it, and return the number of its names, which are at most ``most``."""
    fd = open_directory(parent, name, readable=True)
    try:
        info = os.fstat(fd)
        names = _list(fd, most)
    except BaseException:
        os.close(fd)
        raise
    levels.append(_Directory(fd, names, (info.st_dev, info.st_ino)))
    if len(levels) > _OPEN_LEVELS:
        far = levels[-1 - _OPEN_LEVELS]
        os.close(far.fd)
        far.fd = -1
    return len(names)


def _list(fd: int, most: int) -> list[bytes]:
    names: list[bytes] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if len(names) == most:
                raise OSError(errno.E2BIG, "too many names to keep in memory")
            names.append(os.fsencode(entry.name))
    return sorted(names, reverse=True)


def _leave(levels: list[_Directory]) -> None:
    done = levels.pop()
    try:
        if levels and levels[-1].fd < 0:
            above = open_folder(b"..", done.fd)
            info = os.fstat(above)
            levels[-1].fd = above
            if (info.st_dev, info.st_ino) != levels[-1].identity:
                raise OSError(errno.ESTALE, "a directory was moved meanwhile")
    finally:
        os.close(done.fd)


def _line(depth: int, shown_name: bytes, info: os.stat_result, parent: int, name: bytes) -> ManifestEntry:
    size, mtime = info.st_size, info.st_mtime_ns
    link = b""
    match stat.S_IFMT(info.st_mode):
        case stat.S_IFDIR:
            size = mtime = 0
        case stat.S_IFCHR | stat.S_IFBLK:
            size = info.st_rdev
        case stat.S_IFLNK:
            link = os.readlink(name, dir_fd=parent)
    kept = [each for each in sorted(read_xattrs(name, parent).items()) if each[0].startswith(_ATTRIBUTES)]
    more = hashlib.sha256(repr((link, kept)).encode()).hexdigest()[:32] if link or kept else ""
    return ManifestEntry(depth, shown_name, info.st_mode, info.st_uid, info.st_gid, size, mtime, more)


class ManifestWriter:
    """Writes the manifests of a run. Without the manifest of a directory, undo recognises the directory but no copy."""

    def __init__(self, directory: int, *, volatile: bool) -> None:
        """Write to the open state ``directory``; ``volatile`` says that it is in memory."""
        self._directory = directory
        self._most = _VOLATILE if volatile else None
        self._fd = -1
        self._end = 0
        self._over = ""
        self.left_out = 0
        """Number of directories without a manifest."""
        self.problem = ""
        """Why the first of these has none; one shown line."""

    def add(self, parent: int, name: bytes) -> ManifestMember | None:
        """Write the manifest of the directory ``name``, without a sync; None if it cannot be written."""
        member = None
        try:
            member = self._write(parent, name)
        except OSError as error:
            self._leave_out(error.strerror or type(error).__name__)
        return member

    def sync(self) -> None:
        """Sync the manifests. If a later read finds other bytes, their hash shows it.

        Raises:
            OSError: the disk does not take them.
        """
        if self._fd >= 0:
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _leave_out(self, problem: str) -> None:
        self.left_out += 1
        self.problem = self.problem or problem

    def _write(self, parent: int, name: bytes) -> ManifestMember | None:
        if self._over:
            self._leave_out(self._over)
            return None
        digest, at = hashlib.sha256(), self._end
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        lines: list[bytes] = []
        size = 0
        try:
            for line, _, _ in walk(parent, name):
                lines.append(in_ascii(compact.encode((line.depth, shown(line.name), *line[2:]))))
                size += len(lines[-1])
                if size > _CHUNK:
                    self._append(packer.compress(b"\n".join([*lines, b""])), digest)
                    lines.clear()
                    size = 0
            self._append(packer.compress(b"\n".join([*lines, b""])) + packer.flush(), digest)
        except BaseException:
            self._take_back(at)
            raise
        return ManifestMember(at, self._end - at, digest.hexdigest())

    def _append(self, data: bytes, digest: hashlib._Hash) -> None:
        if self._fd < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(FILE, flags, 0o600, dir_fd=self._directory)
            os.fsync(self._directory)
        try:
            self._check_room(len(data))
            while data:
                done = os.write(self._fd, data)
                digest.update(data[:done])
                self._end += done
                data = data[done:]
        except OSError as error:
            # The next manifest would not fit either, and the walk for it takes time.
            self._over = error.strerror or type(error).__name__
            raise

    def _check_room(self, size: int) -> None:
        room = os.fstatvfs(self._fd)
        if room.f_bavail * room.f_frsize < _ROOM + size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._most is not None and self._end + size > self._most:
            raise OSError(errno.EFBIG, f"more than {_VOLATILE} bytes of manifests in memory")

    def _take_back(self, at: int) -> None:
        if self._fd >= 0 and self._end > at:
            try:
                os.ftruncate(self._fd, at)
                self._end = at
            except OSError as error:
                self._over = error.strerror or type(error).__name__


def read_manifest(folder: RawPath, member: ManifestMember) -> Generator[ManifestEntry, None, None]:
    """Yield the entries of a manifest, after its bytes were compared with their hash.

    Args:
        folder: the journal's directory.
        member: the place and hash that the journal has.

    Raises:
        OSError: the manifest is missing, cannot be read, or is not as it was written.
    """
    fd = os.open(os.path.join(folder, FILE), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not 0 <= member.at <= member.at + member.length <= os.fstat(fd).st_size:
            raise OSError(errno.EBADMSG, "it is not all there")
        digest = hashlib.sha256()
        for part in _parts(fd, member):
            digest.update(part)
        if digest.hexdigest() != member.sha256:
            raise OSError(errno.EBADMSG, "it is not as it was written")
        unpacker = zlib.decompressobj(_GZIP)
        rest = b""
        for part in _parts(fd, member):
            *lines, rest = (rest + _unpack(unpacker, part)).split(b"\n")
            yield from map(_parse, lines)
            if len(rest) > _LONGEST:
                raise OSError(errno.EBADMSG, "a line of it is too long")
        if rest or not unpacker.eof:
            raise OSError(errno.EBADMSG, "it has no end")
    finally:
        os.close(fd)


def _parts(fd: int, member: ManifestMember) -> Iterator[bytes]:
    at, end = member.at, member.at + member.length
    while at < end and (part := os.pread(fd, min(_PACKED, end - at), at)):
        yield part
        at += len(part)


def _unpack(unpacker: zlib._Decompress, part: bytes) -> bytes:
    try:
        return unpacker.decompress(part)
    except zlib.error as error:
        raise OSError(errno.EBADMSG, str(error)) from error


def _parse(line: bytes) -> ManifestEntry:
    try:
        found = _decode(line)
        name = unshown(found.name)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise OSError(errno.EBADMSG, f"a line of it is not what drydock writes ({reason_of(error)})") from error
    return ManifestEntry(found.depth, name, found.mode, found.uid, found.gid, found.size, found.mtime, found.more)
