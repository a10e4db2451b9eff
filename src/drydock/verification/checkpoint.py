"""Results of verifications, so that the next run continues: one file of JSON lines for each root.

Each line is the result for one blob or one snapshot's directory: ``[kind, id, inode, time, is right]``. A line
``["finished", kind, ...]`` ends these kinds, or all kinds if it names none: the next run reads them anew, as bits rot
without a change of any time. What was wrong stays known, and is read again before it is used.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import Final

from drydock.evidence.files.directory import open_private_dir
from drydock.model.errors import Refused
from drydock.model.names import RawPath
from drydock.model.text import shown

_LARGEST: Final = 1 << 28
Key = tuple[str, str, int, int]
"""Kind, shown id, inode, and mtime (blob) or ctime (directory) in nanoseconds."""


class Checkpoint:
    """Results for one root. They go to the first directory that takes them, and to the next one if that is full.

    Results from the other directories are moved there as well, which leaves files of 0 bytes.
    """

    def __init__(self, name: bytes, places: Iterable[RawPath], others: Iterable[RawPath], *, write: bool) -> None:
        self._name = name
        self._writes = write
        self._places = list(places)
        """Directories that results may still go to."""
        self._files: dict[RawPath, int] = {}
        """Open and locked."""
        self._fd: int | None = None
        """The file that results go to."""
        self._problems: list[str] = []
        self.known: dict[Key, bool] = {}
        """Results since the last run that came to its end."""
        self.suspects: set[Key] = set()
        """What any run found wrong, and no later one right."""
        try:
            self._learn(others)
            self._load()
        except BaseException:
            self.close()
            raise

    @property
    def is_lost(self) -> bool:
        """Whether no directory took the results."""
        return self._writes and self._fd is None

    @property
    def warning(self) -> str | None:
        """One shown line, if no directory took the results."""
        return f"the results cannot be kept for the next run ({'; '.join(self._problems)})" if self.is_lost else None

    def tell(self, key: Key, right: bool) -> None:
        """Add one result."""
        self._note(key, right)
        self._write(_line([*key, right]))

    def finish(self, kinds: Sequence[str]) -> None:
        """Note that everything of these kinds was verified."""
        self._end(kinds)
        self._write(_line(["finished", *kinds]))

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])

    def _note(self, key: Key, right: bool) -> None:
        self.known[key] = right
        self.suspects.discard(key) if right else self.suspects.add(key)

    def _end(self, kinds: Sequence[object]) -> None:
        self.known = {key: right for key, right in self.known.items() if kinds and key[0] not in kinds}

    def _learn(self, others: Iterable[RawPath]) -> None:
        """Suspect what runs with other directories found wrong; their progress does not count."""
        for place in others:
            self._load_from(place, write=False)
        self.close()

    def _load(self) -> None:
        known: dict[Key, bool] = {}
        for place in self._places:
            known |= self._load_from(place, write=self._writes)
        self.known = known
        if self._writes:
            self._move()

    def _load_from(self, place: RawPath, *, write: bool) -> dict[Key, bool]:
        """Read the results in a directory; wrong ones go to the suspects."""
        try:
            fd = self._open(place, write=write)
        except BlockingIOError:
            raise
        except OSError:
            # If it is to be written, that fails too, and is reported.
            return {}
        for line in _read(fd).splitlines():
            match _parse(line):
                case ["finished", *kinds] if all(isinstance(kind, str) for kind in kinds):
                    self._end(kinds)
                case [str(kind), str(name), int(inode), int(time), bool(right)]:
                    self._note((kind, name, inode, time), right)
        known, self.known = self.known, {}
        return known

    def _move(self) -> None:
        """Write all results to the next directory that takes them, and empty the files in the others."""
        while self._places:
            place = self._places.pop(0)
            try:
                fd = self._open(place, write=True, create=True)
                self._keep(fd)
            except BlockingIOError:
                raise
            except OSError as error:
                self._problems.append(f"{shown(place)}: {error.strerror}")
                continue
            self._fd = fd
            for other in self._files.values():
                if other != fd:
                    os.ftruncate(other, 0)
            return

    def _keep(self, fd: int) -> None:
        earlier: list[Sequence[object]] = [[*key, False] for key in sorted(self.suspects - self.known.keys())]
        later: list[Sequence[object]] = [[*key, right] for key, right in self.known.items()]
        # Results of a run that came to its end stand before the line of its end. This line is always written: on a full
        # disk an empty file can still be created.
        raw = b"".join(_line(entry) for entry in (*earlier, ["finished"], *later))
        if _read(fd) != raw:
            os.ftruncate(fd, 0)
            _append(fd, raw)
        else:
            os.ftruncate(fd, len(raw))

    def _open(self, place: RawPath, *, write: bool, create: bool = False) -> int:
        if place in self._files:
            return self._files[place]
        if create:
            os.makedirs(place, 0o700, exist_ok=True)
        flags = (os.O_RDWR | os.O_APPEND if write else os.O_RDONLY) | (os.O_CREAT if create else 0)
        base = open_private_dir(place, create=False)
        try:
            fd = os.open(self._name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=base)
        finally:
            os.close(base)
        self._files[place] = fd
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if write else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError:
            os.close(self._files.pop(place))
            raise
        return fd

    def _write(self, line: bytes) -> None:
        if self._fd is None:
            return
        try:
            _append(self._fd, line)
        except OSError as error:
            place = next(place for place, fd in self._files.items() if fd == self._fd)
            self._problems.append(f"{shown(place)}: {error.strerror}")
            self._fd = None
            self._move()


def open_checkpoint(
    root: RawPath, places: Iterable[RawPath], others: Iterable[RawPath] = (), *, write: bool
) -> Checkpoint:
    """Open the results of a root, in the first of ``places`` that takes them.

    Args:
        root: absolute path of the containerd root.
        places: state directories, which are created if missing. One that others can write is not used.
        others: state directories of which only wrong results are read; nothing there is changed.
        write: whether results will be added; else no directory and no file is created.

    Raises:
        Refused: another run verifies this root.
    """
    name = b"verified-" + hashlib.sha256(root).hexdigest()[:16].encode() + b".jsonl"
    try:
        return Checkpoint(name, places, others, write=write)
    except BlockingIOError:
        raise Refused(f"another verification of {shown(root)} is running") from None


def _read(fd: int) -> bytes:
    raw = os.pread(fd, _LARGEST, 0) if os.fstat(fd).st_size <= _LARGEST else b""
    # A last line without an end was being written when its run was killed.
    return raw[: raw.rfind(b"\n") + 1]


def _append(fd: int, raw: bytes) -> None:
    while raw:
        raw = raw[os.write(fd, raw) :]


def _line(entry: Sequence[object]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _parse(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None
