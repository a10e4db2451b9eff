"""``drydock undo``."""

from __future__ import annotations

import os

import click

from drydock import commands
from drydock.cli.output import print_runs
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.names import RawPath
from drydock.streams import keep_going


@click.command()
@click.argument("journal", type=click.Path())
@click.pass_context
def undo(ctx: click.Context, *, journal: str) -> None:
    """Put back what the run of JOURNAL moved to quarantine, and its edited databases as they were.

    What was moved is recognised by its contents, also as a copy; modes and owners that differ are set back. What was
    deleted or changed cannot come back: then the databases stay as they are, and the backups are named. Needs the
    engine stopped. Exit status 0 when all is back, 4 when something is not, 32 when the journal contradicts a
    database.
    """
    keep_going()
    path = RawPath(os.fsencode(os.path.abspath(journal)))
    with show_progress() as progress:
        run = commands.undo.undo(path, Access(exclusive=True, progress=progress))
    ctx.exit(print_runs([run]))
