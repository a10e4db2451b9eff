"""Arguments and options that several commands take, and how their words become values."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from drydock.model.names import RawPath, UnixNano
from drydock.model.times import parse_time

_F = TypeVar("_F", bound=Callable[..., Any])


def where_argument(function: _F) -> _F:
    """The optional argument WHERE, as bytes."""
    return click.argument("where", required=False, callback=_path)(function)


def file_argument(function: _F) -> _F:
    """The argument FILE, as bytes. A symbolic link that the user names is followed: what it leads to is locked."""
    return click.argument("file", type=click.Path(path_type=bytes), callback=_followed)(function)


def now_option(function: _F) -> _F:
    """The option ``--now``, as nanoseconds; the clock without it."""
    return click.option(
        "--now",
        metavar="TIME",
        callback=_time,
        help="Judge ages and expiries as of TIME (RFC 3339) instead of now.",
    )(function)


def state_options(function: _F) -> _F:
    """The options ``--state`` and ``--quarantine``, as absolute bytes."""
    for option in (
        click.option(
            "--quarantine",
            metavar="DIR",
            callback=absolute_path,
            help="Move things there instead of deleting them; DIR is on the same file system, in no engine's folder.",
        ),
        click.option(
            "--state",
            metavar="DIR",
            callback=absolute_path,
            help="Where journal and backups go, in no engine's folder. "
            "[default: /var/lib/drydock, or a tmpfs if that is full]",
        ),
    ):
        function = option(function)
    return function


def namespace_option(function: _F) -> _F:
    """The option ``--namespace``, as bytes."""
    return click.option(
        "-n",
        "--namespace",
        callback=lambda _, __, value: None if value is None else os.fsencode(value),
        help="Look in this containerd namespace only.",
    )(function)


def mount_option(function: _F) -> _F:
    """The option ``--mount``."""
    return click.option(
        "--mount",
        is_flag=True,
        help="Have the kernel mount layers that are images (erofs), read-only and where no other process sees them. "
        "Without it drydock reads them itself. An image may come from a registry byte for byte: use it for those you "
        "trust. Needs root.",
    )(function)


def absolute_path(_: click.Context, __: click.Parameter, value: str | None) -> RawPath | None:
    """What an option names, as absolute bytes."""
    return None if value is None else RawPath(os.fsencode(os.path.abspath(value)))


def _path(_: click.Context, __: click.Parameter, value: str | None) -> RawPath | None:
    return None if value is None else RawPath(os.fsencode(value))


def _time(_: click.Context, __: click.Parameter, value: str | None) -> UnixNano:
    if value is None:
        return UnixNano(time.time_ns())
    moment = parse_time(os.fsencode(value))
    if moment is None:
        raise click.BadParameter(f"{value!r} is no RFC 3339 time such as 2026-01-31T12:00:00Z")
    return moment


def _followed(_: click.Context, __: click.Parameter, value: bytes) -> RawPath:
    return RawPath(os.path.realpath(value) if os.path.islink(value) else value)
