"""``drydock plan``."""

from __future__ import annotations

import os
from typing import Any

import click

from drydock import commands, report
from drydock.cli.options import Command, make_policy, now_option, policy_options, where_argument
from drydock.cli.output import offer_live, open_output, print_json, status_of, warn_unread
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.names import RawPath, UnixNano
from drydock.model.text import quoted_path
from drydock.reclaim.plan_file import plans_document


@click.command(
    cls=Command,
    examples={
        "Write a plan to read and to apply later": "drydock plan -o plan.json",
        "Plan to end the leases of interrupted pulls too": "drydock plan --end-leases temporary -o plan.json",
    },
)
@where_argument
@click.option("-o", "--output", metavar="PLAN", help="Write the plan to the file PLAN. [default: stdout]")
@policy_options
@now_option
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    *,
    where: RawPath | None,
    output: str | None,
    now: UnixNano,
    **policy: Any,  # noqa: ANN401 - handed on to make_policy as it is
) -> None:
    """Write a plan of what would be removed, for drydock apply.

    The plan lists each lease that would end, each record and row that would be deleted, and each path that would be
    removed, with its size and the reason. It also lists what looks free but is kept, with the reason.

    Exit status: as for scan.
    """
    with show_progress() as progress, offer_live("use drydock scan --live to look beside it"):
        scans = commands.plan.plan(where, Access(policy=make_policy(**policy), now=now, progress=progress))
    with open_output(output) as file:
        print_json(plans_document([found.plan for found in scans]), file)
    if output is not None and output != "-":
        for found in scans:
            for line in report.plan_text.scan_lines(found):
                click.echo(line)
        if not all(found.plan.is_empty for found in scans):
            click.echo(f"drydock apply {quoted_path(os.fsencode(output))}   # carries out this plan")
    warn_unread(scans)
    ctx.exit(status_of(scans))
