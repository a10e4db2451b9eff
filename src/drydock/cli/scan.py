"""``drydock scan``."""

from __future__ import annotations

import click

from drydock.cli.options import absolute_path, now_option, where_argument
from drydock.cli.output import console, open_output, print_json, print_lines, warn_unread
from drydock.cli.progress import show_progress
from drydock.model.names import RawPath, UnixNano


@click.command()
@where_argument
@click.option("--format", "form", type=click.Choice(("table", "json", "jsonl")), default="table", show_default=True)
@click.option("-o", "--output", metavar="FILE", help="Write there instead of to stdout.")
@click.option(
    "--verify",
    type=click.Choice(("none", "size", "digest")),
    default="size",
    show_default=True,
    help="How blobs are compared with their records; digest reads every byte.",
)
@click.option(
    "--measure",
    type=click.Choice(("recorded", "disk")),
    default="recorded",
    show_default=True,
    help="Sizes of committed snapshots: as containerd recorded them, or by walking every directory.",
)
@click.option(
    "--state", metavar="DIR", callback=absolute_path, help="Look there too for runs that were stopped before their end."
)
@now_option
@click.pass_context
def scan(
    ctx: click.Context,
    *,
    where: RawPath | None,
    form: str,
    output: str | None,
    verify: str,
    measure: str,
    state: RawPath | None,
    now: UnixNano,
) -> None:
    """Say what is there, by state, with bytes. Changes nothing.

    Needs the engine stopped: it takes shared locks on the databases. Exit status: 0, 1 something can be freed now,
    2 damage, 8 something could not be read; they add up.
    """
    from drydock.pipeline import scan as run  # noqa: PLC0415 - help and completion must not load the readers
    from drydock.report.document import scan_document, scan_lines  # noqa: PLC0415 - the same
    from drydock.report.table import print_scans  # noqa: PLC0415 - the same

    with show_progress() as progress:
        scans = run(where, now=now, measure=measure, verification=verify, state=state, progress=progress)
    with open_output(output) as file:
        if form == "json":
            print_json(scan_document(scans, now), file)
        elif form == "jsonl":
            print_lines(scan_lines(scans, now), file)
        elif scans:
            print_scans(scans, console(file), where)
        else:
            print("No containerd storage on this host.", file=file)
    warn_unread(scans)
    code = 0
    for found in scans:
        code |= found.exit_code()
    ctx.exit(code)
