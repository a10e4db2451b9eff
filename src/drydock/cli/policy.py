"""The options of plan and clean that say what ends and what stays."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from drydock.model.policies import EndLeases, Policy
from drydock.model.text import unshown

_F = TypeVar("_F", bound=Callable[..., Any])
_SPAN = re.compile(r"([0-9]{1,9})(s|min|m|h|d)")
"""Nine digits of days are more than any clock counts; Python refuses to read thousands of them."""
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def policy_options(function: _F) -> _F:
    """``--end-leases``, ``--older-than``, ``--end-lease``, ``--keep`` and ``--no-edit``."""
    for option in (
        click.option("--no-edit", is_flag=True, help="Edit no database: remove only data that no record names."),
        click.option(
            "--keep",
            metavar="OBJECT",
            multiple=True,
            help="Keep OBJECT and all that it refers to. A lease that is kept does not end.",
        ),
        click.option(
            "--end-lease",
            metavar="ID",
            multiple=True,
            help="Also end the lease ID (or NAMESPACE/ID), unless its owner exists.",
        ),
        click.option(
            "--older-than",
            metavar="SPAN",
            callback=span,
            help="End only those temporary and ownerless leases that are at least this old: 90min, 1h, 2d.",
        ),
        click.option(
            "--end-leases",
            type=click.Choice([each.value for each in EndLeases]),
            help="End all leases of this class; each includes the ones before it. [default: expired; "
            "with --older-than: temporary]",
        ),
    ):
        function = option(function)
    return function


def make_policy(
    end_leases: str | None,
    older_than: int | None,
    end_lease: tuple[str, ...],
    keep: tuple[str, ...],
    no_edit: bool,
) -> Policy:
    """The policy that the options describe. ``--older-than`` alone means temporary leases: expired ones have an end."""
    if end_leases is None:
        end_leases = "expired" if older_than is None else "temporary"
    if no_edit and (end_lease or older_than is not None or end_leases != "expired"):
        raise click.UsageError("--no-edit ends no lease: leave out --end-leases, --end-lease and --older-than")
    return Policy(
        EndLeases(end_leases),
        older_than,
        tuple(unshown(name) for name in end_lease),
        tuple(unshown(os.fsdecode(name)) for name in keep),
        edit=not no_edit,
    )


def span(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """A length of time that an option names, in nanoseconds."""
    if value is None:
        return None
    match = _SPAN.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is no span of time such as 90min, 1h or 2d")
    return int(match[1]) * _UNITS[match[2]] * 1_000_000_000
