"""``drydock clean``."""

from __future__ import annotations

import os
import sys

import click

from drydock.cli.options import now_option, where_argument
from drydock.cli.output import warn_unread
from drydock.cli.progress import show_progress
from drydock.model.errors import ActionFailed, EvidenceUnreadable, Usage
from drydock.model.names import RawPath, UnixNano
from drydock.model.plans import Status
from drydock.model.scans import Scan
from drydock.model.text import shown


@click.command()
@where_argument
@click.option("--apply", "do", is_flag=True, help="Remove it; without this, only show it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--quarantine", metavar="DIR", help="Move there instead of deleting; on the same file system.")
@click.option("--state", metavar="DIR", help="Where the journal goes. [default: /var/lib/drydock, or a tmpfs]")
@now_option
@click.pass_context
def clean(
    ctx: click.Context,
    *,
    where: RawPath | None,
    do: bool,
    yes: bool,
    quarantine: str | None,
    state: str | None,
    now: UnixNano,
) -> None:
    """Show the data that no record names; with --apply, remove it. No database is edited.

    Needs the engine stopped, and keeps it out until the end. Exit status without --apply as scan's; with --apply 0
    when all was removed, 4 when something was not.
    """
    from drydock.pipeline import clean as run  # noqa: PLC0415 - help and completion must not load the readers
    from drydock.pipeline import scan  # noqa: PLC0415 - the same
    from drydock.report.cleaning import outcome_lines, removal_lines, withheld_lines  # noqa: PLC0415 - the same

    def show(scans: list[Scan]) -> None:
        for found in scans:
            for line in (*removal_lines(found), *withheld_lines(found)):
                click.echo(line)
        if not scans:
            click.echo("No containerd storage on this host.")
        warn_unread(scans)

    if not do:
        if quarantine or yes:
            raise Usage("--yes and --quarantine belong to --apply")
        with show_progress() as progress:
            scans = scan(where, now=now, progress=progress)
        show(scans)
        if any(found.removals for found in scans):
            click.echo("Nothing was removed: --apply does it.")
        code = 0
        for found in scans:
            code |= found.exit_code()
        ctx.exit(code)

    code = 0

    def agree(scans: list[Scan]) -> bool:
        nonlocal code
        show(scans)
        code = EvidenceUnreadable.exit_code if any(found.unread() for found in scans) else 0
        if not any(found.removals for found in scans):
            return False
        if yes:
            return True
        if not sys.stdin.isatty():
            raise Usage("--apply asks first, and stdin is no terminal: --yes answers")
        return click.confirm("Remove these?", default=False)

    with show_progress() as progress:
        runs = run(where, agree=agree, now=now, state=_path(state), quarantine=_path(quarantine), progress=progress)
    for done in runs:
        click.echo(f"{shown(done.root)}:")
        for line in outcome_lines(done.outcomes):
            click.echo(line)
        click.echo(f"  journal: {shown(done.journal)} ({done.state})")
        if any(outcome.status in (Status.FAILED, Status.CHANGED) for outcome in done.outcomes):
            code |= ActionFailed.exit_code
    ctx.exit(code)


def _path(value: str | None) -> RawPath | None:
    return None if value is None else RawPath(os.fsencode(os.path.abspath(value)))
