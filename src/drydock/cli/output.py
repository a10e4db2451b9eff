"""Where results go: stdout, or a file that appears whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, TextIO

import click

from drydock.model.errors import ActionFailed
from drydock.model.text import shown

if TYPE_CHECKING:
    from rich.console import Console

    from drydock.model.scans import Scan

_WIDTH = 80


@contextmanager
def open_output(path: str | None) -> Iterator[TextIO]:
    """stdout, or the file ``path`` written anew.

    Raises:
        ActionFailed: the file cannot be written.
    """
    if path is None or path == "-":
        yield sys.stdout
        return
    try:
        with click.open_file(path, "w", encoding="utf-8", atomic=True) as file:
            yield file  # type: ignore[misc] # click types it as IO[Any]
    except OSError as error:
        raise ActionFailed(f"{shown(os.fsencode(path))}: {error.strerror}") from error


@contextmanager
def open_binary(path: str | None) -> Iterator[IO[bytes]]:
    """stdout, or the file ``path`` written anew, for bytes.

    Raises:
        ActionFailed: the file cannot be written.
    """
    if path is None or path == "-":
        yield sys.stdout.buffer
        return
    try:
        with click.open_file(path, "wb", atomic=True) as file:
            yield file
    except OSError as error:
        raise ActionFailed(f"{path}: {error.strerror}") from error


def print_json(document: dict[str, Any], file: TextIO) -> None:
    """One document, indented; where it has an iterator, a list is written as it comes."""
    from drydock.report.indented import indented  # noqa: PLC0415 - a start without a document must not pay for it

    file.writelines(indented(document))
    file.write("\n")


def print_lines(documents: Iterable[dict[str, Any]], file: TextIO) -> None:
    """One document a line."""
    import json  # noqa: PLC0415 - the same

    file.writelines(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n" for document in documents)


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


def warn_unread(scans: Iterable[Scan]) -> None:
    """One line on stderr for each root whose records could not all be read."""
    for scan in scans:
        cause = scan.unread()
        if cause:
            click.echo(f"drydock: {cause}; nothing that depends on it is removed", err=True)
