"""A folder of short files that is a record: of a layer, of a mount, or the driver's part of a directory."""

from __future__ import annotations

import os
import re
from typing import Final

from drydock.evidence.files.directory import fingerprint
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.regular import NotRegular, TooLarge, read_regular
from drydock.model.data import Fingerprint
from drydock.model.layer_store import DirectoryKind, directory_kind
from drydock.model.names import Digest, is_digest
from drydock.model.text import shown

BLOCK: Final = 512
SHORT: Final = 1 << 16
"""The largest file of layerdb and overlay2 that is read: ``lower`` has at most 128 names."""
_DIGITS: Final = re.compile(rb"-?[0-9]{1,19}\Z")


class RecordFolder:
    """A folder of a record with short files, entered by a ``with`` block; what is wrong with it is its ``problem``."""

    def __init__(self, name: bytes, parent: int, *, sizes: bool = True) -> None:
        self._name = name
        self._parent = parent
        self._sizes = sizes
        self.descriptor: int | None = None
        """None if it is no folder, or cannot be opened."""
        self.problem = ""
        self.files: dict[bytes, int] = {}
        """Bytes of allocated blocks of each regular file, by name; 0 without sizes."""
        self.allocated = 0
        self._folders: list[bytes] = []

    def __enter__(self) -> RecordFolder:  # noqa: PYI034 - Self is in typing since 3.11 only
        found = os.stat(self._name, dir_fd=self._parent, follow_symlinks=False)
        self.fingerprint: Fingerprint = fingerprint(found)
        self.allocated = found.st_blocks * BLOCK
        try:
            self.descriptor = open_directory(self._parent, self._name, readable=True)
            self._list(self.descriptor)
        except OSError as error:
            self._note(problem_of(error))
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)

    def _list(self, descriptor: int) -> None:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    self._folders.append(name)
                else:
                    self.files[name] = entry.stat(follow_symlinks=False).st_blocks * BLOCK if self._sizes else 0
        self.allocated += sum(self.files.values())

    def _note(self, problem: str) -> None:
        self.problem = self.problem or problem

    def has(self, name: bytes) -> bool:
        """Whether it has a file of that name."""
        return name in self.files

    def folders(self) -> list[bytes]:
        """The names of the folders in it, sorted."""
        return sorted(self._folders)

    def text(
        self,
        name: bytes,
        *,
        needed: bool = True,
        is_name: bool = False,
        directory_kind_is: tuple[DirectoryKind, ...] = (),
    ) -> bytes | None:
        """The contents of a file without space around; None, with a problem if it is needed, if it cannot be read.

        Args:
            name: of the file.
            needed: its absence is a problem.
            is_name: it has to be the name of a directory, and no path.
            directory_kind_is: it has to be the name of a directory of one of these kinds; any name without kinds.
        """
        if self.descriptor is None:
            return None
        called = shown(name)
        if name not in self.files:
            if needed or name in self._folders:
                self._note(f"it has no file {called}")
            return None
        try:
            found = read_regular(name, SHORT, self.descriptor).strip()
        except OSError as error:
            self._note(f"{called}: {problem_of(error)}")
            return None
        is_wrong = bool(directory_kind_is) and directory_kind(found) not in directory_kind_is
        is_path = is_name and (b"/" in found or found in (b".", b".."))
        if not found or b"\0" in found or is_wrong or is_path:
            self._note(f"its {called} is not what dockerd writes")
            return None
        return found

    def digest(self, name: bytes, *, needed: bool = True) -> Digest | None:
        """As :meth:`text`, for a file with a digest."""
        found = self.text(name, needed=needed)
        if found is None:
            return None
        digest = digest_in(found)
        if digest is None:
            self._note(f"its {shown(name)} is not a digest")
        return digest

    def number(self, name: bytes) -> int | None:
        """As :meth:`text`, for a file with a number, which may not be negative."""
        found = self.text(name)
        if found is None:
            return None
        if not _DIGITS.match(found) or int(found) < 0:
            self._note(f"its {shown(name)} is not a number of bytes")
            return None
        return int(found)


def digest_in(raw: bytes) -> Digest | None:
    """The digest that the contents of a file are, but for space around; None if they are none."""
    raw = raw.strip()
    return Digest(raw) if is_digest(raw) else None


def problem_of(error: Exception, otherwise: str = "") -> str:
    """What an error says, for people; ``otherwise`` for one that is not of the system."""
    if isinstance(error, (NotRegular, TooLarge)):
        return str(error.args[-1])
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return otherwise or str(error)
