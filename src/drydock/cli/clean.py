"""``drydock clean``."""

from __future__ import annotations

from typing import Any

import click

from drydock import commands, report
from drydock.cli.options import Command, make_policy, now_option, policy_options, state_options, where_argument
from drydock.cli.output import confirm, no_storage, offer_live, print_runs, status_of, warn_unread
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.errors import EvidenceUnreadable, Usage
from drydock.model.names import RawPath, UnixNano
from drydock.model.runs import Run
from drydock.model.scans import Scan
from drydock.streams import keep_going


@click.command(
    cls=Command,
    examples={
        "Show what would be removed": "drydock clean",
        "Remove it, and what interrupted pulls left": "drydock clean --end-leases temporary --apply",
        "Cut the logs of Docker's containers to their newest 10 MiB": "drydock clean --truncate-logs 10M --apply",
        "Move it away, so that undo can put it back": "drydock clean --apply --quarantine /var/lib/docker/aside",
    },
)
@where_argument
@click.option("--apply", "do", is_flag=True, help="Remove it. Without this option, clean only shows it.")
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
    """Show what nothing references. With --apply, remove it.

    Clean removes data that no record names, data that containerd's next garbage collection would remove, and what
    killed pulls, builds and removals left in Docker's classic store (overlay2). --end-leases adds data that only leases
    hold, such as the remains of interrupted pulls; with ownerless, also what containers wrote whose folders are gone.
    --truncate-logs adds the older parts of containers' logs. Clean backs up each database before it edits it.

    The engine must be stopped. Locks keep it from starting until clean ends.

    Exit status without --apply: as for scan. With --apply: 0 everything was done, 4 something was not done, 8 something
    could not be read. If you answer no, the status is the same as without --apply.
    """
    access = Access(policy=make_policy(**policy), now=now, state=state)

    if not do:
        if quarantine or yes:
            raise Usage("--yes and --quarantine need --apply")
        with show_progress() as progress, offer_live("use drydock scan --live to look beside it"):
            scans = commands.plan.plan(where, access._replace(progress=progress))
        _show(scans, where)
        if any(not found.plan.is_empty for found in scans):
            click.echo("Nothing was removed. With --apply, clean removes all of this.")
        ctx.exit(status_of(scans))

    code, _ = clean_store(where, access._replace(quarantine=quarantine), yes=yes)
    ctx.exit(code)


def clean_store(where: RawPath | None, access: Access, *, yes: bool = False) -> tuple[int, list[Run]]:
    """Show the plan of a policy, ask, carry it out, and print what was done.

    Args:
        where: as for :func:`drydock.commands.apply.clean`.
        access: the same.
        yes: do not ask.

    Returns:
        The exit status, and the runs: none if nothing was changed.

    Raises:
        DrydockError: as for :func:`drydock.commands.apply.clean`; nothing was changed.
    """
    if yes:
        keep_going()
    code = 0

    def agree(scans: list[Scan]) -> bool:
        nonlocal code
        _show(scans, where)
        code = EvidenceUnreadable.exit_code if any(found.is_blind for found in scans) else 0
        if all(found.plan.is_empty for found in scans):
            return False
        agreed = confirm(yes=yes)
        if not agreed:
            code = status_of(scans)
        return agreed

    with show_progress() as progress, offer_live("use drydock scan --live to look beside it"):
        runs = commands.apply.clean(
            where,
            access._replace(exclusive=True, progress=progress),
            agree=progress.cleared(agree) if progress else agree,
        )
    return code | print_runs(runs), runs


def _show(scans: list[Scan], where: RawPath | None) -> None:
    for found in scans:
        for line in report.plan_text.scan_lines(found):
            click.echo(line)
    if not scans:
        click.echo(no_storage(where))
    warn_unread(scans)
