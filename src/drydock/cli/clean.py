"""``drydock clean``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from drydock.cli.live import offer_live
from drydock.cli.options import now_option, state_options, where_argument
from drydock.cli.output import no_storage, status_of, warn_unread
from drydock.cli.policy import make_policy, policy_options
from drydock.cli.progress import show_progress
from drydock.cli.runs import confirm, print_runs
from drydock.commands.apply import clean as run
from drydock.commands.plan import plan
from drydock.model.errors import EvidenceUnreadable, Usage
from drydock.model.names import RawPath, UnixNano
from drydock.model.scans import Scan
from drydock.report.plan_text import scan_lines
from drydock.session import Access
from drydock.streams import keep_going


@click.command()
@where_argument
@click.option("--apply", "do", is_flag=True, help="Remove it. Without this option, only show it.")
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
@policy_options
@state_options
@now_option
@click.pass_context
def clean(
    ctx: click.Context,
    /,
    *,
    where: RawPath | None,
    do: bool,
    yes: bool,
    quarantine: RawPath | None,
    state: RawPath | None,
    now: UnixNano,
    **policy: Any,  # noqa: ANN401 - handed on to make_policy as it is
) -> None:
    """Show what nothing references; with --apply, remove it.

    That is data which no record names, and what containerd's next garbage collection would remove. --end-leases adds
    what only leases hold, such as the remains of interrupted pulls. The databases are backed up before they are
    edited.

    The engine must be stopped; locks keep it out until the end. Without --apply the exit status is that of scan. With
    --apply: 0 everything was done, 4 something was not, 8 something could not be read. If you answer no, the status is
    the same as without --apply.
    """
    access = Access(policy=make_policy(**policy), now=now, state=state)

    def show(scans: list[Scan]) -> None:
        for found in scans:
            for line in scan_lines(found):
                click.echo(line)
        if not scans:
            click.echo(no_storage(where))
        warn_unread(scans)

    if not do:
        if quarantine or yes:
            raise Usage("--yes and --quarantine belong to --apply")
        with show_progress() as progress, offer_live("drydock scan --live looks beside it"):
            scans = plan(where, replace(access, progress=progress))
        show(scans)
        if any(not found.plan.is_empty for found in scans):
            click.echo("Nothing was removed: --apply does it.")
        ctx.exit(status_of(scans))

    if yes:
        keep_going()
    code = 0

    def agree(scans: list[Scan]) -> bool:
        nonlocal code
        show(scans)
        code = EvidenceUnreadable.exit_code if any(found.is_blind for found in scans) else 0
        if all(found.plan.is_empty for found in scans):
            return False
        agreed = confirm(yes=yes)
        if not agreed:
            code = status_of(scans)
        return agreed

    with show_progress() as progress, offer_live("drydock scan --live looks beside it"):
        runs = run(
            where,
            replace(access, exclusive=True, quarantine=quarantine, progress=progress),
            agree=progress.cleared(agree) if progress else agree,
        )
    ctx.exit(code | print_runs(runs))
