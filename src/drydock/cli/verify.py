"""``drydock verify``."""

from __future__ import annotations

import click

from drydock import commands, report
from drydock.cli.options import (
    VerifyCommand,
    absolute_path,
    format_option,
    make_verify_options,
    now_option,
    output_option,
    verify_options,
    where_argument,
)
from drydock.cli.output import no_storage, open_output, print_json, status_of
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.names import RawPath, UnixNano


@click.command(
    cls=VerifyCommand,
    examples={
        "Compare records with names and sizes; this is fast": "drydock verify",
        "Hash every blob, and compare every unpacked layer": "drydock verify --data --unpacked",
        "Hash for one hour; the next run continues from there": "drydock verify --data --max-duration 1h",
    },
)
@where_argument
@verify_options
@format_option("table", "json")
@output_option
@click.option(
    "--state",
    metavar="DIR",
    callback=absolute_path,
    help="Save progress, and the damage found, in DIR. [default: /var/lib/drydock, or a tmpfs if that is full]",
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

    Nothing in the store is changed. Without options, verify compares records with the names and sizes on disk, which is
    fast, and reads each database with two readers.

    Exit status: 0 no damage, 2 damage, 4 time was up or progress could not be saved, 8 something could not be read. If
    several apply, the status is their sum.
    """
    wanted = make_verify_options(data, unpacked, unpacked_content, max_duration)
    with show_progress() as progress:
        found = commands.verify.verify(
            where, Access(now=now, state=state, progress=progress), wanted=wanted, second_reading=not once
        )
    with open_output(output) as file:
        if form == "json":
            print_json(report.verification.verification_document(found, now), file)
        elif found:
            file.writelines(f"{line}\n" for line in report.verification.verification_lines(found, where, state))
        else:
            print(no_storage(where), file=file)
    ctx.exit(status_of(found))
