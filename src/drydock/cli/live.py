"""Looking beside a running engine: the option, and the way to it where a lock refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from drydock.model.errors import InUse
from drydock.report.wording import LIVE

_F = TypeVar("_F", bound=Callable[..., Any])


def live_option(function: _F) -> _F:
    """The option ``--live``."""
    return click.option(
        "--live",
        is_flag=True,
        help="Look beside a running engine: take no lock, read copies of the databases, and leave out what comes or "
        "goes meanwhile.",
    )(function)


@contextmanager
def offer_live(how: str = "--live looks beside it") -> Iterator[None]:
    """Name the way to look beside an engine where its lock refuses.

    Args:
        how: what the user can type.

    Raises:
        InUse: as it came, with that.
    """
    try:
        yield
    except InUse as error:
        raise InUse(f"{error}; {how}") from error


def note_live(live: bool) -> None:
    """Say on stderr that what is printed was read beside an engine."""
    if live:
        click.echo(f"drydock: {LIVE}", err=True)
