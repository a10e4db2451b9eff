"""``drydock pulls``."""

from __future__ import annotations

import shutil

import click

from drydock.cli.live import live_option, note_live, offer_live
from drydock.cli.options import now_option, where_argument
from drydock.cli.output import no_storage, open_output, print_json, status_of
from drydock.cli.progress import show_progress
from drydock.commands.pulls import pulls as run
from drydock.model.names import RawPath, UnixNano
from drydock.report.pulls import pulls_document, pulls_lines
from drydock.session import Access


@click.command()
@where_argument
@click.option("--format", "form", type=click.Choice(("table", "json")), default="table", show_default=True)
@live_option
@now_option
@click.pass_context
def pulls(ctx: click.Context, *, where: RawPath | None, form: str, live: bool, now: UnixNano) -> None:
    """List interrupted pulls: the image, the layers that came down, what ending the pull frees, and the command for it.

    It needs the engine stopped, because it takes shared locks on the databases. With --live it looks beside a running
    engine, and also lists the pulls that are under way. Exit status: 0, 2 a pull has damaged data, 8 something could
    not be read; they add up.
    """
    with show_progress() as progress, offer_live():
        roots = run(where, Access(now=now, live=live, progress=progress))
    note_live(live)
    with open_output(None) as file:
        if form == "json":
            print_json(pulls_document(roots, now), file)
        elif roots:
            file.writelines(line + "\n" for line in pulls_lines(roots, now, where, shutil.get_terminal_size().columns))
        else:
            print(no_storage(where), file=file)
    for root in roots:
        if root.unread:
            click.echo(f"drydock: {root.unread}; there may be pulls that are not listed", err=True)
    ctx.exit(status_of(roots))
