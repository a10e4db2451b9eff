"""``drydock pulls``."""

from __future__ import annotations

import shutil

import click

from drydock import commands, report
from drydock.cli.options import Command, format_option, live_option, now_option, where_argument
from drydock.cli.output import no_storage, note_live, offer_live, open_output, print_json, status_of, tell_unread
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.names import RawPath, UnixNano


@click.command(
    cls=Command,
    examples={
        "List the pulls that were interrupted": "drydock pulls",
        "List those under way too, beside a running engine": "drydock pulls --live",
    },
)
@where_argument
@format_option("table", "json")
@live_option
@now_option
@click.pass_context
def pulls(ctx: click.Context, *, where: RawPath | None, form: str, live: bool, now: UnixNano) -> None:
    """List interrupted pulls.

    For each pull, the list shows the image, the layers that were downloaded, how much ending the pull frees, and the
    command that ends it. Pulls takes shared locks on the databases, so the engine must be stopped. With --live, it
    looks beside a running engine, and also lists the pulls that are under way.

    Exit status: 0 listed, 2 a pull has damaged data, 8 something could not be read. If several apply, the status is
    their sum.
    """
    with show_progress() as progress, offer_live():
        roots = commands.pulls.pulls(where, Access(live=live, now=now, progress=progress))
    note_live(live)
    with open_output(None) as file:
        if form == "json":
            print_json(report.pulls.pulls_document(roots, now), file)
        elif roots:
            width = shutil.get_terminal_size().columns
            file.writelines(line + "\n" for line in report.pulls.pulls_lines(roots, now, where, width))
        else:
            print(no_storage(where), file=file)
    tell_unread((root.unread for root in roots), "there may be pulls that are not listed")
    ctx.exit(status_of(roots))
