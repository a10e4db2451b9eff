"""``drydock runs``."""

from __future__ import annotations

import click

from drydock import commands, report
from drydock.cli.options import Command, absolute_path, format_option
from drydock.cli.output import open_output, print_json, tell_unread
from drydock.model.names import RawPath


@click.command(
    cls=Command,
    examples={
        "List past runs": "drydock runs",
        "Include the runs that had --state /mnt/usb": "drydock runs --state /mnt/usb",
    },
)
@click.option(
    "--state",
    metavar="DIR",
    callback=absolute_path,
    help="Also look in DIR, which was the --state of runs. [default: only /var/lib/drydock, /run/drydock and "
    "/dev/shm/drydock]",
)
@format_option("table", "json")
@click.pass_context
def runs(ctx: click.Context, *, state: RawPath | None, form: str) -> None:
    """List past runs: when, on which root, what they did, and whether undo can take them back.

    A run is a clean, apply or repair that changed a root; its journal has what it did. Data that was deleted cannot
    come back. UNDO is what the journal, the quarantine and the databases show. Undo itself looks closer, and may find
    that moved data was changed.

    Exit status: 0 listed, 8 a journal or a place with journals could not be read.
    """
    found = commands.runs.runs(state)
    with open_output(None) as file:
        if form == "json":
            print_json(report.runs.runs_document(found), file)
        else:
            file.writelines(f"{line}\n" for line in report.runs.runs_lines(found))
    tell_unread(found.unread, "there may be runs that are not listed")
    ctx.exit(found.exit_code())
