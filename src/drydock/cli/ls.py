"""``drydock ls``."""

from __future__ import annotations

import shutil

import click

from drydock.cli.live import live_option, note_live, offer_live
from drydock.cli.options import now_option, where_argument
from drydock.cli.output import no_storage, open_output, print_json, status_of
from drydock.cli.progress import show_progress
from drydock.commands.listing import ls as run
from drydock.model.listings import ListKind
from drydock.model.names import RawPath, UnixNano
from drydock.report.listing import listing_document, listing_lines
from drydock.session import Access


@click.command()
@click.argument("kind", type=click.Choice([kind.value for kind in ListKind]))
@where_argument
@click.option("--format", "form", type=click.Choice(("table", "json")), default="table", show_default=True)
@live_option
@now_option
@click.pass_context
def ls(ctx: click.Context, *, kind: str, where: RawPath | None, form: str, live: bool, now: UnixNano) -> None:
    """List what a store has, as ctr and docker do, with states, holders and sizes, which they do not show.

    Exit status: 0, 8 something could not be read, 32 an engine runs.
    """
    with show_progress() as progress, offer_live():
        listings = run(ListKind(kind), where, Access(now=now, live=live, progress=progress))
    note_live(live)
    with open_output(None) as file:
        if form == "json":
            print_json(listing_document(listings, ListKind(kind), now), file)
        elif listings:
            width = shutil.get_terminal_size().columns if file.isatty() else None
            file.writelines(line + "\n" for line in listing_lines(listings, width))
        else:
            print(no_storage(where), file=file)
    for listing in listings:
        if listing.unread:
            more = ", or whose they are is not known" if kind == ListKind.LEASES.value else ""
            click.echo(f"drydock: {listing.unread}; there may be {kind} that are not listed{more}", err=True)
    ctx.exit(status_of(listings))
