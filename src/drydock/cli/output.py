"""Where results go: stdout, or a file that appears whole."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol, TextIO

import click

from drydock.model.errors import ActionFailed
from drydock.model.text import shown

if TYPE_CHECKING:
    from rich.console import Console

    from drydock.model.names import RawPath
    from drydock.model.scans import Scan

_WIDTH = 80


@contextmanager
def open_output(path: str | None) -> Iterator[TextIO]:
    """stdout, or the file ``path`` written anew: whole, or, where something is raised, as it was before.

    Raises:
        ActionFailed: the file cannot be written.
    """
    if path is None or path == "-":
        yield sys.stdout
        return
    with _written(path, "w", "utf-8") as file:
        yield file


def check_output(path: str | None) -> None:
    """See that :func:`open_output` can write ``path``, before something is done that has to be told.

    Raises:
        ActionFailed: its folder is not there or cannot be written to, or it is a folder itself.
    """
    if path is None or path == "-":
        return
    checked = path if _is_special(path) else os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path) or not os.access(checked, os.W_OK):
        raise ActionFailed(f"{shown(os.fsencode(path))}: cannot be written")


@contextmanager
def open_binary(path: str | None) -> Iterator[IO[bytes]]:
    """The same for bytes.

    Raises:
        ActionFailed: the file cannot be written.
    """
    if path is None or path == "-":
        yield sys.stdout.buffer
        return
    with _written(path, "wb", None) as file:
        yield file


@contextmanager
def _written(path: str, mode: str, encoding: str | None) -> Iterator[Any]:
    try:
        if _is_special(path):
            # What came in the place of /dev/null would not be one, and the pipe that /dev/stdout leads to has no path.
            with open(path, mode, encoding=encoding) as file:
                yield file
            return
        place = os.path.realpath(path)
        import tempfile  # noqa: PLC0415 - most results go to stdout

        with tempfile.TemporaryDirectory(prefix=".drydock-", dir=os.path.dirname(place)) as folder:
            made = os.path.join(folder, "output")
            with open(made, mode, encoding=encoding) as file:
                yield file
            if os.path.exists(place):
                os.chmod(made, stat.S_IMODE(os.stat(place).st_mode))
            os.replace(made, place)  # noqa: TID251 - the result of before, and nothing of a store
    except OSError as error:
        raise ActionFailed(f"{shown(os.fsencode(path))}: {error.strerror}") from error


def _is_special(path: str) -> bool:
    """Whether a name leads to something that is no regular file: a device, a pipe, a folder."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def use_utf8(file: TextIO) -> None:
    """Write in UTF-8 from here on, whatever the locale of stdout is: what a program reads is as it is in a file."""
    if isinstance(file, io.TextIOWrapper):
        file.reconfigure(encoding="utf-8", errors=file.errors)


def print_json(document: object, file: TextIO) -> None:
    """One document, indented; a large list is written while it is made."""
    from drydock.model.documents.common import indented  # noqa: PLC0415 - a start without a document must not load it

    use_utf8(file)
    file.writelines(indented(document))
    file.write("\n")


class Plain:
    """Whole lines of text: what rich would print in a pipe, without the time it takes to load."""

    is_terminal = False

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.encoding = getattr(file, "encoding", None) or "utf-8"

    @property
    def width(self) -> int:
        """Columns that a bar may take: of ``COLUMNS``, or of a terminal this process has, or 80."""
        columns = os.environ.get("COLUMNS", "")
        if columns.isascii() and columns.isdigit():
            return int(columns)
        for fd in (0, 1, 2):
            try:
                return os.get_terminal_size(fd).columns or _WIDTH
            except OSError:  # noqa: PERF203 - three descriptors
                continue
        return _WIDTH

    def print(self, line: object, *, soft_wrap: bool) -> None:  # noqa: ARG002 - rich's name; here nothing wraps
        """One line."""
        self._file.write(f"{line}\n")


def console(file: TextIO) -> Console | Plain:
    """What prints a table on ``file``: rich on a terminal, plain text in a pipe."""
    if not file.isatty() and not os.environ.get("FORCE_COLOR"):
        return Plain(file)
    from rich.console import Console  # noqa: PLC0415 - a start without a table must not pay for rich

    return Console(file=file, highlight=False, emoji=False, markup=False)


class _Result(Protocol):
    def exit_code(self) -> int:
        """The additive exit status."""


def status_of(results: Iterable[_Result]) -> int:
    """The exit status of a command that looked at several things: the sum of theirs."""
    code = 0
    for each in results:
        code |= each.exit_code()
    return code


def no_storage(where: RawPath | None) -> str:
    """What to say where nothing was found, and where that was: a mistyped mount point is not this host."""
    return f"No containerd storage {'on this host' if where is None else f'below {shown(where)}'}."


def warn_unread(scans: Iterable[Scan]) -> None:
    """One line on stderr for each root in which something could not be read: the status has 8 for it."""
    for scan in scans:
        cause = scan.unread()
        if cause:
            click.echo(f"drydock: {cause}; nothing that depends on it is removed", err=True)
