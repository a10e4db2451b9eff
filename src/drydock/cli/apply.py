"""``drydock apply``."""

from __future__ import annotations

import os

import click

from drydock import commands
from drydock.cli.options import Command, state_options
from drydock.cli.output import print_runs
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.names import RawPath
from drydock.streams import keep_going


@click.command(
    cls=Command,
    examples={
        "Carry out a plan that drydock plan wrote": "drydock apply plan.json",
        "Move things aside instead of deleting them": "drydock apply plan.json --quarantine /var/lib/docker/aside",
    },
)
@click.argument("plan", type=click.Path())
@state_options
@click.pass_context
def apply(ctx: click.Context, *, plan: str, quarantine: RawPath | None, state: RawPath | None) -> None:
    """Carry out PLAN, if the store has not changed since drydock plan wrote it.

    The engine must be stopped. Locks keep it from starting until apply ends.

    Exit status: 0 everything was done, 4 something was not done, 32 the plan is stale or the store is in use, and
    nothing was changed.
    """
    keep_going()
    with show_progress() as progress:
        access = Access(exclusive=True, state=state, quarantine=quarantine, progress=progress)
        runs = commands.apply.apply(commands.plan.read_plans(RawPath(os.fsencode(plan))), access)
    if not runs:
        click.echo("The plan is empty: there is nothing to do.")
    ctx.exit(print_runs(runs))
