"""stdout and stderr of the process: neither a full disk, nor a closed descriptor, nor an odd name stops a run.

This is the one place where an error of either stream becomes an exit status. A log often lies on the full disk itself.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Linux's number; importing signal costs a tenth of a start.
_SIGPIPE = 13
_FAILED = 4
"""As ``ActionFailed.exit_code``; importing it would cost ``--version`` its fast start."""
_ADDITIVE = 64
"""Statuses below this are sums."""
_UNFIT = "drydock.shown"
_needed: list[str] = []
"""Lines that are repeated on stderr if stdout is lost."""


class _Channel(io.FileIO):
    """A standard stream that remembers the error by which it was lost, and drops all output from then on."""

    def __init__(self, descriptor: int, stops: tuple[type[OSError], ...]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.lost: OSError | None = None
        self.stops = stops
        """Errors that are raised, once."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of ``data``. Once the stream is lost, report all of it as written."""
        if self.lost is None:
            try:
                return self._write(data)
            except OSError as error:
                self.lost = error
                if isinstance(error, self.stops):
                    raise
        return memoryview(data).nbytes

    @property
    def is_short(self) -> bool:
        """Whether wanted output is missing. A reader that closed the pipe wanted no more."""
        return self.lost is not None and not isinstance(self.lost, BrokenPipeError)

    def _write(self, data: ReadableBuffer) -> int:
        # FileIO returns None if a non-blocking pipe is full; the buffer above it would raise.
        while (done := super().write(data)) is None:
            select.select((), (self,), ())
        return done


def open_streams() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr`` by streams that do not fail, also if one of them is None.

    Text is written in the stream's encoding. Characters that the encoding lacks are escaped as
    :func:`drydock.model.text.shown` does.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # noqa: PERF203 - three descriptors
            # Otherwise the next file that is opened, a database, gets this number, and output is written to it.
            os.open(os.devnull, os.O_RDONLY)
    codecs.register_error(_UNFIT, _escape)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115 - for the whole process
    sys.stdout = _open(1, sys.stdout, (BrokenPipeError,))
    sys.stderr = _open(2, sys.stderr, ())


def keep_going() -> None:
    """From here on the store is changed: neither lost output nor a closed pipe stops the run."""
    _limit(())


def stop_when_lost() -> None:
    """From here on stdout is the result itself, so each of its errors is raised."""
    _limit((OSError,))


def need(line: str) -> None:
    """Repeat a line of stdout on stderr at the end, if stdout was lost."""
    _needed.append(line)


def tell_needed() -> None:
    """Write those lines to stderr, once, because stdout, or the file in its place, is lost."""
    while _needed:
        sys.stderr.write(f"drydock: {_needed.pop(0)}\n")


def is_lost() -> bool:
    """Whether some of the output to stdout is lost."""
    sys.stdout.flush()
    channel = _channel(sys.stdout)
    return channel is not None and channel.lost is not None


def settle(status: int) -> int:
    """Flush both streams, report a loss of stdout, and return the exit status: ``status``, plus 4 for a loss.

    If the reader of stdout closes the pipe, a command that only looks ends as if by SIGPIPE; for the others this is no
    loss.
    """
    out, err = _channel(sys.stdout), _channel(sys.stderr)
    if out is None or err is None:
        return status
    raised = out.lost is not None and isinstance(out.lost, out.stops)
    with suppress(OSError):
        sys.stdout.flush()
    if isinstance(out.lost, BrokenPipeError) and isinstance(out.lost, out.stops):
        return 128 + _SIGPIPE
    if out.lost is not None and out.is_short and not raised:
        sys.stderr.write(f"drydock: stdout: {out.lost.strerror}\n")
    if out.lost is not None:
        tell_needed()
    short = out.is_short or err.is_short
    return status | _FAILED if short and status < _ADDITIVE else status


def _open(descriptor: int, former: TextIO | None, stops: tuple[type[OSError], ...]) -> TextIO:
    channel = _Channel(descriptor, stops)
    return io.TextIOWrapper(
        io.BufferedWriter(channel),
        encoding=(former and former.encoding) or "utf-8",
        errors=_UNFIT,
        line_buffering=descriptor == 2 or channel.isatty(),
        write_through=bool(getattr(former, "write_through", False)),
    )


def _channel(stream: TextIO) -> _Channel | None:
    """The channel below a stream; None if another program, such as a test, made the stream."""
    channel = getattr(getattr(stream, "buffer", None), "raw", None)
    return channel if isinstance(channel, _Channel) else None


def _limit(stops: tuple[type[OSError], ...]) -> None:
    channel = _channel(sys.stdout)
    if channel is not None:
        channel.stops = stops


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    from drydock.model.text import coded  # noqa: PLC0415 - a start must be fast

    return "".join(map(coded, error.object[error.start : error.end])), error.end
