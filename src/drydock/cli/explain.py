"""``drydock explain``."""

from __future__ import annotations

import click

from drydock import commands, report
from drydock.cli.options import Command, format_option, live_option, now_option, typed_name, where_argument
from drydock.cli.output import note_live, offer_live, open_output, print_json, status_of, tell_unread
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.names import RawPath, UnixNano


@click.command(
    cls=Command,
    examples={
        "Show what holds a blob": "drydock explain sha256:4bcff63911fc",
        "Show what holds the data of a snapshot directory": "drydock explain snapshots/105",
        "Show what a path is there for": "drydock explain /var/lib/docker/tmp",
        "Show why an image stays, beside a running engine": "drydock explain --live docker.io/library/nginx:latest",
    },
)
@click.argument("subject", metavar="OBJECT")
@where_argument
@format_option("text", "json")
@live_option
@now_option
@click.pass_context
def explain(ctx: click.Context, *, subject: str, where: RawPath | None, form: str, live: bool, now: UnixNano) -> None:
    """Show what holds OBJECT, or why nothing does.

    OBJECT is a digest or its beginning, a path or the end of a path (snapshots/105), a snapshot key, an image, a
    container, a lease, or a volume of Docker. The name of a container, or the path of its log, also explains the log.
    Of any other path in a data root or a containerd root, explain says what it is there for and what frees it.
    Type names as scan prints them, with their escapes.

    Exit status: 0 explained, 8 something could not be read, 16 OBJECT means several things, 32 an engine runs.
    """
    with show_progress() as progress, offer_live():
        access = Access(live=live, now=now, progress=progress)
        explanations = commands.explain.explain(typed_name(subject), where, access)
    note_live(live)
    with open_output(None) as file:
        if form == "json":
            print_json(report.explanation.explanation_document(explanations, now), file)
        else:
            for number, explanation in enumerate(explanations):
                if number:
                    file.write("\n")
                file.writelines(line + "\n" for line in report.explanation.explanation_lines(explanation))
    tell_unread((each.unread for each in explanations), "something else may hold it")
    ctx.exit(status_of(explanations))
