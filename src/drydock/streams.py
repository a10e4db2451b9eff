"""stdout and stderr of the process: a full disk, a closed descriptor and a name without a letter stop no run.

The one place where an error of either becomes an exit status. A log often lies on the disk that is to be freed.
"""

from __future__ import annotations

import codecs
import io
import os
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
"""Lines that are told on stderr where what they were written to is lost."""


class _Channel(io.FileIO):
    """A standard stream that remembers how it was lost; what is written to it from then on goes nowhere."""

    def __init__(self, descriptor: int, stops: tuple[type[OSError], ...]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.lost: OSError | None = None
        self.stops = stops
        """Losses that are raised, once."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of ``data``, or say that all of it is written."""
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
        """Whether something that somebody wanted did not get there: a reader that left wanted no more."""
        return self.lost is not None and not isinstance(self.lost, BrokenPipeError)

    def _write(self, data: ReadableBuffer) -> int:
        # FileIO gives None where a pipe that does not block is full, and a buffer above it raises then.
        while (done := super().write(data)) is None:
            import select  # noqa: PLC0415 - such pipes are rare

            select.select((), (self,), ())
        return done


def open_streams() -> None:
    """Put streams that cannot fail in the place of ``sys.stdout`` and ``sys.stderr``, and something where one is None.

    Names go out in the stream's encoding; what it has no letter for as :func:`drydock.model.text.shown` escapes.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # noqa: PERF203 - three descriptors
            # Else the next file that is opened, a database, would be what is written to. It is the lowest free number.
            os.open(os.devnull, os.O_RDONLY)
    codecs.register_error(_UNFIT, _escape)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115 - for the whole process
    sys.stdout = _open(1, sys.stdout, (BrokenPipeError,))
    sys.stderr = _open(2, sys.stderr, ())


def keep_going() -> None:
    """From here on something is changed: what cannot be told stops nothing, and a reader may leave."""
    _limit(())


def stop_when_lost() -> None:
    """From here on stdout is the work itself, so each error of it is raised."""
    _limit((OSError,))


def need(line: str) -> None:
    """Have a line that is written to stdout told on stderr at the end if stdout was lost."""
    _needed.append(line)


def tell_needed() -> None:
    """Tell those lines on stderr, once: what they were written to, stdout or a file in its place, is lost."""
    while _needed:
        sys.stderr.write(f"drydock: {_needed.pop(0)}\n")


def is_lost() -> bool:
    """Whether something of what was written to stdout did not get there."""
    sys.stdout.flush()
    channel = _channel(sys.stdout)
    return channel is not None and channel.lost is not None


def settle(status: int) -> int:
    """Write what is left, say if stdout was lost, and give the exit status: ``status``, and 4 for a loss.

    A reader of stdout that leaves ends a command that only looks as the signal would, and is no loss to any other.
    """
    out, err = _channel(sys.stdout), _channel(sys.stderr)
    if out is None or err is None:
        return status
    said = out.lost is not None and isinstance(out.lost, out.stops)
    with suppress(OSError):
        sys.stdout.flush()
    if isinstance(out.lost, BrokenPipeError) and isinstance(out.lost, out.stops):
        return 128 + _SIGPIPE
    if out.lost is not None and out.is_short and not said:
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
    """What is below a stream; None in a process of another, such as a test's."""
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
