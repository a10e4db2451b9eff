"""``drydock ls``."""

from __future__ import annotations

import shutil

import click

from drydock import commands, report
from drydock.cli.options import Command, format_option, live_option, now_option, store_option, where_argument
from drydock.cli.output import no_storage, note_live, offer_live, open_output, print_json, status_of, tell_unread
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.listings import ListKind
from drydock.model.names import RawPath, UnixNano
from drydock.model.store_modes import StoreMode


@click.command(
    cls=Command,
    examples={
        "List the images of Docker's classic store, with their sizes": "drydock ls images --store classic",
        "List the leases beside a running engine": "drydock ls leases --live",
        "List the logs of Docker's containers, the largest first": "drydock ls logs",
        "List what is in overlay2 on a mounted disk, for a program": "drydock ls layers --format json /mnt",
    },
)
@click.argument("kind", type=click.Choice([kind.value for kind in ListKind]))
@where_argument
@format_option("table", "json")
@live_option
@store_option
@now_option
@click.pass_context
def ls(
    ctx: click.Context,
    *,
    kind: str,
    where: RawPath | None,
    form: str,
    live: bool,
    store: StoreMode | None,
    now: UnixNano,
) -> None:
    """List images, containers, snapshots, leases, content, ingests, layers, logs or volumes.

    The list is like that of ctr and docker. It adds states, holders and sizes, which they do not show. layers are the
    directories of Docker's classic layer store (overlay2). logs and volumes are those of Docker: from when each log is,
    what limits it, and which containers mount each volume.

    Exit status: 0 listed, 8 something could not be read, 32 an engine runs.
    """
    with show_progress() as progress, offer_live():
        access = Access(live=live, now=now, progress=progress)
        listings = commands.listing.ls(ListKind(kind), where, access, store=store)
    note_live(live)
    with open_output(None) as file:
        if form == "json":
            print_json(report.listing.listing_document(listings, ListKind(kind), now), file)
        elif listings:
            width = shutil.get_terminal_size().columns if file.isatty() else None
            file.writelines(line + "\n" for line in report.listing.listing_lines(listings, width))
        else:
            print(no_storage(where), file=file)
    more = ", or whose they are is not known" if kind == ListKind.LEASES.value else ""
    tell_unread((listing.unread for listing in listings), f"there may be {kind} that are not listed{more}")
    ctx.exit(status_of(listings))
