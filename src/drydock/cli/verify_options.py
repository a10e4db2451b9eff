"""The options of verify and repair that say what is looked at besides records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from drydock.cli.policy import span
from drydock.model.errors import Usage
from drydock.verification.tiers import VerifyOptions

_F = TypeVar("_F", bound=Callable[..., Any])
_CONTENT = "--unpacked=content"


class Looking(click.Command):
    """A command with ``--unpacked`` and ``--unpacked=content``.

    Click knows options whose value can be left out, but then takes the argument that follows for the value.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of a call."""
        end = args.index("--") if "--" in args else len(args)
        words = ["--unpacked-content" if word == _CONTENT else word for word in args[:end]]
        return super().parse_args(ctx, words + args[end:])


def wanted_options(function: _F) -> _F:
    """``--data``, ``--unpacked`` and ``--max-duration``."""
    for option in (
        click.option("--unpacked-content", is_flag=True, hidden=True),
        click.option(
            "--max-duration",
            metavar="SPAN",
            callback=span,
            help="Stop reading bytes after this long: 90min, 1h; the next run goes on from there.",
        ),
        click.option(
            "--unpacked",
            is_flag=True,
            help="Compare every unpacked layer with its blob: types, modes, owners, sizes, links, attributes; "
            "--unpacked=content compares the bytes too.",
        ),
        click.option("--data", is_flag=True, help="Hash every blob, on every core."),
    ):
        function = option(function)
    return function


def make_wanted(data: bool, unpacked: bool, unpacked_content: bool, max_duration: int | None) -> VerifyOptions:
    """What the options describe.

    Raises:
        Usage: a length of time for nothing that takes long.
    """
    looks = data or unpacked or unpacked_content
    if max_duration is not None and not looks:
        raise Usage("--max-duration is for --data and --unpacked")
    seconds = None if max_duration is None else max_duration / 1e9
    return VerifyOptions(data, unpacked or unpacked_content, unpacked_content, seconds)
