"""``drydock diff``."""

from __future__ import annotations

import click

from drydock import commands, report
from drydock.cli.options import Group, format_option, mount_option, namespace_option, typed_name, where_argument
from drydock.cli.output import open_output, print_json
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.names import RawPath


@click.group(
    cls=Group,
    examples={
        "List what a container changed against its image": "drydock diff container web",
        "The same from a mounted disk": "drydock diff container web /mnt",
    },
)
def diff() -> None:
    """List what a container changed."""


@diff.command(
    examples={
        "List what a container changed against its image": "drydock diff container web",
        "The same from a mounted disk, for a program": "drydock diff container web --format json /mnt",
    },
)
@click.argument("name")
@where_argument
@format_option("text", "json")
@namespace_option
@mount_option
@click.pass_context
def container(
    ctx: click.Context, *, name: str, where: RawPath | None, form: str, namespace: bytes | None, mount: bool
) -> None:
    """List what container NAME changed against its image.

    Each line is A (added), C (changed) or D (deleted) and a path, as docker diff prints it. NAME is as for drydock
    export container.

    Exit status: 0 listed, 2 a file could not be compared, 8 a layer is missing, 16 NAME means several containers, 32 an
    engine runs.
    """
    with show_progress() as progress:
        access = Access(timed=False, progress=progress)
        changes, damage = commands.export.diff_container(
            typed_name(name), where, access, namespace=namespace, mount=mount
        )
    with open_output(None) as file:
        if form == "json":
            print_json(report.listing.changes_document(changes, damage), file)
        else:
            file.writelines(f"{line}\n" for line in report.listing.change_lines(changes))
    for line in damage:
        click.echo(f"drydock: {line}", err=True)
    ctx.exit(2 if damage else 0)
