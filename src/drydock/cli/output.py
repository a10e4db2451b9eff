"""Output for the user: results on stdout or in a file, causes on stderr, and questions."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol, TextIO

import click

from drydock import report
from drydock.model.errors import ActionFailed, InUse, Usage
from drydock.model.text import shown
from drydock.streams import is_lost, keep_going, need

if TYPE_CHECKING:
    from drydock.model.names import RawPath
    from drydock.model.runs import Run
    from drydock.model.scans import Scan
    from drydock.report.terminal import TerminalPrinter

_WIDTH = 80


@contextmanager
def open_output(path: str | None) -> Iterator[TextIO]:
    """stdout, or the file ``path``. The file is replaced when the block ends, and stays as it was if the block raises.

    Raises:
        ActionFailed: the file cannot be written.
    """
    if path is None or path == "-":
        yield sys.stdout
        return
    with _written(path, "w", "utf-8") as file:
        yield file


def check_output(path: str | None) -> None:
    """Check that :func:`open_output` can write ``path``, before a change whose report goes there.

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
            # A file must not replace a device, and the pipe that /dev/stdout leads to has no path.
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
    """Whether a path leads to anything but a regular file: a device, a pipe, a folder."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def use_utf8(file: TextIO) -> None:
    """Write in UTF-8 from here on, whatever the locale: programs then read the same from stdout as from a file."""
    if isinstance(file, io.TextIOWrapper):
        file.reconfigure(encoding="utf-8", errors=file.errors)


def print_json(document: object, file: TextIO) -> None:
    """Print a document, indented; a large list is written while it is made."""
    from drydock.model.documents.common import indented  # noqa: PLC0415 - a start without a document must not load it

    use_utf8(file)
    file.writelines(indented(document))
    file.write("\n")


class PlainPrinter:
    """Prints whole lines, as rich does in a pipe, without the time that rich takes to load."""

    is_terminal = False

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.encoding = getattr(file, "encoding", None) or "utf-8"

    @property
    def width(self) -> int:
        """Columns for a bar: from ``COLUMNS``, from a terminal of this process, or 80."""
        columns = os.environ.get("COLUMNS", "")
        if columns.isascii() and columns.isdigit():
            return int(columns)
        for fd in (0, 1, 2):
            try:
                return os.get_terminal_size(fd).columns or _WIDTH
            except OSError:  # noqa: PERF203 - three descriptors
                continue
        return _WIDTH

    def print_line(self, text: str, indent: int = 0, style: str = "", *, whole: bool = False) -> None:  # noqa: ARG002
        """Print one line; here nothing has a style, and nothing wraps."""
        self._file.write(f"{' ' * indent}{text}\n")

    def print_spans(self, spans: Sequence[tuple[str, str]]) -> None:
        """Print one line that is made of pieces of text, each with a style that is not shown here."""
        self._file.write("".join(text for text, _ in spans).rstrip() + "\n")


def printer(file: TextIO) -> TerminalPrinter | PlainPrinter:
    """The printer of tables and trees on ``file``: with styles on a terminal, plain text in a pipe."""
    if file.isatty() or os.environ.get("FORCE_COLOR"):
        return report.terminal.terminal_printer(file)
    return PlainPrinter(file)


class _Result(Protocol):
    def exit_code(self) -> int:
        """The additive exit status."""


def status_of(results: Iterable[_Result]) -> int:
    """The exit status of several results: the sum of theirs."""
    code = 0
    for each in results:
        code |= each.exit_code()
    return code


def no_storage(where: RawPath | None) -> str:
    """The message for a place without storage. It names the place, which may be a mistyped mount point."""
    return f"No containerd storage {'on this host' if where is None else f'below {shown(where)}'}."


def tell_unread(causes: Iterable[str | None], consequence: str) -> None:
    """One line on stderr for each reason why something could not be read. The exit status includes 8 for it.

    Args:
        causes: one shown line each; None where all was read.
        consequence: what follows for the result.
    """
    for cause in dict.fromkeys(causes):
        if cause:
            click.echo(f"drydock: {cause}; {consequence}", err=True)


def warn_unread(scans: Iterable[Scan]) -> None:
    """As :func:`tell_unread`, for scans and plans."""
    tell_unread((scan.unread() for scan in scans), "nothing that depends on it is removed")


@contextmanager
def offer_live(how: str = "use --live to look beside it") -> Iterator[None]:
    """Tell how to look beside an engine, if the lock of the engine refuses.

    Args:
        how: what the user can type.

    Raises:
        InUse: the error of the block, with that hint.
    """
    try:
        yield
    except InUse as error:
        raise InUse(f"{error}; {how}") from error


def note_live(live: bool) -> None:
    """Note on stderr that the output was read beside an engine."""
    if live:
        click.echo(f"drydock: {report.wording.LIVE}", err=True)


def confirm(*, yes: bool) -> bool:
    """Ask on a terminal whether to change something; ``yes`` is the answer that ``--yes`` gives.

    Raises:
        Usage: stdin is not a terminal.
        ActionFailed: the plan to confirm cannot be shown.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise Usage("--apply asks for confirmation, and stdin is not a terminal: use --yes")
    if is_lost():
        raise ActionFailed("nothing was done: stdout is closed, so the plan to confirm cannot be shown")
    try:
        agreed = click.confirm("Do this?", default=False)
    except click.Abort:
        click.echo(err=True)  # the terminal has ^C at the end of the question
        raise
    if agreed:
        keep_going()
    return agreed


def print_runs(runs: Iterable[Run], file: TextIO | None = None) -> int:
    """Print what was done to each root, on stdout or in ``file``.

    Returns:
        The exit status: 4 when something of a plan was not done, else 0.
    """
    code = 0
    for run in runs:
        for line in report.plan_text.run_lines(run):
            click.echo(line, file=file)
        if run.journal is not None:
            need(f"journal: {shown(run.journal)}")
        if run.failed:
            code = ActionFailed.exit_code
    return code
