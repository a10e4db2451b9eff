"""``drydock verify``."""

from __future__ import annotations

import click

from drydock.cli.options import absolute_path, now_option, where_argument
from drydock.cli.output import no_storage, open_output, print_json, status_of
from drydock.cli.progress import show_progress
from drydock.cli.wanted import Looking, make_wanted, wanted_options
from drydock.model.names import RawPath, UnixNano


@click.command(cls=Looking)
@where_argument
@wanted_options
@click.option("--format", "form", type=click.Choice(("table", "json")), default="table", show_default=True)
@click.option("-o", "--output", metavar="FILE", help="Write there instead of to stdout.")
@click.option(
    "--state",
    metavar="DIR",
    callback=absolute_path,
    help="Where it is remembered how far a run came, and what it found wrong. "
    "[default: /var/lib/drydock, or a tmpfs if that is full]",
)
@click.option(
    "--no-second-reading",
    "once",
    is_flag=True,
    help="Do not read the databases with the second reader to compare the two readers.",
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
    """Say what is whole, and which images and containers what is not hits. Changes nothing in the store.

    Without options only records are compared with what is on disk, which is fast. Exit status: 0, 2 damage, 4 time was
    up, or nothing could be written down of what was read, 8 something could not be read; they add up.
    """
    from drydock.recovery import verify as run  # noqa: PLC0415 - help and completion must not load the readers
    from drydock.report.verification import verification_document, verification_lines  # noqa: PLC0415 - the same

    wanted = make_wanted(data, unpacked, unpacked_content, max_duration)
    with show_progress() as progress:
        found = run(where, wanted=wanted, now=now, state=state, second_reading=not once, progress=progress)
    with open_output(output) as file:
        if form == "json":
            print_json(verification_document(found, now), file)
        elif found:
            file.writelines(f"{line}\n" for line in verification_lines(found, where, state))
        else:
            print(no_storage(where), file=file)
    ctx.exit(status_of(found))
