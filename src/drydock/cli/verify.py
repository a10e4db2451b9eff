"""``drydock verify``."""

from __future__ import annotations

import click

from drydock.cli.options import absolute_path, now_option, where_argument
from drydock.cli.output import no_storage, open_output, print_json, status_of
from drydock.cli.progress import show_progress
from drydock.cli.verify_options import Looking, make_wanted, wanted_options
from drydock.commands.verify import verify as run
from drydock.model.names import RawPath, UnixNano
from drydock.report.verification import verification_document, verification_lines
from drydock.session import Access


@click.command(cls=Looking)
@where_argument
@wanted_options
@click.option("--format", "form", type=click.Choice(("table", "json")), default="table", show_default=True)
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
@click.option(
    "--state",
    metavar="DIR",
    callback=absolute_path,
    help="Where progress and damage found are saved. [default: /var/lib/drydock, or a tmpfs if that is full]",
)
@click.option(
    "--no-second-reading",
    "once",
    is_flag=True,
    help="Read the databases with the fast reader only.",
)
@now_option
@click.pass_context
def verify(
    ctx: click.Context,
    *,
    where: RawPath | None,
    data: bool,
    unpacked: bool,
    unpacked_content: bool,
    max_duration: int | None,
    form: str,
    output: str | None,
    state: RawPath | None,
    once: bool,
    now: UnixNano,
) -> None:
    """Check which data is intact, and name the images and containers that damage affects.

    Nothing in the store is changed. Without options, records are compared with names and sizes on disk, which is fast,
    and each database is read with two readers. Exit status: 0 no damage, 2 damage, 4 time was up or progress could not
    be saved, 8 something could not be read; they add up.
    """
    wanted = make_wanted(data, unpacked, unpacked_content, max_duration)
    with show_progress() as progress:
        found = run(where, Access(now=now, state=state, progress=progress), wanted=wanted, second_reading=not once)
    with open_output(output) as file:
        if form == "json":
            print_json(verification_document(found, now), file)
        elif found:
            file.writelines(f"{line}\n" for line in verification_lines(found, where, state))
        else:
            print(no_storage(where), file=file)
    ctx.exit(status_of(found))
