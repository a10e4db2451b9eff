"""``drydock explain``."""

from __future__ import annotations

import os

import click

from drydock.cli.live import live_option, note_live, offer_live
from drydock.cli.options import now_option, where_argument
from drydock.cli.output import open_output, print_json, status_of
from drydock.cli.progress import show_progress
from drydock.commands.explain import explain as run
from drydock.model.names import RawPath, UnixNano
from drydock.model.text import unshown
from drydock.report.explanation import explanation_document, explanation_lines
from drydock.session import Access


@click.command()
@click.argument("subject", metavar="OBJECT")
@where_argument
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@live_option
@now_option
@click.pass_context
def explain(ctx: click.Context, *, subject: str, where: RawPath | None, form: str, live: bool, now: UnixNano) -> None:
    """Show what holds OBJECT, or why nothing does.

    OBJECT is a digest or its beginning, a path or the end of one (snapshots/105), a snapshot key, an image, a container
    or a lease. Type names as scan shows them, escapes included. Exit status: 0, 8 something could not be read, 32 an
    engine runs.
    """
    with show_progress() as progress, offer_live():
        explanations = run(unshown(os.fsdecode(subject)), where, Access(now=now, live=live, progress=progress))
    note_live(live)
    with open_output(None) as file:
        if form == "json":
            print_json(explanation_document(explanations, now), file)
        else:
            for number, explanation in enumerate(explanations):
                if number:
                    file.write("\n")
                file.writelines(line + "\n" for line in explanation_lines(explanation))
    for unread in dict.fromkeys(each.unread for each in explanations if each.unread):
        click.echo(f"drydock: {unread}; there may be more that holds it", err=True)
    ctx.exit(status_of(explanations))
