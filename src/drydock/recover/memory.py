"""What a verification has read already, so that the next run goes on: one file of JSON lines for each root.

Each line is one blob or one snapshot's directory: ``[kind, id, inode, time, whether it was right]``. A line
``["finished"]`` ends it: the next run reads everything anew, as bits rot without a change of any time; what was wrong
then is known on, and read again before anything is made of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable
from typing import Final

from drydock.model.errors import Refused
from drydock.model.names import RawPath
from drydock.model.text import shown

_LARGEST: Final = 1 << 28
Key = tuple[str, str, int, int]
"""Kind, shown id, inode, and mtime (blob) or ctime (directory) in nanoseconds."""


class Memory:
    """An open memory; nothing is kept where no place could be written."""

    def __init__(self, fd: int | None, warning: str = "", *, write: bool = False) -> None:
        self._fd = fd
        self._writes = write
        self.warning = warning
        """One shown line, where nothing is kept."""
        self.known: dict[Key, bool] = {}
        """What an earlier run that did not end had done."""
        self.suspects: set[Key] = set()
        """What any earlier run found wrong."""
        if fd is not None:
            self._load(fd)

    def tell(self, key: Key, right: bool) -> None:
        """Note one result."""
        self._write([*key, right])

    def finish(self) -> None:
        """Note that everything was looked at."""
        self._write(["finished"])

    def close(self) -> None:
        """Give the file up."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _load(self, fd: int) -> None:
        raw = os.pread(fd, _LARGEST, 0) if os.fstat(fd).st_size <= _LARGEST else b""
        # A last line without an end was being written when the run was killed.
        raw = raw[: raw.rfind(b"\n") + 1]
        finished = False
        for line in raw.splitlines():
            match _parse(line):
                case ["finished"]:
                    finished = True
                    self.known = {}
                case [str(kind), str(name), int(inode), int(time), bool(right)]:
                    self.known[kind, name, inode, time] = right
                    key = (kind, name, inode, time)
                    self.suspects.discard(key) if right else self.suspects.add(key)
                    finished = False
        if not self._writes:
            return
        if finished:
            # Only what was wrong is worth keeping.
            raw = b"".join(_line([*key, False]) for key in sorted(self.suspects)) + _line(["finished"])
            os.ftruncate(fd, 0)
            os.write(fd, raw)
        else:
            os.ftruncate(fd, len(raw))

    def _write(self, entry: list[object]) -> None:
        if self._fd is None or not self._writes:
            return
        try:
            os.write(self._fd, _line(entry))
        except OSError as error:
            self.warning = f"what was verified is not remembered: {error.strerror}"
            self.close()


def open_memory(root: RawPath, places: Iterable[RawPath], *, write: bool) -> Memory:
    """The memory of a root, in the first of ``places`` that takes it.

    Args:
        root: absolute path of the containerd root.
        places: state directories, made if they are not there.
        write: whether results will be told; without, no directory and no file is made.

    Raises:
        Refused: another run verifies this root.
    """
    name = b"verified-" + hashlib.sha256(root).hexdigest()[:16].encode() + b".jsonl"
    problems: list[str] = []
    for place in places:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT if write else os.O_RDONLY
        try:
            if write:
                os.makedirs(place, 0o700, exist_ok=True)
            fd = os.open(os.path.join(place, name), flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            problems.append(f"{shown(place)}: {error.strerror}")
            continue
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if write else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            return Memory(fd, write=write)
        except BlockingIOError:
            os.close(fd)
            raise Refused(f"another drydock verifies {shown(root)}") from None
        except OSError as error:
            os.close(fd)
            problems.append(f"{shown(place)}: {error.strerror}")
    return Memory(None, f"what is verified is not remembered ({'; '.join(problems)})" if write else "")


def _line(entry: list[object]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _parse(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None
