"""The file that an export writes: it appears complete or not at all, and replaces nothing."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NoReturn

from drydock.evidence.files.directory import folder
from drydock.model.errors import ActionFailed, EvidenceUnreadable, Usage
from drydock.model.names import RawPath
from drydock.model.progress import Progress
from drydock.model.text import shown

_BUFFER = 1 << 20
_NOT_WHOLE = "the archive on stdout is incomplete"
_NO_FILE = "no file is left"
_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR)


class ExportFile:
    """The destination of an archive; an error there is a failed action, not unreadable evidence.

    Args:
        file: receives the bytes.
        name: its name in messages, shown.
        left: for messages: what a failure leaves of it.
    """

    def __init__(self, file: BinaryIO, name: str, left: str = "") -> None:
        self._file = file
        self._name = name
        self._left = left
        self.written = 0
        """Bytes written so far."""
        self.expected: int | None = None
        """Total bytes, if known beforehand."""
        self.progress: Progress | None = None
        """Called with the bytes as they are written."""
        self.estimate: int | None = None
        """Estimated total bytes, for progress alone."""

    def write(self, data: bytes) -> None:
        """Write all of ``data``.

        Raises:
            ActionFailed: it cannot be written.
        """
        try:
            self._file.write(data)
        except OSError as error:
            self._blame(error)
        self.written += len(data)
        if self.progress is not None and self.estimate is not None:
            self.progress("bytes written (total estimated)", len(data), self.estimate)
        elif self.progress is not None:
            self.progress("bytes written", len(data), self.expected)

    def flush(self) -> None:
        """Write out what is buffered; raises as :meth:`write`."""
        try:
            self._file.flush()
        except OSError as error:
            self._blame(error)

    def after(self, error: OSError) -> str:
        """The end of a message about a failure to write."""
        needs = error.errno == errno.ENOSPC and self.expected is not None
        parts = (self._left, f"the archive takes {self.expected} bytes" if needs else "")
        return "".join(f"; {part}" for part in parts if part)

    def _blame(self, error: OSError) -> NoReturn:
        if isinstance(error, BrokenPipeError):
            raise error
        raise ActionFailed(f"{self._name}: {error.strerror}{self.after(error)}") from error


@contextmanager
def open_export(path: RawPath | None, root: RawPath) -> Iterator[ExportFile]:
    """Open the destination of an export: a new file as by :func:`new_file`, or stdout if ``path`` is None.

    Raises:
        Usage: stdout is a terminal; or as for :func:`new_file`.
        ActionFailed: as for :func:`new_file`.
    """
    if path is not None:
        with new_file(path, root) as output:
            yield output
        return
    if sys.stdout.isatty():
        raise Usage("an archive is not written to a terminal: use -o FILE, or a pipe")
    output = ExportFile(sys.stdout.buffer, "stdout", _NOT_WHOLE)
    try:
        yield output
        output.flush()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_NOT_WHOLE if output.written else "") from None
    except EvidenceUnreadable as error:
        if not output.written:
            raise
        raise EvidenceUnreadable(f"{error}; {_NOT_WHOLE}") from error


@contextmanager
def new_file(path: RawPath, root: RawPath) -> Iterator[ExportFile]:
    """Create the file ``path``, with mode 0600, which gets its name when the context ends without an error.

    Until then it has no name (O_TMPFILE), so nothing is left behind, however the process ends.

    Raises:
        Usage: it would lie in the containerd root ``root``.
        ActionFailed: it exists already or cannot be written, or its file system has no O_TMPFILE.
    """
    head, name = os.path.split(os.path.abspath(path))
    place = os.path.realpath(head)
    if os.path.commonpath((place, os.path.realpath(root))) == os.path.realpath(root):
        raise Usage(f"{shown(path)} is inside the store: write it elsewhere")
    output: ExportFile | None = None
    is_there = False
    try:
        with folder(RawPath(place)) as descriptor:
            if _exists(name, descriptor):
                raise ActionFailed(f"{shown(path)} exists already and is not replaced")
            inner = os.open(b".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=descriptor)
            with io.BufferedWriter(io.FileIO(inner, "w"), _BUFFER) as file:
                output = ExportFile(file, shown(path), _NO_FILE)
                yield output
                file.flush()
                os.fsync(inner)
                # With a descriptor as the target's folder, Python uses linkat, which follows the link in /proc.
                os.link(b"/proc/self/fd/%d" % inner, name, dst_dir_fd=descriptor, follow_symlinks=True)
                is_there = True
            os.fsync(descriptor)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("" if is_there else _NO_FILE) from None
    except OSError as error:
        hint = (
            "; this file system has no O_TMPFILE: use -o - and redirect the output" if error.errno in _NAMELESS else ""
        )
        after = hint if output is None else output.after(error)
        raise ActionFailed(f"{shown(path)}: {error.strerror}{after}") from error


def _exists(name: bytes, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
