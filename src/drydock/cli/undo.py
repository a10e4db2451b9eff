"""``drydock undo``."""

from __future__ import annotations

import os

import click

from drydock import commands
from drydock.cli.options import Command
from drydock.cli.output import print_runs
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.names import RawPath
from drydock.streams import keep_going


@click.command(
    cls=Command,
    examples={
        "List past runs with their journals": "drydock runs",
        "Put back what one of them moved or edited": "drydock undo /var/lib/drydock/RUN/journal.jsonl",
    },
)
@click.argument("journal", type=click.Path())
@click.pass_context
def undo(ctx: click.Context, *, journal: str) -> None:
    """Put back what a run moved to quarantine, and restore the databases that it edited.

    JOURNAL is the file that the run wrote. Undo recognises moved data by its contents, even if it was copied, and
    restores modes and owners that differ. Data that was deleted, or has changed since, cannot come back. In that case
    undo leaves the databases as they are, and names their backups. The engine must be stopped.

    Exit status: 0 everything is back, 4 something is not, 8 the journal is damaged or cannot be read, 32 the journal
    contradicts a database. With 8 and 32 nothing was changed.
    """
    ctx.exit(undo_run(RawPath(os.fsencode(os.path.abspath(journal)))))


def undo_run(journal: RawPath) -> int:
    """Undo a run, and print what was done.

    Returns:
        The exit status.

    Raises:
        DrydockError: as for :func:`drydock.commands.undo.undo`.
    """
    keep_going()
    with show_progress() as progress:
        run = commands.undo.undo(journal, Access(exclusive=True, progress=progress))
    return print_runs([run])
