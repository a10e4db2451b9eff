"""Where results go: stdout, or a file that appears whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, TextIO

import click

from drydock.model.errors import ActionFailed

if TYPE_CHECKING:
    from rich.console import Console

    from drydock.model.scans import Scan


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
        raise ActionFailed(f"{path}: {error.strerror}") from error


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
    """One document, indented."""
    json.dump(document, file, indent=1, ensure_ascii=False)
    file.write("\n")


def print_lines(documents: Iterable[dict[str, Any]], file: TextIO) -> None:
    """One document a line."""
    file.writelines(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n" for document in documents)


def console(file: TextIO) -> Console:
    """A console on ``file``: colours on a terminal, plain text in a pipe."""
    from rich.console import Console  # noqa: PLC0415 - a start without a table must not pay for rich

    return Console(file=file, highlight=False, emoji=False, markup=False)


def warn_unread(scans: Iterable[Scan]) -> None:
    """One line on stderr for each root whose records could not all be read."""
    for scan in scans:
        cause = scan.unread()
        if cause:
            click.echo(f"drydock: {cause}; nothing that depends on it is removed", err=True)
